"""Single-file checkpoints as they are downloaded, written from diffusers folders of any size.

The names are those of the original programs: LDM for SD 1.5 and SDXL, Black Forest Labs' own for
FLUX.1, whose file holds the transformer alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Tensors = dict[str, Any]
_RESNET = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "time_emb_proj": "emb_layers.1", "conv_shortcut": "skip_connection",
}  # fmt: skip
_UNET_ENDS = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0", "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0", "conv_norm_out": "out.0", "conv_out": "out.2",
}  # fmt: skip
_OPEN_CLIP = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm": "ln_final", "encoder.layers.": "transformer.resblocks.",
    "layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj",
}  # fmt: skip
_FLUX = {
    "time_text_embed.timestep_embedder.linear_1": "time_in.in_layer",
    "time_text_embed.timestep_embedder.linear_2": "time_in.out_layer",
    "time_text_embed.text_embedder.linear_1": "vector_in.in_layer",
    "time_text_embed.text_embedder.linear_2": "vector_in.out_layer",
    "time_text_embed.guidance_embedder.linear_1": "guidance_in.in_layer",
    "time_text_embed.guidance_embedder.linear_2": "guidance_in.out_layer",
    "context_embedder": "txt_in", "x_embedder": "img_in", "proj_out": "final_layer.linear",
}  # fmt: skip
# By module: what it is called there, and which modules follow it in the same tensor.
_FLUX_DOUBLE: dict[str, tuple[str, tuple[str, ...]]] = {
    "norm1.linear": ("img_mod.lin", ()), "norm1_context.linear": ("txt_mod.lin", ()),
    "attn.to_q": ("img_attn.qkv", ("attn.to_k", "attn.to_v")),
    "attn.add_q_proj": ("txt_attn.qkv", ("attn.add_k_proj", "attn.add_v_proj")),
    "attn.norm_q": ("img_attn.norm.query_norm", ()),
    "attn.norm_k": ("img_attn.norm.key_norm", ()),
    "attn.norm_added_q": ("txt_attn.norm.query_norm", ()),
    "attn.norm_added_k": ("txt_attn.norm.key_norm", ()),
    "attn.to_out.0": ("img_attn.proj", ()), "attn.to_add_out": ("txt_attn.proj", ()),
    "ff.net.0.proj": ("img_mlp.0", ()), "ff.net.2": ("img_mlp.2", ()),
    "ff_context.net.0.proj": ("txt_mlp.0", ()), "ff_context.net.2": ("txt_mlp.2", ()),
}  # fmt: skip
_FLUX_SINGLE: dict[str, tuple[str, tuple[str, ...]]] = {
    "norm.linear": ("modulation.lin", ()), "proj_out": ("linear2", ()),
    "attn.to_q": ("linear1", ("attn.to_k", "attn.to_v", "proj_mlp")),
    "attn.norm_q": ("norm.query_norm", ()), "attn.norm_k": ("norm.key_norm", ()),
}  # fmt: skip


def write_sd15(folder: Path, target: Path) -> Path:
    """Write the single file of an SD 1.5 type folder."""
    clip = _prefixed(
        _with_text_model(_read(folder / "text_encoder")), "cond_stage_model.transformer."
    )
    return _write(target, _unet(folder) | _vae(folder) | clip)


def write_sdxl(folder: Path, target: Path) -> Path:
    """Write the single file of an SDXL type folder."""
    first = _with_text_model(_read(folder / "text_encoder"))
    return _write(
        target,
        _unet(folder)
        | _vae(folder)
        | _prefixed(first, "conditioner.embedders.0.transformer.")
        | _prefixed(_open_clip(folder / "text_encoder_2"), "conditioner.embedders.1.model."),
    )


def write_flux1(folder: Path, target: Path) -> Path:
    """Write the single file of a FLUX.1 type folder: its transformer."""
    return _write(target, _flux(_read(folder / "transformer")))


def _unet(folder: Path) -> Tensors:
    config = json.loads((folder / "unet" / "config.json").read_bytes())
    layers = config["layers_per_block"]
    crossed = ["CrossAttn" in kind for kind in config["up_block_types"]]

    def named(name: str) -> str:
        module, _, leaf = name.rpartition(".")
        if module in _UNET_ENDS:
            return f"{_UNET_ENDS[module]}.{leaf}"
        side, _, rest = name.partition(".")
        if side == "mid_block":
            kind, number, inner = rest.split(".", 2)
            place = 1 if kind == "attentions" else 2 * int(number)
            return f"middle_block.{place}.{_inner(kind, inner)}"
        block, kind, number, inner = rest.split(".", 3)
        first = (1 if side == "down_blocks" else 0) + int(block) * (layers + 1)
        stack = "input_blocks" if side == "down_blocks" else "output_blocks"
        if kind == "downsamplers":
            return f"{stack}.{first + layers}.0.op.{leaf}"
        if kind == "upsamplers":
            return f"{stack}.{first + layers}.{2 if crossed[int(block)] else 1}.conv.{leaf}"
        return f"{stack}.{first + int(number)}.{int(kind == 'attentions')}.{_inner(kind, inner)}"

    return _renamed(_read(folder / "unet"), named, "model.diffusion_model.")


def _inner(kind: str, inner: str) -> str:
    if kind == "attentions":
        return inner
    module, _, leaf = inner.rpartition(".")
    return f"{_RESNET[module]}.{leaf}"


def _vae(folder: Path) -> Tensors:
    tensors = _read(folder / "vae")
    ups = 1 + max(int(name.split(".")[2]) for name in tensors if "decoder.up_blocks" in name)

    def named(name: str) -> str:
        found = re.match(r"(encoder|decoder)\.(down|up)_blocks\.(\d+)\.(\w+)\.(\d+)\.(.+)", name)
        if found:
            side, way, block, kind, number, inner = found.groups()
            level = int(block) if way == "down" else ups - 1 - int(block)
            if kind == "resnets":
                inner = inner.replace("conv_shortcut", "nin_shortcut")
                return f"{side}.{way}.{level}.block.{number}.{inner}"
            return f"{side}.{way}.{level}.{way}sample.{inner}"
        name = re.sub(r"mid_block\.resnets\.(\d)", lambda one: f"mid.block_{int(one[1]) + 1}", name)
        name = name.replace("mid_block.attentions.0", "mid.attn_1")
        for ours, theirs in (
            ("group_norm", "norm"), ("to_q", "q"), ("to_k", "k"), ("to_v", "v"),
            ("to_out.0", "proj_out"), ("conv_norm_out", "norm_out"),
        ):  # fmt: skip
            name = name.replace(f".{ours}.", f".{theirs}.")
        return name

    renamed = _renamed(tensors, named, "first_stage_model.")
    return {
        name: one[:, :, None, None] if "attn_1" in name and one.dim() == 2 else one
        for name, one in renamed.items()
    }


def _open_clip(folder: Path) -> Tensors:
    import torch

    found: Tensors = {}
    tensors = _with_text_model(_read(folder))
    for name, one in tensors.items():
        if name == "text_projection.weight":
            found["text_projection"] = one.T.contiguous()
        elif ".self_attn.q_proj." in name:
            three = [tensors[name.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            place, _, leaf = name.removeprefix("text_model.").partition(".self_attn.q_proj.")
            place = place.replace("encoder.layers.", "transformer.resblocks.")
            found[f"{place}.attn.in_proj_{leaf}"] = torch.cat(three)
        elif not re.search(r"\.self_attn\.[kv]_proj\.", name):
            short = name.removeprefix("text_model.")
            for ours, theirs in _OPEN_CLIP.items():
                short = short.replace(ours, theirs)
            found[short] = one
    return found


def _flux(tensors: Tensors) -> Tensors:
    import torch

    found: Tensors = {}
    for name, one in tensors.items():
        block = re.match(r"(single_)?transformer_blocks\.(\d+)\.(.+)", name)
        if name.startswith("norm_out.linear."):
            shift, scale = one.chunk(2)[1], one.chunk(2)[0]
            found[f"final_layer.adaLN_modulation.1.{name.rpartition('.')[2]}"] = torch.cat(
                [shift, scale]
            )
        elif block is None:
            found[_by_table(name)] = one
        else:
            single, number, inner = block.groups()
            home = f"{'single' if single else 'double'}_blocks.{number}"
            found |= _flux_block(tensors, name, inner, home, single=bool(single))
    return found


def _flux_block(tensors: Tensors, name: str, inner: str, home: str, *, single: bool) -> Tensors:
    import torch

    module, _, leaf = inner.rpartition(".")
    root = name.removesuffix(inner)
    target, parts = (_FLUX_SINGLE if single else _FLUX_DOUBLE).get(module, ("", ()))
    if parts:
        joined = [tensors[f"{root}{part}.{leaf}"] for part in (module, *parts)]
        return {f"{home}.{target}.{leaf}": torch.cat(joined)}
    return (
        {f"{home}.{target}.{'scale' if 'norm.' in target else leaf}": tensors[name]}
        if target
        else {}
    )


def _by_table(name: str) -> str:
    module, _, leaf = name.rpartition(".")
    return f"{_FLUX[module]}.{leaf}"


def _with_text_model(tensors: Tensors) -> Tensors:
    # Newer transformers dropped this level.
    return {
        name if name.startswith("text_") else f"text_model.{name}": one
        for name, one in tensors.items()
    }


def _read(folder: Path) -> Tensors:
    from safetensors.torch import load_file

    (path,) = folder.glob("*.safetensors")
    return dict(load_file(path))


def _renamed(tensors: Mapping[str, Any], named: Callable[[str], str], prefix: str) -> Tensors:
    return _prefixed({named(name): one for name, one in tensors.items()}, prefix)


def _prefixed(tensors: Mapping[str, Any], prefix: str) -> Tensors:
    return {f"{prefix}{name}": one for name, one in tensors.items()}


def _write(target: Path, tensors: Tensors) -> Path:
    from safetensors.torch import save_file

    target.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: one.contiguous() for name, one in tensors.items()}, target, {"format": "pt"})
    return target
