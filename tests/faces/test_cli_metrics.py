"""``lora eval metrics`` on real grids: what is measured, what is not proven, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from lora_pipeline.evaluation.grid import problems_of_grid, result_digest
from lora_pipeline.evaluation.pixels import read_pixels
from lora_pipeline.evaluation.records import Evaluation
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import open_store
from tests.support import metric_builders
from tests.support.evaluation_builders import (
    LORA,
    PROJECT,
    SCOPE,
    add_subject,
    files_below,
    noise,
)
from tests.support.grid_rendering import render
from tests.support.metric_builders import add_training_images
from tests.support.workspace_builders import commit_all, invoke, make_workspace, tree_digest

OTHERS = {f"B{number}": noise(900 + number) for number in range(3)}
MODELS = ("LORA_CLIP_MODEL", "LORA_DINO_MODEL", "LORA_LPIPS_MODEL", "LORA_COPY_MODEL")


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    for name in MODELS:
        monkeypatch.delenv(name, raising=False)
    workspace = make_workspace(tmp_path, project=PROJECT)
    add_subject(workspace)
    commit_all(tmp_path, "A LoRA")
    return workspace


def grid_of(workspace: Workspace) -> Loaded[Evaluation]:
    [loaded] = workspace.records.all(Evaluation, SCOPE)
    return loaded


def pixels_of(workspace: Workspace, place: int) -> tuple[str, np.ndarray]:
    cell = grid_of(workspace).record.cells[place]
    path = open_store(workspace).open_path(cell.image_sha256)
    return cell.id, read_pixels(path, width=cell.width, height=cell.height)


def test_a_grid_is_measured_when_it_is_complete(studio: Workspace) -> None:
    add_training_images(studio, OTHERS)
    render(studio)
    record = grid_of(studio).record
    metrics = record.metrics
    assert metrics is not None
    assert problems_of_grid(record) == []
    assert metrics.training_images == 3
    assert metrics.effect_mean == pytest.approx(0.083, abs=0.01)
    assert metrics.seed_variety is not None
    assert metrics.tone_distance is not None
    assert metrics.tone_distance.pairs == 2
    assert metrics.look_alike is not None
    assert metrics.look_alike.cells == 8
    assert metrics.method.startswith("form 1 · pillow ")


def test_what_no_model_was_set_for_is_not_proven(studio: Workspace) -> None:
    render(studio)
    metrics = grid_of(studio).record.metrics
    assert metrics is not None
    assert metrics.not_proven["copies"] == "setting metrics.copyModel is not set"
    assert metrics.copy_similarity_max is None
    answer = invoke(["eval", "show", LORA, "r1"], studio.root)
    assert "copy check" in answer.stdout
    assert "setting metrics.copyModel is not set" in answer.stdout


@pytest.mark.slow
def test_without_the_manifest_nothing_is_said_of_training_images(studio: Workspace) -> None:
    render(studio)
    metrics = grid_of(studio).record.metrics
    assert metrics is not None
    assert metrics.look_alike is None
    assert "manifest icons is not there" in metrics.not_proven["lookAlike"]


@pytest.mark.slow
def test_a_training_image_that_is_gone_leaves_the_comparison_unproven(studio: Workspace) -> None:
    add_training_images(studio, OTHERS)
    (studio.data_root / f"projects/{PROJECT}/files/images/B1.png").unlink()
    render(studio)
    metrics = grid_of(studio).record.metrics
    assert metrics is not None
    assert metrics.tone_distance is None
    assert metrics.not_proven["lookAlike"].startswith("1 of 3 training images cannot be read")


@pytest.mark.parametrize("turned", [False, True])
def test_a_cell_that_repeats_a_training_image_is_named(studio: Workspace, *, turned: bool) -> None:
    render(studio)
    cell_id, pixels = pixels_of(studio, 2)
    copied = np.ascontiguousarray(pixels[:, ::-1]) if turned else pixels
    add_training_images(studio, {**OTHERS, "COPIED": copied})
    answer = invoke(["eval", "metrics", LORA, "r1", "--json"], studio.root)
    nearest = answer.document["data"]["metrics"]["lookAlike"]
    assert (nearest["cellId"], nearest["assetId"]) == (cell_id, "COPIED")
    assert nearest["similarity"] == pytest.approx(1, abs=1e-3)
    assert nearest.get("mirrored", False) is turned
    assert nearest["same"] >= 1


def test_measuring_again_changes_no_byte_and_decodes_nothing(studio: Workspace) -> None:
    add_training_images(studio, OTHERS)
    render(studio)
    before = tree_digest(studio.root)
    answer = invoke(["eval", "metrics", LORA, "r1"], studio.root)
    assert answer.exit_code == 0
    assert "values beside the effect, as before" in answer.stdout
    assert tree_digest(studio.root) == before


def test_what_was_judged_stays_as_it_was_measured(studio: Workspace) -> None:
    render(studio)
    invoke(["eval", "approve", LORA, "r1"], studio.root)
    add_training_images(studio, OTHERS)
    before = grid_of(studio).record
    answer = invoke(["eval", "metrics", LORA, "r1"], studio.root)
    assert answer.exit_code == 1
    assert "1 verdict would no longer be about this grid" in answer.stdout
    assert "lora eval metrics ui_icons r1 --void-reviews" in answer.stdout
    assert grid_of(studio).record == before


@pytest.mark.slow
def test_asked_for_it_is_measured_anew_and_the_verdict_is_about_something_else(
    studio: Workspace,
) -> None:
    render(studio)
    invoke(["eval", "approve", LORA, "r1"], studio.root)
    add_training_images(studio, OTHERS)
    before = grid_of(studio).record
    answer = invoke(["eval", "metrics", LORA, "r1", "--void-reviews"], studio.root)
    after = grid_of(studio).record
    assert answer.exit_code == 0
    assert "no longer about this grid: 1 verdict" in answer.stdout + answer.stderr
    assert after.result_digest == result_digest(after) != before.result_digest
    assert after.cells == before.cells


@pytest.mark.slow
def test_dry_run_tells_and_writes_nothing(studio: Workspace) -> None:
    render(studio)
    add_training_images(studio, OTHERS)
    before = tree_digest(studio.root)
    answer = invoke(["eval", "metrics", LORA, "r1", "--dry-run", "--json"], studio.root)
    assert answer.document["data"]["metrics"]["trainingImages"] == 3
    assert answer.document["data"]["changed"] is True
    assert tree_digest(studio.root) == before


def test_check_finds_a_value_that_was_typed_and_sealed(studio: Workspace) -> None:
    add_training_images(studio, OTHERS)
    render(studio)
    loaded = grid_of(studio)
    document = json.loads(loaded.path.read_text())
    document["metrics"]["lookAlike"]["similarity"] = 0.011
    document["resultDigest"] = result_digest(Evaluation.from_dict(document))
    loaded.path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    answer = invoke(["eval", "metrics", LORA, "r1", "--check"], studio.root)
    assert answer.exit_code == 1
    assert "recorded 0.011" in answer.stdout
    assert json.loads(loaded.path.read_text()) == document


@pytest.mark.slow
def test_check_of_what_is_right_exits_with_0(studio: Workspace) -> None:
    add_training_images(studio, OTHERS)
    render(studio)
    answer = invoke(["eval", "metrics", LORA, "r1", "--check"], studio.root)
    assert answer.exit_code == 0
    assert "as recorded" in answer.stdout


@pytest.mark.slow
def test_an_edited_record_is_not_measured_over(studio: Workspace) -> None:
    render(studio)
    loaded = grid_of(studio)
    loaded.path.write_text(loaded.path.read_text().replace('"monotone": true', '"monotone": false'))
    answer = invoke(["eval", "metrics", LORA, "r1", "--json"], studio.root)
    assert answer.exit_code == 3
    assert answer.document["error"]["code"] == "record_invalid"
    assert "result digest" in answer.document["error"]["message"]


@pytest.mark.slow
def test_an_unfinished_grid_is_not_measured(studio: Workspace) -> None:
    render(studio, limit=3)
    answer = invoke(["eval", "metrics", LORA, "r1", "--json"], studio.root)
    assert answer.exit_code == 3
    assert answer.document["error"]["code"] == "evaluation_incomplete"
    assert answer.document["error"]["hint"] == "lora eval grid ui_icons r1"


@pytest.mark.slow
def test_an_image_that_is_not_in_the_store_is_an_error(studio: Workspace) -> None:
    render(studio)
    store = open_store(studio)
    for cell in grid_of(studio).record.cells:
        store.path(cell.image_sha256).unlink(missing_ok=True)
    before = files_below(studio.data_root)
    for cached in (studio.runtime / "cache").glob("picture-colours-*"):
        cached.unlink()
    answer = invoke(["eval", "metrics", LORA, "r1", "--json"], studio.root)
    assert answer.exit_code == 3
    assert answer.document["error"]["code"] == "file_missing"
    assert files_below(studio.data_root) == before


@pytest.mark.parametrize(
    ("variable", "name", "reason"),
    [
        ("LORA_CLIP_MODEL", "clipText", "is no folder of a model"),
        ("LORA_DINO_MODEL", "dino", "is no DINOv2 model: it states the type 'clip'"),
        ("LORA_LPIPS_MODEL", "lpipsVariety", "there is no nothing.safetensors on this machine"),
    ],
)
@pytest.mark.train
@pytest.mark.slow
def test_a_model_that_is_none_proves_nothing(
    studio: Workspace, monkeypatch: pytest.MonkeyPatch, variable: str, name: str, reason: str
) -> None:
    pytest.importorskip("transformers")
    (studio.root / "empty").mkdir()
    (studio.root / "other").mkdir()
    (studio.root / "other" / "config.json").write_text('{"model_type": "clip"}')
    given = {"clipText": "empty", "dino": "other"}.get(name, "nothing.safetensors")
    render(studio)
    monkeypatch.setenv(variable, str(studio.root / given))
    answer = invoke(["eval", "metrics", LORA, "r1", "--json"], studio.root)
    assert answer.exit_code == 0
    assert reason in answer.document["data"]["metrics"]["notProven"][name]


@pytest.mark.train
@pytest.mark.slow
def test_models_say_what_they_see_with_their_digests(
    studio: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    models = studio.root / "models"
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("LORA_CLIP_MODEL", str(metric_builders.make_tiny_clip(models / "clip")))
    monkeypatch.setenv("LORA_DINO_MODEL", str(metric_builders.make_tiny_dino(models / "dino")))
    monkeypatch.setenv(
        "LORA_LPIPS_MODEL", str(metric_builders.make_tiny_lpips(models / "alex.safetensors"))
    )
    monkeypatch.setenv(
        "LORA_COPY_MODEL", str(metric_builders.make_tiny_copy_model(models / "sscd.pt"))
    )
    render(studio)
    cell_id, pixels = pixels_of(studio, 2)
    add_training_images(studio, {**OTHERS, "COPIED": pixels})
    answer = invoke(["eval", "metrics", LORA, "r1", "--json"], studio.root)
    metrics = answer.document["data"]["metrics"]
    assert metrics["copies"]["cellId"] == cell_id
    assert metrics["copies"]["assetId"] == "COPIED"
    assert metrics["copySimilarityMax"] == metrics["copies"]["similarity"] == pytest.approx(1.0)
    assert metrics["clipText"]["encoder"]["digest"] == metrics["clipImage"]["encoder"]["digest"]
    assert "transformers" in metrics["dino"]["encoder"]["version"]
    assert metrics["lpipsVariety"]["pairs"] == 1
    assert "notProven" not in metrics
