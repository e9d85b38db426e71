"""Training elsewhere, against a real server on loopback: consent, one job, and taking it up."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import (
    ServiceRefusedError,
    ServiceUnreachableError,
    StateError,
    TrainerError,
    TrainerUnavailableError,
)
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.training.run_cancel import cancel_run
from lora_pipeline.operations.training.run_resume import resume_run
from lora_pipeline.operations.training.run_views import show_run
from lora_pipeline.operations.training.train import plan_training, train
from lora_pipeline.releases.records import Lora
from lora_pipeline.training.records import Run
from lora_pipeline.training.runs.folder import run_folder
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace
from tests.support import fake_trainer
from tests.support.dataset_builders import PROJECT
from tests.support.fake_ai_toolkit_server import TOKEN, FakeToolkit, running_toolkit
from tests.support.training_builders import DATASET, LORA, training_studio
from tests.support.workspace_builders import reopen, tree_digest

pytest.importorskip("httpx2")
SCOPE = Scope(PROJECT)
NAME = "ai_toolkit_server"
STEPS = 4


@pytest.fixture
def toolkit(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeToolkit]:
    monkeypatch.setenv("AI_TOOLKIT_AUTH", TOKEN)
    with running_toolkit() as toolkit:
        yield toolkit


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that every test copies; the base model beside it is only read."""
    folder = tmp_path_factory.mktemp("studio") / "studio"
    training_studio(folder, git=False)
    return folder


@pytest.fixture
def workspace(tmp_path: Path, studio: Path, toolkit: FakeToolkit) -> Workspace:
    shutil.copytree(studio, tmp_path / "studio")
    return settled(reopen(tmp_path / "studio"), toolkit.address)


def settled(workspace: Workspace, address: str, *, patience_s: float = 60.0) -> Workspace:
    """Return the workspace with settings that lead to a server and ask it often."""
    path = workspace.root / "config" / "local.json"
    document = json.loads(path.read_text()) if path.is_file() else {}
    document["trainers"] = {
        NAME: {"baseUrl": address, "modelsRoot": "/models"},
        "pollSeconds": 0.01,
        "idleTimeoutSeconds": patience_s,
    }
    path.write_text(json.dumps(document))
    return reopen(workspace.root)


def send(workspace: Workspace, *, agreed: bool = True) -> Result:
    return train(
        workspace, LORA, DATASET, trainer=NAME, steps=STEPS, rank=2, yes_upload=agreed
    )  # fmt: skip


def runs_of(workspace: Workspace) -> list[Run]:
    return [loaded.record for loaded in workspace.records.all(Run, SCOPE)]


def releases(workspace: Workspace) -> list[str]:
    lora = workspace.records.read(Lora, SCOPE, LORA).record
    return [release.id for release in lora.releases]


# ---- what leaves the machine


def test_a_plan_asks_the_server_nothing_and_lists_every_file(
    workspace: Workspace, toolkit: FakeToolkit
) -> None:
    plan = plan_training(workspace, LORA, DATASET, trainer=NAME, steps=STEPS).data["plan"]

    assert toolkit.requests == []
    assert plan["service"] == toolkit.address
    assert len(plan["uploads"]) == 8
    assert plan["secrets"] == ["AI_TOOLKIT_AUTH"]
    assert TOKEN not in json.dumps(plan)


def test_without_consent_nothing_is_sent_and_the_refusal_says_what_it_would_be(
    workspace: Workspace, toolkit: FakeToolkit
) -> None:
    before = tree_digest(workspace.root)

    result = send(workspace, agreed=False)

    assert result.refusal is not None
    assert result.refusal.code == "upload_not_agreed"
    assert "4 images and 4 captions" in result.refusal.message
    assert toolkit.address in result.refusal.message
    assert "--yes-upload" in (result.refusal.hint or "")
    assert toolkit.requests == []
    assert tree_digest(workspace.root) == before


# ---- a job from beginning to end


def test_a_job_brings_a_verified_candidate(workspace: Workspace, toolkit: FakeToolkit) -> None:
    result = send(workspace)

    (run,) = runs_of(workspace)
    (job,) = toolkit.jobs.values()
    assert result.data["releaseId"] == "r1"
    assert (run.state, run.external_job_id) == ("ready", "job-1")
    assert [one.step for one in run.outputs] == [None, 1]
    assert run.final_loss == pytest.approx(0.333, abs=1e-3)
    assert releases(workspace) == ["r1"]
    assert job["name"] == f"lora-{run.id.lower()}"
    process = json.loads(job["job_config"])["config"]["process"][0]
    assert process["training_folder"] == "/srv/toolkit/output"
    assert process["model"]["name_or_path"].startswith("/models/")
    folders = [one["folder_path"] for one in process["datasets"]]
    assert folders == [f"/srv/toolkit/datasets/{name}" for name in toolkit.data_sets if name]


def test_the_server_got_the_staged_bytes_and_their_captions(
    workspace: Workspace, toolkit: FakeToolkit
) -> None:
    send(workspace)

    (stored,) = [files for name, files in toolkit.data_sets.items() if name]
    plan = plan_training(workspace, LORA, DATASET, trainer=NAME, steps=STEPS).data["plan"]
    staged = [Path(one["source"]) for one in plan["uploads"]]
    assert len(staged) == 8
    assert stored == {path.name: path.read_bytes() for path in staged}


def test_the_token_is_sent_to_the_server_and_kept_nowhere(
    workspace: Workspace, toolkit: FakeToolkit
) -> None:
    toolkit.misbehave("GET /api/jobs/job-1/log", "500")  # its message repeats the token

    send(workspace)

    assert set(toolkit.headers) == {f"Bearer {TOKEN}"}
    assert TOKEN.encode() not in b"".join(tree_digest(workspace.root).values())
    assert b"hf_Clear" not in b"".join(tree_digest(workspace.root).values())


def test_the_job_stands_in_the_record_before_it_is_started(
    workspace: Workspace, toolkit: FakeToolkit
) -> None:
    toolkit.misbehave("GET /api/jobs/job-1/start", "404")

    with pytest.raises(TrainerError):
        send(workspace)

    (run,) = runs_of(workspace)
    assert run.external_job_id == "job-1"
    assert run.state == "failed"


# ---- servers and networks that misbehave


@pytest.mark.parametrize("route", ["GET /api/jobs", "GET /api/files", "POST /api/datasets/upload"])
def test_what_passes_is_asked_again_and_the_run_succeeds(
    route: str, workspace: Workspace, toolkit: FakeToolkit
) -> None:
    toolkit.misbehave(route, "500", "429:0", "cut", "502")

    send(workspace)

    assert runs_of(workspace)[0].state == "ready"
    assert toolkit.count("POST /api/jobs") == 1


@pytest.mark.parametrize("fault", ["lost", "409", "502"])
def test_a_job_whose_creation_is_in_doubt_is_looked_for_and_not_made_twice(
    fault: str, workspace: Workspace, toolkit: FakeToolkit
) -> None:
    if fault == "lost":
        toolkit.misbehave("POST /api/jobs", "lost")
        send(workspace)
        assert runs_of(workspace)[0].external_job_id == "job-1"
    else:
        toolkit.misbehave("POST /api/jobs", fault)
        with pytest.raises(TrainerError):
            send(workspace)
        assert runs_of(workspace)[0].external_job_id == ""
    assert len(toolkit.jobs) == (fault == "lost")
    assert toolkit.count("POST /api/jobs") == 1


@pytest.mark.parametrize(
    ("route", "fault", "code", "words"),
    [
        ("POST /api/jobs", "422", "service_refused", "422"),
        ("POST /api/datasets/create", "500", "service_unreachable", "500"),
        ("POST /api/datasets/upload", "402", "service_refused", "402"),
        ("GET /api/settings", "html", "service_refused", "text/html instead of JSON"),
        ("GET /api/settings", "list", "service_refused", "another document"),
        ("GET /api/settings", "redirect", "service_refused", "302"),
        ("GET /api/jobs/job-1/files", "404", "service_refused", "404"),
        ("GET /api/files", "html", "service_refused", "text/html instead of weights"),
        ("GET /api/files", "410", "service_refused", "410"),
    ],
)
def test_a_refusal_ends_the_run_with_the_servers_own_words(
    route: str, fault: str, code: str, words: str, workspace: Workspace, toolkit: FakeToolkit
) -> None:
    toolkit.misbehave(route, fault)

    with pytest.raises(TrainerError) as caught:
        send(workspace)

    (run,) = runs_of(workspace)
    assert run.error is not None
    assert (run.state, run.error.code) == ("failed", code)
    assert words in caught.value.message
    assert TOKEN not in caught.value.message
    assert releases(workspace) == []


@pytest.mark.parametrize("fault", ["short", "long"])
def test_weights_of_another_length_are_fetched_again(
    fault: str, workspace: Workspace, toolkit: FakeToolkit
) -> None:
    toolkit.misbehave("GET /api/files", fault)

    send(workspace)

    assert runs_of(workspace)[0].state == "ready"
    assert toolkit.count("GET /api/files") == 3


@pytest.mark.parametrize("mode", ["nan", "zero", "wrong_architecture", "pickle"])
def test_weights_that_are_none_are_not_believed(
    mode: str, workspace: Workspace, toolkit: FakeToolkit
) -> None:
    toolkit.weights = b"\x80\x04x" * 40 if mode == "pickle" else fake_trainer.weights(mode)

    with pytest.raises(TrainerError):
        send(workspace)

    (run,) = runs_of(workspace)
    assert run.error is not None
    assert run.error.code == "weights_refused"
    assert releases(workspace) == []


def test_a_token_that_is_not_taken_is_said_before_a_run_exists(
    workspace: Workspace, toolkit: FakeToolkit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_TOOLKIT_AUTH", "wrong")

    with pytest.raises(ServiceRefusedError) as caught:
        send(workspace)

    assert "401" in caught.value.message
    assert "AI_TOOLKIT_AUTH" in (caught.value.hint or "")
    assert runs_of(workspace) == []


def test_a_server_that_is_not_there_is_said_before_a_run_exists(workspace: Workspace) -> None:
    nobody = settled(workspace, "http://127.0.0.1:9")

    with pytest.raises(ServiceUnreachableError):
        send(nobody)

    assert runs_of(workspace) == []


def test_without_an_address_it_says_which_setting_is_missing(workspace: Workspace) -> None:
    models = {"trainers": {NAME: {"modelsRoot": "/models"}}}
    (workspace.root / "config" / "local.json").write_text(json.dumps(models))

    with pytest.raises(TrainerUnavailableError) as caught:
        send(reopen(workspace.root))

    assert f"trainers.{NAME}.baseUrl" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("ending", "info", "code"),
    [
        ("error", "CUDA out of memory", "out_of_memory"),
        ("error", "no such thing", "trainer_failed"),
        ("stopped", "Job stopped", "stopped_elsewhere"),
    ],
)
def test_a_job_that_fails_leaves_a_failed_run_with_its_reason(
    ending: str, info: str, code: str, workspace: Workspace, toolkit: FakeToolkit
) -> None:
    toolkit.ending, toolkit.info = ending, info

    with pytest.raises(TrainerError):
        send(workspace)

    (run,) = runs_of(workspace)
    assert run.error is not None
    assert run.error.code == code
    assert releases(workspace) == []


def test_a_job_that_tells_nothing_new_is_stopped(
    workspace: Workspace, toolkit: FakeToolkit
) -> None:
    toolkit.held = True

    with pytest.raises(TrainerError) as caught:
        send(settled(workspace, toolkit.address, patience_s=0.1))

    assert "told nothing new" in caught.value.message
    assert toolkit.jobs["job-1"]["status"] == "stopped"


# ---- taking a job up again


def test_a_job_that_went_on_while_the_way_was_cut_is_taken_up_by_the_same_command(
    workspace: Workspace, toolkit: FakeToolkit
) -> None:
    toolkit.misbehave("GET /api/files", *["503"] * 5)
    with pytest.raises(TrainerError) as caught:
        send(workspace)
    (failed,) = runs_of(workspace)
    assert "lora run resume" in (caught.value.hint or "")
    assert failed.error is not None
    assert failed.error.code == "service_unreachable"

    result = send(workspace)

    (run,) = runs_of(workspace)
    assert result.data["resumed"] is True
    assert (run.id, run.state, len(run.attempts)) == (failed.id, "ready", 2)
    assert run.error is None
    assert toolkit.count("POST /api/jobs") == 1
    assert releases(workspace) == ["r1"]


def test_run_show_and_run_resume_lead_to_the_job(
    workspace: Workspace, toolkit: FakeToolkit
) -> None:
    toolkit.misbehave("GET /api/files", *["503"] * 5)
    with pytest.raises(TrainerError):
        send(workspace)
    (failed,) = runs_of(workspace)

    shown = show_run(workspace, failed.id, project=PROJECT)
    resumed = resume_run(workspace, failed.id, project=PROJECT)

    assert shown.suggestions[0] == f"lora run resume {failed.id}"
    assert resumed.data["releaseId"] == "r1"
    assert toolkit.count("POST /api/jobs") == 1


def test_a_server_that_does_not_answer_keeps_a_second_job_from_being_made(
    workspace: Workspace, toolkit: FakeToolkit
) -> None:
    toolkit.misbehave("GET /api/files", *["503"] * 5)
    with pytest.raises(TrainerError):
        send(workspace)

    toolkit.misbehave("GET /api/jobs", *["503"] * 50)
    with pytest.raises(TrainerError):
        send(settled(workspace, toolkit.address, patience_s=0.05))

    assert len(runs_of(workspace)) == 1
    assert toolkit.count("POST /api/jobs") == 1


def test_a_job_is_not_looked_for_at_another_server(
    workspace: Workspace, toolkit: FakeToolkit
) -> None:
    toolkit.misbehave("GET /api/files", *["503"] * 5)
    with pytest.raises(TrainerError):
        send(workspace)
    (run,) = runs_of(workspace)

    with pytest.raises(StateError) as caught:
        resume_run(settled(workspace, "http://127.0.0.1:9"), run.id, project=PROJECT)

    assert toolkit.address in caught.value.message


def test_cancelling_stops_a_job_that_nobody_follows(
    workspace: Workspace, toolkit: FakeToolkit
) -> None:
    toolkit.looks = 10**9
    toolkit.misbehave("GET /api/jobs/job-1/log", "404")
    with pytest.raises(TrainerError):
        send(workspace)
    (run,) = runs_of(workspace)
    assert toolkit.jobs["job-1"]["status"] in {"queued", "running"}

    cancel_run(workspace, run.id, project=PROJECT)

    assert toolkit.jobs["job-1"]["status"] == "stopped"
    assert runs_of(workspace)[0].state == "cancelled"


def test_a_job_that_was_deleted_is_given_up_and_the_next_one_is_sent(
    workspace: Workspace, toolkit: FakeToolkit
) -> None:
    toolkit.misbehave("GET /api/files", *["503"] * 5)
    with pytest.raises(TrainerError):
        send(workspace)
    toolkit.jobs.clear()
    with pytest.raises(TrainerError) as caught:
        send(workspace)
    assert "has no job job-1 any more" in caught.value.message
    assert "lora run cancel" in (caught.value.hint or "")
    assert toolkit.count("POST /api/jobs") == 1

    cancel_run(workspace, runs_of(workspace)[0].id, project=PROJECT)
    send(workspace)

    assert [run.state for run in runs_of(workspace)] == ["cancelled", "ready"]


def test_a_run_without_weights_does_not_stand_in_the_way_of_the_next(
    workspace: Workspace, toolkit: FakeToolkit
) -> None:
    toolkit.leaves_nothing = True
    with pytest.raises(TrainerError):
        send(workspace)
    toolkit.leaves_nothing = False

    send(workspace)

    assert [run.state for run in runs_of(workspace)] == ["failed", "ready"]


# ---- killed, interrupted


def start_training(workspace: Workspace) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable, "-m", "lora_pipeline", "--workspace", str(workspace.root),
            "--project", PROJECT, "train", "--lora", LORA, "--dataset", DATASET, "--trainer",
            NAME, "--steps", str(STEPS), "--rank", "2", "--yes-upload",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"LORA_IDENTITY": "kim@studio.example"},
    )  # fmt: skip


def wait_for_the_job(workspace: Workspace, toolkit: FakeToolkit) -> None:
    deadline = time.monotonic() + 60
    while not any(job["status"] == "running" for job in toolkit.jobs.values()):
        assert time.monotonic() < deadline, "the job was never started"
        time.sleep(0.01)
    assert runs_of(workspace)[0].external_job_id == "job-1"


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_killed_while_it_waits_the_job_goes_on_and_its_weights_are_fetched_later(
    workspace: Workspace, toolkit: FakeToolkit
) -> None:
    toolkit.held = True
    with start_training(workspace) as process:
        wait_for_the_job(workspace, toolkit)
        process.kill()
    (killed,) = runs_of(workspace)
    assert killed.state == "training"

    toolkit.held = False
    result = resume_run(workspace, killed.id, project=PROJECT)

    (run,) = runs_of(workspace)
    assert result.data["releaseId"] == "r1"
    assert (run.id, run.state) == (killed.id, "ready")
    assert toolkit.count("POST /api/jobs") == 1
    assert toolkit.count("GET /api/jobs/job-1/stop") == 0


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_asked_to_stop_it_stops_the_job_and_records_the_run_as_cancelled(
    workspace: Workspace, toolkit: FakeToolkit
) -> None:
    toolkit.held = True
    with start_training(workspace) as process:
        wait_for_the_job(workspace, toolkit)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 130

    assert toolkit.jobs["job-1"]["status"] == "stopped"
    assert runs_of(workspace)[0].state == "cancelled"


def test_killed_before_anything_was_sent_it_is_sent_by_the_next_command(
    workspace: Workspace, toolkit: FakeToolkit
) -> None:
    toolkit.misbehave("POST /api/datasets/upload", "413")
    with pytest.raises(TrainerError):
        send(workspace)

    send(workspace)

    assert [run.state for run in runs_of(workspace)] == ["failed", "ready"]
    assert len(toolkit.jobs) == 1


def test_what_was_sent_stands_in_the_runs_folder(
    workspace: Workspace, toolkit: FakeToolkit
) -> None:
    send(workspace)

    folder = run_folder(workspace, runs_of(workspace)[0].id)
    assert json.loads((folder / "service.json").read_text()) == {"service": toolkit.address}
    assert "{TRAINING_FOLDER}" in (folder / "job.json").read_text()
    assert "# Running job" in (folder / "log.txt").read_text()
