"""Runs in the queue: what is refused, promised, told, and how they are ended before they begin."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import cast

import pytest
from msgspec.structs import replace as changed

from lora_pipeline.foundation.errors import ExtraMissingError, StateError
from lora_pipeline.foundation.events import Event
from lora_pipeline.operations.releases.lora_status import show_lora_status
from lora_pipeline.operations.training.run_attempt import attempt_run
from lora_pipeline.operations.training.run_cancel import cancel_run
from lora_pipeline.operations.training.run_queue import open_queue, settle
from lora_pipeline.operations.training.run_reading import follow_run
from lora_pipeline.operations.training.run_resume import resume_run
from lora_pipeline.operations.training.run_views import list_runs, show_run
from lora_pipeline.operations.training.run_worker import work_queue
from lora_pipeline.operations.training.train import train
from lora_pipeline.training.records import Run
from lora_pipeline.training.runs.folder import run_folder, working_in
from lora_pipeline.training.runs.ticket import Ticket, read_ticket, write_ticket
from lora_pipeline.training.trainers.interface import Trainer
from lora_pipeline.training.trainers.registry import TRAINERS
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace
from tests.support.dataset_builders import PROJECT
from tests.support.fake_trainer import FakeTrainer
from tests.support.training_builders import DATASET, LORA, training_studio
from tests.support.workspace_builders import reopen, tree_digest

pytest.importorskip("huey")
SCOPE = Scope(PROJECT)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training_studio(tmp_path_factory.mktemp("ready") / "studio", git=False).root


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTrainer:
    trainer = FakeTrainer()
    monkeypatch.setitem(cast(MutableMapping[str, Trainer], TRAINERS), "fake", trainer)
    return trainer


@pytest.fixture
def workspace(ready: Path, tmp_path: Path, fake: FakeTrainer) -> Workspace:
    return reopen(Path(shutil.copytree(ready, tmp_path / "studio")))


def enqueue(workspace: Workspace, **options: object) -> str:
    result = train(workspace, LORA, DATASET, trainer="fake", detach=True, **options)  # type: ignore[arg-type]
    return str(result.data["runId"])


def read(workspace: Workspace, run_id: str) -> Run:
    return workspace.records.read(Run, SCOPE, run_id).record


def local(workspace: Workspace, **settings: object) -> Workspace:
    path = workspace.root / "config" / "local.json"
    path.write_text(json.dumps(settings), encoding="utf-8")
    return reopen(workspace.root)


# ---- putting in


def test_a_run_that_waits_is_recorded_and_promised_a_release(workspace: Workspace) -> None:
    result = train(workspace, LORA, DATASET, trainer="fake", detach=True, notes="kept")
    second = train(workspace, LORA, DATASET, trainer="fake", detach=True, steps=9)

    run = read(workspace, result.data["runId"])
    assert (run.state, run.attempts, run.release_id) == ("queued", (), "r1")
    assert (result.data["ahead"], second.data["ahead"]) == (0, 1)
    assert second.data["releaseId"] == "r2"
    assert result.data["minutes"]["high"] is None
    with open_queue(workspace) as queue:
        assert queue.waiting() == [run.id, second.data["runId"]]
    assert show_run(workspace, second.data["runId"]).data["waits"]["place"] == 2


def test_the_same_training_is_not_queued_twice(workspace: Workspace) -> None:
    first = enqueue(workspace)
    before = tree_digest(workspace.root / "data")

    with pytest.raises(StateError, match=f"run {first} is queued and trains this already"):
        enqueue(workspace)
    with pytest.raises(StateError, match="of the queue trains this already"):
        train(workspace, LORA, DATASET, trainer="fake")
    assert tree_digest(workspace.root / "data") == before


def test_without_the_extra_nothing_is_written(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree_digest(workspace.root)
    monkeypatch.setattr("lora_pipeline.foundation.extras.importlib.util.find_spec", lambda _: None)

    with pytest.raises(ExtraMissingError) as caught:
        enqueue(workspace)

    assert caught.value.hint == "pip install 'lora-pipeline[queue]'"
    assert tree_digest(workspace.root) == before


def test_a_dry_run_puts_nothing_in(workspace: Workspace) -> None:
    before = tree_digest(workspace.root)

    result = train(reopen(workspace.root, dry_run=True), LORA, DATASET, trainer="fake", detach=True)

    assert result.dry_run
    assert tree_digest(workspace.root) == before


# ---- tries


def test_a_try_brings_the_release_that_was_promised(workspace: Workspace) -> None:
    run_id = enqueue(workspace, notes="kept")

    end = attempt_run(workspace, run_id)

    assert end.finished is not None
    assert end.finished.release_id == "r1"
    assert (end.run.state, [one.error for one in end.run.attempts]) == ("ready", [""])
    assert read_ticket(run_folder(workspace, run_id)) is None


def test_a_run_that_somebody_holds_is_not_tried(workspace: Workspace) -> None:
    run_id = enqueue(workspace)

    with (
        working_in(run_folder(workspace, run_id), workspace.now()),
        pytest.raises(StateError, match="under way"),
    ):
        attempt_run(workspace, run_id)
    assert read(workspace, run_id).state == "queued"


@pytest.mark.slow
def test_the_release_id_that_was_taken_meanwhile_is_replaced(workspace: Workspace) -> None:
    run_id = enqueue(workspace)
    train(workspace, LORA, DATASET, trainer="fake", steps=9, release="r1")

    end = attempt_run(workspace, run_id)

    assert end.finished is not None
    assert end.finished.release_id == "r2"
    assert "r1 was taken meanwhile" in " ".join(end.finished.warnings)


def test_what_an_earlier_try_left_stands_aside(workspace: Workspace, fake: FakeTrainer) -> None:
    run_id = enqueue(workspace)
    fake.mode = "connection_lost"
    attempt_run(workspace, run_id)
    folder = run_folder(workspace, run_id)
    (folder / "out").mkdir(exist_ok=True)
    (folder / "out" / "icons-r1.safetensors").write_bytes(b"left by the first try")
    fake.mode = "no_output"

    end = attempt_run(workspace, run_id)

    assert [one.error for one in end.run.attempts] == ["connection_lost", "no_output"]
    assert (folder / "before" / "out" / "icons-r1.safetensors").is_file()
    assert "… another try …" in (folder / "log.txt").read_text()


def test_a_disk_that_is_full_is_a_failure_that_somebody_looks_after(
    workspace: Workspace, fake: FakeTrainer
) -> None:
    run_id = enqueue(workspace)
    fake.mode = "disk_full"

    run = attempt_run(workspace, run_id).run

    assert run.error is not None
    assert (run.state, run.error.code) == ("failed", "disk_full")
    assert read_ticket(run_folder(workspace, run_id)) is None


# ---- settling


def test_a_ticket_without_a_record_was_never_a_promise(workspace: Workspace) -> None:
    folder = run_folder(workspace, "01KAYX3M8Q4Z6V0N5T2R7C9HJD")
    folder.mkdir(parents=True)
    write_ticket(folder, Ticket(project=PROJECT))

    with open_queue(workspace) as queue:
        settle(workspace, queue)
        assert queue.waiting() == []
    assert read_ticket(folder) is None


def test_a_run_that_is_recorded_and_not_in_the_queue_comes_back(workspace: Workspace) -> None:
    run_id = enqueue(workspace)
    with open_queue(workspace) as queue:
        assert queue.take(4e9) == run_id  # by a worker that was killed then

        assert settle(workspace, queue) == []
        assert queue.waiting() == [run_id]


# ---- ending


def test_a_run_that_waits_is_cancelled_at_once_and_never_tried(workspace: Workspace) -> None:
    run_id = enqueue(workspace)

    result = cancel_run(workspace, run_id)

    assert result.data["state"] == "cancelled"
    assert "had not started" in result.reasoning
    with open_queue(workspace) as queue:
        settle(workspace, queue)
    assert read(workspace, run_id).attempts == ()
    with pytest.raises(StateError, match="cancelled already"):
        cancel_run(workspace, run_id)
    assert work_queue(workspace, drain=True).data["tries"] == 0


@pytest.mark.slow
def test_a_run_that_failed_or_is_ready_is_not_cancelled(
    workspace: Workspace, fake: FakeTrainer
) -> None:
    first = enqueue(workspace)
    attempt_run(workspace, first)
    fake.mode = "traceback"
    second = enqueue(workspace, steps=9)
    attempt_run(workspace, second)

    for run_id, state in ((first, "ready"), (second, "failed")):
        with pytest.raises(StateError, match=f"is {state} already"):
            cancel_run(workspace, run_id)


@pytest.mark.slow
def test_resuming_says_what_waits_and_queues_what_failed(
    workspace: Workspace, fake: FakeTrainer
) -> None:
    run_id = enqueue(workspace)
    with pytest.raises(StateError, match="waits in the queue"):
        resume_run(workspace, run_id)
    fake.mode = "traceback"
    attempt_run(workspace, run_id)

    result = resume_run(workspace, run_id, detach=True)

    assert result.data["state"] == "queued"
    fake.mode = "good"
    assert attempt_run(workspace, run_id).run.state == "ready"
    with pytest.raises(StateError, match="is ready, it needs no other try"):
        resume_run(workspace, run_id, detach=True)


# ---- telling


@pytest.mark.slow
def test_a_lora_is_what_its_run_is(workspace: Workspace, fake: FakeTrainer) -> None:
    def told() -> tuple[object, object]:
        data = show_lora_status(workspace, LORA).data
        return data["state"], data["next"]

    assert told() == ("created", f"lora train --lora {LORA} --dataset {DATASET}")
    run_id = enqueue(workspace)
    assert told() == ("queued", "lora worker")
    with working_in(run_folder(workspace, run_id), workspace.now()):
        assert list_runs(workspace, state="queued").data["runs"][0]["runId"] == run_id
    fake.mode = "traceback"
    attempt_run(workspace, run_id)
    assert told() == ("failed", f"lora run show {run_id}")
    fake.mode = "good"
    train(workspace, LORA, DATASET, trainer="fake")
    assert told() == ("ready", f"lora eval grid {LORA} r1")


@pytest.mark.slow
def test_following_a_run_that_ended_tells_its_lines_and_its_end(workspace: Workspace) -> None:
    run_id = enqueue(workspace)
    attempt_run(workspace, run_id)
    told: list[Event] = []

    result = follow_run(changed(workspace, events=told.append), run_id, lines=2)

    assert [event.message for event in told] == ["step 4/5 loss 0.250", "step 5/5 loss 0.200"]
    assert result.data["state"] == "ready"


@pytest.mark.skipif(os.name == "nt", reason="a command line of POSIX")
def test_people_are_told_of_start_and_end_and_a_failing_notice_harms_nothing(
    workspace: Workspace, fake: FakeTrainer
) -> None:
    script = workspace.root / "tell.py"
    script.write_text(
        "import sys\nopen('told.txt', 'a').write(sys.stdin.read())\nsys.exit('failure' in "
        "open('told.txt').read())\n"
    )
    told = workspace.root / "told.txt"
    settings = {"command": f"{sys.executable} {script}", "on": "start,end,failure"}
    script.write_text(script.read_text().replace("told.txt", str(told)))
    workspace = local(workspace, notify=settings)
    warned: list[Event] = []
    workspace = changed(workspace, events=warned.append)
    good, bad = enqueue(workspace), enqueue(workspace, steps=9)
    attempt_run(workspace, good)
    fake.mode = "traceback"

    run = attempt_run(workspace, bad).run

    assert run.state == "failed"
    notices = [json.loads(line) for line in told.read_text().splitlines()]
    assert [one["event"] for one in notices] == [
        "run.start", "run.ready", "run.start", "run.failure",
    ]  # fmt: skip
    assert notices[-1]["error"] == "trainer_failed"
    words = [event.message for event in warned if event.topic == "notify"]
    assert words == [f"nobody was told: notify.command: {sys.executable} ended with exit status 1"]


# ---- before the start


def test_too_little_room_is_a_refusal_that_can_be_overridden(workspace: Workspace) -> None:
    workspace = local(workspace, runs={"keepFreeBytes": 10**18})
    before = tree_digest(workspace.root / "data")

    result = train(workspace, LORA, DATASET, trainer="fake")

    assert result.refusal is not None
    assert result.refusal.code == "preflight_failed"
    assert "are free on the disk of runs" in result.refusal.message
    assert result.suggestions[0].endswith("--skip-preflight")
    assert tree_digest(workspace.root / "data") == before
    assert train(workspace, LORA, DATASET, trainer="fake", skip_preflight=True).success


@pytest.mark.slow
def test_a_queued_run_is_held_against_the_machine_when_its_turn_comes(
    workspace: Workspace,
) -> None:
    run_id = enqueue(workspace)
    workspace = local(workspace, runs={"keepFreeBytes": 10**18})

    run = attempt_run(workspace, run_id).run

    assert run.error is not None
    assert (run.state, run.error.code) == ("failed", "disk_short")
    resume_run(workspace, run_id, detach=True, skip_preflight=True)
    assert attempt_run(workspace, run_id).run.state == "ready"
