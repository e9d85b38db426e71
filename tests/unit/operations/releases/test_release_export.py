"""A release leaves with its passport: the same tensors, nothing that leaks, the same file again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace

from lora_pipeline.foundation.digests import sha256_of_file
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    DigestMismatchError,
    FileMissingError,
    PipelineError,
)
from lora_pipeline.foundation.schemas import require_valid
from lora_pipeline.operations.releases.release_export import export_release
from lora_pipeline.operations.releases.release_register import register_release
from lora_pipeline.operations.training.weights import inspect_weights_file
from lora_pipeline.releases.passport import KEY, passport_in
from lora_pipeline.releases.records import Lora
from lora_pipeline.training.weights.inspection import inspect_weights
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import open_store
from tests.support.dataset_builders import PROJECT
from tests.support.fake_trainer import MODULE, SIZE
from tests.support.training_builders import DATASET, LORA, training_studio, write_lora
from tests.support.workspace_builders import reopen, tree_digest

SCOPE = Scope(PROJECT)
LEAKING = {
    "ss_tag_frequency": '{"hero": {"unreleased hero": 3}}',
    "notes": "for the trailer of the game that nobody knows of",
    "ss_network_dim": "4",
    "format": "pt",
    "modelspec.title": "final_v3_real",
    "modelspec.prediction_type": "epsilon",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A studio with one release, made of a file whose header tells too much."""
    folder = tmp_path_factory.mktemp("export")
    workspace = training_studio(folder / "studio", git=False)
    path = write_lora(folder / "w.safetensors", modules={MODULE: (SIZE, SIZE)}, metadata=LEAKING)
    register_release(workspace, LORA, str(path), dataset=DATASET)
    return workspace.root


@pytest.fixture
def workspace(made: Path, tmp_path: Path) -> Workspace:
    import shutil

    return reopen(Path(shutil.copytree(made, tmp_path / "studio")))


def release_of(workspace: Workspace) -> dict[str, str]:
    weights = workspace.records.read(Lora, SCOPE, LORA).record.releases[0].weights
    assert weights is not None
    return {"sha256": weights.sha256, "tensor": weights.tensor_sha256}


def test_the_copy_has_the_tensors_of_the_stored_object_which_is_not_touched(
    workspace: Workspace, tmp_path: Path
) -> None:
    stored = release_of(workspace)
    before = tree_digest(workspace.root)
    target = tmp_path / "out" / "icons.safetensors"

    data = export_release(workspace, LORA, "r1", output=str(target)).data

    report = inspect_weights(target)
    assert report.tensor_sha256 == data["tensorSha256"] == stored["tensor"]
    assert report.sha256 == data["sha256"] != stored["sha256"]
    assert data["storedSha256"] == stored["sha256"]
    assert tree_digest(workspace.root) == before
    assert open_store(workspace).open_path(stored["sha256"]).is_file()
    assert report.problems == ()


def test_the_header_tells_what_its_user_needs_in_the_words_of_modelspec(
    workspace: Workspace, tmp_path: Path
) -> None:
    target = tmp_path / "icons.safetensors"

    export_release(workspace, LORA, "r1", output=str(target))

    report = inspect_weights(target)
    told = report.metadata
    assert told["modelspec.sai_model_spec"] == "1.0.1"
    assert told["modelspec.architecture"] == "stable-diffusion-v1/lora"
    assert told["modelspec.trigger_phrase"] == "flt"
    assert told["modelspec.hash_sha256"] == f"0x{report.tensor_sha256}"
    assert told["modelspec.prediction_type"] == "epsilon"
    assert "strength 0.9" in told["modelspec.usage_hint"]
    assert told["modelspec.license"].startswith("base model: CC0-1.0; images: ")
    assert told["ss_output_name"] == "icons-r1"
    passport = passport_in(told)
    assert passport is not None
    assert passport.training.manifest_hash.startswith("sha256:")
    assert passport.checkpoint.digest.startswith("sha256:")
    assert passport.checkpoint.commercial_loras == "yes"


def test_what_the_trainer_told_too_much_is_left_out(workspace: Workspace, tmp_path: Path) -> None:
    target = tmp_path / "icons.safetensors"

    result = export_release(workspace, LORA, "r1", output=str(target))

    told = inspect_weights(target).metadata
    assert result.data["removed"] == ["notes", "ss_tag_frequency"]
    assert inspect_weights(target).leaks == ()
    assert told["ss_network_dim"] == "4"
    assert told["format"] == "pt"
    assert "final_v3_real" not in told["modelspec.title"]
    assert str(workspace.root).encode() not in target.read_bytes()


def test_the_side_car_says_the_same_and_names_the_file(
    workspace: Workspace, tmp_path: Path
) -> None:
    target = tmp_path / "icons.safetensors"

    export_release(workspace, LORA, "r1", output=str(target))

    beside = json.loads((tmp_path / "icons.passport.json").read_bytes())
    require_valid(beside, "passport/v1", "icons.passport.json")
    assert beside.pop("file") == {
        "name": "icons.safetensors",
        "bytes": target.stat().st_size,
        "sha256": sha256_of_file(target),
    }
    assert beside == json.loads(inspect_weights(target).metadata[KEY])


def test_exported_again_it_is_the_same_file_and_nothing_is_written(
    workspace: Workspace, tmp_path: Path
) -> None:
    first, second = tmp_path / "a" / "x.safetensors", tmp_path / "b" / "x.safetensors"
    export_release(workspace, LORA, "r1", output=str(first))
    stamp = first.stat().st_mtime_ns

    export_release(reopen(workspace.root), LORA, "r1", output=str(second))
    again = export_release(workspace, LORA, "r1", output=str(first))

    assert first.read_bytes() == second.read_bytes()
    assert first.with_name("x.passport.json").read_bytes() == (
        second.with_name("x.passport.json").read_bytes()
    )
    assert again.data["unchanged"]
    assert first.stat().st_mtime_ns == stamp


def test_killed_between_both_files_the_same_command_writes_the_second(
    workspace: Workspace, tmp_path: Path
) -> None:
    target = tmp_path / "x.safetensors"
    export_release(workspace, LORA, "r1", output=str(target))
    beside = target.with_name("x.passport.json")
    expected = beside.read_bytes()
    beside.unlink()

    export_release(workspace, LORA, "r1", output=str(target))

    assert beside.read_bytes() == expected


@pytest.mark.parametrize("name", ["x.safetensors", "x.passport.json"])
def test_nothing_else_is_written_over(name: str, workspace: Workspace, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"somebody's")

    with pytest.raises(ArgumentInvalidError, match="something else"):
        export_release(workspace, LORA, "r1", output=str(tmp_path / "x.safetensors"))

    assert sorted(one.name for one in tmp_path.iterdir()) == sorted([name, "studio", "studio-base"]
        if (tmp_path / "studio-base").exists() else [name, "studio"])  # fmt: skip
    assert (tmp_path / name).read_bytes() == b"somebody's"


def test_a_dry_run_knows_the_digest_and_writes_nothing(
    workspace: Workspace, tmp_path: Path
) -> None:
    target = tmp_path / "x.safetensors"

    tried = export_release(reopen(workspace.root, dry_run=True), LORA, "r1", output=str(target))

    assert tried.dry_run
    assert not target.exists()
    done = export_release(workspace, LORA, "r1", output=str(target))
    assert done.data["sha256"] == tried.data["sha256"]


def test_a_candidate_is_said_to_be_one(workspace: Workspace, tmp_path: Path) -> None:
    result = export_release(workspace, LORA, "r1", output=str(tmp_path / "x.safetensors"))

    assert "r1 is a candidate: the gate has not passed it" in result.warnings


def test_a_deprecated_release_is_not_handed_over(workspace: Workspace, tmp_path: Path) -> None:
    loaded = workspace.records.read(Lora, SCOPE, LORA)
    gone = replace(loaded.record.releases[0], status="deprecated")
    changes = Changes(workspace)
    changes.update(loaded, replace(loaded.record, releases=(gone,)))
    changes.apply()

    result = export_release(workspace, LORA, "r1", output=str(tmp_path / "x.safetensors"))

    assert result.refusal is not None
    assert result.refusal.code == "release_deprecated"
    assert not (tmp_path / "x.safetensors").exists()


def damaged(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("harm", "kind"), [(Path.unlink, FileMissingError), (damaged, DigestMismatchError)]
)
def test_weights_that_are_gone_or_damaged_are_not_handed_over(
    harm: object, kind: type[PipelineError], workspace: Workspace, tmp_path: Path
) -> None:
    stored = open_store(workspace).path(release_of(workspace)["sha256"])
    assert callable(harm)
    harm(stored)

    with pytest.raises(kind):
        export_release(workspace, LORA, "r1", output=str(tmp_path / "x.safetensors"))

    assert not (tmp_path / "x.safetensors").exists()


def test_inspection_knows_the_release_again(workspace: Workspace, tmp_path: Path) -> None:
    target = tmp_path / "x.safetensors"
    export_release(workspace, LORA, "r1", output=str(target))

    data = inspect_weights_file(workspace, str(target)).data

    assert data["releases"] == [
        {"loraId": LORA, "releaseId": "r1", "projectId": PROJECT, "same": "tensors"}
    ]
    assert data["passport"]["triggerWord"] == "flt"


def test_a_passport_on_other_weights_is_told(workspace: Workspace, tmp_path: Path) -> None:
    target = tmp_path / "x.safetensors"
    export_release(workspace, LORA, "r1", output=str(target))
    texts = {KEY: inspect_weights(target).metadata[KEY]}
    forged = write_lora(tmp_path / "forged.safetensors", rank=2, metadata=texts)

    result = inspect_weights_file(workspace, str(forged))

    assert any("it does not belong to it" in warning for warning in result.warnings)
