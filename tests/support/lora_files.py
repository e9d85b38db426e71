"""LoRA files made for a checkpoint folder, good ones and those of each kind of bad."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

Tensors = dict[str, NDArray[np.float32]]
_PARTS = {
    "unet": r"(to_q|to_k|to_v|to_out\.0)\.weight$",
    "transformer": r"(to_q|to_k|to_v|to_out\.0)\.weight$",
    "text_encoder": r"(q_proj|v_proj)\.weight$",
}


def lora_tensors(
    checkpoint: Path,
    *,
    rank: int = 4,
    size: float = 0.2,
    parts: tuple[str, ...] = (),
    seed: int = 7,
) -> Tensors:
    """Return a LoRA in the names of diffusers for the attention of a checkpoint's parts."""
    random = np.random.default_rng(seed)
    tensors: Tensors = {}
    for part, shape_of in _shapes(checkpoint, parts or ("unet", "transformer")).items():
        for name, (rows, columns) in shape_of.items():
            stem = f"{part}.{name}"
            first = random.normal(size=(rank, columns))
            second = size * random.normal(size=(rows, rank))
            tensors[f"{stem}.lora_A.weight"] = first.astype(np.float32)
            tensors[f"{stem}.lora_B.weight"] = second.astype(np.float32)
    return tensors


def write_lora(checkpoint: Path, path: Path, *, parts: tuple[str, ...] = (), seed: int = 7) -> Path:
    """Write such a LoRA and return its path."""
    save_file(lora_tensors(checkpoint, parts=parts, seed=seed), path)
    return path


def in_kohya_names(tensors: Mapping[str, NDArray[np.float32]]) -> Tensors:
    """Return a UNet's LoRA in the names of sd-scripts, with alpha."""
    renamed: Tensors = {}
    for name, values in tensors.items():
        stem, _, half = name.removeprefix("unet.").rpartition(".lora_")
        module = "lora_unet_" + stem.replace(".", "_")
        renamed[f"{module}.lora_{'down' if half[0] == 'A' else 'up'}.weight"] = values
        renamed[f"{module}.alpha"] = np.array(4.0, dtype=np.float32)
    return renamed


def _shapes(checkpoint: Path, parts: tuple[str, ...]) -> dict[str, dict[str, tuple[int, int]]]:
    found: dict[str, dict[str, tuple[int, int]]] = {}
    for part in parts:
        for file in sorted((checkpoint / part).glob("*.safetensors")):
            with safe_open(file, framework="numpy") as tensors:
                found[part] = {
                    name.removesuffix(".weight"): tuple(tensors.get_slice(name).get_shape()[:2])
                    for name in tensors.keys()  # noqa: SIM118 - no dict
                    if re.search(_PARTS[part], name)
                }
    return found
