"""Many files that change as one: prepared in a folder of their own, decided, then put in place.

A journal is a folder below ``.lora/journal`` with the new content of every file. Its index is
written last, and that moment decides: without it nothing happened, with it everything will,
whoever dies in between. Putting in place can be done again as often as it takes.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import re
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from lora_pipeline.foundation import files, strict_json
from lora_pipeline.foundation.canonical import digest_of_bytes
from lora_pipeline.foundation.errors import (
    DigestMismatchError,
    RecordConflictError,
    StateError,
    UnsafePathError,
)
from lora_pipeline.foundation.ids import new_ulid

FOLDER = "journal"
_INDEX = "index.json"
_STAGED = re.compile(r"[0-9]{6,12}")
FINISH = "lora doctor --fix"


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing to do; doing it twice is the same as doing it once.

    Attributes:
        action: ``write`` a file, ``remove`` one, or ``move`` a folder.
        path: Where, relative to the workspace, POSIX.
        before: ``sha256:…`` of what stands there before; empty when nothing does.
        after: ``sha256:…`` of what is written.
        staged: Name of the new content in the journal's folder.
        source: The folder that is moved.
    """

    action: Literal["write", "remove", "move"]
    path: str
    before: str = ""
    after: str = ""
    staged: str = ""
    source: str = ""


class _Index(msgspec.Struct, frozen=True, kw_only=True):
    what: str
    steps: tuple[Step, ...]


class Journal(msgspec.Struct, frozen=True):
    """Steps that were decided.

    Attributes:
        root: The workspace.
        folder: Where the new contents lie.
        what: What it is, for people: ``rename style flat flat2``.
        steps: In the order in which they are done.
    """

    root: Path
    folder: Path
    what: str
    steps: tuple[Step, ...]

    def finish(self) -> None:
        """Do every step that is not done yet, then forget the journal.

        Raises:
            RecordConflictError: When a file is neither what it was nor what it becomes:
                somebody changed it since. Nothing of what was decided is lost.
            UnsafePathError, DigestMismatchError: When the journal itself was changed.
            OSError: As the disk says; it can be tried again.
        """
        folders: set[Path] = set()
        for step in self.steps:
            self._do(step)
            folders.add((self.root / step.path).parent)
        for folder in sorted(folders):
            if folder.is_dir():
                files.fsync_folder(folder)
        (self.folder / _INDEX).unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _do(self, step: Step) -> None:
        # An index is believed no more than any other file: no path leaves the workspace.
        target = files.safe_join(self.root, step.path)
        if step.path.startswith((".git/", ".lora/")):
            raise UnsafePathError(f"{step.path} in {self.folder.name} is not for records")
        if step.action == "move":
            self._move(files.safe_join(self.root, step.source), target)
        elif step.action == "remove":
            if target.exists():
                self._require(target, step, {step.before})
                target.unlink()
        else:
            self._write(step, target)

    def _write(self, step: Step, target: Path) -> None:
        if not _STAGED.fullmatch(step.staged):
            raise UnsafePathError(f"{step.staged!r} in {self.folder.name} is no prepared file")
        staged = self.folder / step.staged
        if target.exists() or not staged.exists():
            self._require(target, step, {step.before, step.after})
        if staged.exists():
            if digest_of_file(staged) != step.after:
                raise DigestMismatchError(
                    f"{self.what} was interrupted, and what it prepared for {step.path} is damaged",
                    hint=f"rm -r {self._name}, then lora validate",
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            _put(staged, target)

    def _move(self, source: Path, target: Path) -> None:
        if not source.exists() and target.is_dir():
            return
        if target.exists():
            raise self._conflict(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)

    def _require(self, target: Path, step: Step, expected: set[str]) -> None:
        if not target.is_file() or digest_of_file(target) not in expected - {""}:
            raise self._conflict(self.root / step.path)

    @property
    def _name(self) -> str:
        return self.folder.relative_to(self.root).as_posix()

    def _conflict(self, path: Path) -> RecordConflictError:
        name = path.relative_to(self.root).as_posix()
        return RecordConflictError(
            f"{self.what} was interrupted, and {name} was changed since",
            hint=f"restore {name} from Git, then {FINISH}; or give the step up: rm -r {self._name}",
        )


class Staged(msgspec.Struct, frozen=True):
    """The new content of a file, and what stands there now.

    Attributes:
        target: Where it goes.
        data: The bytes, or None when ``source`` is to be copied.
        before: ``sha256:…`` of what stands there now; empty when nothing does.
        source: A file to copy.
        sha256: What the copy must be: 64 hexadecimal digits.
    """

    target: Path
    data: bytes | None = None
    before: str = ""
    source: Path | None = None
    sha256: str = ""

    @property
    def after(self) -> str:
        """``sha256:…`` of the new content."""
        return digest_of_bytes(self.data) if self.data is not None else f"sha256:{self.sha256}"


def decide(
    root: Path,
    runtime: Path,
    what: str,
    *,
    writes: Iterable[Staged],
    removals: Iterable[tuple[Path, str]] = (),
    moves: Iterable[tuple[Path, Path]] = (),
) -> Journal:
    """Prepare a journal and decide it: when this returns, it will happen.

    Args:
        root: The workspace; every path lies below it.
        runtime: Where the journal is kept.
        what: What it is, for people.
        writes: New contents of files; each is looked at once.
        removals: Files that go, with the digest of what they hold now.
        moves: Folders that get another name, done first; other paths are those after it.

    Raises:
        OSError: As the disk says; nothing was decided, nothing is left in place.
    """
    folder = runtime / FOLDER / new_ulid()

    def named(path: Path) -> str:
        return path.relative_to(root).as_posix()

    steps = [Step(action="move", path=named(new), source=named(old)) for old, new in moves]

    def prepared() -> Iterator[files.Write]:
        for number, one in enumerate(writes, start=1):
            name, target = f"{number:06}", named(one.target)
            steps.append(
                Step(action="write", path=target, before=one.before, after=one.after, staged=name)
            )
            yield files.Write(folder / name, data=one.data, source=one.source, sha256=one.sha256)
        steps.extend(
            Step(action="remove", path=named(path), before=before) for path, before in removals
        )
        index = _Index(what=what, steps=tuple(steps))
        data = strict_json.dumps(msgspec.to_builtins(index), one_line_each=("steps",))
        yield files.Write(folder / _INDEX, data=data)

    try:
        files.write_all(prepared())
    except BaseException:
        if not (folder / _INDEX).is_file():
            shutil.rmtree(folder, ignore_errors=True)
        raise
    return Journal(root, folder, what, tuple(steps))


def pending(root: Path, runtime: Path) -> list[Journal]:
    """Return the journals that were decided and not finished, oldest first."""
    return [_read(root, folder) for folder in _folders(runtime) if (folder / _INDEX).is_file()]


def undecided(runtime: Path) -> list[Path]:
    """Return the folders of journals that were never decided: nothing needs them."""
    return [folder for folder in _folders(runtime) if not (folder / _INDEX).is_file()]


def require_none_pending(root: Path, runtime: Path) -> None:
    """Check that no step was left half-way: nothing may be built on it.

    Raises:
        StateError: When one was.
    """
    if not (runtime / FOLDER).is_dir():
        return
    for journal in pending(root, runtime):
        raise StateError(
            f"{journal.what} was interrupted half-way; nothing is written before it is finished",
            hint=FINISH,
        )


def forget(folder: Path) -> None:
    """Remove a journal that was never decided."""
    shutil.rmtree(folder, ignore_errors=True)


def digest_of_file(path: Path) -> str:
    """Return ``sha256:…`` of the bytes of a file, however long it is."""
    with path.open("rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def _folders(runtime: Path) -> list[Path]:
    home = runtime / FOLDER
    return sorted(path for path in home.iterdir() if path.is_dir()) if home.is_dir() else []


def _read(root: Path, folder: Path) -> Journal:
    try:
        index = msgspec.convert(strict_json.load(folder / _INDEX), _Index)
    except msgspec.ValidationError as error:
        raise RecordConflictError(
            f"the journal {folder.name} was changed by hand: {error}",
            hint=f"rm -r {folder.relative_to(root).as_posix()}, then lora validate",
        ) from error
    return Journal(root, folder, index.what, index.steps)


def _put(staged: Path, target: Path) -> None:
    try:
        files.install(staged, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        files.copy_atomic(staged, target)  # .lora stands on another disk
        with contextlib.suppress(OSError):
            staged.unlink()
