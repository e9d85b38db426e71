"""Sandboxes at Modal, through Modal's own client, against a control plane on loopback."""

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
from lora_pipeline.training.trainers.modal.api import MODULES
from lora_pipeline.training.trainers.modal.job import ModalService
from lora_pipeline.training.trainers.modal.trainer import MODAL
from lora_pipeline.workspace.settings import Settings
from tests.support.fake_modal import SECRET, FakeModal, running_modal
from tests.support.hosted_builders import look_until
from tests.support.trainer_requests import make_request, settings_with

# Modal's client keeps its connections for the process, and is collected when it likes.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
NAME = "lora-01jz8b9q6v3w2k4m5n7p8r9s0t"
needs_client = pytest.mark.skipif(bool(missing_modules(MODULES)), reason="needs modal")


@pytest.fixture(scope="module")
def control_plane() -> Iterator[FakeModal]:
    with running_modal() as modal:
        yield modal


@pytest.fixture
def modal(monkeypatch: pytest.MonkeyPatch, control_plane: FakeModal) -> FakeModal:
    control_plane.forget()
    monkeypatch.setenv("MODAL_SERVER_URL", control_plane.url)
    monkeypatch.setenv("MODAL_TOKEN_ID", "ak-fake")
    monkeypatch.setenv("MODAL_TOKEN_SECRET", SECRET)
    return control_plane


def settings_for(folder: Path, **values: object) -> Settings:
    given = {"modelsVolume": "models", "pricePerHour": 2.0, **values}
    return settings_with(
        folder / "ws",
        **{f"trainers__modal__{name}": value for name, value in given.items()},  # type: ignore[arg-type]
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_for(tmp_path)


@pytest.fixture
def service(settings: Settings, modal: FakeModal) -> Iterator[ModalService]:
    with MODAL.service(settings) as service:
        yield service


@pytest.fixture
def plan(tmp_path: Path, settings: Settings) -> Plan:
    return MODAL.prepare(make_request(tmp_path, "sdxl"), settings, "1")


def nothing() -> None:
    """Stand for the note that a job may exist."""


# ---- without the client


def test_a_plan_shows_the_sandbox_and_the_program_that_starts_it(
    tmp_path: Path, settings: Settings
) -> None:
    plan = MODAL.prepare(make_request(tmp_path, "sdxl"), settings, "1")

    files = {file.path: file.content for file in plan.files}
    process = json.loads(files["job.json"])["config"]["process"][0]
    assert json.loads(files["sandbox.json"])["gpu"] == "L40S"
    assert process["model"]["name_or_path"] == "{MODELS_FOLDER}/base.safetensors"
    assert "def main(" in files["start.py"]
    assert plan.service == "https://modal.com/apps/lora-pipeline"


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("app", "a b", "which Modal cannot know"),
        ("gpu", "", "which Modal cannot know"),
        ("toolkitFolder", "app", "no folder of a container"),
        ("maxHours", 25, "at most 24"),
        ("tokenIdVariable", "ak-secret", "never the token"),
    ],
)
def test_a_setting_that_cannot_be_meant_is_said(
    setting: str, value: object, words: str, tmp_path: Path
) -> None:
    with pytest.raises(TrainerUnavailableError) as caught:
        MODAL.service(settings_for(tmp_path, **{setting: value}))

    assert words in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.skipif(not missing_modules(MODULES), reason="needs that modal is absent")
def test_without_the_client_it_says_which_extra_is_missing(settings: Settings) -> None:
    problem = MODAL.health(settings)

    assert problem is not None
    assert problem.hint == "pip install 'lora-pipeline[modal]'"
    with pytest.raises(ExtraMissingError):
        MODAL.service(settings)


# ---- with the client


@needs_client
def test_a_sandbox_goes_from_images_to_verified_weights(
    service: ModalService, plan: Plan, modal: FakeModal, tmp_path: Path
) -> None:
    service.check()
    assert service.find(NAME) is None

    assert service.send(plan, NAME, nothing) == NAME

    asked = modal.sandboxes[NAME]
    assert list(asked.entrypoint_args)[:2] == ["python", f"/work/{NAME}/work/start.py"]
    assert (asked.timeout_secs, asked.image_id) == (8 * 3600, "im-1")
    mounts = {one.mount_path: one.volume_id for one in asked.volume_mounts}
    assert mounts == {"/work": "vo-lora-pipeline", "/models": "vo-models"}
    for upload in plan.uploads:
        assert modal.files[f"{NAME}/work/{upload.name}"] == upload.source.read_bytes()
    lines: list[str] = []
    while (view := service.look(NAME)).state != "ended":
        lines += view.lines
    assert "loss: 5.0e-01" in "".join([*lines, *view.lines])
    (file,) = service.outputs(NAME)
    service.fetch(file, tmp_path / "out.safetensors")
    assert (tmp_path / "out.safetensors").read_bytes() == modal.weights
    spent = service.spent(NAME)
    assert spent is not None
    assert spent.amount == 1.0


@needs_client
def test_it_is_noted_that_there_may_be_one_after_everything_arrived(
    service: ModalService, plan: Plan, modal: FakeModal
) -> None:
    seen: list[tuple[int, int]] = []

    service.send(plan, NAME, lambda: seen.append((len(modal.files), modal.made)))

    assert seen == [(len(plan.uploads) + len(plan.files), 0)]


@needs_client
@pytest.mark.parametrize("fault", ["lost", "UNAVAILABLE"])
def test_a_sandbox_whose_making_is_in_doubt_is_one_sandbox(
    fault: str, service: ModalService, plan: Plan, modal: FakeModal
) -> None:
    modal.looks = 10**6
    modal.failing["SandboxCreate"] = [fault]

    assert service.send(plan, NAME, nothing) == NAME
    assert modal.made == 1


@needs_client
def test_one_that_ended_is_found_by_what_it_left(
    service: ModalService, plan: Plan, modal: FakeModal, settings: Settings
) -> None:
    service.send(plan, NAME, nothing)
    modal.end(NAME)

    with MODAL.service(settings) as another:
        assert another.find(NAME) == NAME
        assert another.look(NAME).state == "ended"
    assert modal.made == 1


@needs_client
@pytest.mark.parametrize(
    ("call", "status", "kind", "words"),
    [
        ("VolumeGetOrCreate", "UNAUTHENTICATED", ServiceRefusedError, "modal token new"),
        ("VolumeGetOrCreate", "PERMISSION_DENIED", ServiceRefusedError, "modal token new"),
        ("VolumePutFiles", "INVALID_ARGUMENT", ServiceRefusedError, "refused"),
        ("AppGetOrCreate", "FAILED_PRECONDITION", ServiceRefusedError, "credit"),
        ("SandboxCreate", "NOT_FOUND", ServiceRefusedError, "refused"),
        ("SandboxCreate", "RESOURCE_EXHAUSTED", ServiceUnreachableError, "answer"),
    ],
)
def test_what_is_refused_is_told_in_modals_words_without_the_secret(
    call: str, status: str, kind: type[ServiceError], words: str,
    service: ModalService, plan: Plan, modal: FakeModal,
) -> None:  # fmt: skip
    modal.failing[call] = [status] * 20

    with pytest.raises(kind) as caught:
        service.send(plan, NAME, nothing)

    assert words in f"{caught.value.message} {caught.value.hint}"
    assert SECRET not in caught.value.message
    assert modal.made == 0


@needs_client
def test_a_token_that_is_not_taken_is_said(
    settings: Settings, modal: FakeModal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODAL_TOKEN_SECRET", "as-wrong")

    with MODAL.service(settings) as service, pytest.raises(ServiceRefusedError) as caught:
        service.check()

    assert "does not let us in" in caught.value.message


@needs_client
def test_a_training_that_fails_tells_its_log(
    service: ModalService, plan: Plan, modal: FakeModal
) -> None:
    modal.ends, modal.log = 1, "torch.cuda.OutOfMemoryError: CUDA out of memory"
    service.send(plan, NAME, nothing)

    view = look_until(service, NAME, "failed")

    assert (view.message, view.lines) == ("it ended with 1", (modal.log,))
    assert service.outputs(NAME) == []


@needs_client
def test_one_that_ends_without_a_word_is_given_up_after_a_while(
    service: ModalService, plan: Plan, modal: FakeModal
) -> None:
    modal.ends, modal.looks = None, 0
    service.send(plan, NAME, nothing)

    assert [service.look(NAME).state for _ in range(3)] == ["running", "running", "failed"]
    assert service.spent(NAME) is None


@needs_client
def test_stopping_ends_it_and_does_nothing_twice(
    service: ModalService, plan: Plan, modal: FakeModal
) -> None:
    modal.looks = 10**6
    service.send(plan, NAME, nothing)

    service.stop(NAME)
    service.stop(NAME)

    assert modal.running == {}
    assert modal.calls.count("SandboxTerminate") == 1


@needs_client
def test_weights_that_are_not_those_that_were_promised_are_not_kept(
    service: ModalService, plan: Plan, modal: FakeModal, tmp_path: Path
) -> None:
    modal.promised = "0" * 64
    service.send(plan, NAME, nothing)
    look_until(service, NAME, "ended")
    (file,) = service.outputs(NAME)

    with pytest.raises(ServiceUnreachableError) as caught:
        service.fetch(file, tmp_path / "out.safetensors")

    assert "digest" in caught.value.message
    assert list(tmp_path.glob("out*")) == []


@needs_client
def test_a_block_whose_link_has_expired_is_no_weights(
    service: ModalService, plan: Plan, modal: FakeModal, tmp_path: Path
) -> None:
    service.send(plan, NAME, nothing)
    look_until(service, NAME, "ended")
    (file,) = service.outputs(NAME)
    modal.misbehave("GET /block/", *["403"] * 40)

    with pytest.raises(ServiceError):
        service.fetch(file, tmp_path / "out.safetensors")

    modal.faults.clear()
    service.fetch(file, tmp_path / "out.safetensors")
    assert (tmp_path / "out.safetensors").read_bytes() == modal.weights
