"""Folders as mflux-save writes them: parts with numbered files and an index, no model_index."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

# Names of mflux's classes, as mflux 0.24.0 saves them; two of each transformer and one besides.
TENSORS = {
    "flux1": (
        "single_transformer_blocks.0.proj_mlp.weight",
        "time_text_embed.text_embedder.linear_1.weight",
    ),
    "flux2": (
        "double_stream_modulation_img.linear.weight",
        "single_transformer_blocks.0.attn.to_qkv_mlp_proj.weight",
    ),
    "zimage": ("all_x_embedder.2-1.weight", "cap_pad_token"),
    "qwen_image": ("img_in.weight", "transformer_blocks.0.img_ff.mlp_in.weight"),
    "ernie_image": ("adaln_modulation.weight", "layers.0.adaLN_sa_ln.weight"),
    "krea2": ("blocks.0.attn.qknorm.qnorm.scale", "blocks.0.mod.lin"),
}


def write_mlx_folder(folder: Path, architecture: str = "flux2", *, bits: int | None = 4) -> Path:
    """Write such a folder; quantised weights are packed, with scales and biases beside them."""
    names = TENSORS[architecture]
    tensors = {f"{name}": np.ones((4, 8), np.uint32) for name in names}
    tensors |= {f"{name.removesuffix('.weight')}.scales": np.ones((4, 1), "f4") for name in names}
    for part in ("transformer", "text_encoder", "vae"):
        _write_part(folder / part, tensors if part == "transformer" else {}, bits)
    return folder


def _write_part(folder: Path, tensors: dict[str, np.ndarray], bits: int | None) -> None:
    folder.mkdir(parents=True)
    metadata = {"quantization_level": str(bits), "mflux_version": "0.24.0"}
    tensors = tensors or {"embed.weight": np.ones((2, 2), "f4")}
    save_file(tensors, folder / "0.safetensors", metadata)
    index = {"metadata": metadata, "weight_map": dict.fromkeys(tensors, "0.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
