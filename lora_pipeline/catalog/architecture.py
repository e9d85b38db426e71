"""Which architecture a base model has, told by what it says of itself. Decides only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

# The pipeline that a diffusers folder names. Inpainting and edit models share their base's.
_PIPELINES = (
    (re.compile(r"^StableDiffusionXL\w*Pipeline$"), "sdxl"),
    (re.compile(r"^StableDiffusion3\w*Pipeline$"), "sd3"),
    (re.compile(r"^StableDiffusion\w*Pipeline$"), "sd15"),
    (re.compile(r"^Flux2\w*Pipeline$"), "flux2"),
    (re.compile(r"^Flux\w*Pipeline$"), "flux1"),
    (re.compile(r"^ZImage\w*Pipeline$"), "zimage"),
    (re.compile(r"^QwenImage\w*Pipeline$"), "qwen_image"),
    (re.compile(r"^Lumina2\w*Pipeline$"), "lumina2"),
    (re.compile(r"^Chroma\w*Pipeline$"), "chroma"),
    (re.compile(r"^Wan\w*Pipeline$"), "wan"),
)
# Side length that a model was trained at, where its files do not say.
_RESOLUTIONS = {"sd15": 512, "sd21": 768, "sdxl": 1024, "sd3": 1024}
_USUAL_RESOLUTION = 1024
_SD21_TEXT_WIDTH = 1024
_PREFIX = "model.diffusion_model."
# Tensors that only one architecture has, in a single file of the usual layouts; the more
# particular ones first.
_TENSORS = (
    ("distilled_guidance_layer.", "chroma"),
    ("double_stream_modulation_img.", "flux2"),
    ("double_blocks.0.img_attn.", "flux1"),
    ("joint_blocks.0.x_block.", "sd3"),
    ("transformer_blocks.0.img_mlp.", "qwen_image"),
    ("blocks.0.cross_attn.norm_k.", "wan"),
    ("conditioner.embedders.1.", "sdxl"),
    ("cond_stage_model.model.transformer.", "sd21"),
    ("cond_stage_model.transformer.text_model.", "sd15"),
)
# Tensors that only one of the models has that mflux 0.24 knows, by the names of its classes.
_MLX_TENSORS = (
    ("flux1", "single_transformer_blocks.0.proj_mlp.weight",
     "time_text_embed.text_embedder.linear_1.weight"),
    ("flux2", "double_stream_modulation_img.linear.weight",
     "single_transformer_blocks.0.attn.to_qkv_mlp_proj.weight"),
    ("zimage", "all_x_embedder.2-1.weight", "cap_pad_token"),
    ("qwen_image", "img_in.weight", "transformer_blocks.0.img_ff.mlp_in.weight"),
    ("ernie_image", "adaln_modulation.weight", "layers.0.adaLN_sa_ln.weight"),
    ("krea2", "blocks.0.attn.qknorm.qnorm.scale", "blocks.0.mod.lin"),
)  # fmt: skip
_CAPTION_EMBEDDER = "cap_embedder.1.weight"
_CAPTION_WIDTHS = {3840: "zimage", 2304: "lumina2"}


def architecture_of_folder(
    model_index: Mapping[str, Any], text_encoder: Mapping[str, Any]
) -> str | None:
    """Return the architecture of a diffusers folder, or None when it is not known.

    Args:
        model_index: ``model_index.json``.
        text_encoder: ``text_encoder/config.json``, or nothing.
    """
    name = model_index.get("_class_name")
    if not isinstance(name, str):
        return None
    for pattern, architecture in _PIPELINES:
        if pattern.match(name):
            # Both generations of Stable Diffusion name one pipeline; the later reads wider texts.
            if architecture == "sd15" and text_encoder.get("hidden_size") == _SD21_TEXT_WIDTH:
                return "sd21"
            return architecture
    return None


def architecture_of_tensors(tensors: Iterable[tuple[str, tuple[int, ...]]]) -> str | None:
    """Return the architecture of a single file by its tensors, or None when it is not known."""
    shapes = {name.removeprefix(_PREFIX): shape for name, shape in tensors}
    for prefix, architecture in _TENSORS:
        if any(name.startswith(prefix) for name in shapes):
            return architecture
    shape = shapes.get(_CAPTION_EMBEDDER, ())
    return _CAPTION_WIDTHS.get(shape[0]) if shape else None


def architecture_of_mlx(tensors: Iterable[str]) -> str | None:
    """Return the architecture of a folder of mflux by the names of its transformer's tensors."""
    there = frozenset(tensors)
    for architecture, *wanted in _MLX_TENSORS:
        if there.issuperset(wanted):
            return architecture
    return None


def resolution_of_folder(
    architecture: str, denoiser: Mapping[str, Any], vae: Mapping[str, Any]
) -> int:
    """Return the side length in pixels that the model of a folder was trained at.

    Args:
        architecture: Its architecture.
        denoiser: ``unet/config.json`` or ``transformer/config.json``, or nothing.
        vae: ``vae/config.json``, or nothing.
    """
    latent, blocks = denoiser.get("sample_size"), vae.get("block_out_channels")
    if isinstance(latent, int) and isinstance(blocks, list) and blocks:
        return latent * int(2 ** (len(blocks) - 1))
    return usual_resolution(architecture)


def usual_resolution(architecture: str) -> int:
    """Return the side length in pixels that models of an architecture are trained at."""
    return _RESOLUTIONS.get(architecture, _USUAL_RESOLUTION)
