"""Training at Azure ML from the command to the candidate, and what is left when it is cut off."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import ServiceRefusedError, TrainerError
from lora_pipeline.foundation.extras import missing_modules
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.training.run_cancel import cancel_run
from lora_pipeline.operations.training.train import train
from lora_pipeline.training.records import Run
from lora_pipeline.training.trainers.azure_ml.api import MODULES
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace
from tests.support.dataset_builders import PROJECT
from tests.support.fake_azure import ACCOUNT, STORAGE_KEY, TOKEN, FakeAzure
from tests.support.fake_web_service import running
from tests.support.training_builders import DATASET, LORA, training_studio
from tests.support.workspace_builders import reopen, tree_digest

pytestmark = pytest.mark.skipif(bool(missing_modules(MODULES)), reason="needs azure-ai-ml")


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAzure]:
    monkeypatch.setenv("AZURE_TEST_TOKEN", TOKEN)
    monkeypatch.setenv("AZURE_TEST_STORAGE_KEY", STORAGE_KEY)
    with running(FakeAzure()) as azure:
        yield azure


@pytest.fixture
def workspace(tmp_path: Path, azure: FakeAzure) -> Workspace:
    workspace = training_studio(tmp_path / "studio", git=False)
    place = {
        "subscriptionId": "sub", "resourceGroup": "rg", "workspaceName": "ws", "compute": "gpu",
        "modelsUri": "azureml://datastores/models/paths/base/", "pricePerHour": 3.0,
        "endpoint": azure.address, "storageUrl": f"{azure.address}/{ACCOUNT}",
        "tokenVariable": "AZURE_TEST_TOKEN", "storageKeyVariable": "AZURE_TEST_STORAGE_KEY",
    }  # fmt: skip
    document = {"trainers": {"azure_ml": place, "pollSeconds": 0.01}}
    (workspace.root / "config" / "local.json").write_text(json.dumps(document))
    return reopen(workspace.root)


def send(workspace: Workspace, *, agreed: bool = True) -> Result:
    return train(
        workspace, LORA, DATASET, trainer="azure_ml", steps=4, rank=2, yes_upload=agreed
    )  # fmt: skip


def run_of(workspace: Workspace) -> Run:
    (loaded,) = workspace.records.all(Run, Scope(PROJECT))
    return loaded.record


def test_a_job_brings_a_verified_candidate_with_its_cost(
    workspace: Workspace, azure: FakeAzure
) -> None:
    result = send(workspace)

    run = run_of(workspace)
    assert result.data["releaseId"] == "r1"
    assert (run.state, run.external_job_id) == ("ready", f"lora-{run.id.lower()}")
    assert (run.cost.actual, run.cost.currency) == (1.5, "USD")
    assert list(azure.jobs) == [run.external_job_id]
    kept = b"".join(tree_digest(workspace.root).values())
    assert TOKEN.encode() not in kept
    assert STORAGE_KEY.encode() not in kept


def test_without_consent_azure_is_not_asked(workspace: Workspace, azure: FakeAzure) -> None:
    result = send(workspace, agreed=False)

    assert result.refusal is not None
    assert result.refusal.code == "upload_not_agreed"
    assert azure.requests == []


def test_a_token_that_is_not_taken_is_said_before_a_run_exists(
    workspace: Workspace, azure: FakeAzure, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AZURE_TEST_TOKEN", "wrong-token")

    with pytest.raises(ServiceRefusedError):
        send(workspace)

    assert list(workspace.records.all(Run, Scope(PROJECT))) == []


def test_a_job_whose_weights_could_not_be_fetched_is_taken_up_and_not_sent_again(
    workspace: Workspace, azure: FakeAzure
) -> None:
    azure.promised = "0" * 64
    with pytest.raises(TrainerError):
        send(workspace)
    name = run_of(workspace).external_job_id
    azure.promised = ""
    azure.jobs[name].update(status="Running", looked=0)

    result = send(workspace)

    assert result.data["resumed"] is True
    assert run_of(workspace).state == "ready"
    assert len(azure.jobs) == 1


def test_cancelling_ends_the_job(workspace: Workspace, azure: FakeAzure) -> None:
    azure.looks = 10**6
    azure.misbehave(f"GET /{ACCOUNT}/", "403")
    with pytest.raises(TrainerError):
        send(workspace)
    run = run_of(workspace)

    cancel_run(workspace, run.id, project=PROJECT)

    assert azure.jobs[run.external_job_id]["status"] == "Canceled"
    assert run_of(workspace).state == "cancelled"
