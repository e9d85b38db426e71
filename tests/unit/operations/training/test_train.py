"""Planning and training as operations: what is decided, refused, recorded and completed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from lora_pipeline.catalog.records import Asset, Checkpoint, Rights, TrainingAdapter, Weights
from lora_pipeline.datasets.staging.folder import stage_manifest
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    DigestMismatchError,
    FileMissingError,
    PipelineError,
    RecipeInvalidError,
    RecordNotFoundError,
    SettingsError,
    StateError,
    TrainerUnavailableError,
)
from lora_pipeline.operations.training.train import plan_training, train
from lora_pipeline.releases.records import Lora, Release
from lora_pipeline.training.records import Run
from lora_pipeline.training.runs.folder import run_folder, working_in
from lora_pipeline.training.trainers.interface import Problem
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import open_store
from tests.support.dataset_builders import PROJECT
from tests.support.fake_trainer import FakeTrainer
from tests.support.registered_trainer import register
from tests.support.training_builders import BASE, DATASET, LORA, training_studio
from tests.support.workspace_builders import reopen, tree_digest

SCOPE = Scope(PROJECT)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return training_studio(tmp_path / "studio", git=False)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeTrainer:
    return register(monkeypatch, FakeTrainer())


def lora_of(workspace: Workspace) -> Lora:
    return workspace.records.read(Lora, SCOPE, LORA).record


def runs_of(workspace: Workspace) -> list[Run]:
    return [loaded.record for loaded in workspace.records.all(Run, SCOPE)]


def refused(workspace: Workspace, kind: type[PipelineError], **options: Any) -> PipelineError:
    """Try to train, and check that nothing at all was written."""
    before = tree_digest(workspace.root)
    with pytest.raises(kind) as caught:
        train(workspace, LORA, DATASET, **{"trainer": "fake", **options})
    assert tree_digest(workspace.root) == before
    return caught.value


# ---- planning


def test_plan_says_everything_and_writes_nothing(workspace: Workspace, fake: FakeTrainer) -> None:
    before = tree_digest(workspace.root)

    data = plan_training(workspace, LORA, DATASET, trainer="fake", steps=7, rank=4).data

    assert tree_digest(workspace.root) == before
    assert data["plan"]["argv"][2].endswith("fake_trainer.py")
    assert data["plan"]["files"] == [{"path": "config.json", "content": '{"rank": 4}'}]
    assert (data["releaseId"], data["images"], data["preset"]) == ("r1", 4, "demo-64")
    assert data["presetChosen"]
    by_name = {one["name"]: one for one in data["recipe"]}
    assert by_name["rank"] == {"name": "rank", "value": 4, "from": "--rank on the command line"}
    assert by_name["resolution"]["from"] == "preset demo-64"


def test_plan_is_what_is_run(workspace: Workspace, fake: FakeTrainer) -> None:
    planned = plan_training(workspace, LORA, DATASET, trainer="fake", steps=7).data

    train(workspace, LORA, DATASET, trainer="fake", steps=7)

    (run,) = runs_of(workspace)
    staged = stage_manifest(workspace, _manifest(workspace))
    assert run.plan_digest == planned["planDigest"]
    assert workspace.relative(staged.folder) == planned["staging"]
    assert not staged.made


def _manifest(workspace: Workspace) -> Any:
    from lora_pipeline.datasets.lookup import find_manifest

    return find_manifest(workspace, SCOPE, DATASET).record


def test_plan_needs_neither_trainer_nor_base_model_nor_images(workspace: Workspace) -> None:
    base = Path(plan_training(workspace, LORA, DATASET, trainer="kohya_ss").data["plan"]["cwd"])
    for path in workspace.data_root.rglob("*.png"):
        path.unlink()
    for path in (workspace.root.parent / "studio-base").rglob("*.safetensors"):
        path.unlink()

    result = plan_training(workspace, LORA, DATASET, trainer="kohya_ss")

    assert Path(result.data["plan"]["cwd"]) == base
    assert any("cannot run here" in warning for warning in result.warnings)


def test_recipe_comes_in_layers(workspace: Workspace, tmp_path: Path, fake: FakeTrainer) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text("rank: 5\nlr: 1e-3\nseed: 1\n")

    data = plan_training(
        workspace, LORA, DATASET, trainer="fake", preset="icons-sd15",
        config_file=str(recipe), config={"seed": 2, "alpha": 3}, alpha=4.0,
    ).data  # fmt: skip

    found = {one["name"]: (one["value"], one["from"]) for one in data["recipe"]}
    assert found["steps"] == (1500, "preset icons-sd15")
    assert found["learningRate"] == (1e-3, "file mine.yaml")
    assert found["seed"] == (2, "--config on the command line")
    assert found["alpha"] == (4.0, "--alpha on the command line")
    assert found["flip"] == (False, "default")


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"rank": 0}, RecipeInvalidError, "rank must be at least 1, got 0"),
        ({"config": {"stepz": 1}}, RecipeInvalidError, "no setting 'stepz'"),
        ({"preset": "icons-sdxxl"}, RecordNotFoundError, "icons-sdxxl"),
        ({"config_file": "none.yaml"}, FileMissingError, "cannot read none.yaml"),
        ({"config_file": "run.toml"}, ArgumentInvalidError, "run.toml is TOML"),
        ({"trainer": "koya_ss"}, ArgumentInvalidError, "no trainer 'koya_ss'"),
        ({"release": "R 1"}, ArgumentInvalidError, "release must be a slug"),
        ({"weights": "x.safetensors"}, ArgumentInvalidError, "only taken by trainer manual"),
        ({"trainer": "manual"}, ArgumentInvalidError, "none are named"),
        (
            {"trainer": "diffusers", "config": {"quantize": 8}},
            RecipeInvalidError,
            "does not quantize",
        ),
        (
            {"trainer": "diffusers", "config": {"optimizer": "lion"}},
            RecipeInvalidError,
            "no optimizer lion",
        ),
        (
            {"trainer": "diffusers", "trainer_arguments": ("--x",)},
            RecipeInvalidError,
            "no arguments of its own",
        ),
    ],
)
def test_bad_wishes_are_refused_and_nothing_is_written(
    options: dict[str, Any],
    kind: type[PipelineError],
    words: str,
    workspace: Workspace,
    fake: FakeTrainer,
) -> None:
    error = refused(workspace, kind, **options)

    assert words in error.message
    assert error.hint


def test_what_does_not_exist_is_named(workspace: Workspace, fake: FakeTrainer) -> None:
    for lora, dataset, words in (
        ("icon", DATASET, "no LoRA 'icon'"),
        (LORA, "flat_icon", "'flat_icon'"),
    ):
        with pytest.raises(RecordNotFoundError, match=words) as caught:
            train(workspace, lora, dataset, trainer="fake")
        assert "did you mean" in (caught.value.hint or "")


# ---- refusals


def test_set_active_is_refused_because_of_the_gate(workspace: Workspace, fake: FakeTrainer) -> None:
    before = tree_digest(workspace.root)

    result = train(workspace, LORA, DATASET, trainer="fake", set_active=True)

    assert result.refusal is not None
    assert result.refusal.code == "gate_refused"
    assert tree_digest(workspace.root) == before


def test_images_that_were_withdrawn_since_are_not_trained_on(
    workspace: Workspace, fake: FakeTrainer
) -> None:
    asset = next(workspace.records.all(Asset, SCOPE))
    changes = Changes(workspace)
    withdrawn = Rights(training="allowed", withdrawn_at="2026-03-02T00:00:00Z", reason="asked")
    changes.update(asset, replace(asset.record, rights=withdrawn))
    changes.apply()
    before = tree_digest(workspace.root)

    result = train(workspace, LORA, DATASET, trainer="fake")

    assert result.refusal is not None
    assert result.refusal.code == "rights_refused"
    assert "withdrawn on 2026-03-02: asked" in result.refusal.message
    assert tree_digest(workspace.root) == before


def test_a_trainer_that_is_not_here_is_refused_with_its_set_up(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = FakeTrainer(problem=Problem("not installed", "lora setup fake"))
    register(monkeypatch, missing)

    error = refused(workspace, TrainerUnavailableError)

    assert error.message == "fake: not installed"
    assert error.hint == "lora setup fake"


@pytest.mark.parametrize("trainer", ["kohya_ss", "mflux"])
def test_a_foreign_trainer_that_is_not_installed_names_lora_setup(
    trainer: str, workspace: Workspace
) -> None:
    if trainer == "mflux":
        _change_checkpoint(workspace, architecture="zimage")

    error = refused(workspace, TrainerUnavailableError, trainer=trainer, preset="style-sd15"
                    if trainer == "kohya_ss" else "style-zimage")  # fmt: skip

    assert f"lora setup {trainer}" in (error.hint or "")


def test_nobody_to_answer_for_a_run_is_refused(workspace: Workspace, fake: FakeTrainer) -> None:
    nobody = reopen(workspace.root, actor=None)

    refused(nobody, SettingsError)


def test_a_base_model_that_changed_is_refused(workspace: Workspace, fake: FakeTrainer) -> None:
    (path,) = (workspace.root.parent / "studio-base").rglob("*.safetensors")
    path.write_bytes(path.read_bytes() + b"\0")

    error = refused(workspace, DigestMismatchError)

    assert "checkpoint tiny is not the model that was recorded" in error.message


def test_a_distilled_model_is_not_trained_without_its_adapter(
    workspace: Workspace, fake: FakeTrainer
) -> None:
    adapter = TrainingAdapter(required=True, weights=Weights(kind="absolute", path="/a"))
    _change_checkpoint(workspace, training_adapter=adapter)

    assert "distilled" in refused(workspace, StateError).message


def _change_checkpoint(workspace: Workspace, **fields: Any) -> None:
    loaded = workspace.records.read(Checkpoint, SCOPE, BASE)
    changes = Changes(workspace)
    changes.update(loaded, replace(loaded.record, **fields))
    changes.apply()


def test_a_manifest_edited_by_hand_is_refused(workspace: Workspace, fake: FakeTrainer) -> None:
    path = workspace.records.path("dataset", SCOPE, DATASET)
    path.write_text(path.read_text().replace("color:red", "color:blue", 1))

    assert "changed by hand" in refused(workspace, DigestMismatchError).message


def test_an_image_that_is_gone_stops_before_a_run_exists(
    workspace: Workspace, fake: FakeTrainer
) -> None:
    next(workspace.data_root.rglob("*.png")).unlink()

    with pytest.raises(FileMissingError):
        train(workspace, LORA, DATASET, trainer="fake")

    assert runs_of(workspace) == []


# ---- training


def test_a_dry_run_names_the_records_and_writes_nothing(
    workspace: Workspace, fake: FakeTrainer
) -> None:
    before = tree_digest(workspace.root)

    result = train(reopen(workspace.root, dry_run=True), LORA, DATASET, trainer="fake")

    assert result.dry_run
    assert any("/runs/" in path for path in result.written)
    assert any(path.endswith("loras/icons.json") for path in result.written)
    assert tree_digest(workspace.root) == before


def test_a_release_is_bound_to_everything_that_made_it(
    workspace: Workspace, fake: FakeTrainer
) -> None:
    result = train(workspace, LORA, DATASET, trainer="fake", notes="first try", steps=9)

    (release,) = lora_of(workspace).releases
    (run,) = runs_of(workspace)
    manifest = _manifest(workspace)
    base = workspace.records.read(Checkpoint, SCOPE, BASE).record
    assert release.training == {
        "trainer": "fake",
        "trainerVersion": "1.0",
        "recipe": run.recipe.to_dict(),
        "datasetId": DATASET,
        "manifestHash": manifest.content_hash,
        "checkpointId": BASE,
        "checkpointDigest": base.digest,
        "runId": run.id,
    }
    assert run.recipe.steps == 9
    assert (release.created_by, release.notes) == (workspace.actor, "first try")
    assert run.requested_by == workspace.actor
    assert set(result.written) == {
        workspace.relative(workspace.records.path("run", SCOPE, run.id)),
        workspace.relative(workspace.records.path("lora", SCOPE, LORA)),
    }


def test_releases_are_counted_and_name_the_one_before(
    workspace: Workspace, fake: FakeTrainer
) -> None:
    for _ in range(2):
        train(workspace, LORA, DATASET, trainer="fake")
    train(workspace, LORA, DATASET, trainer="fake", release="final")

    releases = lora_of(workspace).releases
    assert [one.id for one in releases] == ["r1", "r2", "final"]
    assert [one.parent_release_id for one in releases] == ["", "r1", "r2"]


def test_a_release_id_is_never_used_twice(workspace: Workspace, fake: FakeTrainer) -> None:
    train(workspace, LORA, DATASET, trainer="fake")

    error = refused(workspace, ArgumentInvalidError, release="r1")

    assert error.message == "icons has a release r1 already"


def test_a_release_that_came_meanwhile_keeps_its_id(
    workspace: Workspace, fake: FakeTrainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    collect = fake.collect

    def meanwhile(*arguments: Any) -> Any:
        loaded = workspace.records.read(Lora, SCOPE, LORA)
        other = Release(id="r1", created_at=workspace.now(), status="candidate")
        changes = Changes(workspace)
        changes.update(loaded, replace(loaded.record, releases=(other,)))
        changes.apply()
        return collect(*arguments)

    monkeypatch.setattr(fake, "collect", meanwhile)

    result = train(workspace, LORA, DATASET, trainer="fake")

    (run,) = runs_of(workspace)
    assert [one.id for one in lora_of(workspace).releases] == ["r1", "r2"]
    assert (result.data["releaseId"], run.release_id) == ("r2", "r2")
    assert "r1 was taken meanwhile, the release is r2" in result.warnings


def test_progress_is_told_with_loss(workspace: Workspace, fake: FakeTrainer) -> None:
    told: list[Any] = []

    train(reopen(workspace.root, sink=told.append), LORA, DATASET, trainer="fake")

    steps = [event for event in told if event.type == "progress" and event.topic == "train"]
    assert [(one.step, one.total, one.message) for one in steps][-1] == (5, 5, "loss 0.2000")


def test_events_of_a_run_are_json_lines(workspace: Workspace, fake: FakeTrainer) -> None:
    train(workspace, LORA, DATASET, trainer="fake")

    (run,) = runs_of(workspace)
    lines = (run_folder(workspace, run.id) / "events.jsonl").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert events[0]["type"] == "started"
    end = {"v": 1, "run": run.id, "type": "finished", "topic": "train"}
    assert events[-1].items() >= (end | {"message": "weights verified"}).items()
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))


def test_what_is_unusual_is_said_before_and_after(workspace: Workspace, fake: FakeTrainer) -> None:
    result = train(workspace, LORA, DATASET, trainer="fake", steps=1, batch_size=1)

    assert "4 images; 20 to 80 are usual for this type" in result.warnings
    assert any("may be too few to learn" in warning for warning in result.warnings)


# ---- runs that were killed


def started_run(workspace: Workspace) -> Run:
    """Leave behind what a killed training leaves: a run that is training, and its folder."""
    digest = plan_training(workspace, LORA, DATASET, trainer="fake").data["planDigest"]
    run = Run(
        id="01JZ8B9Q6V3W2K4M5N7P8R9S0T", lora_id=LORA, release_id="r1", state="training",
        trainer="fake", created_at=workspace.now(), updated_at=workspace.now(),
        plan_digest=digest, dataset_id=DATASET, manifest_hash=_manifest(workspace).content_hash,
        checkpoint_id=BASE,
        checkpoint_digest=workspace.records.read(Checkpoint, SCOPE, BASE).record.digest,
        recipe=_recipe(workspace),
    )  # fmt: skip
    changes = Changes(workspace)
    changes.create(run, SCOPE, run.id)
    changes.apply()
    run_folder(workspace, run.id).mkdir(parents=True)
    return run


def _recipe(workspace: Workspace) -> Any:
    from lora_pipeline.training.records import Recipe

    explained = plan_training(workspace, LORA, DATASET, trainer="fake").data["recipe"]
    return Recipe.from_dict({one["name"]: one["value"] for one in explained})


def test_the_same_command_after_a_kill_does_the_work_again(
    workspace: Workspace, fake: FakeTrainer
) -> None:
    killed = started_run(workspace)

    result = train(workspace, LORA, DATASET, trainer="fake")

    states = {run.id: run for run in runs_of(workspace)}
    assert states[killed.id].state == "failed"
    assert states[killed.id].error is not None
    assert states[killed.id].error.code == "interrupted"  # type: ignore[union-attr]
    assert states[result.data["runId"]].state == "ready"
    assert [one.id for one in lora_of(workspace).releases] == ["r1"]


def test_the_same_plan_is_not_trained_twice_at_once(
    workspace: Workspace, fake: FakeTrainer
) -> None:
    running = started_run(workspace)

    with working_in(run_folder(workspace, running.id), workspace.now()):
        error = refused_while_running(workspace)

    assert f"run {running.id} trains this already" in error.message


def refused_while_running(workspace: Workspace) -> StateError:
    with pytest.raises(StateError) as caught:
        train(workspace, LORA, DATASET, trainer="fake")
    return caught.value


def test_another_plan_does_not_mind_a_killed_run(workspace: Workspace, fake: FakeTrainer) -> None:
    killed = started_run(workspace)

    train(workspace, LORA, DATASET, trainer="fake", rank=3)

    assert {run.id: run.state for run in runs_of(workspace)}[killed.id] == "training"


def test_an_output_folder_of_a_run_is_its_own(workspace: Workspace, fake: FakeTrainer) -> None:
    for _ in range(2):
        train(workspace, LORA, DATASET, trainer="fake")

    first, second = (run_folder(workspace, run.id) for run in runs_of(workspace))
    assert (first / "out" / "icons-r1.safetensors").is_file()
    assert (second / "out" / "icons-r2.safetensors").is_file()
    assert len(open_store(workspace).all()) == 1
