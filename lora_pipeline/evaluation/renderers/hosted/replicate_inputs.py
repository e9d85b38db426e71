"""A model at Replicate and what its own description says it takes: pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from lora_pipeline.evaluation.renderers.interface import CellRequest, Strengths
from lora_pipeline.foundation.errors import RendererError

# Models name the same thing differently; the first that a model has is meant.
_NAMES: Mapping[str, tuple[str, ...]] = {
    "lora": ("lora_weights", "replicate_weights", "lora_url", "hf_lora", "lora"),
    "strength": ("lora_scale", "lora_strength"),
    "second lora": ("extra_lora", "extra_lora_weights"),
    "second strength": ("extra_lora_scale",),
    "steps": ("num_inference_steps", "steps"),
    "guidance": ("guidance", "guidance_scale", "cfg"),
    "negative": ("negative_prompt",),
}
# One input for each LoRA: models that draw with two have these, and none takes a longer list.
_LORAS = (("lora", "strength"), ("second lora", "second strength"))
_FIXED: Mapping[str, Any] = {
    "num_outputs": 1,
    "output_format": "png",
    "go_fast": False,  # draws with fewer bits, and other pixels
}
_MEGAPIXELS = {1.0: "1", 0.25: "0.25"}


class ModelInputs(msgspec.Struct, frozen=True):
    """What a model takes.

    Attributes:
        model: ``owner/name``.
        properties: Its inputs, from its description.
        schemas: Further parts of the description, which inputs refer to.
    """

    model: str
    properties: Mapping[str, Any]
    schemas: Mapping[str, Any]

    def require_takes(self, loras: int) -> None:
        """Check that the model draws with so many LoRAs together.

        Raises:
            RendererError: When it does not.
        """
        if loras > len(_LORAS):
            raise RendererError(
                f"{self.model} takes at most {len(_LORAS)} LoRAs, {loras} go together",
                hint="--renderer fal takes a list of them, as comfyui, a1111 and diffusers do",
            )
        for roles in _LORAS[:loras]:
            for role in roles:
                self._name(role)

    def body(self, cell: CellRequest, loras: Sequence[str], strengths: Strengths) -> dict[str, Any]:
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
        for (lora, strength), path, scale in zip(_LORAS, loras, strengths, strict=False):
            body[self._name(lora)] = path
            body[self._name(strength)] = scale
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
