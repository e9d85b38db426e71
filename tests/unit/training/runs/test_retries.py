"""Which failures are tried again, how often, and when."""

from __future__ import annotations

import pytest

from lora_pipeline.foundation.process import OutputLine
from lora_pipeline.training.failure import explain_failure
from lora_pipeline.training.records import Attempt, Recipe, Run
from lora_pipeline.training.runs.retries import (
    MOST_RETRIES,
    STOPPED,
    next_number,
    tries_left,
    wait_before,
    worth_retrying,
)

DIGEST = "sha256:" + "0" * 64
TIME = "2026-03-01T12:00:00Z"


def run_with(*errors: str) -> Run:
    return Run(
        id="01KAYX3M8Q4Z6V0N5T2R7C9HJD", lora_id="icons", release_id="r1", state="training",
        trainer="fake", created_at=TIME, updated_at=TIME, plan_digest=DIGEST, dataset_id="flat",
        manifest_hash=DIGEST, checkpoint_id="tiny", checkpoint_digest=DIGEST, recipe=Recipe(),
        attempts=tuple(
            Attempt(number=number, started_at=TIME, error=error)
            for number, error in enumerate(errors, 1)
        ),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("words", "status", "code", "again"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory.", 1, "out_of_memory", False),
        ("ConnectionResetError: [Errno 104] Connection reset by peer", 1, "connection_lost", True),
        ("requests.exceptions.ReadTimeout: Read timed out", 1, "connection_lost", True),
        ("RuntimeError: CUDA error: unspecified launch failure", 1, "gpu_lost", True),
        ("NVRM: Xid 79, GPU has fallen off the bus.", 1, "gpu_lost", True),
        ("Unable to determine the device handle: GPU is lost.", 1, "gpu_lost", True),
        ("all CUDA-capable devices are busy or unavailable", 1, "gpu_busy", True),
        ("Failed: Driver/library version mismatch", 1, "driver_mismatch", False),
        ("OSError: [Errno 28] No space left on device", 1, "disk_full", False),
        ("loss=nan", 1, "diverged", False),
        ("", -9, "killed", False),
        ("", -15, "terminated", True),
        ("", -11, "crashed", False),
        ("", 3, "trainer_failed", False),
    ],
)
def test_a_failure_has_a_class_that_says_whether_it_may_pass(
    words: str, status: int, code: str, again: bool
) -> None:
    error = explain_failure([OutputLine("stderr", words)] if words else [], status)

    assert error.code == code
    assert worth_retrying(error.code) is again
    assert error.hint


def test_there_are_three_more_tries_at_most() -> None:
    lost = ["connection_lost"]

    assert tries_left(run_with(*lost * 3), 3)
    assert not tries_left(run_with(*lost * 4), 3)
    assert not tries_left(run_with(*lost * 4), 99)
    assert MOST_RETRIES == 3
    assert not tries_left(run_with(*lost), 0)


def test_tries_that_a_worker_took_back_and_earlier_ones_do_not_count() -> None:
    assert tries_left(run_with(STOPPED, STOPPED, STOPPED, "gpu_lost"), 1)
    assert tries_left(run_with(*["gpu_lost"] * 5), 1, since=4)


def test_each_wait_is_four_times_longer() -> None:
    waits = [wait_before(run_with(*["gpu_lost"] * count), 30.0) for count in (1, 2, 3)]

    assert waits == [30.0, 120.0, 480.0]


def test_numbers_go_on() -> None:
    assert next_number(()) == 1
    assert next_number(run_with("a", "b").attempts) == 3
