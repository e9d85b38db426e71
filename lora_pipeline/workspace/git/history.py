"""Files as they were: revisions by name, what a commit held, and what Git LFS keeps here."""

from __future__ import annotations

import os
from pathlib import Path

from lora_pipeline.foundation.errors import ProgramNotFoundError, RepositoryError
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.workspace.git import repository as git
from lora_pipeline.workspace.git.call import call, checked, names_in


def require_repository(folder: Path) -> Path:
    """Return the top of the work tree that holds ``folder``.

    Raises:
        RepositoryError: When there is none, or Git is not installed.
    """
    root = git.repository_root(folder)
    if root is None:
        raise RepositoryError(f"{folder} is not in a Git repository", hint="git init")
    return root


def require_commit(root: Path, revision: str) -> str:
    """Return the id of the commit that a name means.

    Raises:
        RepositoryError: When no commit has that name; the hint names a near one.
    """
    asked = f"{revision}^{{commit}}"
    found = call(root, "rev-parse", "--verify", "--quiet", "--end-of-options", asked)
    if found.status != 0 or not revision:
        raise RepositoryError(f"no revision {revision!r}", hint=_near(root, revision))
    return found.stdout.strip()


def merge_base(root: Path, one: str, other: str) -> str:
    """Return the commit at which two histories parted.

    Raises:
        RepositoryError: When they have nothing in common.
    """
    found = call(root, "merge-base", "--end-of-options", one, other)
    if found.status != 0:
        raise RepositoryError(
            f"{one[:10]} and {other[:10]} have no commit in common", hint=_if_shallow(root)
        )
    return found.stdout.strip()


def name_in(root: Path, path: Path) -> str:
    """Return a path as Git names it: POSIX, from the top of the work tree."""
    return path.resolve().relative_to(root.resolve()).as_posix()


def file_in(root: Path, commit: str, name: str, *, max_bytes: int | None = None) -> bytes | None:
    """Return a file of a commit, or None when it was not there (or is longer than allowed).

    Args:
        root: Top of the work tree.
        commit: Id of the commit.
        name: The file, from the top of the work tree.
        max_bytes: Longest file that is read.
    """
    if max_bytes is not None:
        size = call(root, "cat-file", "-s", f"{commit}:{name}")
        if size.status != 0 or int(size.stdout) > max_bytes:
            return None
    done = call(root, "cat-file", "blob", f"{commit}:{name}")
    return done.output if done.status == 0 else None


def files_in(root: Path, commit: str, folder: str) -> list[str]:
    """Return the names of the files that stood directly in a folder at a commit."""
    done = call(root, "ls-tree", "--name-only", "-z", f"{commit}:{folder}")
    return names_in(done) if done.status == 0 else []


def lfs_objects(root: Path) -> Path | None:
    """Return the folder where Git LFS keeps content by its SHA-256, or None without one."""
    try:
        git_folder = checked(root, "rev-parse", "--git-common-dir")
    except (RepositoryError, ProgramNotFoundError):
        return None
    common = root / os.fsdecode(git_folder.output).removesuffix("\n")
    storage = common / (git.setting(root, "lfs.storage") or "lfs")
    objects = storage / "objects"
    return objects if objects.is_dir() else None


def _near(root: Path, revision: str) -> str | None:
    refs = call(root, "for-each-ref", "--format=%(refname:short)").stdout.split()
    near = did_you_mean(revision, refs)
    return f"did you mean {near}?" if near else _if_shallow(root)


def _if_shallow(root: Path) -> str:
    if git.is_shallow(root):
        return "this clone lacks the older history: git fetch --unshallow"
    return "git log --oneline"
