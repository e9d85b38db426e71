"""What every trainer keeps, and what becomes of programs that do not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from lora_pipeline.foundation.errors import RecipeInvalidError, TrainerError
from lora_pipeline.foundation.files import unsafe_reason
from lora_pipeline.foundation.process import OutputLine
from lora_pipeline.operations.training.train import train
from lora_pipeline.releases.records import Lora
from lora_pipeline.training.hosted.interface import HostedTrainer
from lora_pipeline.training.plan import Plan, TrainingRequest
from lora_pipeline.training.records import Run
from lora_pipeline.training.runs.folder import run_folder
from lora_pipeline.training.trainers.registry import TRAINERS, find_trainer
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.settings import Settings
from lora_pipeline.workspace.store import open_store
from tests.support.dataset_builders import PROJECT
from tests.support.fake_trainer import MISBEHAVIOURS, STEPS, TOKEN, FakeTrainer
from tests.support.registered_trainer import register
from tests.support.trainer_requests import make_request, settings_with
from tests.support.training_builders import DATASET, LORA, training_studio
from tests.support.workspace_builders import reopen, tree_digest

# An architecture and checkpoint that the trainer takes.
TAKES: dict[str, tuple[str, dict[str, object]]] = {
    "diffusers": ("sdxl", {}),
    "kohya_ss": ("sdxl", {}),
    "mflux": ("zimage", {"checkpoint_id": "z-image-turbo", "checkpoint": "z-image-turbo"}),
    "ai_toolkit": ("zimage", {"checkpoint": "z-image"}),
    "ai_toolkit_server": ("sdxl", {}),
    "runpod": ("sdxl", {}),
    "replicate": ("flux1", {}),
    "fal": ("zimage", {"recipe": {"steps": 100}}),
    "azure_ml": ("sdxl", {}),
    "modal": ("sdxl", {}),
    "manual": ("wan", {}),
}
NAMES = sorted(TRAINERS)
HOSTED = {name for name, trainer in TRAINERS.items() if isinstance(trainer, HostedTrainer)}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    # What a plan cannot do without: where the models are on machines that are not ours.
    return settings_with(
        tmp_path / "ws",
        trainers__ai_toolkit_server__modelsRoot="/models",
        trainers__runpod__modelsRoot="/models",
        trainers__modal__modelsVolume="models",
        trainers__azure_ml__modelsUri="azureml://datastores/models/paths/base/",
    )


def request_for(name: str, folder: Path, **changes: object) -> TrainingRequest:
    architecture, options = TAKES[name]
    return make_request(folder, architecture, **{**options, **changes})  # type: ignore[arg-type]


def plan_of(name: str, folder: Path, settings: Settings, **changes: object) -> Plan:
    trainer = TRAINERS[name]
    return trainer.prepare(request_for(name, folder, **changes), settings, "1.2.3")


# ---- what every trainer keeps


def test_every_trainer_is_exercised_here() -> None:
    assert set(TAKES) == set(TRAINERS) >= {"diffusers", "kohya_ss", "mflux", "manual"}


@pytest.mark.parametrize("name", NAMES)
def test_it_is_found_by_its_own_name_and_says_what_it_is_in_one_line(name: str) -> None:
    trainer = find_trainer(name)

    assert trainer.name == name
    assert 0 < len(trainer.summary) < 100
    assert "\n" not in trainer.summary


@pytest.mark.parametrize("name", NAMES)
def test_a_machine_without_it_gets_words_and_a_command(name: str, settings: Settings) -> None:
    problem = TRAINERS[name].health(settings)

    assert problem is None or (problem.message and problem.hint)


@pytest.mark.parametrize("name", NAMES)
def test_its_version_is_told_without_the_program(name: str, settings: Settings) -> None:
    assert TRAINERS[name].version(settings)


@pytest.mark.parametrize("name", NAMES)
def test_the_same_request_gives_the_same_plan(
    name: str, tmp_path: Path, settings: Settings
) -> None:
    assert plan_of(name, tmp_path, settings) == plan_of(name, tmp_path, settings)


@pytest.mark.parametrize("name", NAMES)
def test_planning_writes_nothing(name: str, tmp_path: Path, settings: Settings) -> None:
    request = request_for(name, tmp_path)
    before = tree_digest(tmp_path)

    TRAINERS[name].prepare(request, settings, "1.2.3")

    assert tree_digest(tmp_path) == before


@pytest.mark.parametrize("name", NAMES)
def test_a_plan_is_complete_and_json_ready(name: str, tmp_path: Path, settings: Settings) -> None:
    plan = plan_of(name, tmp_path, settings)

    json.dumps(plan.to_dict(), allow_nan=False)
    assert plan.trainer == name
    assert plan.total_steps > 0
    assert unsafe_reason(plan.expected_output) is None
    assert plan.expected_output.endswith(".safetensors")
    assert all(unsafe_reason(file.path) is None for file in plan.files)
    assert bool(plan.argv) == TRAINERS[name].starts_program
    assert all("\0" not in word and "\n" not in word for word in plan.argv)


@pytest.mark.parametrize("name", NAMES)
def test_no_secret_of_ours_is_in_a_plan(
    name: str, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HF_TOKEN", "WANDB_API_KEY", "REPLICATE_API_TOKEN"):
        monkeypatch.setenv(variable, TOKEN)

    assert TOKEN not in json.dumps(plan_of(name, tmp_path, settings).to_dict())


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"manual"} - HOSTED))
def test_no_plan_lets_the_program_ask_the_network(
    name: str, tmp_path: Path, settings: Settings
) -> None:
    assert plan_of(name, tmp_path, settings).environment["HF_HUB_OFFLINE"] == "1"


@pytest.mark.parametrize("name", sorted(HOSTED))
def test_a_plan_for_elsewhere_says_where_to_and_every_file_that_would_go(
    name: str, tmp_path: Path, settings: Settings
) -> None:
    plan = plan_of(name, tmp_path, settings)

    assert plan.service.startswith(("http://", "https://"))
    sources = {one.source for one in plan.uploads}
    assert sources == set((tmp_path / "staging").iterdir())
    assert len({one.name for one in plan.uploads}) == len(plan.uploads)
    assert plan.to_dict()["service"] == plan.service


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"manual"}))
def test_words_of_people_are_no_options_and_no_code(
    name: str, tmp_path: Path, settings: Settings
) -> None:
    nasty = '$(touch x); --evil "q" && %PATH% \'; # !!python/object @file'
    request = replace(request_for(name, tmp_path, captions=[nasty]), trigger_word=nasty)

    plan = TRAINERS[name].prepare(request, settings, "1.2.3")

    assert all(nasty not in word for word in plan.argv)


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"manual"}))
def test_an_architecture_that_it_does_not_train_is_refused(
    name: str, tmp_path: Path, settings: Settings
) -> None:
    request = make_request(tmp_path, "no_such_model")

    with pytest.raises(RecipeInvalidError) as caught:
        TRAINERS[name].prepare(request, settings, "1.2.3")

    assert caught.value.hint


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "text", ["", "Traceback", "100%", "step", "loss: nan", '{"event":"step"}', "\ufffd\u202e", "/"]
)
def test_a_line_that_it_does_not_know_is_no_progress(name: str, text: str) -> None:
    for stream in ("stdout", "stderr"):
        assert TRAINERS[name].read_line(OutputLine(stream, text)) is None


@pytest.mark.parametrize("name", NAMES)
def test_an_empty_folder_holds_no_weights(name: str, tmp_path: Path, settings: Settings) -> None:
    plan = plan_of(name, tmp_path, settings)
    empty = tmp_path / "empty"
    empty.mkdir()

    collected = TRAINERS[name].collect(plan, empty)

    assert (collected.final, collected.checkpoints) == (None, ())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("status", [0, 1, 3, -9, -15, 137])
def test_a_failure_is_explained_whatever_was_printed(name: str, status: int) -> None:
    error = TRAINERS[name].explain([OutputLine("stderr", "\x07 odd")], status)

    assert error.code
    assert error.message
    assert "\n" not in error.message


# ---- programs that misbehave


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return training_studio(tmp_path / "studio", git=False)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTrainer:
    """The trainer ``fake``, known to the registry for one test."""
    return register(monkeypatch, FakeTrainer())


def only_run(workspace: Workspace) -> Run:
    (loaded,) = workspace.records.all(Run, Scope(PROJECT))
    return loaded.record


def releases(workspace: Workspace) -> list[str]:
    lora = workspace.records.read(Lora, Scope(PROJECT), LORA).record
    return [release.id for release in lora.releases]


def try_training(workspace: Workspace) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        train(workspace, LORA, DATASET, trainer="fake")
    return caught.value


def test_a_program_that_behaves_brings_a_candidate(workspace: Workspace, fake: FakeTrainer) -> None:
    result = train(workspace, LORA, DATASET, trainer="fake")

    run = only_run(workspace)
    release = workspace.records.read(Lora, Scope(PROJECT), LORA).record.releases[0]
    assert result.data["releaseId"] == "r1"
    assert (run.state, run.steps_done, run.final_loss) == ("ready", STEPS, 0.2)
    assert release.status == "candidate"
    assert release.weights is not None
    assert open_store(workspace).open_path(release.weights.sha256).stat().st_size > 0
    assert release.weights.sha256 == run.outputs[0].sha256
    assert [output.step for output in run.outputs] == [None, 2]


@pytest.mark.parametrize("mode", MISBEHAVIOURS)
def test_a_program_that_misbehaves_leaves_a_failed_run_and_nothing_else(
    mode: str, workspace: Workspace, fake: FakeTrainer
) -> None:
    if mode == "link" and os.name == "nt":
        pytest.skip("links need rights on Windows")
    fake.mode = mode
    before = tree_digest(workspace.data_root)

    error = try_training(workspace)

    run = only_run(workspace)
    after = tree_digest(workspace.data_root)
    assert run.state == "failed"
    assert run.error is not None
    assert run.error.code == MISBEHAVIOURS[mode]
    assert run.error.message in error.message
    assert f"lora run log {run.id}" in (error.hint or "")
    assert run.attempts[0].ended_at
    assert releases(workspace) == []
    assert open_store(workspace).all() == []
    # The run's record is the only thing that is new.
    assert {path: data for path, data in after.items() if "/runs/" not in path} == before
    assert all(one.step is not None for one in run.outputs)


def test_a_token_in_the_output_is_kept_nowhere(workspace: Workspace, fake: FakeTrainer) -> None:
    fake.mode = "token"

    train(workspace, LORA, DATASET, trainer="fake")

    kept = b"".join(tree_digest(workspace.root).values())
    assert TOKEN.encode() not in kept
    assert b"logging in with [hidden]" in kept


def test_a_flood_of_output_stays_in_bounds(workspace: Workspace, fake: FakeTrainer) -> None:
    fake.mode = "flood"

    train(workspace, LORA, DATASET, trainer="fake")

    log = run_folder(workspace, only_run(workspace).id) / "log.txt"
    text = log.read_text()
    assert log.stat().st_size < 6_000_000
    assert "lines left out" in text
    assert text.startswith("step 1/5")
    assert "noise 79999" in text


def test_output_that_is_no_text_is_kept_as_text(workspace: Workspace, fake: FakeTrainer) -> None:
    fake.mode = "not_text"

    train(workspace, LORA, DATASET, trainer="fake")

    text = (run_folder(workspace, only_run(workspace).id) / "log.txt").read_text(encoding="utf-8")
    assert "red" in text
    assert "\x1b" not in text


def test_a_loss_that_is_no_number_is_not_recorded(workspace: Workspace, fake: FakeTrainer) -> None:
    fake.mode = "nan_loss"

    train(workspace, LORA, DATASET, trainer="fake")

    assert only_run(workspace).final_loss is None


def test_a_program_that_says_nothing_is_stopped(workspace: Workspace, fake: FakeTrainer) -> None:
    fake.mode = "silent"
    settings = workspace.root / "config" / "pipeline.yaml"
    settings.write_text("trainers:\n  idleTimeoutSeconds: 1.0\n")

    error = try_training(reopen(workspace.root))

    assert "printed nothing for 1 s" in error.message
    assert only_run(workspace).error is not None
    assert only_run(workspace).error.code == "program_timed_out"  # type: ignore[union-attr]
