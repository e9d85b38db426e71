"""Training at fal, against a server of ours that speaks its interface and misbehaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.foundation.errors import (
    ServiceRefusedError,
    TrainerError,
    TrainerUnavailableError,
)
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.training.run_cancel import cancel_run
from lora_pipeline.operations.training.run_resume import resume_run
from lora_pipeline.operations.training.train import plan_training, train
from lora_pipeline.workspace.root import Workspace
from tests.support import fake_trainer
from tests.support.dataset_builders import PROJECT
from tests.support.fake_fal_server import CDN_TOKEN, KEY, FakeFal, running_fal
from tests.support.hosted_builders import (
    WEIGHTS,
    flux_studio,
    releases,
    runs_of,
    settled,
)
from tests.support.training_builders import DATASET, LORA
from tests.support.workspace_builders import reopen, tree_digest

pytest.importorskip("httpx2")
pytest.importorskip("fal_client")
ENDPOINT = "fal-ai/flux-lora-fast-training"
SUBMIT = f"POST /{ENDPOINT}"
JOB = "00000001-0000-4000-8000-000000000000"
STATUS = f"GET /{ENDPOINT}/requests/{JOB}/status"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeFal]:
    monkeypatch.setenv("FAL_KEY", KEY)
    with running_fal() as service:
        service.weights = WEIGHTS
        yield service


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that every test copies; the base model beside it is only read."""
    folder = tmp_path_factory.mktemp("studio") / "studio"
    flux_studio(folder)
    return folder


@pytest.fixture
def workspace(tmp_path: Path, studio: Path, service: FakeFal) -> Workspace:
    shutil.copytree(studio, tmp_path / "studio")
    return at(reopen(tmp_path / "studio"), service.address)


def at(workspace: Workspace, address: str, **own: Any) -> Workspace:
    places = {"baseUrl": address, "storageUrl": address, "filesUrl": address}
    return settled(workspace, "fal", **(places | own))


def send(workspace: Workspace, *, agreed: bool = True, **changes: Any) -> Result:
    wishes: dict[str, Any] = {"steps": 4} | changes
    return train(workspace, LORA, DATASET, trainer="fal", yes_upload=agreed, **wishes)


def refused(workspace: Workspace, **changes: Any) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        send(workspace, **changes)
    return caught.value


# ---- before anything leaves


def test_a_plan_asks_nobody_and_names_what_of_the_recipe_fal_decides(
    workspace: Workspace, service: FakeFal
) -> None:
    planned = plan_training(workspace, LORA, DATASET, trainer="fal", steps=1000)

    request = json.loads(planned.data["plan"]["files"][0]["content"])
    assert service.requests == []
    assert planned.data["estimate"]["cost"] == 2.0
    assert request["endpoint"] == ENDPOINT
    assert request["input"]["is_style"] is False
    (told,) = [one for one in planned.warnings if "decides by itself" in one]
    assert "rank 32" in told
    assert "seed 42" in told
    assert "steps" not in told
    assert KEY not in str(planned.data)


def test_without_consent_nothing_leaves(workspace: Workspace, service: FakeFal) -> None:
    before = tree_digest(workspace.root)

    result = send(workspace, agreed=False)

    assert result.refusal is not None
    assert result.refusal.code == "upload_not_agreed"
    assert service.requests == []
    assert tree_digest(workspace.root) == before


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"keyVariable": "NOT_SET"}, "export NOT_SET=…"),
        ({"keyVariable": "the-key-itself"}, "never the key"),
        ({"filesUrl": "http://files.example"}, "https://"),
        ({"endpoint": "fal-ai/z-image-trainr"}, "did you mean fal-ai/z-image-trainer?"),
    ],
)
def test_what_is_not_set_up_is_said_before_a_run_exists(
    own: dict[str, Any], words: str, workspace: Workspace, service: FakeFal
) -> None:
    with pytest.raises(TrainerUnavailableError) as caught:
        send(at(workspace, service.address, **own))

    assert words in (caught.value.hint or "")
    assert runs_of(workspace) == []
    assert service.requests == []


def test_a_key_that_is_not_taken_is_said_before_a_run_exists(
    workspace: Workspace, service: FakeFal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAL_KEY", "another:key0")

    with pytest.raises(ServiceRefusedError) as caught:
        send(workspace)

    assert "401" in caught.value.message
    assert "FAL_KEY" in (caught.value.hint or "")
    assert runs_of(workspace) == []
    assert service.count("POST") == 0


# ---- a job from beginning to end


def test_a_job_brings_a_verified_candidate_and_its_cost(
    workspace: Workspace, service: FakeFal
) -> None:
    result = send(workspace)

    (run,) = runs_of(workspace)
    (job,) = service.jobs.values()
    assert result.data["releaseId"] == "r1"
    assert (run.state, run.external_job_id) == ("ready", f"{ENDPOINT}/requests/{JOB}")
    assert (run.steps_done, run.cost.estimate, run.cost.actual) == (2, 0.008, 0.008)
    assert "as estimated" in run.cost.actual_basis
    assert job["app"] == ENDPOINT
    assert job["input"]["images_data_url"].endswith(f"lora-{run.id.lower()}.zip")
    assert job["input"]["trigger_word"] == "flt"


def test_fal_gets_the_staged_bytes_and_keeps_them_for_a_week(
    workspace: Workspace, service: FakeFal
) -> None:
    send(workspace)

    plan = plan_training(workspace, LORA, DATASET, trainer="fal", steps=4).data["plan"]
    staged = [Path(one["source"]) for one in plan["uploads"]]
    assert service.images() == {path.name: path.read_bytes() for path in staged}
    assert json.loads(service.lifecycles[0]) == {"expiration_duration_seconds": 7 * 86400}


def test_the_key_goes_to_fal_alone_and_is_kept_nowhere(
    workspace: Workspace, service: FakeFal
) -> None:
    service.misbehave(STATUS, "500", "403")  # both repeat the key

    error = refused(workspace)

    kept = b"".join(tree_digest(workspace.root).values())
    assert set(service.tokens) == {f"Key {KEY}", f"Bearer {CDN_TOKEN}"}
    assert KEY not in error.message + (error.hint or "")
    assert KEY.encode() not in kept
    assert CDN_TOKEN.encode() not in kept


@pytest.mark.slow
def test_weights_are_fetched_without_the_key(workspace: Workspace, service: FakeFal) -> None:
    send(workspace)

    (token,) = [
        token
        for route, token in zip(service.requests, service.tokens, strict=True)
        if "/weights/" in route
    ]
    assert token == ""


# ---- servers and networks that misbehave


@pytest.mark.slow
@pytest.mark.parametrize("route", [STATUS, "GET /weights", "POST /files/upload", "POST /storage"])
def test_what_passes_is_asked_again_and_the_run_succeeds(
    route: str, workspace: Workspace, service: FakeFal
) -> None:
    service.misbehave(route, "500", "429:0", "cut", "502")

    send(workspace)

    assert runs_of(workspace)[0].state == "ready"
    assert service.count(SUBMIT) == 1


@pytest.mark.parametrize("fault", ["lost", "cut", "500", "502", "504"])
def test_fals_client_does_not_submit_again_what_may_have_been_submitted(
    fault: str, workspace: Workspace, service: FakeFal
) -> None:
    service.misbehave(SUBMIT, fault)

    error = refused(workspace)

    (run,) = runs_of(workspace)
    assert service.count(SUBMIT) == 1
    assert run.error is not None
    assert (run.state, run.error.code) == ("failed", "job_in_doubt")
    assert f"lora-{run.id.lower()}.zip" in (error.hint or "")
    assert f"lora run cancel {run.id} --no-job" in (error.hint or "")


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["429:0", "503:0"])
def test_too_many_requests_when_submitting_is_tried_again_because_nothing_was_made(
    fault: str, workspace: Workspace, service: FakeFal
) -> None:
    service.misbehave(SUBMIT, fault)

    send(workspace)

    assert (service.count(SUBMIT), len(service.jobs)) == (2, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("route", "fault", "words"),
    [
        (SUBMIT, "402", "402"),
        (SUBMIT, "404", "404"),
        (SUBMIT, "409", "409"),
        (SUBMIT, "422", "422"),
        (SUBMIT, "html", "text/html instead of JSON"),
        (SUBMIT, "list", "another document"),
        (SUBMIT, "redirect", "302"),
        ("POST /files/upload", "413", "413"),
        ("POST /files/upload", "list", "another document"),
        ("POST /storage", "html", "text/html instead of JSON"),
        (STATUS, "404", "has no job"),
        (STATUS, "list", "another document"),
        ("GET /weights", "html", "text/html instead of weights"),
        ("GET /weights", "410", "not at fal any more"),
    ],
)
def test_a_refusal_ends_the_run_with_the_services_own_words(
    route: str, fault: str, words: str, workspace: Workspace, service: FakeFal
) -> None:
    service.misbehave(route, fault)

    error = refused(workspace)

    (run,) = runs_of(workspace)
    assert run.error is not None
    assert (run.state, run.error.code) == ("failed", "service_refused")
    assert words in error.message
    assert KEY not in error.message
    assert releases(workspace) == []


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["short", "long", "cut"])
def test_weights_of_another_length_are_fetched_again(
    fault: str, workspace: Workspace, service: FakeFal
) -> None:
    service.misbehave("GET /weights", fault)

    send(workspace)

    assert runs_of(workspace)[0].state == "ready"
    assert service.count("GET /weights") == 2


@pytest.mark.slow
def test_a_length_that_is_not_told_is_that_of_the_answer(
    workspace: Workspace, service: FakeFal
) -> None:
    service.tells_size = False
    service.misbehave("GET /weights", "long")

    send(workspace)

    assert service.count("GET /weights") == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "leaves",
    [
        {"diffusers_lora_file": {"url": "http://127.0.0.1:9/x.safetensors"}},
        {"diffusers_lora_file": {"url": "file:///etc/passwd"}},
        {"diffusers_lora_file": {"url": "http://169.254.169.254/latest"}},
    ],
)
def test_an_address_that_is_neither_encrypted_nor_fals_own_is_not_asked(
    leaves: Any, workspace: Workspace, service: FakeFal
) -> None:
    service.leaves = leaves

    error = refused(workspace)

    assert "not encrypted" in error.message


@pytest.mark.slow
@pytest.mark.parametrize("leaves", [{}, {"diffusers_lora_file": None}, {"lora_file": {"url": 7}}])
def test_a_job_that_leaves_no_weights_is_a_failure(
    leaves: Any, workspace: Workspace, service: FakeFal
) -> None:
    service.leaves = leaves

    refused(workspace)

    run = runs_of(workspace)[0]
    assert run.error is not None
    assert run.error.code == "no_output"


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["nan", "zero", "good"])  # good is of an SD model
def test_weights_that_are_none_are_not_believed(
    mode: str, workspace: Workspace, service: FakeFal
) -> None:
    service.weights = fake_trainer.weights(mode)

    refused(workspace)

    run = runs_of(workspace)[0]
    assert run.error is not None
    assert run.error.code == "weights_refused"
    assert releases(workspace) == []


def test_a_job_that_is_completed_with_an_error_has_failed(
    workspace: Workspace, service: FakeFal
) -> None:
    service.error = "CUDA out of memory"

    refused(workspace)

    run = runs_of(workspace)[0]
    assert run.error is not None
    assert run.error.code == "out_of_memory"
    assert run.cost.actual is None


def test_a_job_that_is_completed_and_whose_result_is_a_refusal_has_failed(
    workspace: Workspace, service: FakeFal
) -> None:
    service.result_status = 422

    error = refused(workspace)

    assert "captions are missing" in error.message
    assert runs_of(workspace)[0].state == "failed"


@pytest.mark.slow
def test_a_job_that_tells_nothing_new_is_cancelled(workspace: Workspace, service: FakeFal) -> None:
    service.stays = True

    error = refused(settled(workspace, "fal", patience_s=0.05))

    assert "told nothing new" in error.message
    assert service.jobs[JOB]["state"] == "COMPLETED"


# ---- one run, one job


def test_a_lost_job_that_a_person_found_is_followed(workspace: Workspace, service: FakeFal) -> None:
    service.misbehave(SUBMIT, "lost")
    refused(workspace)
    with pytest.raises(TrainerError):
        send(workspace)
    (run,) = runs_of(workspace)

    result = resume_run(workspace, run.id, job=f"{ENDPOINT}/requests/{JOB}", project=PROJECT)

    assert result.data["releaseId"] == "r1"
    assert service.count(SUBMIT) == 1
    assert [one.state for one in runs_of(workspace)] == ["ready"]


@pytest.mark.slow
@pytest.mark.parametrize("job", ["nonsense", "fal-ai/another/requests/12345678", "../requests/x"])
def test_what_is_no_job_of_fals_is_not_followed(
    job: str, workspace: Workspace, service: FakeFal
) -> None:
    service.misbehave(SUBMIT, "lost")
    refused(workspace)
    (run,) = runs_of(workspace)

    with pytest.raises(TrainerError, match="no job of fal"):
        resume_run(workspace, run.id, job=job, project=PROJECT)


def test_a_lost_job_that_nobody_found_is_given_up_and_the_next_one_is_sent(
    workspace: Workspace, service: FakeFal
) -> None:
    service.misbehave(SUBMIT, "cut")
    refused(workspace)
    (run,) = runs_of(workspace)

    cancel_run(workspace, run.id, no_job=True, project=PROJECT)
    send(workspace)

    assert [one.state for one in runs_of(workspace)] == ["cancelled", "ready"]
    assert len(service.jobs) == 1


@pytest.mark.slow
def test_a_job_that_went_on_while_the_way_was_cut_is_taken_up(
    workspace: Workspace, service: FakeFal
) -> None:
    service.misbehave("GET /weights", *["503"] * 5)
    refused(workspace)

    result = send(workspace)

    assert result.data["resumed"] is True
    assert service.count(SUBMIT) == 1


# ---- killed, interrupted


def start_training(workspace: Workspace) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable, "-m", "lora_pipeline", "--workspace", str(workspace.root),
            "--project", PROJECT, "train", "--lora", LORA, "--dataset", DATASET, "--trainer",
            "fal", "--steps", "4", "--yes-upload",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"LORA_IDENTITY": "kim@studio.example"},
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_killed_before_submitting_the_next_command_sends_it(
    workspace: Workspace, service: FakeFal
) -> None:
    service.held = "POST /files/upload"
    with start_training(workspace) as process:
        assert service.waiting.wait(60)
        process.kill()
    service.gate.set()

    send(workspace)

    assert [run.state for run in runs_of(workspace)] == ["failed", "ready"]
    assert len(service.jobs) == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("kill", [signal.SIGKILL, signal.SIGTERM])
def test_ended_while_the_answer_to_the_submission_is_awaited_nothing_is_sent_again(
    kill: signal.Signals, workspace: Workspace, service: FakeFal
) -> None:
    service.late = SUBMIT
    with start_training(workspace) as process:
        assert service.waiting.wait(60)
        process.send_signal(kill)
        process.wait(timeout=60)
    service.gate.set()

    with pytest.raises(TrainerError) as caught:
        send(workspace)

    (run,) = runs_of(workspace)
    assert run.state in {"training", "failed"}
    assert f"lora run resume {run.id} --job" in (caught.value.hint or "")
    assert service.count(SUBMIT) == 1
