"""Folders of captions, and tokenizers as checkpoints bring them, for the tests of captions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from lora_pipeline.catalog.records import Checkpoint, Weights
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import SHARED
from lora_pipeline.workspace.root import Workspace
from tests.support.dataset_builders import TIME

START, END = "<|startoftext|>", "<|endoftext|>"


def caption_folder(folder: Path, captions: Mapping[str, bytes | None]) -> Path:
    """Write an image ``<stem>.png`` for each name, and its text file unless that is None."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem, data in captions.items():
        Image.new("RGB", (8, 8), "#336699").save(folder / f"{stem}.png")
        if data is not None:
            (folder / f"{stem}.txt").write_bytes(data)
    return folder


def clip_tokenizer(folder: Path, *, merges: Sequence[tuple[str, str]] = ()) -> Path:
    """Write a tokenizer of CLIP in two files: a token for each byte, and those of ``merges``."""
    folder.mkdir(parents=True, exist_ok=True)
    letters = _letters()
    tokens = [*letters, *(f"{one}</w>" for one in letters)]
    tokens += ["".join(pair) for pair in merges] + [START, END]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), "utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


def add_checkpoint(
    workspace: Workspace, checkpoint_id: str, architecture: str, *, path: str = "models/base"
) -> Checkpoint:
    """Write the record of a base model, whose folder would stand at ``path`` in the workspace."""
    record = Checkpoint(
        id=checkpoint_id,
        name=checkpoint_id,
        created_at=TIME,
        updated_at=TIME,
        supported_asset_types=("ui_icon",),
        architecture=architecture,
        digest=f"sha256:{'0' * 64}",
        weights=Weights(kind="repo_relative", path=path),
    )
    changes = Changes(workspace)
    changes.create(record, SHARED, checkpoint_id)
    changes.apply()
    return record


def _letters() -> list[str]:
    """Return the printable letter that byte-level tokenizers write for each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    shown = {byte: chr(byte) for byte in printable}
    shown |= {byte: chr(256 + place) for place, byte in enumerate(others)}
    return [shown[byte] for byte in range(256)]
