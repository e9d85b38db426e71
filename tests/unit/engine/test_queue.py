"""The queue's file: order, hand-out, times, and a file that is broken."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

pytest.importorskip("huey")

from lora_pipeline.engine.queue import Queue
from lora_pipeline.foundation.errors import StorageError

NOW = 1_000_000.0


def test_names_come_out_in_their_order_and_once(tmp_path: Path) -> None:
    with Queue(tmp_path / "runs.db") as queue:
        for name in ("a", "b", "c"):
            queue.put(name)

        assert queue.waiting() == ["a", "b", "c"]
        assert [queue.take(NOW) for _ in range(4)] == ["a", "b", "c", None]


def test_a_name_is_not_handed_out_before_its_time(tmp_path: Path) -> None:
    with Queue(tmp_path / "runs.db") as queue:
        queue.put("later", not_before=NOW + 60)
        queue.put("now")

        assert [queue.take(NOW), queue.take(NOW)] == ["now", None]
        assert queue.waiting() == ["later"]
        assert queue.take(NOW + 61) == "later"


def test_what_was_put_is_there_for_the_next_process(tmp_path: Path) -> None:
    with Queue(tmp_path / "deep" / "runs.db") as queue:
        queue.put("a")

    with Queue(tmp_path / "deep" / "runs.db") as queue:
        assert queue.take(NOW) == "a"


def take_all(file: Path) -> list[str]:
    with Queue(file) as queue:
        found = []
        while (name := queue.take(NOW)) is not None:
            found.append(name)
        return found


def test_of_several_processes_one_alone_gets_a_name(tmp_path: Path) -> None:
    names = [f"run-{number:03}" for number in range(200)]
    with Queue(tmp_path / "runs.db") as queue:
        for name in names:
            queue.put(name)

    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        first, second = pool.map(take_all, [tmp_path / "runs.db"] * 2)

    assert sorted(first + second) == names


def test_a_broken_file_is_put_aside(tmp_path: Path) -> None:
    file = tmp_path / "runs.db"
    file.write_bytes(b"this is no database" * 100)

    with Queue(file) as queue:
        assert queue.waiting() == []
        queue.put("a")

    assert (tmp_path / "runs.db.broken").read_bytes().startswith(b"this is no database")


def test_a_queue_that_cannot_be_opened_says_so(tmp_path: Path) -> None:
    (tmp_path / "queue").write_text("a file where the folder should be")

    with pytest.raises(StorageError, match=r"the queue runs\.db cannot be used"):
        Queue(tmp_path / "queue" / "runs.db")
