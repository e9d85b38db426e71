from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from lora_pipeline.catalog.records import Weights
from lora_pipeline.catalog.weight_files import weights_path
from lora_pipeline.foundation.errors import (
    DigestMismatchError,
    FileMissingError,
    PipelineError,
    RecordInvalidError,
    SettingsError,
    UnsafePathError,
)
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.settings import read_settings
from lora_pipeline.workspace.store import open_store
from tests.support.store_builders import put_bytes

BYTES = b"tensors"
SHA256 = hashlib.sha256(BYTES).hexdigest()


def workspace_at(root: Path, **environment: str) -> Workspace:
    return Workspace(root=root, settings=read_settings(root, environment))


def test_an_object_of_the_store_is_found_by_its_digest(tmp_path: Path) -> None:
    workspace = workspace_at(tmp_path)
    put_bytes(open_store(workspace), BYTES)
    path = weights_path(workspace, Weights(kind="store", sha256=SHA256))
    assert path.read_bytes() == BYTES


def test_a_path_of_the_repository_is_found_below_its_root(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.safetensors").write_bytes(BYTES)
    weights = Weights(kind="repo_relative", path="models/a.safetensors", sha256=SHA256)
    assert weights_path(workspace_at(tmp_path), weights).read_bytes() == BYTES


def test_a_path_below_a_configured_root_is_found_there(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.safetensors").write_bytes(BYTES)
    workspace = workspace_at(tmp_path / "work", LORA_LORAS_ROOT=str(tmp_path / "elsewhere"))
    weights = Weights(kind="config_relative", base="lorasRoot", path="a.safetensors")
    assert weights_path(workspace, weights).read_bytes() == BYTES


def test_a_folder_is_found_and_its_digest_left_to_the_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    weights = Weights(kind="absolute", path=str(tmp_path / "base"))
    assert weights_path(workspace_at(tmp_path), weights) == tmp_path / "base"


def test_a_digest_of_sixteen_digits_from_an_older_repository_is_enough(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(BYTES)
    weights = Weights(kind="repo_relative", path="a.safetensors", sha256=SHA256[:16])
    assert weights_path(workspace_at(tmp_path), weights).is_file()


@pytest.mark.parametrize("recorded", ["0" * 64, SHA256[:8]])
def test_a_file_that_is_not_the_recorded_one_is_refused(tmp_path: Path, recorded: str) -> None:
    (tmp_path / "a.safetensors").write_bytes(BYTES)
    weights = Weights(kind="repo_relative", path="a.safetensors", sha256=recorded)
    with pytest.raises(DigestMismatchError, match=r"icons r2: a\.safetensors is not the file"):
        weights_path(workspace_at(tmp_path), weights, name="icons r2")


def test_the_digest_is_left_alone_when_the_caller_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(BYTES)
    weights = Weights(kind="repo_relative", path="a.safetensors", sha256="0" * 64)
    assert weights_path(workspace_at(tmp_path), weights, check_digest=False).is_file()


@pytest.mark.parametrize(
    ("weights", "error", "words"),
    [
        (Weights(kind="store"), RecordInvalidError, "need sha256"),
        (Weights(kind="repo_relative"), RecordInvalidError, "need path"),
        (Weights(kind="config_relative", path="a"), RecordInvalidError, "need base"),
        (Weights(kind="external"), RecordInvalidError, "need uri"),
        (Weights(kind="absolute", path="a/b"), RecordInvalidError, "no absolute path"),
        (Weights(kind="store", sha256=SHA256), FileMissingError, "nothing at .lora/store"),
        (Weights(kind="repo_relative", path="a.safetensors"), FileMissingError, "nothing at a"),
        (Weights(kind="repo_relative", path="../a"), UnsafePathError, "'../a'"),
        (Weights(kind="external", uri="https://x/y"), FileMissingError, "https://x/y"),
        (
            Weights(kind="config_relative", base="modelsRoot", path="a"),
            SettingsError,
            "paths.modelsRoot is not set",
        ),
    ],
)
def test_what_cannot_be_found_says_which_rule_and_what_next(
    tmp_path: Path, weights: Weights, error: type[PipelineError], words: str
) -> None:
    with pytest.raises(error) as caught:
        weights_path(workspace_at(tmp_path), weights)
    assert words in caught.value.message
    assert caught.value.hint is not None or error in {RecordInvalidError, UnsafePathError}


def test_a_link_that_leads_out_of_the_root_is_refused(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "secret").write_bytes(BYTES)
    (tmp_path / "work" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(UnsafePathError):
        weights_path(workspace_at(tmp_path / "work"), Weights(kind="repo_relative", path="link"))
