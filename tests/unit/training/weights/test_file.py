"""What is no sound weights file is refused with a word for what it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import FileMissingError, WeightsRefusedError
from lora_pipeline.training.weights.file import (
    MAX_TENSORS,
    encode_header,
    read_header,
    tensor_blocks,
    write_weights,
)
from tests.support.training_builders import (
    float_tensor,
    lora_tensors,
    safetensors_bytes,
    with_header,
)

ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}


def refused(tmp_path: Path, data: bytes) -> str:
    """Return why a file of these bytes is refused."""
    path = tmp_path / "w.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightsRefusedError) as caught:
        read_header(path)
    return caught.value.message


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"1234567", "truncated"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b'{"error":"Invalid username or password."}', "error message"),
        (b"PK\x03\x04archive/data.pkl", "pickled"),
        (b"\x80\x02}q\x00.", "pickle"),
        (b"\x89PNG\r\n\x1a\n0000000000", "picture"),
        (b"GGUF\x03\x00\x00\x00........", "GGUF"),
        ((2**63).to_bytes(8, "little") + b"{}", "truncated"),
        ((100).to_bytes(8, "little") + b"{}", "truncated"),
        (with_header(b"[1, 2]  "), "no safetensors"),
        (with_header(b'  {"a":1}'), "no safetensors"),
    ],
)
def test_what_is_no_weights_file_is_called_by_its_name(
    tmp_path: Path, data: bytes, word: str
) -> None:
    assert word in refused(tmp_path, data)


@pytest.mark.parametrize(
    ("header", "data", "word"),
    [
        ({}, b"", "no tensors"),
        ({"__metadata__": {"a": "b"}}, b"", "no tensors"),
        ({"__metadata__": {"a": 1}, "t": ONE}, bytes(4), "something else than texts"),
        ({"t": {**ONE, "extra": 1}}, bytes(4), "not described"),
        ({"t": {"dtype": "F32"}}, bytes(4), "not described"),
        ({"t": {**ONE, "dtype": "C64"}}, bytes(4), "unknown type"),
        ({"t": {**ONE, "shape": [-1]}}, bytes(4), "impossible"),
        ({"t": {**ONE, "shape": [True]}}, bytes(4), "impossible"),
        ({"t": {**ONE, "data_offsets": [4, 0]}}, bytes(4), "needs 4 bytes"),
        ({"t": {**ONE, "shape": [2]}}, bytes(4), "needs 8 bytes"),
        ({"t": ONE, "u": ONE}, bytes(4), "overlaps"),
        ({"t": {**ONE, "data_offsets": [4, 8]}}, bytes(8), "hole"),
        ({"t": ONE}, bytes(3), "truncated"),
        ({"t": ONE}, bytes(5), "no tensor describes"),
        ({"../../etc/passwd": ONE}, bytes(4), "no name of a tensor"),
        ({"a b": ONE}, bytes(4), "no name of a tensor"),
    ],
)
def test_a_header_that_lies_is_refused(
    tmp_path: Path, header: dict[str, object], data: bytes, word: str
) -> None:
    assert word in refused(tmp_path, with_header(json.dumps(header).encode(), data))


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    one = json.dumps(ONE)

    text = f'{{"t":{one},"t":{one}}}'

    assert "stands twice" in refused(tmp_path, with_header(text.encode(), bytes(4)))


def test_a_header_padded_with_tabs_is_refused(tmp_path: Path) -> None:
    text = json.dumps({"t": ONE}).encode() + b"\t\n"

    assert "padded" in refused(tmp_path, with_header(text, bytes(4)))


def test_too_many_tensors_are_refused(tmp_path: Path) -> None:
    empty = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    header = {f"t{number}": empty for number in range(MAX_TENSORS + 1)}

    assert "tensors, at most" in refused(tmp_path, with_header(json.dumps(header).encode()))


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileMissingError, match="no file"):
        read_header(tmp_path / "none.safetensors")


def test_every_truncation_of_a_file_is_refused(tmp_path: Path) -> None:
    whole = safetensors_bytes(lora_tensors())

    assert all(refused(tmp_path, whole[:length]) for length in range(len(whole)))


def test_blocks_are_the_data_in_order(tmp_path: Path) -> None:
    tensors = lora_tensors()
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors_bytes(tensors))

    header = read_header(path)
    blocks = [block for _, block in tensor_blocks(path, header)]

    assert blocks == [tensor.data for tensor in tensors]


def test_what_is_written_is_read_back_and_by_the_library(tmp_path: Path) -> None:
    import safetensors.numpy

    source, target = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    source.write_bytes(safetensors_bytes([float_tensor("t", (2, 3), 1.5)]))
    header = read_header(source)
    blocks = (block for _, block in tensor_blocks(source, header))

    write_weights(target, header.tensors, {"b": "2", "a": "1"}, blocks)

    assert read_header(target).metadata == {"a": "1", "b": "2"}
    assert safetensors.numpy.load_file(target)["t"].tolist() == [[1.5] * 3] * 2


def test_a_header_is_the_same_whatever_the_order_of_the_metadata(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors_bytes(lora_tensors()))
    tensors = read_header(path).tensors

    one = encode_header(tensors, {"a": "1", "b": "2"})
    other = encode_header(tensors, {"b": "2", "a": "1"})

    assert one == other


@pytest.mark.parametrize("first", [0x3C, 0x50, 0x7B, 0x80, 0x89, 0xFF])
def test_a_header_whose_length_begins_like_another_format_is_a_header(
    first: int, tmp_path: Path
) -> None:
    path = tmp_path / "w.safetensors"
    tensor = {"a.lora_A.weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    header = json.dumps(tensor).encode()
    header += b" " * ((first - len(header)) % 256)
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))

    assert [one.name for one in read_header(path).tensors] == ["a.lora_A.weight"]
