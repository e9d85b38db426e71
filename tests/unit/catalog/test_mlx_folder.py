"""Folders that mflux-save wrote: known by what they say, refused when a part is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.catalog.architecture import architecture_of_mlx
from lora_pipeline.catalog.checkpoints import digest_checkpoint, list_files
from lora_pipeline.catalog.mlx_folder import read_mlx_folder
from lora_pipeline.foundation.errors import WeightsRefusedError
from lora_pipeline.foundation.events import discard
from tests.support.mlx_folders import TENSORS, write_mlx_folder


@pytest.mark.parametrize("architecture", TENSORS)
@pytest.mark.parametrize("bits", [None, 4])
def test_a_folder_says_its_bits_and_its_names_say_what_it_is(
    architecture: str, bits: int | None, tmp_path: Path
) -> None:
    found = read_mlx_folder(write_mlx_folder(tmp_path / "m", architecture, bits=bits))
    assert found is not None
    assert (found.version, found.bits) == ("0.24.0", bits)
    assert architecture_of_mlx(found.tensors) == architecture


def test_names_of_another_model_say_nothing() -> None:
    assert architecture_of_mlx(["transformer_blocks.0.attn.to_q.weight", "img_in.weight"]) is None


def test_every_file_is_in_the_digest_and_hidden_ones_are_not(tmp_path: Path) -> None:
    folder = write_mlx_folder(tmp_path / "m")
    before = digest_checkpoint(list_files(folder), discard)
    (folder / ".DS_Store").write_bytes(b"mac")
    assert digest_checkpoint(list_files(folder), discard) == before
    with (folder / "vae" / "0.safetensors").open("ab") as stream:
        stream.write(b"\0")
    assert digest_checkpoint(list_files(folder), discard).digest != before.digest


def change_index(folder: Path, **metadata: Any) -> None:
    path = folder / "transformer" / "model.safetensors.index.json"
    document = json.loads(path.read_bytes())
    document["metadata"] |= metadata
    path.write_text(json.dumps(document))


def test_an_index_of_another_program_is_none_of_mflux(tmp_path: Path) -> None:
    folder = write_mlx_folder(tmp_path / "m")
    change_index(folder, mflux_version=None)
    assert read_mlx_folder(folder) is None
    with pytest.raises(WeightsRefusedError, match=r"model_index\.json, and mflux-save did not"):
        list_files(folder)


@pytest.mark.parametrize(
    ("part", "words"),
    [("transformer", "transformer/0.safetensors is missing"), ("vae", "vae/0.safetensors is")],
)
def test_a_part_that_is_missing_is_named(part: str, words: str, tmp_path: Path) -> None:
    folder = write_mlx_folder(tmp_path / "m")
    (folder / part / "0.safetensors").unlink()
    with pytest.raises(WeightsRefusedError, match=words):
        list_files(folder)


@pytest.mark.parametrize("text", ["{", "[]", '{"metadata": {"mflux_version": "1"}}'])
def test_an_index_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    folder = write_mlx_folder(tmp_path / "m")
    (folder / "transformer" / "model.safetensors.index.json").write_text(text)
    with pytest.raises(WeightsRefusedError):
        list_files(folder)


def test_an_index_names_no_file_elsewhere(tmp_path: Path) -> None:
    folder = write_mlx_folder(tmp_path / "m")
    path = folder / "transformer" / "model.safetensors.index.json"
    (tmp_path / "elsewhere.safetensors").write_bytes(b"")
    document = json.loads(path.read_bytes())
    document["weight_map"]["x"] = "../../elsewhere.safetensors"
    path.write_text(json.dumps(document))
    with pytest.raises(WeightsRefusedError, match="is missing"):
        list_files(folder)


def test_bits_that_are_no_number_are_refused(tmp_path: Path) -> None:
    folder = write_mlx_folder(tmp_path / "m")
    change_index(folder, quantization_level="four")
    with pytest.raises(WeightsRefusedError, match="'four', which is no number of bits"):
        list_files(folder)
