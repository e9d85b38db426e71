"""Two moments of a repository, and the files that differ between them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.workspace.git import history as git_history
from lora_pipeline.workspace.git.call import checked, names_in

WORK_TREE = "work tree"
ChangeKind = Literal["came", "went", "changed"]
_KINDS: dict[str, ChangeKind] = {"A": "came", "D": "went"}
_RANGE = re.compile(r"(?P<older>.*?)(?P<dots>\.{2,3})(?P<newer>.*)", re.DOTALL)
_BATCH = 500  # files that Git is asked for in one go


class Moment(msgspec.Struct, frozen=True):
    """A commit, or the work tree.

    Attributes:
        label: What people call it.
        commit: Id of the commit; empty for the work tree.
    """

    label: str
    commit: str


class ChangedFile(msgspec.Struct, frozen=True):
    """A file that is not the same at two moments.

    Attributes:
        name: The file, from the top of the work tree.
        kind: What became of it.
    """

    name: str
    kind: ChangeKind


def moments(root: Path, revision: str) -> tuple[Moment, Moment]:
    """Return the older and the newer moment that a revision names.

    Args:
        root: Top of the work tree.
        revision: ``A..B``; ``A...B``, from where they parted; or one commit, which is compared
            with the work tree.

    Raises:
        RepositoryError: When a commit is unknown; the hint names a near one.
    """
    found = _RANGE.fullmatch(revision)
    if found is None:
        commit = git_history.require_commit(root, revision)
        return Moment(revision, commit), Moment(WORK_TREE, "")
    older, newer = found["older"] or "HEAD", found["newer"] or "HEAD"
    commits = [git_history.require_commit(root, one) for one in (older, newer)]
    if found["dots"] == "...":
        base = git_history.merge_base(root, *commits)
        label = older if base == commits[0] else f"{older} where they parted"
        return Moment(label, base), Moment(newer, commits[1])
    return Moment(older, commits[0]), Moment(newer, commits[1])


def changed_files(
    root: Path, older: Moment, newer: Moment, pathspecs: Sequence[str]
) -> list[ChangedFile]:
    """Return the files below ``pathspecs`` that differ, sorted by name.

    In the work tree files that Git does not know yet count, unless it ignores them.

    Raises:
        RepositoryError: When Git says no.
    """
    sides = [one.commit for one in (older, newer) if one.commit]
    options = ("--name-status", "--no-renames", "-z", "--end-of-options")
    words = names_in(checked(root, "diff", *options, *sides, "--", *pathspecs))
    found = [
        ChangedFile(name, _KINDS.get(status, "changed"))
        for status, name in zip(words[::2], words[1::2], strict=True)
    ]
    if not newer.commit:
        untracked = checked(
            root, "ls-files", "--others", "--exclude-standard", "-z", "--", *pathspecs
        )
        found += [ChangedFile(name, "came") for name in names_in(untracked)]
    return sorted(found, key=lambda one: one.name)


def contents_at(root: Path, moment: Moment, names: Iterable[str]) -> Iterator[bytes | None]:
    """Yield the content of each file at a moment, or None of one that was not there.

    A name with a line feed in it, which is none of ours, counts as not there.

    Raises:
        RepositoryError: When Git says no.
    """
    left = iter(names)
    while batch := list(itertools.islice(left, _BATCH)):
        if moment.commit:
            yield from _of_commit(root, moment.commit, batch)
        else:
            yield from (_of_work_tree(root / name) for name in batch)


def _of_work_tree(path: Path) -> bytes | None:
    try:
        return strict_json.read_bytes(path)
    except PipelineError:
        return None


def _of_commit(root: Path, commit: str, names: Sequence[str]) -> Iterator[bytes | None]:
    asked = [name for name in names if "\n" not in name]
    words = "".join(f"{commit}:{name}\n" for name in asked)
    stdin = words.encode("utf-8", "surrogateescape")
    output = checked(root, "cat-file", "--batch", stdin=stdin).output
    found: dict[str, bytes | None] = {}
    at = 0
    for name in asked:
        end = output.index(b"\n", at)
        head = output[at:end].split(b" ")
        at = end + 1
        if head[-1] in (b"missing", b"ambiguous") or not head[-1].isdigit():
            found[name] = None
            continue
        length = int(head[-1])
        found[name] = output[at : at + length] if head[-2] == b"blob" else None
        at += length + 1
    yield from (found.get(name) for name in names)
