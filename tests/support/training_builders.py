"""Weights files of every kind, sound and broken, written byte by byte."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy

from lora_pipeline.operations.catalog.checkpoint import add_checkpoint
from lora_pipeline.operations.datasets.dataset import build_dataset
from lora_pipeline.operations.releases.lora import create_lora
from lora_pipeline.workspace.root import Workspace
from tests.support import fake_trainer
from tests.support.dataset_builders import PROJECT, studio
from tests.support.workspace_builders import commit_all, reopen

# A module of an SD-type UNet with its inputs and outputs, as the tiny checkpoints have it.
SD_MODULE = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"


@dataclass(frozen=True)
class RawTensor:
    """A tensor as it stands in a file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: bytes


def float_tensor(name: str, shape: Sequence[int], fill: float | None = None) -> RawTensor:
    """Return an F32 tensor of ``fill``, or of numbers that differ from each other."""
    count = int(numpy.prod(shape))
    values = numpy.linspace(-0.5, 0.5, count) if fill is None else numpy.full(count, fill)
    return RawTensor(name, "F32", tuple(shape), values.astype("<f4").tobytes())


def safetensors_bytes(
    tensors: Sequence[RawTensor], metadata: Mapping[str, str] | None = None
) -> bytes:
    """Return a safetensors file as any program might write it."""
    document: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    offset, data = 0, b""
    for tensor in tensors:
        end = offset + len(tensor.data)
        document[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": [offset, end],
        }
        offset, data = end, data + tensor.data
    return with_header(json.dumps(document).encode(), data)


def with_header(header: bytes, data: bytes = b"") -> bytes:
    """Return a file of a header, sound or not, and data."""
    return len(header).to_bytes(8, "little") + header + data


def lora_tensors(
    modules: Mapping[str, tuple[int, int]] | None = None,
    *,
    rank: int = 4,
    up: float | None = None,
    spelling: str = "peft",
    alpha: float | None = None,
) -> list[RawTensor]:
    """Return the pairs of a LoRA.

    Args:
        modules: Name to (inputs, outputs).
        rank: Rank of every pair.
        up: One value for all up matrices instead of different ones.
        spelling: ``peft``, ``kohya`` or ``diffusers``.
        alpha: With it, every module gets an ``.alpha``.
    """
    endings = {
        "peft": (".lora_A.weight", ".lora_B.weight"),
        "kohya": (".lora_down.weight", ".lora_up.weight"),
        "diffusers": (".lora.down.weight", ".lora.up.weight"),
    }[spelling]
    tensors = []
    for name, (inputs, outputs) in (modules or {SD_MODULE: (32, 32)}).items():
        tensors.append(float_tensor(name + endings[0], (rank, inputs)))
        tensors.append(float_tensor(name + endings[1], (outputs, rank), up))
        if alpha is not None:
            tensors.append(float_tensor(f"{name}.alpha", (), alpha))
    return tensors


def write_lora(path: Path, **options: Any) -> Path:
    """Write a LoRA as ``lora_tensors`` describes it; ``metadata`` goes into its header."""
    metadata = options.pop("metadata", None)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(safetensors_bytes(lora_tensors(**options), metadata))
    return path


def write_checkpoint_headers(
    folder: Path, parts: Mapping[str, Mapping[str, Sequence[int]]]
) -> Path:
    """Write a diffusers folder that has tensors and nothing else: part to name to shape."""
    for part, shapes in parts.items():
        tensors = [float_tensor(f"{name}.weight", shape, 1.0) for name, shape in shapes.items()]
        (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / part / "model.safetensors").write_bytes(safetensors_bytes(tensors))
    return folder


LORA, DATASET, BASE = "icons", "flat_icons", "tiny"


def training_studio(folder: Path, *, base: Path | None = None, git: bool = True) -> Workspace:
    """Return a workspace with everything that training needs: images, base model, LoRA.

    Args:
        folder: Where it goes.
        base: The base model; else a folder of headers that the fake trainer's weights fit.
        git: Whether it is a repository with everything committed.
    """
    workspace = studio(folder, icons=4, git=git)
    base = base or fake_base(folder.parent / f"{folder.name}-base")
    add_checkpoint(
        workspace, BASE, path=str(base), architecture="sd15", asset_types=("ui_icon",),
        resolution=64, license="CC0-1.0", commercial_loras="yes", project=PROJECT,
    )  # fmt: skip
    build_dataset(workspace, DATASET, asset_types=("ui_icon",), trigger_word="flt", project=PROJECT)
    create_lora(
        workspace, LORA, checkpoint=BASE, asset_types=("ui_icon",), trigger="flt", project=PROJECT
    )
    if git:
        commit_all(folder, "Ready to train")
    return reopen(folder)


def fake_base(folder: Path) -> Path:
    """Write a diffusers folder of headers that the fake trainer's weights fit."""
    module = fake_trainer.MODULE.removeprefix("unet.")
    write_checkpoint_headers(folder, {"unet": {module: (fake_trainer.SIZE, fake_trainer.SIZE)}})
    (folder / "model_index.json").write_text(
        json.dumps({"_class_name": "StableDiffusionPipeline"}), encoding="utf-8"
    )
    return folder
