"""The trained LoRA as a file that every program reads the same way.

Keys are those of peft (``unet.….lora_A.weight``), as diffusers writes and reads them. A scale
other than one (alpha over rank) is multiplied into the up matrices, because programs do not
agree where it would stand in such a file; so the file means the same to all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from lora_pipeline.training.diffusion.adapters import ADAPTER
from lora_pipeline.training.weights.file import Tensor as Entry
from lora_pipeline.training.weights.file import write_weights

if TYPE_CHECKING:
    from torch import Tensor, nn

_TYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def lora_tensors(parts: Mapping[str, nn.Module], scale: float) -> dict[str, Tensor]:
    """Return the LoRA's tensors by key, contiguous and on the CPU."""
    from peft.utils import get_peft_model_state_dict

    tensors: dict[str, Tensor] = {}
    for part, module in parts.items():
        for key, value in get_peft_model_state_dict(module, adapter_name=ADAPTER).items():
            name = f"{part}.{_with_text_model(part, key)}"
            factor = scale if name.endswith("lora_B.weight") else 1.0
            tensors[name] = (value.detach() * factor).cpu().contiguous()
    return tensors


def save_lora(
    path: Path, tensors: Mapping[str, Tensor], dtype: torch.dtype, metadata: Mapping[str, str]
) -> None:
    """Write the file, whole or not at all; the same tensors give the same bytes."""
    data = {name: _bytes_of(tensor.to(dtype)) for name, tensor in sorted(tensors.items())}
    entries, offset = [], 0
    digest = hashlib.sha256()
    for name, block in data.items():
        shape = tuple(tensors[name].shape)
        entries.append(Entry(name, _TYPES[dtype], shape, offset, offset + len(block)))
        offset += len(block)
        digest.update(block)
    named = {**metadata, "modelspec.hash_sha256": f"0x{digest.hexdigest()}"}
    write_weights(path, entries, named, data.values())


def _with_text_model(part: str, key: str) -> str:
    # Newer transformers dropped this level; every reader of LoRA files still knows it.
    if part.startswith("text_encoder") and key.startswith("encoder."):
        return f"text_model.{key}"
    return key


def _bytes_of(tensor: Tensor) -> bytes:
    return bytes(tensor.contiguous().view(torch.uint8).numpy().tobytes())
