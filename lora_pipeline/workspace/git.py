"""The only module that calls Git.

Everything Git is told stands after ``--`` or ``--end-of-options``, so that no path or
revision can be read as an option. ``GIT_*`` variables are dropped: inside a Git hook they
point at an index and a folder that are not ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lora_pipeline.foundation.errors import ProgramNotFoundError, RepositoryError
from lora_pipeline.foundation.process import Completed, child_environment, run


def repository_root(folder: Path) -> Path | None:
    """Return the work tree that holds ``folder``, or None outside of one or without Git."""
    try:
        done = _git(folder, "rev-parse", "--show-toplevel")
    except ProgramNotFoundError:
        return None
    return Path(done.stdout.strip()) if done.status == 0 and done.stdout.strip() else None


def configured_email(folder: Path) -> str | None:
    """Return Git's ``user.email`` as it holds in ``folder``."""
    try:
        done = _git(folder, "config", "--get", "user.email")
    except ProgramNotFoundError:
        return None
    return done.stdout.strip() or None


def initialise(folder: Path) -> None:
    """Make ``folder`` a repository whose first branch is ``main``.

    Raises:
        RepositoryError: When Git says no.
    """
    _checked(folder, "init", "--quiet", "--initial-branch=main")


def configure(folder: Path, key: str, value: str) -> None:
    """Set a value in the configuration of the repository that holds ``folder``.

    Raises:
        RepositoryError: When Git says no.
    """
    _checked(folder, "config", "--local", "--", key, value)


def commit(folder: Path, paths: Sequence[Path], message: str) -> str | None:
    """Commit exactly ``paths`` and return the new commit, or None when nothing changed.

    What else is staged stays staged and is not committed.

    Raises:
        RepositoryError: When Git says no (no identity, a hook that refuses, …).
    """
    names = [str(path) for path in paths]
    _checked(folder, "add", "--all", "--", *names)
    changed = _git(folder, "diff", "--cached", "--quiet", "--", *names)
    if changed.status == 0:
        return None
    _checked(folder, "commit", "--quiet", "--message", message, "--only", "--", *names)
    return _checked(folder, "rev-parse", "HEAD").stdout.strip()


def head(folder: Path) -> str | None:
    """Return the commit of HEAD, or None when there is none."""
    try:
        done = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    except ProgramNotFoundError:
        return None
    return done.stdout.strip() if done.status == 0 else None


def file_at(folder: Path, revision: str, path: Path) -> bytes | None:
    """Return a file as it was at ``revision``, or None when it was not there.

    Raises:
        RepositoryError: When the revision is unknown.
    """
    root = repository_root(folder)
    if root is None:
        raise RepositoryError(f"{folder} is not in a Git repository", hint="git init")
    if _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", revision).status != 0:
        raise RepositoryError(f"no revision {revision!r}")
    name = path.resolve().relative_to(root.resolve()).as_posix()
    done = _git(root, "cat-file", "blob", f"{revision}:{name}")
    return done.stdout.encode() if done.status == 0 else None


def blobs_ever_at(folder: Path, path: Path) -> list[str] | None:
    """Return the distinct contents (blob ids) that history holds for ``path``, newest first.

    None means that Git cannot say: no repository, or no commit.
    """
    root = repository_root(folder)
    if root is None or head(root) is None:
        return None
    name = path.resolve().relative_to(root.resolve()).as_posix()
    done = _git(root, "log", "--format=", "--raw", "--no-abbrev", "--no-renames", "--", name)
    if done.status != 0:
        return None
    blobs = [line.split()[3] for line in done.stdout.splitlines() if line.startswith(":")]
    return list(dict.fromkeys(blob for blob in blobs if set(blob) != {"0"}))


def ignored(folder: Path, path: Path) -> bool:
    """Return whether Git ignores ``path``."""
    return _git(folder, "check-ignore", "--quiet", "--", str(path)).status == 0


def _checked(folder: Path, *arguments: str) -> Completed:
    try:
        done = _git(folder, *arguments)
    except ProgramNotFoundError as error:
        raise RepositoryError("git is not installed", hint="install git") from error
    if done.status != 0:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise RepositoryError(f"git {arguments[0]} failed: {words[0] if words else 'no message'}")
    return done


def _git(folder: Path, *arguments: str) -> Completed:
    environment = child_environment({"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"})
    return run(
        ["git", "-c", "core.quotePath=false", *arguments],
        cwd=folder,
        environment=environment,
        timeout_s=120,
    )
