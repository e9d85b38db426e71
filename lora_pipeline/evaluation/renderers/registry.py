"""All renderers by name."""

from __future__ import annotations

from lora_pipeline.evaluation.renderers.a1111_renderer import A1111Renderer
from lora_pipeline.evaluation.renderers.comfyui_renderer import ComfyUiRenderer
from lora_pipeline.evaluation.renderers.diffusers_renderer import DiffusersRenderer
from lora_pipeline.evaluation.renderers.fal_renderer import FalRenderer
from lora_pipeline.evaluation.renderers.interface import Registry, Renderer
from lora_pipeline.evaluation.renderers.mflux_renderer import MfluxRenderer
from lora_pipeline.evaluation.renderers.replicate_renderer import ReplicateRenderer
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
