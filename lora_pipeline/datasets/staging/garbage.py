"""What below ``.lora/staging`` nobody needs any more: it can be made again, and takes room."""

from __future__ import annotations

import contextlib
import re
import secrets
import shutil
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

import msgspec

from lora_pipeline.datasets.records import Manifest, Normalization
from lora_pipeline.datasets.staging.folder import (
    UNFINISHED,
    lock_folder,
    staging_key,
    stagings_root,
    unfinished_stagings,
)
from lora_pipeline.datasets.staging.pool import NORMALISED
from lora_pipeline.foundation.errors import LockedError
from lora_pipeline.workspace.lock import lock_holder, workspace_lock
from lora_pipeline.workspace.root import Workspace

_KEY = re.compile(r"[0-9a-f]{32}")


class StagingGarbage(msgspec.Struct, frozen=True):
    """What could go.

    Attributes:
        stagings: Folders that no manifest names and no run works with.
        unfinished: Folders of interrupted stagings, which nobody is making.
        pool: Images and masks that no staging would be left to link.
        bytes: What the disk would get back.
        young: Stagings that are kept because they are young.
        in_use: Stagings that are kept because a run works with them.
        unreadable: Manifests that cannot be read; nobody knows what they name, so every
            staging is kept.
    """

    stagings: tuple[Path, ...]
    unfinished: tuple[Path, ...]
    pool: tuple[Path, ...]
    bytes: int
    young: int
    in_use: int
    unreadable: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many folders and files could go."""
        return len(self.stagings) + len(self.unfinished) + len(self.pool)


class _Named(msgspec.Struct, frozen=True, rename="camel"):
    """What of a manifest its staging is named by; the items are skipped."""

    content_hash: str = ""
    normalization: Normalization = Normalization()


def find_garbage(workspace: Workspace, *, before: float, in_use: Collection[str]) -> StagingGarbage:
    """Return what of the stagings could go; writes nothing.

    Args:
        workspace: Whose stagings they are.
        before: Time, in seconds since 1970, from which on nothing is touched: a command that
            runs now may be about to use it.
        in_use: Names of the stagings that runs under way work with.
    """
    named, unreadable = _named(workspace)
    unnamed = [one for one in _stagings(workspace) if one.name not in named]
    idle = [one for one in unnamed if one.name not in in_use]
    old = [] if unreadable else [one for one in idle if _is_older(one, before)]
    unfinished = [one for one in unfinished_stagings(workspace) if not _is_made(workspace, one)]
    links, sizes = Counter[tuple[int, int]](), dict[tuple[int, int], tuple[int, int]]()
    _count(_files_of([*old, *unfinished]), links, sizes)
    pool = [] if _somebody_stages(workspace) else list(_lonely(workspace, before, links))
    _count(pool, links, sizes)
    return StagingGarbage(
        stagings=tuple(old),
        unfinished=tuple(unfinished),
        pool=tuple(pool),
        bytes=sum(size for key, (size, all_links) in sizes.items() if links[key] >= all_links),
        young=0 if unreadable else len(idle) - len(old),
        in_use=len(unnamed) - len(idle),
        unreadable=tuple(unreadable),
    )


def remove_garbage(workspace: Workspace, garbage: StagingGarbage) -> None:
    """Remove what could go, but not what somebody has begun to make since.

    A staging loses its name before its files, so that it is whole or not there.

    Raises:
        OSError: When the disk refuses.
    """
    for folder in garbage.stagings:
        with _idle(workspace, folder.name) as idle:
            if idle and folder.is_dir():
                nameless = folder.parent / f"{UNFINISHED}{folder.name}-{secrets.token_hex(4)}"
                folder.rename(nameless)
                shutil.rmtree(nameless, ignore_errors=True)
    for folder in garbage.unfinished:
        with _idle(workspace, _key_of(folder)) as idle:
            if idle:
                shutil.rmtree(folder, ignore_errors=True)
    if not _somebody_stages(workspace):
        for path in garbage.pool:
            path.unlink(missing_ok=True)


def _named(workspace: Workspace) -> tuple[set[str], list[str]]:
    """Return the names of the stagings of all manifests, and the manifests that say none."""
    named, unreadable = set[str](), list[str]()
    for scope in workspace.records.scopes():
        for record_id in workspace.records.ids(Manifest, scope):
            path = workspace.records.path(Manifest.KIND, scope, record_id)
            try:
                found = msgspec.json.decode(path.read_bytes(), type=_Named)
            except (OSError, msgspec.MsgspecError, UnicodeError):
                unreadable.append(workspace.relative(path))
            else:
                named.add(staging_key(found.content_hash, found.normalization))
    return named, unreadable


def _stagings(workspace: Workspace) -> Iterator[Path]:
    root = stagings_root(workspace)
    return (one for one in sorted(root.glob("*")) if _KEY.fullmatch(one.name) and one.is_dir())


def _lonely(workspace: Workspace, before: float, links: Counter[tuple[int, int]]) -> Iterator[Path]:
    """Yield the files of the pool that no staging would be left to link."""
    for path in sorted((stagings_root(workspace) / NORMALISED).glob("*")):
        with contextlib.suppress(OSError):
            status = path.lstat()
            elsewhere = status.st_nlink - 1 - links[status.st_dev, status.st_ino]
            if elsewhere <= 0 and status.st_mtime <= before:
                yield path


def _files_of(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from (one for one in folder.rglob("*") if not one.is_dir() or one.is_symlink())


def _count(
    paths: Iterable[Path],
    links: Counter[tuple[int, int]],
    sizes: dict[tuple[int, int], tuple[int, int]],
) -> None:
    """Count the links to each file, because its bytes are free only when the last one goes."""
    for path in paths:
        with contextlib.suppress(OSError):
            status = path.lstat()
            key = status.st_dev, status.st_ino
            links[key] += 1
            sizes[key] = status.st_size, status.st_nlink


def _is_older(path: Path, before: float) -> bool:
    try:
        return path.stat().st_mtime <= before
    except OSError:
        return False  # gone meanwhile


def _key_of(unfinished: Path) -> str:
    return unfinished.name.removeprefix(UNFINISHED).rpartition("-")[0]


def _is_made(workspace: Workspace, unfinished: Path) -> bool:
    return lock_holder(lock_folder(workspace, _key_of(unfinished))) is not None


def _somebody_stages(workspace: Workspace) -> bool:
    # Whoever stages may be about to link what nobody links yet.
    locks = lock_folder(workspace, "").glob("*")
    return any(lock_holder(one) is not None for one in locks)


@contextlib.contextmanager
def _idle(workspace: Workspace, key: str) -> Iterator[bool]:
    """Hold the lock of a staging for the time of the block, if nobody else does."""
    with contextlib.ExitStack() as held:
        try:
            held.enter_context(workspace_lock(lock_folder(workspace, key), timeout_s=0))
        except LockedError:
            yield False
        else:
            yield True
