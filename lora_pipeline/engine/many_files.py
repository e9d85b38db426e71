"""Many files at once, on every core of this machine: read and hashed, or put in their places."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from lora_pipeline.engine.children import ask_each, split_few
from lora_pipeline.foundation.file_facts import FileFacts, FileReader
from lora_pipeline.foundation.placing import Placement, place

T = TypeVar("T")
A = TypeVar("A")
WORKER = "lora_pipeline.engine.file_worker"

Outcome = Any  # of one file: a list of its facts, None, or the number and text of an error


def read_each(
    work: Iterable[tuple[T, str]], *, workers: int | None = None
) -> Iterator[tuple[T, FileFacts | OSError]]:
    """Yield each thing with what its file is, in the order in which they were handed in.

    ``work`` is consumed while children hash what it gave before, so whoever makes it works at
    the same time.

    Args:
        work: Things, each with the path of its file.
        workers: Children; one a core when left out.

    Raises:
        ProcessError: When a child ends before its work is done.
    """
    few, rest = split_few(iter(work))
    if few:
        reader = FileReader()
        yield from ((thing, _tried(reader.facts, path)) for thing, path in rest)
        return
    asked = ask_each(WORKER, rest, _to_read, _outcomes, workers=workers)
    for (thing, _), outcome in asked:
        yield thing, _error_in(outcome) or msgspec.convert(outcome, FileFacts)


def place_each(
    work: Iterable[tuple[T, Placement]], *, workers: int | None = None
) -> Iterator[tuple[T, OSError | None]]:
    """Put images and captions in their places; yield each thing, with an error if there was one.

    Raises:
        ProcessError: When a child ends before its work is done.
    """
    few, rest = split_few(iter(work))
    if few:
        yield from ((thing, _tried(place, one)) for thing, one in rest)
        return
    for (thing, _), outcome in ask_each(WORKER, rest, _to_place, _outcomes, workers=workers):
        yield thing, _error_in(outcome)


def _to_read(batch: Sequence[tuple[object, str]]) -> bytes:
    # A path need not be text, and the child may have another idea of text than we have.
    return msgspec.json.encode(([os.fsencode(path) for _, path in batch], ()))


def _to_place(batch: Sequence[tuple[object, Placement]]) -> bytes:
    path = os.fsencode
    placed = [
        (
            path(one.source), path(one.target), path(one.caption_file), one.caption,
            path(one.mask), path(one.mask_target),
        )
        for _, one in batch
    ]  # fmt: skip
    return msgspec.json.encode(((), placed))


def _outcomes(reply: bytes, _: Sequence[object]) -> list[Outcome]:
    outcomes: list[Outcome] = msgspec.json.decode(reply)
    return outcomes


def _error_in(outcome: Outcome) -> OSError | None:
    return OSError(*outcome) if outcome is not None and len(outcome) == 2 else None


def _tried(function: Callable[[A], T], argument: A) -> T | OSError:
    try:
        return function(argument)
    except OSError as error:
        return error
