"""Work on many items at once on this machine, in order and with progress."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, TypeVar

from lora_pipeline.foundation.events import Event, EventSink

if TYPE_CHECKING:
    from concurrent.futures import Future

T = TypeVar("T")
U = TypeVar("U")


def default_workers() -> int:
    """Return how many items are worked on at once when nobody says: one a core, at most 8."""
    allowed = getattr(os, "sched_getaffinity", None)  # fewer than there are, in a container
    cores = len(allowed(0)) if allowed else os.cpu_count() or 1
    return max(1, min(8, cores))


def map_ordered(
    function: Callable[[T], U],
    items: Sequence[T],
    *,
    events: EventSink,
    topic: str,
    unit: str,
    workers: int | None = None,
) -> Iterator[U]:
    """Yield ``function(item)`` for each item in the order of ``items``.

    At most two items a worker are under way, so memory stays bounded. The functions run in
    threads: they are to wait on files or child processes.

    Raises:
        Exception: The first one that ``function`` raises, in the order of the items.
    """
    from concurrent.futures import ThreadPoolExecutor  # most commands work on few things

    count = workers or default_workers()
    with ThreadPoolExecutor(max_workers=count) as pool:
        pending: list[Future[U]] = []
        upcoming = iter(items)
        done = 0
        try:
            for item in upcoming:
                pending.append(pool.submit(function, item))
                if len(pending) >= 2 * count:
                    done += 1
                    yield _take(pending, events, topic, unit, done, len(items))
            while pending:
                done += 1
                yield _take(pending, events, topic, unit, done, len(items))
        finally:
            # After an error, or when the caller wants no more: start nothing new.
            for future in pending:
                future.cancel()


def _take(
    pending: list[Future[U]], events: EventSink, topic: str, unit: str, done: int, total: int
) -> U:
    result = pending.pop(0).result()
    events(Event("progress", topic, step=done, total=total, unit=unit))
    return result
