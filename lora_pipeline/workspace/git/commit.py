"""Committing exactly what was written, and nothing else that is staged."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from lora_pipeline.foundation.errors import RepositoryError
from lora_pipeline.workspace.git.call import call, checked, names_in
from lora_pipeline.workspace.git.repository import head

# Takes paths from standard input: any number, and none of them is read as a pattern.
_UPDATE = ("update-index", "--add", "--remove", "-z", "--stdin")
_UNDER_WAY = {
    "MERGE_HEAD": "merge", "CHERRY_PICK_HEAD": "cherry-pick", "REVERT_HEAD": "revert",
}  # fmt: skip


def commit(folder: Path, paths: Sequence[Path], message: str) -> str | None:
    """Commit exactly ``paths`` and return the new commit, or None when nothing changed.

    What else is staged stays staged and is not committed. Paths that Git ignores are left out.

    Raises:
        RepositoryError: When Git says no (no identity, a hook that refuses, …).
    """
    top = Path(checked(folder, "rev-parse", "--show-toplevel").stdout.removesuffix("\n"))
    listed = _nul_separated(_committable(top, paths))
    if not listed:
        return None
    # What `git commit --only` does, but its time grows with the square of the paths. First the
    # real index: were we to die after the commit, it would undo the commit in the next one.
    checked(top, *_UPDATE, stdin=listed)
    with _index_of_head(top) as index:
        checked(top, *_UPDATE, stdin=listed, index=index)
        if _is_head(top, index):
            return None
        words = f"--message={message.replace(chr(0), '')}"
        checked(top, "commit", "--quiet", words, index=index, asks=True)
    return checked(top, "rev-parse", "HEAD").stdout.strip()


def _committable(top: Path, paths: Sequence[Path]) -> list[str]:
    """Return the files that are meant, relative to the work tree, without ignored ones."""
    names = [Path(os.path.relpath(path, top)).as_posix() for path in paths]
    folders = [name for name in names if (top / name).is_dir()]
    if folders:
        known = ("--cached", "--others", "--exclude-standard", "--deduplicate")
        inside = checked(top, "--literal-pathspecs", "ls-files", "-z", *known, "--", *folders)
        names = [*(set(names) - set(folders)), *names_in(inside)]
    ignored_ones = names_in(call(top, "check-ignore", "-z", "--stdin", stdin=_nul_separated(names)))
    return sorted(set(names) - set(ignored_ones))


@contextlib.contextmanager
def _index_of_head(top: Path) -> Iterator[Path]:
    """Give an index of our own that holds what HEAD holds.

    Raises:
        RepositoryError: In the middle of a merge: a commit would end it without its content.
    """
    git_folder = Path(checked(top, "rev-parse", "--absolute-git-dir").stdout.removesuffix("\n"))
    for name, what in _UNDER_WAY.items():
        if (git_folder / name).exists():
            raise RepositoryError(
                f"a {what} is under way", hint=f"finish it: git {what} --continue"
            )
    with tempfile.TemporaryDirectory(prefix="lora-index-", dir=git_folder) as own:
        index = Path(own) / "index"
        if head(top) is None:
            checked(top, "read-tree", "--empty", index=index)
        else:
            # The copy knows which files are unchanged, so that none has to be read again.
            shutil.copyfile(git_folder / "index", index)
            checked(top, "read-tree", "-m", "HEAD", index=index)
        yield index


def _is_head(top: Path, index: Path) -> bool:
    if head(top) is None:
        return not checked(top, "ls-files", index=index).output
    return call(top, "diff-index", "--cached", "--quiet", "HEAD", "--", index=index).status == 0


def _nul_separated(names: Iterable[str]) -> bytes:
    return "\0".join(names).encode("utf-8", "surrogateescape")
