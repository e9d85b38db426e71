"""The text of a file shows all that can differ, steers no terminal and never fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_pipeline.operations.workspace import git_text
from lora_pipeline.operations.workspace.git_text import text_of_file
from lora_pipeline.workspace.record_bytes import encode_record
from tests.support.dataset_builders import item, manifest
from tests.support.training_builders import write_lora

VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "items", "tags", "a"]), inner, max_size=3)
    ),
    max_leaves=8,
)


def text_of(data: bytes, folder: Path) -> str:
    path = folder / "file.json"
    path.write_bytes(data)
    return text_of_file(path)


def test_a_manifest_is_told_by_its_rule_and_its_images(tmp_path: Path) -> None:
    record = manifest(item("A", license="CC0-1.0", path="x/a.png"), item("B", split="held_out"))

    lines = text_of(encode_record(record, "icons.json"), tmp_path).splitlines()

    assert lines[0] == "images = 2"
    assert "captionRule.strategy = tags" in lines
    assert "selection.status = approved" in lines
    at = lines.index("image A  x/a.png")
    assert lines[at + 1] == "    caption  red, circle"
    assert lines[at + 2] == "    tags     color:red shape:circle"
    assert lines[at + 3].startswith("    image    64 x 64, 100 bytes, sha256 559aead08264d579 ")
    assert lines[at + 4].startswith("    is       train, CC0-1.0, ")
    assert any(line.startswith("    is       held_out, ") for line in lines)


def test_lists_of_things_are_told_by_their_ids(tmp_path: Path) -> None:
    document = {"groups": [{"id": "style", "tags": [{"id": "style:flat", "label": "Flat"}]}]}

    text = text_of(json.dumps(document).encode(), tmp_path)

    assert "groups[style].tags[style:flat].label = Flat\n" in text


@given(VALUES, VALUES)
def test_files_that_differ_have_texts_that_differ(
    tmp_path_factory: pytest.TempPathFactory, one: Any, other: Any
) -> None:
    folder = tmp_path_factory.mktemp("texts")
    first, second = (json.dumps({"x": value}).encode() for value in (one, other))

    assert (text_of(first, folder) == text_of(second, folder)) == (first == second)


@given(st.binary(max_size=200))
def test_any_bytes_become_text_that_steers_no_terminal(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    text = text_of(data, tmp_path_factory.mktemp("bytes"))

    assert text.endswith("\n")
    assert all(character.isprintable() or character == "\n" for character in text)


def test_weights_are_told_by_what_they_are(tmp_path: Path) -> None:
    path = write_lora(tmp_path / "a.safetensors", rank=4, metadata={"ss_network_dim": "4"})

    lines = text_of_file(path).splitlines()

    assert lines[0].startswith("weights  lora, ")
    assert any(line.startswith("rank     4 (") for line in lines)
    assert "metadata ss_network_dim = 4" in lines
    assert any(line.startswith("tensors  sha256:") for line in lines)


def test_of_huge_weights_only_the_header_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_lora(tmp_path / "a.safetensors", metadata={"note": "x"})
    monkeypatch.setattr(git_text, "MOST_WEIGHTS_BYTES", 100)

    text = text_of_file(path)

    assert "too many to read here" in text
    assert "metadata note = x" in text


def test_long_metadata_is_cut_with_its_length(tmp_path: Path) -> None:
    path = write_lora(tmp_path / "a.safetensors", metadata={"tags": "x" * 5000})

    assert f"metadata tags = {'x' * 300}… (5000)\n" in text_of_file(path)


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", "no record: file.json is not JSON"),
        (b"<html>", "cannot be shown: file.json is a web page"),
        (b"PK\x03\x04" + bytes(20), "cannot be shown: file.json is a zip archive"),
        (b"{", "no record: file.json is not JSON"),
        (
            b"{\n<<<<<<< HEAD\n=======\n>>>>>>> b\n}",
            "no record: file.json holds an unresolved merge",
        ),
    ],
)
def test_what_is_broken_is_said_in_one_line(tmp_path: Path, data: bytes, line: str) -> None:
    assert text_of(data, tmp_path).splitlines()[0].startswith(line)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    assert text_of_file(tmp_path / "gone").startswith("cannot be shown: ")
