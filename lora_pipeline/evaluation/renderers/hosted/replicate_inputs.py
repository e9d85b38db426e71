"""A model at Replicate and what its own description says it takes: pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lora_pipeline.evaluation.renderers.interface import CellRequest
from lora_pipeline.foundation.errors import RendererError

# Models name the same thing differently; the first that a model has is meant.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "lora": ("lora_weights", "replicate_weights", "lora_url", "hf_lora", "lora"),
    "strength": ("lora_scale", "lora_strength"),
    "steps": ("num_inference_steps", "steps"),
    "guidance": ("guidance", "guidance_scale", "cfg"),
    "negative": ("negative_prompt",),
}
_FIXED: Mapping[str, Any] = {
    "num_outputs": 1,
    "output_format": "png",
    "go_fast": False,  # draws with fewer bits, and other pixels
}
_MEGAPIXELS = {1.0: "1", 0.25: "0.25"}


@dataclass(frozen=True)
class ModelInputs:
    """What a model takes.

    Attributes:
        model: ``owner/name``.
        properties: Its inputs, from its description.
        schemas: Further parts of the description, which inputs refer to.
    """

    model: str
    properties: Mapping[str, Any]
    schemas: Mapping[str, Any]

    def body(self, cell: CellRequest, lora: str) -> dict[str, Any]:
        """Return the inputs that ask for a cell.

        Raises:
            RendererError: When the model does not take what the cell needs.
        """
        if cell.sampler != "default":
            raise RendererError(f"sampler {cell.sampler!r} does not go with {self.model}")
        body: dict[str, Any] = {
            "prompt": cell.prompt,
            self._name("seed"): cell.seed,
            self._name("steps"): cell.steps,
            self._name("guidance"): cell.guidance,
            **self._size(cell),
        }
        if cell.negative:
            body[self._name("negative")] = cell.negative
        if lora:
            body[self._name("lora")] = lora
            body[self._name("strength")] = cell.strength
        body |= {name: value for name, value in _FIXED.items() if name in self.properties}
        for name, value in body.items():
            self._require(name, value)
        return body

    def _name(self, role: str) -> str:
        for name in _NAMES.get(role, (role,)):
            if name in self.properties:
                return name
        raise RendererError(
            f"{self.model} takes no {role}",
            hint="set renderers.replicate.model to a model that draws with LoRA weights",
        )

    def _size(self, cell: CellRequest) -> dict[str, Any]:
        if "aspect_ratio" not in self.properties:
            return {self._name("width"): cell.width, self._name("height"): cell.height}
        ratios = self._options("aspect_ratio")
        if "custom" in ratios and {"width", "height"} <= self.properties.keys():
            return {"aspect_ratio": "custom", "width": cell.width, "height": cell.height}
        common = math.gcd(cell.width, cell.height)
        ratio = f"{cell.width // common}:{cell.height // common}"
        megapixels = _MEGAPIXELS.get(cell.width * cell.height / 1024**2)
        if ratio not in ratios or megapixels is None or "megapixels" not in self.properties:
            raise RendererError(
                f"{cell.width} x {cell.height} does not go with {self.model}: it draws shapes of "
                "about one megapixel, such as 1024 x 1024"
            )
        return {"aspect_ratio": ratio, "megapixels": megapixels}

    def _options(self, name: str) -> tuple[Any, ...]:
        spec = self.properties.get(name, {})
        for part in (spec, *spec.get("allOf", ())):
            if "enum" in part:
                return tuple(part["enum"])
            referred = str(part.get("$ref", "")).rpartition("/")[2]
            if referred in self.schemas:
                return tuple(self.schemas[referred].get("enum", ()))
        return ()

    def _require(self, name: str, value: Any) -> None:
        spec, options = self.properties[name], self._options(name)
        if options and value not in options:
            raise RendererError(f"{name} {value!r} does not go with {self.model}")
        if isinstance(value, bool) or not isinstance(value, int | float):
            return
        low, high = spec.get("minimum", -math.inf), spec.get("maximum", math.inf)
        if not low <= value <= high:
            raise RendererError(
                f"{name} {value:g} does not go with {self.model}: it takes {low} to {high}"
            )
