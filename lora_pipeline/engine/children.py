"""Work that Python does one thread at a time, done by as many children of ours as there are cores.

Reading and checking many small files takes the interpreter, not the disk: threads would wait for
each other. The children are programs of this package that answer one JSON line for each line.
"""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

from lora_pipeline.engine.pool import default_workers
from lora_pipeline.foundation.errors import ProcessError
from lora_pipeline.foundation.process import Conversation, own_environment, own_program

T = TypeVar("T")
U = TypeVar("U")
BATCH = 128  # things a request; some 30 ms of work
FEW = 256  # up to here children would take longer to start than the work takes
_WAITING = 48  # batches that may wait for a child: memory stays bounded
_PATIENCE_S = 3600.0  # of a batch; a network drive may be slow, and is not broken for that
_SWITCH_S = 0.0005


def split_few(work: Iterator[T]) -> tuple[bool, Iterator[T]]:
    """Return whether ``work`` is so little that children do not pay, and the same work."""
    first = list(itertools.islice(work, FEW + 1))
    return len(first) <= FEW, itertools.chain(first, work)


def ask_each(
    module: str,
    work: Iterator[T],
    request: Callable[[Sequence[T]], bytes],
    answers: Callable[[bytes, Sequence[T]], Sequence[U]],
    *,
    workers: int | None = None,
) -> Iterator[tuple[T, U]]:
    """Yield each thing with what a child answered of it, in the order of ``work``.

    ``work`` is consumed while children are busy with what it gave before, so whoever makes it
    works at the same time.

    Args:
        module: The child's program, a module of this package.
        work: The things.
        request: The line that asks for a batch of them.
        answers: The answers in a line, one for each thing of its batch.
        workers: Children; one a core when left out.

    Raises:
        ProcessError: When a child ends before its work is done.
    """
    waiting: deque[tuple[list[T], Future[bytes]]] = deque()
    count = workers or default_workers()
    with _Children(module) as children, ThreadPoolExecutor(count) as pool, _quick_switching():
        try:
            while batch := list(itertools.islice(work, BATCH)):
                waiting.append((batch, pool.submit(children.ask, request(batch))))
                while len(waiting) > _WAITING or (waiting and waiting[0][1].done()):
                    yield from _taken(waiting, answers)
            while waiting:
                yield from _taken(waiting, answers)
        finally:
            for _, future in waiting:
                future.cancel()


def _taken(
    waiting: deque[tuple[list[T], Future[bytes]]],
    answers: Callable[[bytes, Sequence[T]], Sequence[U]],
) -> Iterator[tuple[T, U]]:
    batch, future = waiting.popleft()
    return zip(batch, answers(future.result(), batch), strict=True)


class _Children:
    """One child for each thread that asks; all are stopped at the end."""

    def __init__(self, module: str) -> None:
        self._module = module
        self._local = threading.local()
        self._started = contextlib.ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._started.close()

    def ask(self, line: bytes) -> bytes:
        child: Conversation | None = getattr(self._local, "child", None)
        if child is None:
            child = Conversation(own_program(self._module), environment=own_environment())
            self._started.callback(child.stop)
            self._local.child = child
        reply = child.ask(line, timeout_s=_PATIENCE_S)
        if reply is None:
            raise ProcessError(
                f"{self._module.rpartition('.')[2]} ended early (status {child.status()})",
                hint="run the command again",
            )
        return reply


@contextlib.contextmanager
def _quick_switching() -> Iterator[None]:
    """Let the threads that feed the children run soon, however busy the caller is."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
