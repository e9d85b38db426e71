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
