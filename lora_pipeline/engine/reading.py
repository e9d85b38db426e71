"""Many files read and hashed at once, on every core of this machine."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import msgspec

from lora_pipeline.engine.pool import default_workers
from lora_pipeline.foundation.errors import ProcessError
from lora_pipeline.foundation.file_facts import FileFacts, FileReader
from lora_pipeline.foundation.process import Conversation, own_environment, own_program

T = TypeVar("T")
_WORKER = "lora_pipeline.engine.file_worker"
_BATCH = 128  # files a request; some 30 ms of work
_FEW = 256  # up to here children would take longer to start than the work takes
_WAITING = 48  # batches that may wait for a child: memory stays bounded
_PATIENCE_S = 3600.0  # of a batch; a network drive may be slow, and is not broken for that
_SWITCH_S = 0.0005


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
    upcoming = iter(work)
    first = list(itertools.islice(upcoming, _FEW + 1))
    if len(first) <= _FEW:
        reader = FileReader()
        yield from ((thing, _facts(reader, path)) for thing, path in first)
        return
    yield from _by_children(itertools.chain(first, upcoming), workers or default_workers())


def _by_children(
    work: Iterator[tuple[T, str]], workers: int
) -> Iterator[tuple[T, FileFacts | OSError]]:
    local = threading.local()
    waiting: deque[tuple[list[T], Future[list[FileFacts | OSError]]]] = deque()
    with (
        contextlib.ExitStack() as children,
        ThreadPoolExecutor(max_workers=workers) as pool,
        _quick_switching(),
    ):

        def ask(paths: list[str]) -> list[FileFacts | OSError]:
            child: Conversation | None = getattr(local, "child", None)
            if child is None:
                child = Conversation(own_program(_WORKER), environment=own_environment())
                children.callback(child.stop)
                local.child = child
            reply = child.ask(msgspec.json.encode(paths), timeout_s=_PATIENCE_S)
            if reply is None:
                raise ProcessError(
                    f"the program that reads files ended early (status {child.status()})",
                    hint="run the command again",
                )
            return [_parsed(one) for one in msgspec.json.decode(reply)]

        try:
            while batch := list(itertools.islice(work, _BATCH)):
                things = [thing for thing, _ in batch]
                waiting.append((things, pool.submit(ask, [path for _, path in batch])))
                while len(waiting) > _WAITING or (waiting and waiting[0][1].done()):
                    yield from _answers(waiting)
            while waiting:
                yield from _answers(waiting)
        finally:
            for _, future in waiting:
                future.cancel()


def _answers(
    waiting: deque[tuple[list[T], Future[list[FileFacts | OSError]]]],
) -> Iterator[tuple[T, FileFacts | OSError]]:
    things, future = waiting.popleft()
    return zip(things, future.result(), strict=True)


def _parsed(answer: list[object]) -> FileFacts | OSError:
    if len(answer) == 2:
        return OSError(*answer)
    return msgspec.convert(answer, FileFacts)


def _facts(reader: FileReader, path: str) -> FileFacts | OSError:
    try:
        return reader.facts(path)
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
