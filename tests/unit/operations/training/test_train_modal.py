"""Training at Modal from the command to the candidate, and what is left when it is cut off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import TrainerError
from lora_pipeline.foundation.extras import missing_modules
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.training.run_cancel import cancel_run
from lora_pipeline.operations.training.train import train
from lora_pipeline.training.records import Run
from lora_pipeline.training.trainers.modal.api import MODULES
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace
from tests.support.dataset_builders import PROJECT
from tests.support.fake_modal import SECRET, FakeModal, running_modal
from tests.support.training_builders import DATASET, LORA, training_studio
from tests.support.workspace_builders import reopen, tree_digest

pytestmark = [
    pytest.mark.skipif(bool(missing_modules(MODULES)), reason="needs modal"),
    # Modal's client keeps its connections for the process, and is collected when it likes.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture
def modal(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeModal]:
    with running_modal() as modal:
        monkeypatch.setenv("MODAL_SERVER_URL", modal.url)
        monkeypatch.setenv("MODAL_TOKEN_ID", "ak-fake")
        monkeypatch.setenv("MODAL_TOKEN_SECRET", SECRET)
        yield modal


@pytest.fixture
def workspace(tmp_path: Path, modal: FakeModal) -> Workspace:
    workspace = training_studio(tmp_path / "studio", git=False)
    place = {"modelsVolume": "models", "pricePerHour": 2.0}
    document = {"trainers": {"modal": place, "pollSeconds": 0.01}}
    (workspace.root / "config" / "local.json").write_text(json.dumps(document))
    return reopen(workspace.root)


def send(workspace: Workspace, *, agreed: bool = True) -> Result:
    return train(workspace, LORA, DATASET, trainer="modal", steps=4, rank=2, yes_upload=agreed)


def run_of(workspace: Workspace) -> Run:
    (loaded,) = workspace.records.all(Run, Scope(PROJECT))
    return loaded.record


def test_a_sandbox_brings_a_verified_candidate_with_its_cost(
    workspace: Workspace, modal: FakeModal
) -> None:
    result = send(workspace)

    run = run_of(workspace)
    assert result.data["releaseId"] == "r1"
    assert (run.state, run.external_job_id) == ("ready", f"lora-{run.id.lower()}")
    assert (run.cost.actual, modal.made) == (1.0, 1)
    assert SECRET.encode() not in b"".join(tree_digest(workspace.root).values())


def test_without_consent_modal_is_not_asked(workspace: Workspace, modal: FakeModal) -> None:
    result = send(workspace, agreed=False)

    assert result.refusal is not None
    assert result.refusal.code == "upload_not_agreed"
    assert modal.calls == []


def test_weights_that_could_not_be_fetched_are_fetched_later_and_not_trained_again(
    workspace: Workspace, modal: FakeModal
) -> None:
    modal.promised = "0" * 64
    with pytest.raises(TrainerError):
        send(workspace)
    modal.promised = ""
    modal.end(run_of(workspace).external_job_id)

    result = send(workspace)

    assert result.data["resumed"] is True
    assert (run_of(workspace).state, modal.made) == ("ready", 1)


def test_cancelling_ends_the_sandbox(workspace: Workspace, modal: FakeModal) -> None:
    modal.looks = 10**6
    modal.failing["SandboxWait"] = ["INVALID_ARGUMENT"]
    with pytest.raises(TrainerError):
        send(workspace)
    run = run_of(workspace)
    assert list(modal.running) == [run.external_job_id]

    cancel_run(workspace, run.id, project=PROJECT)

    assert modal.running == {}
    assert run_of(workspace).state == "cancelled"
