"""All renderers by name."""

from __future__ import annotations

from lora_pipeline.evaluation.renderers.comfyui_renderer import ComfyUiRenderer
from lora_pipeline.evaluation.renderers.diffusers_renderer import DiffusersRenderer
from lora_pipeline.evaluation.renderers.interface import Registry, Renderer
from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.ids import did_you_mean

RENDERERS: Registry = {one.name: one for one in (DiffusersRenderer(), ComfyUiRenderer())}


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
