"""Many files at once, on every core of this machine: read and hashed, or put in their places."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import msgspec

from lora_pipeline.engine.pool import default_workers
from lora_pipeline.foundation.errors import ProcessError
from lora_pipeline.foundation.file_facts import FileFacts, FileReader
from lora_pipeline.foundation.placing import Placement, place
from lora_pipeline.foundation.process import Conversation, own_environment, own_program

T = TypeVar("T")
A = TypeVar("A")
_WORKER = "lora_pipeline.engine.file_worker"
_BATCH = 128  # files a request; some 30 ms of work
_FEW = 256  # up to here children would take longer to start than the work takes
_WAITING = 48  # batches that may wait for a child: memory stays bounded
_PATIENCE_S = 3600.0  # of a batch; a network drive may be slow, and is not broken for that
_SWITCH_S = 0.0005

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
    few, work = _few_of(work)
    if few:
        reader = FileReader()
        yield from ((thing, _tried(reader.facts, path)) for thing, path in work)
        return
    for thing, outcome in _by_children(work, lambda paths: (paths, []), workers):
        yield thing, _error_in(outcome) or msgspec.convert(outcome, FileFacts)


def place_each(
    work: Iterable[tuple[T, Placement]], *, workers: int | None = None
) -> Iterator[tuple[T, OSError | None]]:
    """Put images and captions in their places; yield each thing, with an error if there was one.

    Raises:
        ProcessError: When a child ends before its work is done.
    """
    few, work = _few_of(work)
    if few:
        yield from ((thing, _tried(place, one)) for thing, one in work)
        return
    for thing, outcome in _by_children(work, lambda placements: ([], placements), workers):
        yield thing, _error_in(outcome)


def _few_of(work: Iterable[tuple[T, A]]) -> tuple[bool, Iterator[tuple[T, A]]]:
    upcoming = iter(work)
    first = list(itertools.islice(upcoming, _FEW + 1))
    return len(first) <= _FEW, itertools.chain(first, upcoming)


def _by_children(
    work: Iterator[tuple[T, A]], request: Callable[[list[A]], object], workers: int | None
) -> Iterator[tuple[T, Outcome]]:
    waiting: deque[tuple[list[T], Future[Sequence[Outcome]]]] = deque()
    count = workers or default_workers()
    with _Children() as children, ThreadPoolExecutor(count) as pool, _quick_switching():
        try:
            while batch := list(itertools.islice(work, _BATCH)):
                line = msgspec.json.encode(request([one for _, one in batch]))
                waiting.append(([thing for thing, _ in batch], pool.submit(children.ask, line)))
                while len(waiting) > _WAITING or (waiting and waiting[0][1].done()):
                    yield from _answers(waiting)
            while waiting:
                yield from _answers(waiting)
        finally:
            for _, future in waiting:
                future.cancel()


def _answers(
    waiting: deque[tuple[list[T], Future[Sequence[Outcome]]]],
) -> Iterator[tuple[T, Outcome]]:
    things, future = waiting.popleft()
    return zip(things, future.result(), strict=True)


class _Children:
    """One child for each thread that asks; all are stopped at the end."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._started = contextlib.ExitStack()

    def __enter__(self) -> _Children:
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    def ask(self, line: bytes) -> Sequence[Outcome]:
        child: Conversation | None = getattr(self._local, "child", None)
        if child is None:
            child = Conversation(own_program(_WORKER), environment=own_environment())
            self._started.callback(child.stop)
            self._local.child = child
        reply = child.ask(line, timeout_s=_PATIENCE_S)
        if reply is None:
            raise ProcessError(
                f"the program that reads files ended early (status {child.status()})",
                hint="run the command again",
            )
        answer: Sequence[Outcome] = msgspec.json.decode(reply)
        return answer


def _error_in(outcome: Outcome) -> OSError | None:
    return OSError(*outcome) if outcome is not None and len(outcome) == 2 else None


def _tried(function: Callable[[A], T], argument: A) -> T | OSError:
    try:
        return function(argument)
    except OSError as error:
        return error


@contextlib.contextmanager
def _quick_switching() -> Iterator[None]:
    """Let the threads that feed the children run soon, however busy the caller is."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
