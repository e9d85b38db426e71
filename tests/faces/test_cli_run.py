"""``lora run`` as a person meets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.fake_trainer import FakeTrainer
from tests.support.registered_trainer import register
from tests.support.training_builders import DATASET, LORA, training_studio
from tests.support.workspace_builders import invoke


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A studio with one run that is ready and one that failed."""
    root = training_studio(tmp_path / "studio", git=False).root
    for mode in ("good", "out_of_memory"):
        register(monkeypatch, FakeTrainer(mode))
        invoke(
            ["train", "--lora", LORA, "--dataset", DATASET, "--trainer", "fake",
             "--as", "ana@studio.example"],
            root,
        )  # fmt: skip
    return root


def run_ids(studio: Path) -> dict[str, str]:
    rows = invoke(["run", "list", "--json"], studio).document["data"]["runs"]
    return {row["state"]: row["runId"] for row in rows}


def test_a_list_tells_state_steps_and_loss(studio: Path) -> None:
    text = invoke(["run", "list"], studio).stdout

    assert text.startswith("2 runs")
    assert "failed (out_of_memory)" in text
    assert "5/5" in text
    assert "0.2000" in text


def test_a_list_of_nothing_says_how_to_start(tmp_path: Path) -> None:
    root = training_studio(tmp_path / "empty", git=False).root

    text = invoke(["run", "list"], root).stdout

    assert text.startswith("no runs")
    assert "lora train" in text


def test_a_failed_run_is_shown_with_cause_and_advice(studio: Path) -> None:
    run_id = run_ids(studio)["failed"]

    text = invoke(["run", "show", run_id], studio).stdout

    assert f"run {run_id} · failed" in text
    assert "the device ran out of memory" in text
    assert "advice     lower batchSize" in text
    assert f"next  lora run log {run_id}" in text


def test_a_run_that_is_ready_is_shown_with_its_weights(studio: Path) -> None:
    text = invoke(["run", "show", run_ids(studio)["ready"]], studio).stdout

    assert "weights    sha256:" in text
    assert "5 of 5, loss 0.2000" in text
    assert "next  lora eval grid icons r1" in text


def test_a_log_is_printed(studio: Path) -> None:
    answer = invoke(["run", "log", run_ids(studio)["failed"], "--lines", "1"], studio)

    assert "torch.OutOfMemoryError" in answer.stdout
    assert "the last 1 of 8 lines" in answer.stdout


def test_an_unknown_run_is_named(studio: Path) -> None:
    answer = invoke(["run", "show", "01AAAAAAAAAAAAAAAAAAAAAAAA", "--json"], studio)

    assert answer.exit_code == 3
    assert answer.error["code"] == "record_not_found"


def test_a_run_that_ended_cannot_be_cancelled_or_resumed(studio: Path) -> None:
    run_id = run_ids(studio)["ready"]

    for verb in ("cancel", "resume"):
        answer = invoke(["run", verb, run_id, "--json"], studio)
        assert answer.exit_code == 3
        assert answer.error["code"] == "state_forbids"
