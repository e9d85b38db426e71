"""Which base model a workflow draws with, and whether it is the one that was recorded.

ComfyUI tells names of models, never their digests. Where its folder of models can be seen from
here, each file is read and its digest compared; where it cannot, that stays unproven and is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any

import msgspec

from lora_pipeline.evaluation.renderers.comfyui.graph import Graph, named
from lora_pipeline.evaluation.renderers.interface import RenderSource
from lora_pipeline.foundation.digests import sha256_of_file
from lora_pipeline.foundation.errors import RendererError
from lora_pipeline.foundation.files import unsafe_reason

# Inputs that name a model, and the folders where ComfyUI looks for it.
_FOLDERS: Mapping[str, tuple[str, ...]] = {
    "ckpt_name": ("checkpoints",),
    "unet_name": ("diffusion_models", "unet"),
    "vae_name": ("vae",),
    "clip_name": ("text_encoders", "clip"),
    "lora_name": ("loras",),
}
_BASES = frozenset({"ckpt_name", "unet_name"})


class Models(msgspec.Struct, frozen=True):
    """The models that a workflow draws with.

    Attributes:
        digests: SHA-256 by name as the server lists it; empty where it could not be read.
        proven: Whether the base is the recorded one, by its bytes.
    """

    digests: Mapping[str, str]
    proven: bool


def prove_base(graph: Graph, source: RenderSource, root: Path | None) -> Models:
    """Read the models of a workflow and compare the base with the checkpoint's record.

    Args:
        graph: The workflow, reduced to what draws.
        source: What is evaluated.
        root: ComfyUI's folder of models as this machine sees it, or None.

    Raises:
        RendererError: When the base is another one, or the workflow names none or several.
    """
    digests: dict[str, str] = {}
    bases: list[tuple[str, str]] = []
    for node_id, node in graph.items():
        for name, value in node["inputs"].items():
            key = name.rstrip("0123456789") if name.startswith("clip_name") else name
            if key not in _FOLDERS or not isinstance(value, str):
                continue
            if value not in digests:
                digests[value] = _digest(root, _FOLDERS[key], value)
            if key in _BASES:
                bases.append((node_id, value))
    if len({value for _, value in bases}) != 1:
        found = ", ".join(f"{named(graph, node_id)}: {value}" for node_id, value in bases)
        raise RendererError(
            f"the workflow draws with {len(bases)} base models ({found or 'none'}); "
            "a LoRA is evaluated on the one that it was made for"
        )
    node_id, name = bases[0]
    if not digests[name]:
        return Models(digests, proven=False)
    if digests[name] not in source.base_digests:
        wanted = ", ".join(f"{one[:12]}…" for one in source.base_digests) or "no single file"
        raise RendererError(
            f"the workflow's {named(graph, node_id)} draws with {name}, which is "
            f"sha256 {digests[name][:12]}…; checkpoint {source.checkpoint_id} is {wanted}",
            hint="a LoRA is evaluated on its own base: name it in the workflow, or record that "
            f"file as a companion: lora checkpoint add {source.checkpoint_id or 'ID'} --help",
        )
    return Models(digests, proven=True)


def _digest(root: Path | None, folders: tuple[str, ...], name: str) -> str:
    relative = PureWindowsPath(name).as_posix()
    if root is None or unsafe_reason(relative):
        return ""
    for folder in folders:
        path = root / folder / relative
        if path.is_file():
            return sha256_of_file(path)
    return ""


def plain_workflow(checkpoint: str) -> dict[str, Any]:
    """Return the workflow that is drawn with where the user set none: SD 1.5 and SDXL, plainly."""
    text = {"clip": ["4", 1], "text": ""}
    return {
        "3": _node(
            "KSampler", model=["4", 0], positive=["6", 0], negative=["7", 0],
            latent_image=["5", 0], seed=0, steps=20, cfg=7.0, sampler_name="euler",
            scheduler="normal", denoise=1.0,
        ),
        "4": _node("CheckpointLoaderSimple", ckpt_name=checkpoint),
        "5": _node("EmptyLatentImage", width=512, height=512, batch_size=1),
        "6": _node("CLIPTextEncode", **text),
        "7": _node("CLIPTextEncode", **text),
        "8": _node("VAEDecode", samples=["3", 0], vae=["4", 2]),
        "9": _node("SaveImage", images=["8", 0], filename_prefix="lora-eval"),
    }  # fmt: skip


def _node(kind: str, **inputs: Any) -> dict[str, Any]:
    return {"class_type": kind, "inputs": inputs, "title": ""}
