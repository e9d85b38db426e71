"""Work on many items at once: in order, bounded, with progress, and stopped by an error."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import pytest

from lora_pipeline.engine.cancellation import Cancellation
from lora_pipeline.engine.pool import default_workers, map_ordered
from lora_pipeline.foundation.errors import OperationCancelledError
from lora_pipeline.foundation.events import Event, discard


def squares(numbers: list[int], workers: int = 4) -> Iterator[int]:
    return map_ordered(
        lambda number: number * number,
        numbers,
        events=discard,
        topic="test",
        unit="numbers",
        workers=workers,
    )


@pytest.mark.parametrize("workers", [1, 2, 16])
def test_results_come_in_the_order_of_the_items(workers: int) -> None:
    assert list(squares(list(range(100)), workers)) == [number * number for number in range(100)]


def test_no_items_are_no_work() -> None:
    assert list(squares([])) == []


def test_each_item_is_told_as_progress() -> None:
    events: list[Event] = []

    list(map_ordered(str, [1, 2, 3], events=events.append, topic="t", unit="u", workers=2))

    assert [(event.type, event.step, event.total, event.unit) for event in events] == [
        ("progress", step, 3, "u") for step in (1, 2, 3)
    ]


def test_at_most_two_items_a_worker_are_under_way() -> None:
    lock, under_way, most = threading.Lock(), 0, 0

    def work(number: int) -> int:
        nonlocal under_way
        with lock:
            under_way += 1
        return number

    for number in map_ordered(
        work, list(range(200)), events=discard, topic="t", unit="u", workers=3
    ):
        with lock:
            most = max(most, under_way - number)
    assert most <= 2 * 3


def test_the_first_error_in_order_comes_out_and_nothing_new_is_started() -> None:
    started: list[int] = []

    def work(number: int) -> int:
        started.append(number)
        if number == 3:
            raise ValueError(f"{number} is bad")
        return number

    with pytest.raises(ValueError, match="3 is bad"):
        list(map_ordered(work, list(range(1000)), events=discard, topic="t", unit="u", workers=2))

    assert len(started) <= 3 + 1 + 2 * 2


def test_a_caller_that_wants_no_more_starts_nothing_more() -> None:
    started: list[int] = []
    results = map_ordered(
        started.append, list(range(1000)), events=discard, topic="t", unit="u", workers=2
    )

    next(results)
    assert isinstance(results, Iterator)
    results.close()  # type: ignore[attr-defined]

    assert len(started) <= 2 * 2


def test_there_is_at_least_one_worker_and_not_more_than_this_process_may_use() -> None:
    assert 1 <= default_workers() <= min(8, os.cpu_count() or 1)


def test_a_cancellation_is_asked_for_by_one_and_looked_at_by_another() -> None:
    cancellation = Cancellation()
    cancellation.check()
    before = cancellation.requested

    asking = threading.Thread(target=cancellation.request)
    asking.start()
    asking.join()

    assert (before, cancellation.requested) == (False, True)
    with pytest.raises(OperationCancelledError):
        cancellation.check()
