"""Weights made elsewhere become a candidate only after the checks that ours pass."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from lora_pipeline.catalog.records import Checkpoint, Weights
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    FileMissingError,
    PipelineError,
    RecipeInvalidError,
    WeightsRefusedError,
)
from lora_pipeline.operations.releases.release_register import register_release
from lora_pipeline.operations.training.train import train
from lora_pipeline.releases.records import Lora, Release
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import open_store
from tests.support.dataset_builders import PROJECT
from tests.support.fake_trainer import MODULE, SIZE
from tests.support.training_builders import (
    BASE,
    DATASET,
    LORA,
    lora_tensors,
    safetensors_bytes,
    training_studio,
    write_lora,
)
from tests.support.workspace_builders import reopen, tree_digest

SCOPE = Scope(PROJECT)
FITS = {MODULE: (SIZE, SIZE)}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return training_studio(tmp_path / "studio", git=False)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Weights that fit the base model."""
    return write_lora(tmp_path / "made.safetensors", modules=FITS)


def only_release(workspace: Workspace) -> Release:
    (release,) = workspace.records.read(Lora, SCOPE, LORA).record.releases
    return release


def refused(workspace: Workspace, path: Path, kind: type[PipelineError], **options: Any) -> str:
    """Try to register, and check that nothing at all was written."""
    before = tree_digest(workspace.root)
    with pytest.raises(kind) as caught:
        register_release(workspace, LORA, str(path), **options)
    assert tree_digest(workspace.root) == before
    return caught.value.message


def test_registered_weights_are_a_candidate_with_both_digests_in_the_store(
    workspace: Workspace, made: Path
) -> None:
    result = register_release(workspace, LORA, str(made), dataset=DATASET, notes="from the cloud")

    release = only_release(workspace)
    assert release.weights is not None
    assert release.status == "candidate"
    assert release.notes == "from the cloud"
    assert open_store(workspace).open_path(release.weights.sha256).read_bytes() == made.read_bytes()
    assert len(release.weights.tensor_sha256) == 64
    assert release.training["trainer"] == "manual"
    assert release.training["datasetId"] == DATASET
    assert release.training["manifestHash"].startswith("sha256:")
    assert release.training["checkpointDigest"].startswith("sha256:")
    assert "runId" not in release.training
    assert result.written == ["data/projects/neon_city/loras/icons.json"]


def test_without_a_dataset_it_is_said_that_the_gate_cannot_pass(
    workspace: Workspace, made: Path
) -> None:
    result = register_release(workspace, LORA, str(made))

    assert any("no dataset is named" in warning for warning in result.warnings)


def test_train_with_trainer_manual_is_the_same(workspace: Workspace, made: Path) -> None:
    train(workspace, LORA, DATASET, trainer="manual", weights=str(made), steps=900, rank=4)

    release = only_release(workspace)
    assert release.training["trainer"] == "manual"
    assert release.training["recipe"] == {"steps": 900, "rank": 4}


def test_a_declared_recipe_is_checked(workspace: Workspace, made: Path) -> None:
    message = refused(workspace, made, RecipeInvalidError, config={"rank": 0})

    assert "rank must be at least 1" in message


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("nan", {"up": math.nan}, "NaN or infinite"),
        ("zero", {"up": 0.0}, "every up matrix is zero"),
        ("elsewhere", {"modules": {"unet.mid_block.x": (8, 8)}}, "does not fit checkpoint tiny"),
        ("size", {"modules": {MODULE: (16, 8)}}, "another size"),
        (
            "flux",
            {"modules": {"transformer.single_transformer_blocks.0.proj_mlp": (8, 32)}},
            "does not fit checkpoint tiny",
        ),
    ],
)
def test_unusable_weights_are_refused_and_nothing_is_written(
    name: str, options: dict[str, Any], words: str, workspace: Workspace, tmp_path: Path
) -> None:
    path = write_lora(tmp_path / f"{name}.safetensors", **{"modules": FITS, **options})

    assert words in refused(workspace, path, WeightsRefusedError)


@pytest.mark.parametrize(
    ("name", "data", "kind", "words"),
    [
        ("a.ckpt", b"anything", WeightsRefusedError, "pickle by its name"),
        ("a.safetensors", b"PK\x03\x04data", WeightsRefusedError, "zip archive"),
        ("b.safetensors", b"version https://git-lfs", WeightsRefusedError, "Git LFS pointer"),
        ("c.safetensors", b"", WeightsRefusedError, "empty"),
    ],
)
def test_other_files_are_refused_by_what_they_are(
    name: str,
    data: bytes,
    kind: type[PipelineError],
    words: str,
    workspace: Workspace,
    tmp_path: Path,
) -> None:
    path = tmp_path / name
    path.write_bytes(data)

    assert words in refused(workspace, path, kind)


def test_a_file_that_is_not_there_is_said(workspace: Workspace, tmp_path: Path) -> None:
    assert "no file" in refused(workspace, tmp_path / "none.safetensors", FileMissingError)
    assert "is a folder" in refused(workspace, tmp_path, FileMissingError)


def test_a_release_is_never_written_over(workspace: Workspace, made: Path) -> None:
    register_release(workspace, LORA, str(made), release="gold")

    assert "has a release gold already" in refused(
        workspace, made, ArgumentInvalidError, release="gold"
    )


def test_the_same_weights_again_are_said_to_be_the_same(workspace: Workspace, made: Path) -> None:
    register_release(workspace, LORA, str(made))

    result = register_release(workspace, LORA, str(made))

    assert "r1 has the very same weights" in result.warnings


def test_metadata_that_leaks_is_said(workspace: Workspace, tmp_path: Path) -> None:
    path = write_lora(tmp_path / "w.safetensors", modules=FITS, metadata={"ss_tag_frequency": "{}"})

    result = register_release(workspace, LORA, str(path))

    assert any("lora weights scrub" in warning for warning in result.warnings)


def test_without_the_base_model_here_the_architecture_is_compared(
    workspace: Workspace, made: Path, tmp_path: Path
) -> None:
    loaded = workspace.records.read(Checkpoint, SCOPE, BASE)
    changes = Changes(workspace)
    elsewhere = Weights(kind="absolute", path=str(tmp_path / "not" / "here"))
    changes.update(loaded, replace(loaded.record, weights=elsewhere))
    changes.apply()

    result = register_release(workspace, LORA, str(made))

    assert any("only its architecture was compared" in one for one in result.warnings)
    flux = tmp_path / "flux.safetensors"
    flux.write_bytes(
        safetensors_bytes(lora_tensors({"lora_unet_single_blocks_0_linear1": (8, 56)}))
    )
    assert "is for flux1" in refused(workspace, flux, WeightsRefusedError)


def test_a_dry_run_checks_everything_and_writes_nothing(workspace: Workspace, made: Path) -> None:
    before = tree_digest(workspace.root)

    result = register_release(reopen(workspace.root, dry_run=True), LORA, str(made))

    assert result.dry_run
    assert result.data["releaseId"] == "r1"
    assert tree_digest(workspace.root) == before
