from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from lora_pipeline.catalog.checkpoints import (
    companion_of,
    digest_checkpoint,
    list_files,
    read_config,
    reference_to,
)
from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    FileMissingError,
    JsonInvalidError,
    WeightsRefusedError,
)
from lora_pipeline.foundation.events import Event, discard
from tests.support.workspace_builders import make_workspace, reopen


def make_model(folder: Path, **more: bytes) -> Path:
    files = {
        "model_index.json": b'{"_class_name": "StableDiffusionPipeline"}',
        "unet/config.json": b'{"sample_size": 8}',
        "unet/diffusion_pytorch_model.safetensors": b"weights",
        **more,
    }
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def digest(path: Path) -> str:
    return digest_checkpoint(list_files(path), discard).digest


def test_digest_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"abc")

    found = digest_checkpoint(list_files(path), discard)

    assert found.sha256 == hashlib.sha256(b"abc").hexdigest()
    assert found.digest == f"sha256:{found.sha256}"
    assert found.bytes == 3


def test_digest_of_a_folder_is_that_of_its_sorted_names_and_digests(tmp_path: Path) -> None:
    model = make_model(tmp_path / "m")
    pairs = [
        [name, hashlib.sha256((model / name).read_bytes()).hexdigest()]
        for name in (
            "model_index.json", "unet/config.json", "unet/diffusion_pytorch_model.safetensors",
        )
    ]  # fmt: skip

    assert digest(model) == digest_of(pairs)


def test_digest_is_unchanged_when_the_folder_moves_and_hidden_files_come(tmp_path: Path) -> None:
    before = digest(make_model(tmp_path / "m"))
    moved = Path(shutil.move(tmp_path / "m", tmp_path / "elsewhere"))
    make_model(moved, **{".DS_Store": b"x", ".cache/huggingface/x.json": b"{}"})

    assert digest(moved) == before


@pytest.mark.parametrize("name", ["unet/diffusion_pytorch_model.safetensors", "unet/config.json"])
def test_digest_changes_with_every_byte_and_name(tmp_path: Path, name: str) -> None:
    model = make_model(tmp_path / "m")
    before = digest(model)
    (model / name).write_bytes((model / name).read_bytes() + b" ")
    changed = digest(model)
    (model / name).rename(model / "unet/other.json")

    assert len({before, changed, digest(model)}) == 3


def test_links_to_files_are_followed_as_model_hubs_cache_them(tmp_path: Path) -> None:
    model = make_model(tmp_path / "m")
    before = digest(model)
    blob = tmp_path / "blob"
    weights = model / "unet/diffusion_pytorch_model.safetensors"
    weights.rename(blob)
    weights.symlink_to(blob)

    assert digest(model) == before


def test_progress_of_a_folder_is_told(tmp_path: Path) -> None:
    events: list[Event] = []

    digest_checkpoint(list_files(make_model(tmp_path / "m")), events.append)

    assert [(event.step, event.total) for event in events] == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("extension", [".ckpt", ".pt", ".pth", ".bin", ".pkl"])
def test_pickled_model_is_refused(tmp_path: Path, extension: str) -> None:
    path = tmp_path / f"model{extension}"
    path.write_bytes(b"\x80\x04")

    with pytest.raises(WeightsRefusedError, match="can run code when it is read"):
        list_files(path)


def test_folder_with_weights_in_pickles_only_is_refused(tmp_path: Path) -> None:
    model = make_model(tmp_path / "m", **{"text_encoder/pytorch_model.bin": b"\x80\x04"})

    with pytest.raises(WeightsRefusedError, match=r"text_encoder/pytorch_model\.bin is a pickle"):
        list_files(model)


def test_pickle_beside_safetensors_is_named_and_not_read(tmp_path: Path) -> None:
    model = make_model(tmp_path / "m", **{"unet/diffusion_pytorch_model.bin": b"\x80\x04"})

    assert list_files(model).ignored == ("unet/diffusion_pytorch_model.bin",)


def test_folder_without_a_model_index_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"")

    with pytest.raises(WeightsRefusedError, match=r"it has no model_index\.json"):
        list_files(tmp_path)


def test_other_file_is_no_model_and_nothing_is_missing(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")

    with pytest.raises(WeightsRefusedError, match="is no model that is read"):
        list_files(tmp_path / "notes.txt")
    with pytest.raises(FileMissingError, match="no model at"):
        list_files(tmp_path / "nothing")


def test_first_config_that_is_there_is_read(tmp_path: Path) -> None:
    files = list_files(make_model(tmp_path / "m"))

    assert read_config(files, "transformer/config.json", "unet/config.json") == {"sample_size": 8}
    assert read_config(files, "vae/config.json") == {}


def test_config_that_is_no_object_is_refused(tmp_path: Path) -> None:
    files = list_files(make_model(tmp_path / "m", **{"unet/config.json": b"[]"}))

    with pytest.raises(JsonInvalidError, match="must hold one JSON object"):
        read_config(files, "unet/config.json")


def test_reference_means_the_same_on_other_machines_where_it_can(tmp_path: Path) -> None:
    studio, models = tmp_path / "studio", tmp_path / "models"
    make_workspace(studio, git=False)
    (studio / "config/local.json").write_text(json.dumps({"paths": {"modelsRoot": str(models)}}))
    workspace = reopen(studio)
    places = {
        studio / "models/a.safetensors": ("repo_relative", "", "models/a.safetensors"),
        models / "sdxl/b.safetensors": ("config_relative", "modelsRoot", "sdxl/b.safetensors"),
        tmp_path / "c.safetensors": ("absolute", "", str(tmp_path / "c.safetensors")),
    }

    for path, expected in places.items():
        found = reference_to(workspace, path, sha256="1" * 64, size=7)
        assert (found.kind, found.base, found.path) == expected
        assert (found.sha256, found.bytes) == ("1" * 64, 7)


def test_model_in_the_private_folder_of_the_workspace_is_not_in_the_repository(
    tmp_path: Path,
) -> None:
    workspace = make_workspace(tmp_path, git=False)

    found = reference_to(workspace, tmp_path / ".lora/x.safetensors", sha256="", size=0)

    assert found.kind == "absolute"


@pytest.mark.parametrize("text", ["ae", "=path", "ae=", ""])
def test_companion_must_have_a_name_and_a_path(text: str) -> None:
    with pytest.raises(ArgumentInvalidError, match="NAME=PATH"):
        companion_of(text)


def test_companion_path_may_hold_an_equals_sign() -> None:
    assert companion_of("ae=/models/a=b.safetensors") == ("ae", "/models/a=b.safetensors")
