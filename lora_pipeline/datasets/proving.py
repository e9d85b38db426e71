"""What the files of many records are: read on every core, or known since they were read."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TypeVar

from lora_pipeline.datasets.image_files import ImageFiles, Proof, proof_of
from lora_pipeline.datasets.records import Item
from lora_pipeline.engine.children import FEW
from lora_pipeline.engine.many_files import read_each
from lora_pipeline.foundation.errors import (
    DigestMismatchError,
    FileMissingError,
    PipelineError,
    SettingsError,
    UnsafePathError,
)
from lora_pipeline.foundation.file_facts import FileFacts
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.stat_index import Known, Stamp, StatIndex, stamp_of

T = TypeVar("T")


def index_path(workspace: Workspace) -> Path:
    """Return the file of the index of the images of a workspace."""
    return workspace.runtime / "cache" / "images.index"


def prove_each(
    finder: ImageFiles, work: Iterable[tuple[T, str]], index: StatIndex | None = None
) -> Iterator[tuple[T, Proof | PipelineError]]:
    """Yield each thing with what its image is, or with the error that says why nobody knows.

    Files that the index knows come at once, the others when they were read. ``work`` is
    consumed meanwhile, so whoever makes it works at the same time.

    Args:
        finder: Finds the files.
        work: Things, each with the path of its image as records hold it.
        index: Is asked before a file is read, and learns; without one every file is read.
    """
    settled: deque[tuple[T, Proof | PipelineError]] = deque()

    def looked_up(thing: T, path: str) -> tuple[tuple[T, str], str] | None:
        """Return what must be read; all else is settled."""
        try:
            file, status = finder.find(path)
        except (FileMissingError, UnsafePathError, SettingsError) as error:
            settled.append((thing, error))
            return None
        known = index.known(file, stamp_of(status)) if index is not None else None
        if known is None:
            return (thing, path), file
        settled.append((thing, _known_proof(file, known)))
        return None

    rest, first = iter(work), []
    # As long as hardly any file must be read, nothing waits for another one.
    for thing, path in rest:
        unknown = looked_up(thing, path)
        yield from _emptied(settled)
        if unknown is not None:
            first.append(unknown)
            if len(first) > FEW:
                break
    others = (looked_up(thing, path) for thing, path in rest)
    to_read = chain(first, (one for one in others if one is not None))
    for (thing, path), file, facts in _read(to_read):
        yield from _emptied(settled)
        if isinstance(facts, OSError):
            yield thing, FileMissingError(f"cannot read {path}: {facts.strerror}")
            continue
        proof = proof_of(file, facts)
        if index is not None and not proof.pointer:
            _learn(index, file, facts)
        yield thing, proof
    yield from _emptied(settled)


def require_image(item: Item, proof: Proof | PipelineError) -> Proof:
    """Return what the image of an item is, when it is the image of the manifest.

    Raises:
        FileMissingError: When it, or what a Git LFS pointer stands for, is not there.
        DigestMismatchError: When it is another one.
        UnsafePathError, SettingsError: As ``ImageFiles.locate`` does.
    """
    if isinstance(proof, PipelineError):
        raise proof
    if proof.pointer:
        raise FileMissingError(
            f"{item.path} is a Git LFS pointer; the image itself is not here", hint="git lfs pull"
        )
    if not proof.agrees(sha256=item.sha256, xxh3=item.xxh3, size=item.bytes):
        raise DigestMismatchError(
            f"{item.path} is not the image of the manifest: sha256 {proof.sha256[:12]}…, "
            f"recorded {item.sha256[:12]}…"
        )
    return proof


def _read(
    work: Iterator[tuple[tuple[T, str], str]],
) -> Iterator[tuple[tuple[T, str], str, FileFacts | OSError]]:
    with_file = (((thing, file), file) for thing, file in work)
    return ((thing, file, facts) for (thing, file), facts in read_each(with_file))


def _known_proof(file: str, known: Known) -> Proof:
    return Proof(known.size, known.sha256, known.xxh3, plain_png=known.plain_png, file=file)


def _emptied(queue: deque[T]) -> Iterator[T]:
    while queue:
        yield queue.popleft()


def _learn(index: StatIndex, file: str, facts: FileFacts) -> None:
    index.learn(
        file,
        Stamp(facts.size, facts.mtime_ns, facts.ctime_ns, facts.inode),
        Known(facts.size, facts.sha256, facts.xxh3, facts.plain_png),
        read_ns=facts.read_ns,
    )
