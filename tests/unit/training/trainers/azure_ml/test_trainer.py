"""Command jobs at Azure ML, through Azure's own clients, against a workspace on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import (
    ExtraMissingError,
    ServiceError,
    ServiceRefusedError,
    ServiceUnreachableError,
    TrainerUnavailableError,
)
from lora_pipeline.foundation.extras import missing_modules
from lora_pipeline.training.plan import Plan
from lora_pipeline.training.trainers.azure_ml.api import MODULES
from lora_pipeline.training.trainers.azure_ml.job import AzureMlService
from lora_pipeline.training.trainers.azure_ml.trainer import AZURE_ML
from lora_pipeline.workspace.settings import Settings
from tests.support.fake_azure import ACCOUNT, STORAGE_KEY, TOKEN, FakeAzure
from tests.support.fake_web_service import running
from tests.support.hosted_builders import look_until
from tests.support.trainer_requests import make_request, settings_with

NAME = "lora-01jz8b9q6v3w2k4m5n7p8r9s0t"
PROVIDER = "/subscriptions/sub/resourceGroups/rg/providers/Microsoft.MachineLearningServices"
JOBS = f"{PROVIDER}/workspaces/ws/jobs"
needs_client = pytest.mark.skipif(bool(missing_modules(MODULES)), reason="needs azure-ai-ml")


@pytest.fixture
def azure(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAzure]:
    monkeypatch.setenv("AZURE_TEST_TOKEN", TOKEN)
    monkeypatch.setenv("AZURE_TEST_STORAGE_KEY", STORAGE_KEY)
    with running(FakeAzure()) as azure:
        yield azure


def settings_for(folder: Path, address: str = "http://127.0.0.1:9", **values: object) -> Settings:
    given = {
        "subscriptionId": "sub", "resourceGroup": "rg", "workspaceName": "ws", "compute": "gpu",
        "modelsUri": "azureml://datastores/models/paths/base/", "pricePerHour": 3.0,
        "endpoint": address, "storageUrl": f"{address}/{ACCOUNT}",
        "tokenVariable": "AZURE_TEST_TOKEN", "storageKeyVariable": "AZURE_TEST_STORAGE_KEY",
        **values,
    }  # fmt: skip
    return settings_with(
        folder / "ws",
        trainers__pollSeconds=0.001,  # type: ignore[arg-type]
        **{f"trainers__azure_ml__{name}": value for name, value in given.items()},  # type: ignore[arg-type]
    )


@pytest.fixture
def settings(tmp_path: Path, azure: FakeAzure) -> Settings:
    return settings_for(tmp_path, azure.address)


@pytest.fixture
def service(settings: Settings) -> Iterator[AzureMlService]:
    with AZURE_ML.service(settings) as service:
        yield service


@pytest.fixture
def plan(tmp_path: Path, settings: Settings) -> Plan:
    return AZURE_ML.prepare(make_request(tmp_path, "sdxl"), settings, "1")


def nothing() -> None:
    """Stand for the note that a job may exist."""


# ---- without the client


def test_a_plan_shows_the_job_and_the_program_that_starts_it(
    tmp_path: Path, azure: FakeAzure, settings: Settings
) -> None:
    plan = AZURE_ML.prepare(make_request(tmp_path, "sdxl"), settings, "1")

    files = {file.path: file.content for file in plan.files}
    job = json.loads(files["azure-job.json"])
    process = json.loads(files["job.json"])["config"]["process"][0]
    assert azure.requests == []
    assert job["command"].endswith("/app/ai-toolkit ${{inputs.models}}")
    assert (job["compute"], job["timeoutSeconds"]) == ("gpu", 8 * 3600)
    assert process["type"] == "sd_trainer"
    assert process["model"]["name_or_path"] == "{MODELS_FOLDER}/base.safetensors"
    assert "def main(" in files["start.py"]
    assert TOKEN not in json.dumps(plan.to_dict())


def test_words_of_people_never_come_into_the_command(tmp_path: Path, settings: Settings) -> None:
    nasty = '"; rm -rf / #'
    request = make_request(tmp_path, "sdxl", captions=[nasty])

    plan = AZURE_ML.prepare(request, settings, "1")

    (job,) = [file.content for file in plan.files if file.path == "azure-job.json"]
    assert "rm -rf" not in job


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("compute", "", "compute is not set"),
        ("resourceGroup", "", "resourceGroup is not set"),
        ("image", "a;b", "which Azure cannot know"),
        ("toolkitFolder", "/x; rm", "no folder of a container"),
        ("modelsUri", "https://x", "azureml://"),
        ("maxHours", 0, "more than 0"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_said(
    setting: str, value: object, words: str, tmp_path: Path
) -> None:
    with pytest.raises(TrainerUnavailableError) as caught:
        AZURE_ML.service(settings_for(tmp_path, **{setting: value}))  # type: ignore[arg-type]

    assert words in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.skipif(not missing_modules(MODULES), reason="needs that azure-ai-ml is absent")
def test_without_the_client_it_says_which_extra_is_missing(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    problem = AZURE_ML.health(settings)

    assert problem is not None
    assert problem.hint == "pip install 'lora-pipeline[azure_ml]'"
    with pytest.raises(ExtraMissingError):
        AZURE_ML.service(settings)


# ---- with the client


@needs_client
def test_a_job_goes_from_images_to_verified_weights(
    service: AzureMlService, plan: Plan, azure: FakeAzure, tmp_path: Path
) -> None:
    service.check()
    assert service.find(NAME) is None

    job = service.send(plan, NAME, nothing)

    sent = azure.jobs[NAME]
    assert (job, service.find(NAME)) == (NAME, NAME)
    assert sent["computeId"].endswith("/computes/gpu")
    assert sent["limits"]["timeout"] == "PT8H"
    assert sent["inputs"]["work"]["uri"].endswith(f"paths/lora-pipeline/{NAME}/work/")
    assert sent["inputs"]["models"]["uri"] == "azureml://datastores/models/paths/base/"
    for upload in plan.uploads:
        assert azure.blobs[f"lora-pipeline/{NAME}/work/{upload.name}"] == upload.source.read_bytes()
    first, last = look_until(service, NAME, "running"), look_until(service, NAME, "ended")
    assert first.lines == ("# Running job",)
    assert "loss: 5.0e-01" in last.lines[0]
    (file,) = service.outputs(NAME)
    service.fetch(file, tmp_path / "out.safetensors")
    assert (tmp_path / "out.safetensors").read_bytes() == azure.weights
    spent = service.spent(NAME)
    assert spent is not None
    assert (spent.amount, spent.currency) == (1.5, "USD")


@needs_client
def test_a_job_that_is_noted_is_made_after_everything_arrived(
    service: AzureMlService, plan: Plan, azure: FakeAzure
) -> None:
    seen: list[tuple[int, int]] = []

    service.send(plan, NAME, lambda: seen.append((len(azure.blobs), len(azure.jobs))))

    assert seen == [(len(plan.uploads) + len(plan.files), 0)]


@needs_client
@pytest.mark.parametrize("fault", ["lost", "500", "429:0", "503"])
def test_a_job_whose_making_is_in_doubt_is_one_job(
    fault: str, service: AzureMlService, plan: Plan, azure: FakeAzure
) -> None:
    azure.misbehave(f"PUT {JOBS}/", fault)

    assert service.send(plan, NAME, nothing) == NAME
    assert list(azure.jobs) == [NAME]


@needs_client
@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        ("401", ServiceRefusedError, "az login"),
        ("402", ServiceRefusedError, "credit"),
        ("403", ServiceRefusedError, "AzureML Data Scientist"),
        ("409", ServiceRefusedError, "409"),
        ("422", ServiceRefusedError, "422"),
    ],
)
def test_a_job_that_is_refused_is_told_in_azures_words_without_the_token(
    fault: str, kind: type[ServiceError], words: str,
    service: AzureMlService, plan: Plan, azure: FakeAzure,
) -> None:  # fmt: skip
    azure.misbehave(f"PUT {JOBS}/", fault)

    with pytest.raises(kind) as caught:
        service.send(plan, NAME, nothing)

    assert words in f"{caught.value.message} {caught.value.hint}"
    assert TOKEN not in caught.value.message
    assert azure.jobs == {}


@needs_client
@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        (["html"], ServiceRefusedError),
        (["500"] * 9, ServiceUnreachableError),
        (["cut"] * 9, ServiceUnreachableError),
        (["403"], ServiceRefusedError),
    ],
)
def test_looks_that_fail_pass_or_end_by_what_they_are(
    faults: list[str], kind: type[ServiceError],
    service: AzureMlService, plan: Plan, azure: FakeAzure,
) -> None:  # fmt: skip
    service.send(plan, NAME, nothing)
    azure.misbehave(f"GET {JOBS}/", *faults)

    with pytest.raises(kind):
        service.look(NAME)

    azure.faults.clear()
    assert service.look(NAME).state == "running"


@needs_client
def test_a_job_that_fails_tells_its_log(
    service: AzureMlService, plan: Plan, azure: FakeAzure
) -> None:
    azure.ending, azure.log = "Failed", "torch.cuda.OutOfMemoryError: CUDA out of memory"
    service.send(plan, NAME, nothing)

    view = look_until(service, NAME, "failed")

    assert view.lines == (azure.log,)
    assert service.outputs(NAME) == []


@needs_client
def test_stopping_cancels_once_and_nothing_that_ended(
    service: AzureMlService, plan: Plan, azure: FakeAzure
) -> None:
    service.send(plan, NAME, nothing)
    service.stop(NAME)
    assert service.look(NAME).state == "stopped"

    service.stop(NAME)
    service.stop("lora-nobody")

    assert azure.count("POST") == 1


@needs_client
def test_weights_that_are_not_those_that_were_promised_are_not_kept(
    service: AzureMlService, plan: Plan, azure: FakeAzure, tmp_path: Path
) -> None:
    azure.promised = "0" * 64
    service.send(plan, NAME, nothing)
    look_until(service, NAME, "ended")
    (file,) = service.outputs(NAME)

    with pytest.raises(ServiceUnreachableError) as caught:
        service.fetch(file, tmp_path / "out.safetensors")

    assert "digest" in caught.value.message
    assert not (tmp_path / "out.safetensors").exists()


@needs_client
def test_a_job_and_a_datastore_that_are_not_there_are_refused(
    tmp_path: Path, service: AzureMlService, azure: FakeAzure
) -> None:
    with pytest.raises(ServiceRefusedError) as gone:
        service.look(NAME)
    with (
        AZURE_ML.service(settings_for(tmp_path, azure.address, datastore="other")) as other,
        pytest.raises(ServiceRefusedError) as absent,
    ):
        other.check()

    assert "any more" in gone.value.message
    assert "datastore other" in absent.value.message
