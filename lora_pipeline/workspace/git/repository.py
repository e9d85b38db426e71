"""What Git knows, and how a repository begins. Only this module and its siblings call Git.

Everything Git is told stands after ``--`` or ``--end-of-options`` or in a list on standard
input, so that no path or revision can be read as an option.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from lora_pipeline.foundation.errors import (
    ProgramNotFoundError,
    ProgramTimedOutError,
    RepositoryError,
)
from lora_pipeline.workspace.git.call import call, checked, names_in, reason_in


def repository_root(folder: Path) -> Path | None:
    """Return the work tree that holds ``folder``, or None outside of one or without Git."""
    try:
        done = call(folder, "rev-parse", "--show-toplevel")
    except ProgramNotFoundError:
        return None
    top = os.fsdecode(done.output).removesuffix("\n")  # a path, in the encoding of paths
    return Path(top) if done.status == 0 and top else None


def configured_email(folder: Path) -> str | None:
    """Return Git's ``user.email`` as it holds in ``folder``."""
    return setting(folder, "user.email")


def version() -> tuple[int, ...] | None:
    """Return the version of Git, or None when it is not installed."""
    try:
        done = call(Path.cwd(), "version")
    except ProgramNotFoundError:
        return None
    found = re.search(r"\d+(\.\d+)+", done.stdout)
    return tuple(map(int, found.group().split("."))) if found else None


def setting(folder: Path, key: str) -> str | None:
    """Return a value of Git's configuration as it holds in ``folder``."""
    try:
        done = call(folder, "config", "--get", "--", key)
    except ProgramNotFoundError:
        return None
    return done.stdout.strip() or None


def initialise(folder: Path) -> None:
    """Make ``folder`` a repository whose first branch is ``main``.

    Raises:
        RepositoryError: When Git says no.
    """
    checked(folder, "init", "--quiet", "--initial-branch=main")


def configure(folder: Path, key: str, value: str) -> None:
    """Set a value in the configuration of the repository that holds ``folder``.

    Raises:
        RepositoryError: When Git says no.
    """
    checked(folder, "config", "--local", "--", key, value)


def head(folder: Path) -> str | None:
    """Return the commit of HEAD, or None when there is none."""
    try:
        done = call(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    except ProgramNotFoundError:
        return None
    return done.stdout.strip() if done.status == 0 else None


def head_files(folder: Path) -> list[str]:
    """Return the files that say which commit is checked out, whether they are there or not."""
    # Of a folder ``.git`` the time says nothing: every command of Git writes in it.
    places = (one / ".git" for one in (folder.resolve(), *folder.resolve().parents))
    files = [str(one / "HEAD" if one.is_dir() else one) for one in places]
    try:
        done = call(folder, "rev-parse", "--absolute-git-dir", "--git-common-dir")
    except ProgramNotFoundError:
        return files
    if done.status:
        return files
    # As the system spells them, not as text: they are looked for, not shown.
    own, common = ((folder / os.fsdecode(line)).resolve() for line in done.output.splitlines())
    branch = call(folder, "symbolic-ref", "--quiet", "HEAD").stdout.strip()
    files += [str(own / "HEAD"), str(common / "packed-refs")]
    return [*files, str(common / branch)] if branch else files


def head_time(folder: Path) -> int | None:
    """Return when HEAD was committed, in seconds since 1970, or None when there is none."""
    try:
        done = call(folder, "log", "-1", "--format=%ct")
    except ProgramNotFoundError:
        return None
    return int(done.stdout) if done.status == 0 and done.stdout.strip() else None


def file_at(folder: Path, revision: str, path: Path) -> bytes | None:
    """Return a file as it was at ``revision``, or None when it was not there.

    Raises:
        RepositoryError: When the revision is unknown, or the file lies outside of the repository.
    """
    root = repository_root(folder)
    if root is None:
        raise RepositoryError(f"{folder} is not in a Git repository", hint="git init")
    asked = f"{revision}^{{commit}}"
    found = call(root, "rev-parse", "--verify", "--quiet", "--end-of-options", asked)
    if found.status != 0:
        raise RepositoryError(f"no revision {revision!r}")
    place, top = path.resolve(), root.resolve()
    if not place.is_relative_to(top):
        raise RepositoryError(f"{place} lies outside of the repository {top}: it has no past there")
    name = place.relative_to(top).as_posix()
    done = call(root, "cat-file", "blob", f"{found.stdout.strip()}:{name}")
    return done.output if done.status == 0 else None


class Past(msgspec.Struct, frozen=True):
    """What the history of the present branch holds for one path.

    Attributes:
        blobs: The distinct contents (blob ids), newest first.
        first_author: E-mail address of who committed it first.
        first_commit: The commit that brought it.
    """

    blobs: tuple[str, ...]
    first_author: str
    first_commit: str = ""


def past_of(
    folder: Path, pathspecs: Sequence[str], *, mainline: bool = False
) -> dict[str, Past] | None:
    """Return what history holds for every path that matches, also for paths that are gone.

    Args:
        folder: Any folder of the work tree.
        pathspecs: Git pathspecs from the top of the work tree.
        mainline: Whether to see only what arrived on the present branch, not the steps of the
            branches that were merged into it.

    Returns:
        By path from the top of the work tree; None when Git cannot say (no repository, no
        commit).
    """
    root = repository_root(folder)
    if root is None or head(root) is None:
        return None
    # -m: what a merge commit itself changed would otherwise stay unseen.
    options = ["--format=%x00%H %ae", "--raw", "--no-abbrev", "--no-renames", "--topo-order", "-m"]
    done = call(
        root, "log", *options, *(["--first-parent"] if mainline else []), "-z", "--", *pathspecs
    )
    if done.status != 0:
        return None
    return _parse_past(done.stdout.split("\0"))


def listed(folder: Path, pathspecs: Sequence[str], *, tracked: bool = True) -> list[str]:
    """Return the files of the work tree that match, from its top.

    Args:
        folder: Any folder of the work tree.
        pathspecs: Git pathspecs, relative to ``folder``.
        tracked: Those that Git keeps; else those that it neither keeps nor ignores.
    """
    which = ["--cached"] if tracked else ["--others", "--exclude-standard"]
    try:
        done = call(folder, "ls-files", *which, "--full-name", "-z", "--", *pathspecs)
    except ProgramNotFoundError:
        return []
    return sorted(filter(None, done.stdout.split("\0"))) if done.status == 0 else []


def blob_bytes(folder: Path, blob: str) -> bytes:
    """Return a content by its blob id.

    Raises:
        RepositoryError: When the repository does not hold it.
    """
    return checked(folder, "cat-file", "blob", blob).output


def blob_id(data: bytes, *, like: str) -> str:
    """Return the id that Git gives a content, by the hash that ``like`` was made with.

    CRLF is taken for LF, as a Windows checkout may have it.
    """
    plain = data.replace(b"\r\n", b"\n")
    algorithm = "sha256" if len(like) == 64 else "sha1"
    content = b"blob %d\0" % len(plain) + plain
    return hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()


def is_shallow(folder: Path) -> bool:
    """Return whether the repository lacks the older part of its history, or hides it by grafts."""
    try:
        answer = call(folder, "rev-parse", "--is-shallow-repository", "--git-path", "info/grafts")
    except ProgramNotFoundError:
        return False
    shallow, _, grafts = answer.stdout.strip().partition("\n")
    return shallow == "true" or bool(grafts and (folder / grafts).is_file())


def mailmap(folder: Path, addresses: Iterable[str]) -> dict[str, str]:
    """Return the address that ``.mailmap`` gives for each of ``addresses`` that it changes."""
    asked = sorted(set(addresses))
    root = repository_root(folder)
    if not asked or root is None or not (root / ".mailmap").is_file():
        return {}
    done = call(root, "check-mailmap", *(f"<{address}>" for address in asked))
    if done.status != 0:
        return {}
    found = [line.rpartition("<")[2].rstrip(">") for line in done.stdout.splitlines()]
    return {old: new for old, new in zip(asked, found, strict=True) if old != new}


def words_at_tips(folder: Path, pattern: str) -> set[str]:
    """Return every match of an extended regular expression at the tip of any branch or tag.

    Stashes and remote branches count as well; binary files do not.

    Raises:
        RepositoryError: When Git cannot say, though there is a repository.
    """
    root = repository_root(folder)
    if root is None:
        return set()
    refs = checked(root, "for-each-ref", "--format=%(objectname)").stdout.split()
    # An unborn branch has no tip; a detached HEAD is no branch.
    tips = sorted({*refs, *filter(None, [head(root)])})
    found: set[str] = set()
    for start in range(0, len(tips), 100):
        done = call(root, "grep", "-hoIE", "-e", pattern, *tips[start : start + 100], "--")
        if done.status not in (0, 1):
            raise RepositoryError(f"git grep failed: {reason_in(done.stderr)}")
        found |= set(done.stdout.split())
    return found


def paths_that_held(folder: Path, text: str, pathspecs: Sequence[str]) -> list[str]:
    """Return every path of which a commit of the present branch brought or took away a text.

    Args:
        folder: Any folder of the work tree.
        text: What is looked for, as it stands in the files.
        pathspecs: Git pathspecs from the top of the work tree.

    Returns:
        Paths from the top of the work tree, sorted; none when Git cannot say.
    """
    root = repository_root(folder)
    if root is None or head(root) is None:
        return []
    options = ["--format=", "--name-only", "--no-renames", "-m", "-z", f"-S{text}"]
    done = call(root, "log", *options, "--", *pathspecs)
    return sorted({one.strip("\n") for one in names_in(done)} - {""}) if done.status == 0 else []


def ignored(folder: Path, path: Path) -> bool:
    """Return whether Git ignores ``path``; without Git nothing is ignored."""
    try:
        return call(folder, "check-ignore", "--quiet", "--", str(path)).status == 0
    except ProgramNotFoundError:
        return False


def clone(url: str, folder: Path) -> None:
    """Clone the newest state of a repository into a new folder.

    It asks first whether the repository can be reached, which is known in seconds.

    Raises:
        RepositoryError: When it cannot be reached, or Git says no. Nothing is left of it.
        ProgramTimedOutError: When it takes longer than half an hour.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        checked(folder.parent, "ls-remote", "--quiet", "--", url, "HEAD", timeout_s=30)
    except (RepositoryError, ProgramTimedOutError) as error:
        raise RepositoryError(f"cannot reach {url} ({error.message})") from error
    partial = folder.with_name(f".{folder.name}-{os.getpid()}")
    try:
        checked(
            folder.parent, "clone", "--quiet", "--depth=1", "--", url, str(partial), timeout_s=1800
        )
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _parse_past(words: Sequence[str]) -> dict[str, Past]:
    """Read what ``git log --raw -z`` printed: an author, then a state and a path for each change.

    Each commit begins with an empty word, its id and the author's address.
    """
    blobs: dict[str, list[str]] = {}
    firsts: dict[str, str] = {}
    commit = ""
    pending: str | None = None
    for word in words:
        text = word.strip("\n")
        if pending is not None:
            blobs.setdefault(text, [])
            if set(pending) != {"0"} and pending not in blobs[text]:
                blobs[text].append(pending)
            firsts[text] = commit  # older commits come later, the first one last
            pending = None
        elif text.startswith(":"):
            pending = text.split()[3]
        elif text:
            commit = text
    return {
        path: Past(tuple(found), firsts[path].partition(" ")[2], firsts[path].partition(" ")[0])
        for path, found in blobs.items()
    }
