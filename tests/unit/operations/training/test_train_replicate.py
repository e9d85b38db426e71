"""Training at Replicate, against a server of ours that speaks its interface and misbehaves."""

from __future__ import annotations

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
    StateError,
    TrainerError,
    TrainerUnavailableError,
)
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.training.run_cancel import cancel_run
from lora_pipeline.operations.training.run_resume import resume_run
from lora_pipeline.operations.training.run_views import list_runs, show_run
from lora_pipeline.operations.training.setup import setup_trainer
from lora_pipeline.operations.training.train import plan_training, train
from lora_pipeline.training.runs.folder import run_folder
from lora_pipeline.workspace.root import Workspace
from tests.support import fake_trainer
from tests.support.dataset_builders import PROJECT
from tests.support.fake_replicate_server import (
    TOKEN,
    TRAINER,
    VERSION,
    FakeReplicate,
    running_replicate,
    tar_of,
)
from tests.support.hosted_builders import (
    WEIGHTS,
    capped,
    flux_studio,
    releases,
    runs_of,
    settled,
)
from tests.support.training_builders import DATASET, LORA
from tests.support.workspace_builders import reopen, tree_digest

pytest.importorskip("httpx2")
pytest.importorskip("replicate")
CREATE = f"POST /v1/models/{TRAINER}/versions/{VERSION}/trainings"
LOOK = "GET /v1/trainings/training1"
LORA_FILE = "output/flux_train_replicate/lora.safetensors"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeReplicate]:
    monkeypatch.setenv("REPLICATE_API_TOKEN", TOKEN)
    with running_replicate() as service:
        service.weights = {"output/flux_train_replicate/config.yaml": b"a: 1", LORA_FILE: WEIGHTS}
        yield service


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that every test copies; the base model beside it is only read."""
    folder = tmp_path_factory.mktemp("studio") / "studio"
    flux_studio(folder)
    return folder


@pytest.fixture
def workspace(tmp_path: Path, studio: Path, service: FakeReplicate) -> Workspace:
    shutil.copytree(studio, tmp_path / "studio")
    return settled(
        reopen(tmp_path / "studio"), "replicate",
        baseUrl=service.address, version=VERSION, destination="studio/lora",
    )  # fmt: skip


def send(workspace: Workspace, *, agreed: bool = True, **changes: Any) -> Result:
    wishes: dict[str, Any] = {"steps": 4, "rank": 2, "alpha": 2.0} | changes
    return train(workspace, LORA, DATASET, trainer="replicate", yes_upload=agreed, **wishes)


def refused(workspace: Workspace, **changes: Any) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        send(workspace, **changes)
    return caught.value


def everything_in(folder: Path) -> bytes:
    return b"".join(tree_digest(folder).values())


# ---- before anything leaves


def test_a_plan_asks_nobody_and_tells_cost_minutes_files_and_the_very_request(
    workspace: Workspace, service: FakeReplicate
) -> None:
    planned = plan_training(workspace, LORA, DATASET, trainer="replicate", steps=1000)

    plan = planned.data["plan"]
    assert service.requests == []
    assert planned.data["estimate"]["cost"] == pytest.approx(1320 * 0.001525, abs=1e-3)
    assert planned.data["estimate"]["minutes"] == 22.0
    assert "2026-" in planned.data["estimate"]["basis"]
    assert len(planned.data["uploads"]) == len(plan["uploads"]) == 8
    assert plan["secrets"] == ["REPLICATE_API_TOKEN"]
    assert VERSION in plan["files"][0]["content"]
    assert TOKEN not in str(planned.data)


def test_without_consent_nothing_leaves_and_the_answer_lists_what_would(
    workspace: Workspace, service: FakeReplicate
) -> None:
    before = tree_digest(workspace.root)

    result = send(workspace, agreed=False)

    assert result.refusal is not None
    assert result.refusal.code == "upload_not_agreed"
    assert "4 images and 4 captions" in result.refusal.message
    assert "0.19 USD" in result.refusal.message
    assert [one["name"].partition("/")[2] for one in result.data["uploads"]] == sorted(
        Path(one["source"]).name for one in result.data["uploads"]
    )
    assert service.requests == []
    assert tree_digest(workspace.root) == before


def test_a_run_beyond_its_cap_is_refused_before_anything_leaves(
    workspace: Workspace, service: FakeReplicate
) -> None:
    before = tree_digest(workspace.data_root)

    result = send(capped(workspace, per_run=0.1))

    assert result.refusal is not None
    assert result.refusal.code == "spending_cap"
    assert "0.19 USD" in result.refusal.message
    assert service.requests == []
    assert tree_digest(workspace.data_root) == before


def test_what_runs_and_what_was_paid_count_against_the_projects_cap(
    workspace: Workspace, service: FakeReplicate
) -> None:
    send(workspace)  # estimated at 0.19, paid 0.92
    held = capped(workspace, per_project=1.0)

    result = send(held, seed=7)

    assert result.refusal is not None
    assert "has spent 0.92 USD" in result.refusal.message
    assert "maxPerProject in config/pipeline.yaml" in (result.refusal.hint or "")
    assert service.count(CREATE) == 1


def test_a_job_whose_price_is_not_known_is_not_sent(
    workspace: Workspace, service: FakeReplicate
) -> None:
    result = send(settled(workspace, "replicate", pricePerSecond=0))

    assert result.refusal is not None
    assert result.refusal.code == "cost_unknown"
    assert "pricePerSecond" in (result.refusal.hint or "")
    assert service.requests == []


@pytest.mark.parametrize(
    ("own", "words"),
    [
        ({"version": None}, "lora setup replicate"),
        ({"version": "latest"}, "64 digits"),
        ({"destination": None}, "lora setup replicate"),
        ({"destination": "lora"}, "owner/name"),
        ({"baseUrl": "http://replicate.example"}, "https://"),
        ({"tokenVariable": "r8-this-is-it"}, "never the token"),
        ({"tokenVariable": "NOT_SET"}, "export NOT_SET=…"),
    ],
)
def test_what_is_not_set_up_is_said_before_a_run_exists(
    own: dict[str, Any], words: str, workspace: Workspace, service: FakeReplicate
) -> None:
    with pytest.raises(TrainerUnavailableError) as caught:
        send(settled(workspace, "replicate", **own))

    assert words in (caught.value.hint or "")
    assert runs_of(workspace) == []
    assert service.requests == []


def test_setting_up_learns_the_newest_version_and_names_a_model_of_the_account(
    workspace: Workspace, service: FakeReplicate
) -> None:
    (workspace.root / "config" / "local.json").unlink()
    bare = settled(workspace, "replicate", baseUrl=service.address)
    checked = setup_trainer(bare, "replicate", check=True)

    result = setup_trainer(bare, "replicate")

    after = reopen(workspace.root).settings
    assert checked.refusal is not None
    assert result.refusal is None
    assert after.text("trainers.replicate.version") == VERSION
    assert after.text("trainers.replicate.destination") == "studio/lora-pipeline"
    assert "studio/lora-pipeline" not in service.models  # nothing is made there by looking


# ---- a job from beginning to end


def test_a_training_brings_a_verified_candidate_and_its_cost(
    workspace: Workspace, service: FakeReplicate
) -> None:
    result = send(workspace)

    (run,) = runs_of(workspace)
    (training,) = service.trainings.values()
    assert result.data["releaseId"] == "r1"
    assert (run.state, run.external_job_id, run.steps_done) == ("ready", "training1", 3)
    assert run.final_loss == pytest.approx(0.333, abs=1e-3)
    assert run.cost.estimate == pytest.approx(0.1903)
    assert run.cost.actual == pytest.approx(600 * 0.001525, abs=1e-3)
    assert "600 s from start to end" in run.cost.actual_basis
    assert training["input"]["wandb_run"] == f"lora-{run.id.lower()}"
    assert training["input"]["trigger_word"] == ""
    assert training["input"]["autocaption"] is False
    assert service.models["studio/lora"]["visibility"] == "private"


def test_replicate_gets_the_staged_bytes_and_captions_in_one_zip(
    workspace: Workspace, service: FakeReplicate
) -> None:
    send(workspace)

    plan = plan_training(workspace, LORA, DATASET, trainer="replicate", steps=4).data["plan"]
    staged = [Path(one["source"]) for one in plan["uploads"]]
    assert service.images() == {path.name: path.read_bytes() for path in staged}
    assert not list(run_folder(workspace, runs_of(workspace)[0].id).glob("*.zip"))


def test_listing_and_showing_runs_tell_what_was_paid(
    workspace: Workspace, service: FakeReplicate
) -> None:
    send(workspace)

    listed = list_runs(workspace, project=PROJECT)
    shown = show_run(workspace, runs_of(workspace)[0].id, project=PROJECT)

    # The service counts seconds, so a busy machine pays for one more.
    paid = pytest.approx(0.915, abs=1e-2)
    assert listed.data["costs"] == [
        {"currency": "USD", "paid": paid, "open": 0.0, "pictures": 0, "ofPictures": 0.0}
    ]
    assert shown.data["cost"] == {"amount": paid, "known": True, "currency": "USD"}


def test_the_token_is_sent_to_replicate_alone_and_kept_nowhere(
    workspace: Workspace, service: FakeReplicate
) -> None:
    service.misbehave(LOOK, "500", "422")  # both repeat the token

    error = refused(workspace)

    fetched = [
        token
        for route, token in zip(service.requests, service.tokens, strict=True)
        if "/weights/" in route
    ]
    assert set(service.tokens) == {f"Bearer {TOKEN}"}
    assert set(fetched) <= {""}
    assert TOKEN not in error.message
    assert TOKEN.encode() not in everything_in(workspace.root)


def test_weights_are_fetched_without_the_token_and_their_address_is_kept_nowhere(
    workspace: Workspace, service: FakeReplicate
) -> None:
    send(workspace)

    (token,) = [
        token
        for route, token in zip(service.requests, service.tokens, strict=True)
        if "/weights/" in route
    ]
    assert token == ""
    assert b"signature=abcdef" not in everything_in(workspace.root)


# ---- servers and networks that misbehave


@pytest.mark.slow
@pytest.mark.parametrize("route", [LOOK, "GET /weights", "POST /v1/files", "GET /v1/account"])
def test_what_passes_is_asked_again_and_the_run_succeeds(
    route: str, workspace: Workspace, service: FakeReplicate
) -> None:
    service.misbehave(route, "500", "429:0", "cut", "502")

    send(workspace)

    assert runs_of(workspace)[0].state == "ready"
    assert service.count(CREATE) == 1


@pytest.mark.slow
def test_too_many_requests_when_creating_is_tried_again_because_nothing_was_made(
    workspace: Workspace, service: FakeReplicate
) -> None:
    service.misbehave(CREATE, "429:0", "503:0")

    send(workspace)

    assert len(service.trainings) == 1
    assert runs_of(workspace)[0].state == "ready"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("route", "fault", "code", "words"),
    [
        (CREATE, "402", "service_refused", "402"),
        (CREATE, "404", "service_refused", "404"),
        (CREATE, "422", "service_refused", "422"),
        (CREATE, "html", "service_refused", "text/html instead of JSON"),
        (CREATE, "list", "service_refused", "another document"),
        (CREATE, "redirect", "service_refused", "302"),
        ("POST /v1/files", "402", "service_refused", "402"),
        ("POST /v1/files", "list", "service_refused", "another document"),
        (LOOK, "404", "service_refused", "no training training1 any more"),
        (LOOK, "list", "service_refused", "another document"),
        ("GET /weights", "html", "service_refused", "text/html instead of weights"),
        ("GET /weights", "402", "service_refused", "402"),
    ],
)
def test_a_refusal_ends_the_run_with_the_services_own_words(
    route: str, fault: str, code: str, words: str, workspace: Workspace, service: FakeReplicate
) -> None:
    service.misbehave(route, fault)

    error = refused(workspace)

    (run,) = runs_of(workspace)
    assert run.error is not None
    assert (run.state, run.error.code) == ("failed", code)
    assert words in error.message
    assert TOKEN not in error.message
    assert releases(workspace) == []


def test_images_of_a_training_that_was_refused_are_deleted_there(
    workspace: Workspace, service: FakeReplicate
) -> None:
    service.misbehave(CREATE, "422")

    refused(workspace)

    assert service.uploaded == 1
    assert service.files == {}


@pytest.mark.parametrize("fault", ["401", "402"])
def test_a_token_that_is_not_taken_is_said_before_a_run_exists(
    fault: str, workspace: Workspace, service: FakeReplicate
) -> None:
    service.misbehave("GET /v1/account", fault)

    with pytest.raises(ServiceRefusedError) as caught:
        send(workspace)

    assert caught.value.hint
    assert runs_of(workspace) == []
    assert service.count("POST") == 0


def test_a_version_that_is_gone_and_a_public_model_are_said_before_a_run_exists(
    workspace: Workspace, service: FakeReplicate
) -> None:
    gone = settled(workspace, "replicate", version="a" * 64)
    with pytest.raises(ServiceRefusedError, match="404"):
        send(gone)
    public = settled(workspace, "replicate", version=VERSION, destination=TRAINER)

    with pytest.raises(ServiceRefusedError, match="is public"):
        send(public)

    assert runs_of(workspace) == []
    assert service.count("POST") == 0


@pytest.mark.slow
def test_a_model_that_somebody_made_meanwhile_is_taken(
    workspace: Workspace, service: FakeReplicate
) -> None:
    service.misbehave("GET /v1/models/studio/lora", "404", "404")
    service.models["studio/lora"] = service.models[TRAINER] | {"visibility": "private"}

    send(workspace)  # making it answers 409

    assert runs_of(workspace)[0].state == "ready"


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["short", "long", "cut"])
def test_an_archive_of_another_length_is_fetched_again(
    fault: str, workspace: Workspace, service: FakeReplicate
) -> None:
    service.misbehave("GET /weights", fault)

    send(workspace)

    assert runs_of(workspace)[0].state == "ready"
    assert service.count("GET /weights") == 2


def test_an_address_that_expired_is_asked_for_anew(
    workspace: Workspace, service: FakeReplicate
) -> None:
    service.expired = 1

    send(workspace)

    assert runs_of(workspace)[0].state == "ready"


@pytest.mark.slow
def test_weights_that_are_gone_for_good_leave_a_run_that_says_where_to_look(
    workspace: Workspace, service: FakeReplicate
) -> None:
    service.misbehave("GET /weights", *["404"] * 9)

    error = refused(workspace)

    assert "has expired" in error.message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("archive", "code"),
    [
        (tar_of({"../../escaped.safetensors": WEIGHTS}), "service_refused"),
        (tar_of({"config.yaml": b"a: 1"}), "service_refused"),
        (b"no archive", "service_refused"),
        (tar_of({LORA_FILE: fake_trainer.weights("nan")}), "weights_refused"),
        (tar_of({LORA_FILE: b"\x80\x04x" * 40}), "weights_refused"),
        (tar_of({LORA_FILE: fake_trainer.weights("good")}), "weights_refused"),  # of an SD model
    ],
)
def test_archives_and_weights_that_are_none_are_not_believed(
    archive: bytes, code: str, workspace: Workspace, service: FakeReplicate
) -> None:
    service.archive = archive

    refused(workspace)

    (run,) = runs_of(workspace)
    assert run.error is not None
    assert run.error.code == code
    assert run.cost.actual == pytest.approx(0.915, abs=1e-2)  # it was paid for nevertheless
    assert releases(workspace) == []
    assert not list(workspace.root.parent.rglob("escaped.safetensors"))


@pytest.mark.slow
@pytest.mark.parametrize("leaves", [None, {}, {"version": f"a/b:{VERSION}"}, {"weights": 7}])
def test_a_training_that_leaves_no_weights_is_a_failure(
    leaves: Any, workspace: Workspace, service: FakeReplicate
) -> None:
    service.leaves = leaves

    refused(workspace)

    run = runs_of(workspace)[0]
    assert run.error is not None
    assert run.error.code == "no_output"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ending", "error", "code"),
    [
        ("failed", "CUDA out of memory", "out_of_memory"),
        ("failed", "no such thing", "trainer_failed"),
        ("canceled", None, "stopped_elsewhere"),
        ("aborted", None, "trainer_failed"),  # a state that the client does not know
    ],
)
def test_a_training_that_fails_leaves_a_failed_run_with_its_reason_and_cost(
    ending: str, error: str | None, code: str, workspace: Workspace, service: FakeReplicate
) -> None:
    service.ending, service.error = ending, error

    refused(workspace)

    (run,) = runs_of(workspace)
    assert run.error is not None
    assert run.error.code == code
    assert run.cost.actual == pytest.approx(0.915, abs=1e-2)


# ---- one run, one job


def test_a_creation_whose_answer_was_lost_is_found_among_the_trainings(
    workspace: Workspace, service: FakeReplicate
) -> None:
    service.misbehave(CREATE, "lost")

    send(workspace)

    assert service.count(CREATE) == 1
    assert runs_of(workspace)[0].external_job_id == "training1"


def test_a_creation_that_was_not_done_is_done_by_the_next_command(
    workspace: Workspace, service: FakeReplicate
) -> None:
    service.misbehave(CREATE, "502")
    refused(workspace)
    (failed,) = runs_of(workspace)

    send(workspace)

    assert failed.error is not None
    assert failed.error.code == "service_unreachable"
    assert [run.state for run in runs_of(workspace)] == ["failed", "ready"]
    assert len(service.trainings) == 1


@pytest.mark.slow
def test_a_lost_training_that_the_list_does_not_show_yet_is_found_by_the_next_command(
    workspace: Workspace, service: FakeReplicate
) -> None:
    service.misbehave(CREATE, "lost")
    service.misbehave("GET /v1/trainings", *["503"] * 5)
    refused(workspace)
    assert runs_of(workspace)[0].external_job_id == ""

    result = send(workspace)

    assert result.data["resumed"] is True
    assert service.count(CREATE) == 1
    assert len(runs_of(workspace)) == 1


@pytest.mark.slow
def test_a_training_is_found_behind_those_of_others_and_older_ones_are_not_looked_at(
    workspace: Workspace, service: FakeReplicate
) -> None:
    old = {"created_at": "2020-01-01T00:00:00Z", "model": "m", "version": "v", "status": "failed"}
    for number in range(9):
        service.trainings[f"old{number}"] = {"id": f"old{number}", "logs": "", "input": {}, **old}
    service.misbehave(CREATE, "lost")

    send(workspace)

    assert runs_of(workspace)[0].state == "ready"
    assert service.requests.count("GET /v1/trainings") == 1


def test_where_inputs_are_not_shown_a_person_is_asked_and_nothing_is_sent_again(
    workspace: Workspace, service: FakeReplicate
) -> None:
    service.misbehave(CREATE, "lost")
    service.forgets_inputs = True
    error = refused(workspace)
    (run,) = runs_of(workspace)

    with pytest.raises(TrainerError) as again:
        send(workspace)

    assert run.error is not None
    assert run.error.code == "job_in_doubt"
    assert f"lora run resume {run.id} --job training1" in (error.hint or "")
    assert f"lora run cancel {run.id} --no-job" in (again.value.hint or "")
    assert service.count(CREATE) == 1

    resumed = resume_run(workspace, run.id, job="training1", project=PROJECT)

    assert resumed.data["releaseId"] == "r1"
    assert runs_of(workspace)[0].external_job_id == "training1"


@pytest.mark.slow
def test_somebody_who_looked_may_say_that_there_is_no_job(
    workspace: Workspace, service: FakeReplicate
) -> None:
    service.misbehave(CREATE, "lost")
    service.forgets_inputs = True
    refused(workspace)
    (run,) = runs_of(workspace)

    cancel_run(workspace, run.id, no_job=True, project=PROJECT)
    service.forgets_inputs = False
    send(workspace)

    assert [one.state for one in runs_of(workspace)] == ["cancelled", "ready"]


@pytest.mark.slow
def test_a_job_that_is_known_is_not_denied(workspace: Workspace, service: FakeReplicate) -> None:
    service.misbehave("GET /weights", *["503"] * 5)
    refused(workspace)
    (run,) = runs_of(workspace)

    with pytest.raises(StateError, match="training1"):
        cancel_run(workspace, run.id, no_job=True, project=PROJECT)
    with pytest.raises(StateError, match="training1"):
        resume_run(workspace, run.id, job="another", project=PROJECT)


def test_taking_up_a_job_does_not_count_its_cost_twice(
    workspace: Workspace, service: FakeReplicate
) -> None:
    service.misbehave("GET /weights", *["503"] * 5)
    refused(workspace)

    result = send(capped(workspace, per_project=0.2))  # one of 0.19, and no second

    assert result.refusal is None
    assert result.data["releaseId"] == "r1"
    assert service.count(CREATE) == 1


def test_cancelling_stops_the_training_and_records_what_it_cost(
    workspace: Workspace, service: FakeReplicate
) -> None:
    service.stays = True
    refused(settled(workspace, "replicate", patience_s=0.05))
    (timed_out,) = runs_of(workspace)
    assert timed_out.error is not None
    assert service.trainings["training1"]["status"] == "canceled"
    assert timed_out.cost.actual == pytest.approx(0.915, abs=1e-2)


@pytest.mark.slow
def test_a_job_that_is_gone_can_be_given_up(workspace: Workspace, service: FakeReplicate) -> None:
    service.misbehave("GET /weights", *["503"] * 5)
    refused(workspace)
    service.trainings.clear()

    cancel_run(workspace, runs_of(workspace)[0].id, project=PROJECT)

    assert runs_of(workspace)[0].state == "cancelled"


# ---- killed, interrupted


def start_training(workspace: Workspace) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable, "-m", "lora_pipeline", "--workspace", str(workspace.root),
            "--project", PROJECT, "train", "--lora", LORA, "--dataset", DATASET, "--trainer",
            "replicate", "--steps", "4", "--rank", "2", "--alpha", "2", "--yes-upload",
        ],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"LORA_IDENTITY": "kim@studio.example"},
    )  # fmt: skip


@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_killed_between_creating_and_recording_the_training_is_found_and_not_made_again(
    workspace: Workspace, service: FakeReplicate
) -> None:
    service.late = CREATE  # it is made, and nobody here knows yet
    with start_training(workspace) as process:
        assert service.waiting.wait(60)
        process.kill()
    service.gate.set()
    (killed,) = runs_of(workspace)
    assert (killed.state, killed.external_job_id) == ("training", "")

    resume_run(workspace, killed.id, project=PROJECT)

    (run,) = runs_of(workspace)
    assert (run.id, run.state, run.external_job_id) == (killed.id, "ready", "training1")
    assert service.count(CREATE) == 1


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_asked_to_stop_while_it_uploads_nothing_is_created_and_nobody_is_asked(
    workspace: Workspace, service: FakeReplicate
) -> None:
    service.held = "POST /v1/files"
    with start_training(workspace) as process:
        assert service.waiting.wait(60)
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=60) == 130
    service.gate.set()

    (run,) = runs_of(workspace)
    assert (run.state, run.external_job_id) == ("cancelled", "")
    assert service.trainings == {}
    assert service.count("GET /v1/trainings") == 0
    assert run.cost.actual is None


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals")
def test_asked_to_stop_while_it_trains_the_training_is_cancelled(
    workspace: Workspace, service: FakeReplicate
) -> None:
    service.stays = True
    service.held = f"{LOOK}/never"
    service.late = LOOK
    with start_training(workspace) as process:
        assert service.waiting.wait(60)
        process.send_signal(signal.SIGTERM)
        service.gate.set()
        assert process.wait(timeout=60) == 130

    (run,) = runs_of(workspace)
    assert run.state == "cancelled"
    assert service.trainings["training1"]["status"] == "canceled"
