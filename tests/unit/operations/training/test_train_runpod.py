"""Training in a rented pod: one pod for a run, found again, and never left behind."""

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
    TrainerError,
)
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.training.run_cancel import cancel_run
from lora_pipeline.operations.training.run_resume import resume_run
from lora_pipeline.operations.training.setup import setup_trainer
from lora_pipeline.operations.training.train import plan_training, train
from lora_pipeline.operations.workspace.doctor import check_health, mend_workspace
from lora_pipeline.releases.records import Lora
from lora_pipeline.training.hosted.fetched import FETCHED
from lora_pipeline.training.records import Run
from lora_pipeline.training.runs.folder import run_folder
from lora_pipeline.training.trainers.runpod.trainer import pod_token
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace
from tests.support.dataset_builders import PROJECT
from tests.support.fake_ai_toolkit_server import FakeToolkit, running_toolkit
from tests.support.fake_runpod import KEY, PRICE, FakeRunPod
from tests.support.fake_web_service import running
from tests.support.training_builders import DATASET, LORA, training_studio
from tests.support.workspace_builders import reopen, tree_digest

pytest.importorskip("httpx2")
SCOPE = Scope(PROJECT)
NAME = "runpod"
STEPS = 4


@pytest.fixture
def toolkit() -> Iterator[FakeToolkit]:
    """The server in every pod; the token of one pod differs from that of another."""
    with running_toolkit() as toolkit:
        yield toolkit


@pytest.fixture
def runpod(monkeypatch: pytest.MonkeyPatch, toolkit: FakeToolkit) -> Iterator[FakeRunPod]:
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)
    with running(FakeRunPod()) as runpod:
        runpod.on_make = lambda name: setattr(toolkit, "token", pod_token(KEY, name))
        yield runpod


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that every test copies; the base model beside it is only read."""
    folder = tmp_path_factory.mktemp("studio") / "studio"
    training_studio(folder, git=False)
    return folder


@pytest.fixture
def workspace(tmp_path: Path, studio: Path, runpod: FakeRunPod, toolkit: FakeToolkit) -> Workspace:
    shutil.copytree(studio, tmp_path / "studio")
    return settled(reopen(tmp_path / "studio"), runpod, toolkit)


def settled(
    workspace: Workspace, runpod: FakeRunPod, toolkit: FakeToolkit, **changes: object
) -> Workspace:
    """Return the workspace with settings that lead to the two servers and ask them often."""
    document = {
        "trainers": {
            NAME: {
                "apiUrl": runpod.address,
                "proxyUrl": toolkit.address,
                "modelsRoot": "/models",
                "pricePerHour": PRICE,
                **changes,
            },
            "pollSeconds": 0.01,
        }
    }
    (workspace.root / "config" / "local.json").write_text(json.dumps(document))
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


# ---- before anything is rented


def test_a_plan_asks_nobody_and_shows_the_pod_without_a_secret(
    workspace: Workspace, runpod: FakeRunPod, toolkit: FakeToolkit
) -> None:
    plan = plan_training(workspace, LORA, DATASET, trainer=NAME, steps=STEPS).data["plan"]

    (pod,) = [json.loads(one["content"]) for one in plan["files"] if one["path"] == "pod.json"]
    assert (runpod.requests, toolkit.requests) == ([], [])
    assert (pod["gpuTypeId"], pod["terminateAfterHours"]) == ("NVIDIA GeForce RTX 4090", 8)
    assert plan["service"] == runpod.address
    assert KEY not in json.dumps(plan)


def test_without_consent_nothing_is_rented_and_the_price_is_said(
    workspace: Workspace, runpod: FakeRunPod
) -> None:
    before = tree_digest(workspace.root)

    result = send(workspace, agreed=False)

    assert result.refusal is not None
    assert result.refusal.code == "upload_not_agreed"
    assert "4 images and 4 captions" in result.refusal.message
    assert "USD" in result.refusal.message
    assert runpod.requests == []
    assert tree_digest(workspace.root) == before


def test_a_price_that_nobody_knows_cannot_be_held_against_the_caps(
    workspace: Workspace, runpod: FakeRunPod, toolkit: FakeToolkit
) -> None:
    result = send(settled(workspace, runpod, toolkit, pricePerHour=0))

    assert result.refusal is not None
    assert result.refusal.code == "cost_unknown"
    assert "trainers.runpod.pricePerHour" in (result.refusal.hint or "")
    assert runpod.requests == []


def test_a_pod_dearer_than_the_cap_is_refused(
    workspace: Workspace, runpod: FakeRunPod, toolkit: FakeToolkit
) -> None:
    result = send(settled(workspace, runpod, toolkit, pricePerHour=500.0))

    assert result.refusal is not None
    assert result.refusal.code == "spending_cap"
    assert runpod.requests == []


def test_a_key_that_is_not_taken_is_said_before_a_run_exists(
    workspace: Workspace, runpod: FakeRunPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "wrong-key")

    with pytest.raises(ServiceRefusedError) as caught:
        send(workspace)

    assert "401" in caught.value.message
    assert "RUNPOD_API_KEY" in (caught.value.hint or "")
    assert (runs_of(workspace), runpod.made) == ([], [])


def test_setting_up_asks_runpod_for_the_price(
    workspace: Workspace, runpod: FakeRunPod, toolkit: FakeToolkit
) -> None:
    asked = setup_trainer(settled(workspace, runpod, toolkit, pricePerHour=0), NAME)

    assert asked.refusal is None
    assert reopen(workspace.root).settings.number("trainers.runpod.pricePerHour") == PRICE


# ---- a pod from beginning to end


def test_a_pod_is_made_used_and_deleted_and_brings_a_candidate(
    workspace: Workspace, runpod: FakeRunPod, toolkit: FakeToolkit
) -> None:
    result = send(workspace)

    (run,) = runs_of(workspace)
    (made,) = runpod.made
    assert result.data["releaseId"] == "r1"
    assert (run.state, run.external_job_id) == ("ready", "pod1")
    assert made["name"] == f"lora-{run.id.lower()}"
    assert made["imageName"] == "ostris/aitoolkit:latest"
    assert made["ports"] == "8675/http"
    assert runpod.pods == {}
    assert releases(workspace) == ["r1"]
    assert len(toolkit.jobs) == 1


def test_what_the_pod_cost_stands_in_the_record(workspace: Workspace, runpod: FakeRunPod) -> None:
    send(workspace)

    (run,) = runs_of(workspace)
    assert run.cost.minutes is not None
    assert run.cost.minutes > 20  # the start, and the steps
    assert run.cost.estimate == pytest.approx(PRICE * run.cost.minutes / 60, abs=1e-3)
    assert run.cost.actual is not None
    assert f"at {PRICE} USD an hour" in run.cost.actual_basis


def test_key_and_token_stand_in_no_file(workspace: Workspace, runpod: FakeRunPod) -> None:
    runpod.misbehave("GET /v2/pods/pod1", "500")  # its message repeats the key

    send(workspace)

    kept = b"".join(tree_digest(workspace.root).values())
    assert KEY.encode() not in kept
    assert runpod.made[0]["env"][-1]["value"].encode() not in kept
    assert set(runpod.tokens) == {f"Bearer {KEY}"}


def test_the_pod_stands_in_the_record_before_anybody_waits_for_it(
    workspace: Workspace, runpod: FakeRunPod
) -> None:
    runpod.misbehave("GET /v2/pods/pod1", "403")

    with pytest.raises(TrainerError):
        send(workspace)

    (run,) = runs_of(workspace)
    assert (run.state, run.external_job_id) == ("failed", "pod1")


# ---- services and networks that misbehave


@pytest.mark.parametrize("route", ["GET /v2/pods", "DELETE /v2/pods/pod1"])
def test_what_passes_is_asked_again_and_the_run_succeeds(
    route: str, workspace: Workspace, runpod: FakeRunPod
) -> None:
    runpod.misbehave(route, "429:0", "503")

    send(workspace)

    assert runs_of(workspace)[0].state == "ready"
    assert runpod.alive() == []
    assert len(runpod.made) == 1


def test_pages_of_the_proxy_while_the_server_starts_are_waited_out(
    workspace: Workspace, runpod: FakeRunPod, toolkit: FakeToolkit
) -> None:
    toolkit.misbehave("GET /api/jobs", "404", "html", "530", "html")

    send(workspace)

    assert runs_of(workspace)[0].state == "ready"
    assert len(runpod.made) == 1


def test_a_server_that_never_answers_costs_no_more_than_the_time_that_it_was_given(
    workspace: Workspace, runpod: FakeRunPod, toolkit: FakeToolkit
) -> None:
    toolkit.misbehave("GET /api/jobs", *["html"] * 500)

    with pytest.raises(TrainerError) as caught:
        send(settled(workspace, runpod, toolkit, startMinutes=0.001))

    assert "did not answer within" in caught.value.message
    assert runpod.alive() == []
    assert runs_of(workspace)[0].cost.actual is not None


def test_images_that_are_refused_leave_no_pod(
    workspace: Workspace, runpod: FakeRunPod, toolkit: FakeToolkit
) -> None:
    toolkit.misbehave("POST /api/datasets/upload", "413")

    with pytest.raises(TrainerError) as caught:
        send(workspace)

    assert "413" in caught.value.message
    assert runpod.alive() == []


def test_a_job_that_fails_gives_the_pod_back(
    workspace: Workspace, runpod: FakeRunPod, toolkit: FakeToolkit
) -> None:
    toolkit.ending, toolkit.info = "error", "CUDA out of memory"

    with pytest.raises(TrainerError):
        send(workspace)

    (run,) = runs_of(workspace)
    assert run.error is not None
    assert run.error.code == "out_of_memory"
    assert runpod.alive() == []


def test_a_pod_that_cannot_be_given_back_is_a_warning_with_its_name(
    workspace: Workspace, runpod: FakeRunPod
) -> None:
    runpod.misbehave("DELETE /v2/pods/pod1", "403")

    result = send(workspace)

    assert any("may go on costing money" in warning for warning in runs_of(workspace)[0].warnings)
    assert result.data["releaseId"] == "r1"
    assert runpod.alive() == ["pod1"]


# ---- broken off


def test_a_pod_is_kept_when_the_way_to_its_weights_is_cut_and_let_go_when_they_are_here(
    workspace: Workspace, runpod: FakeRunPod, toolkit: FakeToolkit
) -> None:
    toolkit.misbehave("GET /api/files", *["503"] * 5)
    with pytest.raises(TrainerError) as caught:
        send(workspace)
    assert "lora run resume" in (caught.value.hint or "")
    assert runpod.alive() == ["pod1"]

    result = send(workspace)

    (run,) = runs_of(workspace)
    assert result.data["resumed"] is True
    assert (run.state, len(run.attempts)) == ("ready", 2)
    assert len(runpod.made) == 1
    assert runpod.alive() == []


def test_a_run_that_was_killed_after_fetching_needs_no_pod_any_more(
    workspace: Workspace, runpod: FakeRunPod, toolkit: FakeToolkit
) -> None:
    send(workspace)
    (run,) = runs_of(workspace)
    folder = run_folder(workspace, run.id)
    assert (folder / FETCHED).is_file()
    forget(workspace, run)
    runpod.requests.clear()
    toolkit.requests.clear()

    resumed = resume_run(workspace, run.id, project=PROJECT)

    assert resumed.data["releaseId"] == "r1"
    assert toolkit.requests == []
    assert runpod.made == runpod.made[:1]


def test_a_pod_without_a_job_is_given_back_and_the_work_is_done_anew(
    workspace: Workspace, runpod: FakeRunPod, toolkit: FakeToolkit
) -> None:
    runpod.misbehave("GET /v2/pods/pod1", "403")
    with pytest.raises(TrainerError):
        send(workspace)
    (first,) = runs_of(workspace)
    assert runpod.alive() == ["pod1"]

    result = send(workspace)

    runs = {run.id: run for run in runs_of(workspace)}
    assert result.data["releaseId"] == "r1"
    assert (runs[first.id].state, runs[first.id].external_job_id) == ("failed", "")
    assert len(runs) == 2
    assert len(runpod.made) == 2
    assert runpod.alive() == []


def test_cancelling_deletes_a_pod_that_nobody_follows(
    workspace: Workspace, runpod: FakeRunPod, toolkit: FakeToolkit
) -> None:
    toolkit.misbehave("GET /api/files", *["503"] * 5)
    with pytest.raises(TrainerError):
        send(workspace)
    (run,) = runs_of(workspace)

    cancel_run(workspace, run.id, project=PROJECT)

    (run,) = runs_of(workspace)
    assert run.state == "cancelled"
    assert run.cost.actual is not None
    assert runpod.alive() == []


def rented(workspace: Workspace) -> list[tuple[str, str]]:
    """Return state and fix of what a check-up says of pods."""
    checks = check_health(workspace).data["checks"]
    return [(one["state"], one["fix"]) for one in checks if one["name"].startswith("rented")]


def test_doctor_finds_a_pod_that_was_left_behind_and_gives_it_back(
    workspace: Workspace, runpod: FakeRunPod
) -> None:
    assert rented(workspace) == []
    runpod.misbehave("DELETE /v2/pods/pod1", "403")
    send(workspace)

    assert rented(workspace) == [("warn", "lora doctor --fix")]
    mend_workspace(workspace)

    assert runpod.alive() == []
    assert rented(workspace) == [("ok", "")]


def test_doctor_leaves_a_pod_alone_that_may_hold_weights_or_is_somebody_elses(
    workspace: Workspace, runpod: FakeRunPod, toolkit: FakeToolkit
) -> None:
    toolkit.misbehave("GET /api/files", *["503"] * 5)
    with pytest.raises(TrainerError):
        send(workspace)
    runpod.add("lora-01jz8b9q6v3w2k4m5n7p8r9s0t")
    (run,) = runs_of(workspace)

    found = rented(workspace)
    mend_workspace(workspace)

    assert found[0] == ("warn", f"lora run resume {run.id}, or lora run cancel {run.id}")
    assert found[1][0] == "warn"
    assert len(runpod.alive()) == 2


def test_a_pod_of_somebody_elses_is_left_alone(workspace: Workspace, runpod: FakeRunPod) -> None:
    other = runpod.add("lora-01jz8b9q6v3w2k4m5n7p8r9s0t")

    send(workspace)

    assert runpod.alive() == [other]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX")
@pytest.mark.parametrize(
    "when",
    [
        "late POST /graphql",
        "held GET /v2/pods/pod1",
        "server POST /api/datasets/upload",
        "server GET /api/files",
    ],
)
def test_killed_at_any_moment_the_same_command_ends_with_one_release_and_no_pod(
    when: str, workspace: Workspace, runpod: FakeRunPod, toolkit: FakeToolkit
) -> None:
    kill_at(workspace, runpod, toolkit, when)

    result = send(workspace)

    assert result.data["releaseId"] == "r1"
    assert releases(workspace) == ["r1"]
    assert runpod.alive() == []


def kill_at(workspace: Workspace, runpod: FakeRunPod, toolkit: FakeToolkit, when: str) -> None:
    """Train in another process and kill it when it asks for something."""
    code = (
        "import sys; from lora_pipeline.operations.training.train import train;"
        "from tests.support.workspace_builders import reopen; from pathlib import Path;"
        f"train(reopen(Path(sys.argv[1])), {LORA!r}, {DATASET!r}, trainer={NAME!r},"
        f" steps={STEPS}, rank=2, yes_upload=True)"
    )
    moment, _, route = when.partition(" ")
    toolkit.waiting = route.partition(" ")[2] if moment == "server" else ""
    if moment != "server":
        setattr(runpod, moment, route)
    asked = toolkit.count if moment == "server" else runpod.count
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(workspace.root)], cwd=Path(__file__).parents[3]
    )
    while not asked(route):
        assert child.poll() is None
        time.sleep(0.01)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    runpod.gate.set()
    toolkit.gate.set()


def forget(workspace: Workspace, run: Run) -> None:
    """Put a run's records back to where they were while it trained."""
    lora = next((workspace.data_root).rglob(f"loras/{LORA}.json"))
    document = json.loads(lora.read_text())
    document["releases"] = []
    lora.write_text(json.dumps(document))
    path = next((workspace.data_root).rglob(f"runs/{run.id}.json"))
    record = json.loads(path.read_text())
    record.update(state="training", outputs=[])
    path.write_text(json.dumps(record))
    (run_folder(workspace, run.id) / "verified.json").unlink()
