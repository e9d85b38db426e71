"""``lora train --detach``, ``worker``, ``run log`` and ``status LORA`` on the command line."""

from __future__ import annotations

import json
import shutil
from collections.abc import MutableMapping
from pathlib import Path
from typing import cast

import pytest

from lora_pipeline.operations.training.run_attempt import attempt_run
from lora_pipeline.training.trainers.interface import Trainer
from lora_pipeline.training.trainers.registry import TRAINERS
from tests.support.fake_trainer import FakeTrainer
from tests.support.training_builders import DATASET, LORA, training_studio
from tests.support.workspace_builders import Answer, invoke, reopen, tree_digest

pytest.importorskip("huey")


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training_studio(tmp_path_factory.mktemp("ready") / "studio", git=False).root


@pytest.fixture
def studio(ready: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(cast(MutableMapping[str, Trainer], TRAINERS), "fake", FakeTrainer())
    monkeypatch.setenv("LORA_IDENTITY", "ana@studio.example")
    return Path(shutil.copytree(ready, tmp_path / "studio"))


def detach(studio: Path, *options: str) -> Answer:
    return invoke(
        ["train", "--lora", LORA, "--dataset", DATASET, "--trainer", "fake", "--detach", *options],
        studio,
    )


def test_a_run_that_waits_is_told_with_its_next_commands(studio: Path) -> None:
    first, second = detach(studio), detach(studio, "--steps", "9", "--json")

    lines = first.stdout.splitlines()
    assert lines[0] == "icons r1 · queued, next in the queue"
    assert "no run of this trainer on this base model tells yet" in first.stdout
    assert lines[-1].startswith("next  lora worker")
    assert second.document["data"]["ahead"] == 1
    assert invoke(["status", LORA], studio).stdout.splitlines()[0] == "icons · queued"


def test_asking_twice_names_the_run_that_waits(studio: Path) -> None:
    run_id = detach(studio, "--json").document["data"]["runId"]
    before = tree_digest(studio / "data")

    again = detach(studio, "--json")

    assert again.exit_code == 3
    assert again.error["code"] == "state_forbids"
    assert run_id in again.error["message"]
    assert tree_digest(studio / "data") == before


def test_a_log_and_its_events_are_read_and_followed(studio: Path) -> None:
    run_id = detach(studio, "--json").document["data"]["runId"]
    nothing = invoke(["run", "log", run_id], studio)
    attempt_run(reopen(studio), run_id)

    events = invoke(["run", "log", run_id, "--events"], studio)
    followed = invoke(["run", "log", run_id, "--follow", "--lines", "1"], studio)
    streamed = invoke(["run", "log", run_id, "-f", "--json"], studio)

    assert nothing.exit_code == 3
    assert "has printed nothing yet" in nothing.stderr
    documents = [json.loads(line) for line in events.stdout.splitlines()]
    assert [one["type"] for one in documents][0::2][0] == "started"
    assert documents[-1]["message"] == "weights verified"
    assert {one["run"] for one in documents} == {run_id}
    assert followed.stdout.splitlines()[:2] == ["step 5/5 loss 0.200", f"run {run_id} · ready"]
    lines = [json.loads(line) for line in streamed.stdout.splitlines()]
    assert [one["seq"] for one in lines[:-1]] == [1, 2, 3, 4, 5]
    assert lines[-1]["data"]["state"] == "ready"


def test_a_worker_that_finds_nothing_says_so_in_json_lines(studio: Path) -> None:
    answer = invoke(["worker", "--once"], studio)

    lines = [json.loads(line) for line in answer.stdout.splitlines()]
    assert answer.exit_code == 0
    assert [one["type"] for one in lines] == ["started", "finished"]
    assert [one["seq"] for one in lines] == [1, 2]
    assert all(one["v"] == 1 and one["topic"] == "worker" for one in lines)


def test_the_result_of_a_worker_is_the_last_line(studio: Path) -> None:
    answer = invoke(["worker", "--drain", "--json"], studio)

    last = json.loads(answer.stdout.splitlines()[-1])
    assert last["success"] is True
    assert last["data"]["tries"] == 0


def test_a_dry_run_of_a_worker_says_what_waits(studio: Path) -> None:
    run_id = detach(studio, "--json").document["data"]["runId"]
    before = tree_digest(studio / "data")

    answer = invoke(["worker", "--dry-run", "--json"], studio)

    assert json.loads(answer.stdout)["data"] == {"waiting": [run_id]}
    assert tree_digest(studio / "data") == before


@pytest.mark.parametrize(
    "options", [["--once", "--drain"], ["--per-gpu", "0"], ["--per-gpu", "many"]]
)
def test_what_makes_no_sense_is_a_usage_error(options: list[str], studio: Path) -> None:
    assert invoke(["worker", *options], studio).exit_code == 2


def test_a_lora_that_is_not_there_has_no_state(studio: Path) -> None:
    answer = invoke(["status", "icnos", "--json"], studio)

    assert answer.exit_code == 3
    assert answer.error["code"] == "record_not_found"
    assert "icons" in answer.error["hint"]


def test_a_cancelled_run_is_said_and_can_be_queued_again(studio: Path) -> None:
    run_id = detach(studio, "--json").document["data"]["runId"]

    cancelled = invoke(["run", "cancel", run_id[-6:]], studio)
    again = invoke(["run", "resume", run_id, "--detach"], studio)

    assert cancelled.stdout.splitlines()[0] == f"run {run_id} · cancelled"
    assert again.stdout.splitlines()[0] == "icons r1 · queued, next in the queue"
    listed = invoke(["run", "list", "--state", "queued", "--json"], studio).document["data"]
    assert [row["runId"] for row in listed["runs"]] == [run_id]


def test_too_little_room_is_refused_with_the_way_around(studio: Path) -> None:
    (studio / "config" / "local.json").write_text('{"runs": {"keepFreeBytes": 1000000000000000}}')

    answer = invoke(["train", "--lora", LORA, "--dataset", DATASET, "--trainer", "fake"], studio)

    assert answer.exit_code == 1
    assert answer.stdout.startswith("refused · ")
    assert "--skip-preflight" in answer.stdout
