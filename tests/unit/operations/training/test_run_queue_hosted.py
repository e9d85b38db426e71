"""Queued runs whose job is elsewhere: one job, whatever happens to the worker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lora_pipeline.operations.training.run_attempt import attempt_run
from lora_pipeline.operations.training.run_cancel import cancel_run
from lora_pipeline.operations.training.run_queue import open_queue, settle
from lora_pipeline.operations.training.train import train
from lora_pipeline.training.records import Run
from lora_pipeline.training.runs.folder import run_folder
from lora_pipeline.training.runs.ticket import ask_to_cancel
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace
from tests.support.dataset_builders import PROJECT
from tests.support.fake_ai_toolkit_server import TOKEN, FakeToolkit, running_toolkit
from tests.support.training_builders import DATASET, LORA, training_studio
from tests.support.workspace_builders import REPOSITORY, reopen

pytest.importorskip("huey")
pytest.importorskip("httpx2")
SCOPE = Scope(PROJECT)
NAME = "ai_toolkit_server"
POSIX = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")


@pytest.fixture
def toolkit(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeToolkit]:
    monkeypatch.setenv("AI_TOOLKIT_AUTH", TOKEN)
    with running_toolkit() as toolkit:
        yield toolkit


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training_studio(tmp_path_factory.mktemp("studio") / "studio", git=False).root


@pytest.fixture
def workspace(tmp_path: Path, studio: Path, toolkit: FakeToolkit) -> Workspace:
    root = Path(shutil.copytree(studio, tmp_path / "studio"))
    settings = {
        "identity": "ana@studio.example",
        "trainers": {
            NAME: {"baseUrl": toolkit.address, "modelsRoot": "/models"},
            "pollSeconds": 0.01,
        },
        "runs": {"retryWaitSeconds": 0.0},
    }
    (root / "config" / "local.json").write_text(json.dumps(settings))
    return reopen(root)


@pytest.fixture
def queued(workspace: Workspace) -> str:
    result = train(
        workspace, LORA, DATASET, trainer=NAME, steps=4, rank=2, yes_upload=True, detach=True
    )
    return str(result.data["runId"])


def read(workspace: Workspace, run_id: str) -> Run:
    return workspace.records.read(Run, SCOPE, run_id).record


def until(ask: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not ask():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def worker(workspace: Workspace) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "lora_pipeline", "--workspace", str(workspace.root), "worker",
         "--drain"],
        cwd=REPOSITORY, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_a_job_is_sent_when_its_turn_comes(
    workspace: Workspace, toolkit: FakeToolkit, queued: str
) -> None:
    assert toolkit.jobs == {}

    end = attempt_run(workspace, queued)

    assert end.run.state == "ready"
    assert len(toolkit.jobs) == 1


def test_a_job_in_doubt_is_taken_up_by_the_next_try(
    workspace: Workspace, toolkit: FakeToolkit, queued: str
) -> None:
    toolkit.held = True
    toolkit.on_job = lambda: toolkit.misbehave("GET /api/jobs", *["500"] * 200)
    first = attempt_run(reopen_impatient(workspace), queued).run
    toolkit.faults.clear()
    toolkit.held = False

    second = attempt_run(workspace, queued).run

    assert first.state == "queued"
    assert second.state == "ready"
    assert [one.error for one in second.attempts] == ["service_unreachable", ""]
    assert len(toolkit.jobs) == 1


def reopen_impatient(workspace: Workspace) -> Workspace:
    path = workspace.root / "config" / "local.json"
    document = json.loads(path.read_text())
    document["trainers"]["idleTimeoutSeconds"] = 0.2
    path.write_text(json.dumps(document))
    return reopen(workspace.root)


@POSIX
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_that_goes_leaves_the_job_to_the_next_one(
    number: signal.Signals, workspace: Workspace, toolkit: FakeToolkit, queued: str
) -> None:
    toolkit.held = True
    first = worker(workspace)
    until(lambda: [job["status"] for job in toolkit.jobs.values()] == ["running"])
    first.send_signal(number)
    first.communicate(timeout=60)
    toolkit.held = False
    second = worker(workspace)
    second.communicate(timeout=60)

    run = read(workspace, queued)
    assert run.state == "ready"
    assert len(toolkit.jobs) == 1
    assert not any(one.endswith("/stop") for one in toolkit.requests)
    ends = {signal.SIGTERM: {"stopped"}, signal.SIGKILL: {"interrupted", "stopped"}}
    assert run.attempts[0].error in ends[number]


@POSIX
@pytest.mark.slow
def test_cancelling_a_run_that_a_worker_follows_stops_its_job(
    workspace: Workspace, toolkit: FakeToolkit, queued: str
) -> None:
    toolkit.held = True
    first = worker(workspace)
    until(lambda: [job["status"] for job in toolkit.jobs.values()] == ["running"])

    state = cancel_run(workspace, queued).data["state"]
    first.communicate(timeout=60)

    assert (state, read(workspace, queued).state) == ("cancelled", "cancelled")
    assert [job["status"] for job in toolkit.jobs.values()] == ["stopped"]


def test_a_wish_to_cancel_that_was_left_stops_the_job_first(
    workspace: Workspace, toolkit: FakeToolkit, queued: str
) -> None:
    toolkit.held = True
    toolkit.on_job = lambda: toolkit.misbehave("GET /api/jobs", *["500"] * 200)
    attempt_run(reopen_impatient(workspace), queued)
    ask_to_cancel(run_folder(workspace, queued), "ana@studio.example")
    with open_queue(workspace) as queue:
        queue.take(4e9)
        settle(workspace, queue)  # the service does not answer: nothing is decided
        assert read(workspace, queued).state == "queued"
        toolkit.faults.clear()
        settle(workspace, queue)

    assert read(workspace, queued).state == "cancelled"
    assert [job["status"] for job in toolkit.jobs.values()] == ["stopped"], toolkit.requests[-6:]
