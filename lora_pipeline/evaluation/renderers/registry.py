"""All renderers by name."""

from __future__ import annotations

from lora_pipeline.evaluation.renderers.a1111.renderer import A1111Renderer
from lora_pipeline.evaluation.renderers.comfyui.renderer import ComfyUiRenderer
from lora_pipeline.evaluation.renderers.diffusers.renderer import DiffusersRenderer
from lora_pipeline.evaluation.renderers.hosted.fal import FalRenderer
from lora_pipeline.evaluation.renderers.hosted.replicate import ReplicateRenderer
from lora_pipeline.evaluation.renderers.interface import Registry, Renderer
from lora_pipeline.evaluation.renderers.mflux.renderer import MfluxRenderer
from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.ids import did_you_mean

_ALL: tuple[Renderer, ...] = (
    DiffusersRenderer(),
    ComfyUiRenderer(),
    A1111Renderer(),
    MfluxRenderer(),
    ReplicateRenderer(),
    FalRenderer(),
)
RENDERERS: Registry = {renderer.name: renderer for renderer in _ALL}


def find_renderer(name: str, registry: Registry = RENDERERS) -> Renderer:
    """Return one renderer.

    Raises:
        ArgumentInvalidError: When there is none of that name.
    """
    if name in registry:
        return registry[name]
    near = did_you_mean(name, registry)
    raise ArgumentInvalidError(
        f"no renderer {name!r}",
        hint=f"did you mean {near}?" if near else "there are: " + ", ".join(registry),
    )
