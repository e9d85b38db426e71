"""The models that ai-toolkit trains: its names for them and what each is trained with.

ai-toolkit takes an unknown name for Stable Diffusion 1.5 without a word, so only names that its
version 0.12 has are written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import msgspec

from lora_pipeline.foundation.errors import RecipeInvalidError
from lora_pipeline.training.plan import CheckpointOnDisk


class ToolkitModel(msgspec.Struct, frozen=True):
    """One model as ai-toolkit trains it.

    Attributes:
        arch: ai-toolkit's name.
        architecture: Our name of the family.
        flow: Whether it is trained by flow matching.
        timesteps: How noise levels are drawn (flow matching only).
        guidance: Guidance of a sample.
        steps: Inference steps of a sample.
        encoders: Whether its text encoders can be trained, and its convolutions adapted.
    """

    arch: str
    architecture: str
    flow: bool = True
    timesteps: str = "sigmoid"
    guidance: float = 4.0
    steps: int = 25
    encoders: bool = False

    @property
    def keeps_alpha(self) -> bool:
        """Whether alpha means anything: transformers are saved with a scale of 1."""
        return not self.flow


MODELS: Mapping[str, ToolkitModel] = {
    model.arch: model
    for model in (
        ToolkitModel("sd15", "sd15", flow=False, guidance=6.0, encoders=True),
        ToolkitModel("sdxl", "sdxl", flow=False, guidance=6.0, encoders=True),
        ToolkitModel("sd3", "sd3"),
        ToolkitModel("flux", "flux1"),
        ToolkitModel("flux2", "flux2", timesteps="weighted"),
        ToolkitModel("flux2_klein_4b", "flux2", timesteps="weighted"),
        ToolkitModel("flux2_klein_9b", "flux2", timesteps="weighted"),
        ToolkitModel("chroma", "chroma"),
        ToolkitModel("lumina2", "lumina2"),
        ToolkitModel("qwen_image", "qwen_image", timesteps="weighted"),
        ToolkitModel("zimage", "zimage", timesteps="weighted", steps=30),
        ToolkitModel("ernie_image", "ernie_image", timesteps="weighted"),
        ToolkitModel("krea2", "krea2", timesteps="linear"),
    )
}
FAMILIES = tuple(dict.fromkeys(model.architecture for model in MODELS.values()))


def choose_model(checkpoint: CheckpointOnDisk, stated: str | None) -> ToolkitModel:
    """Return which of ai-toolkit's models a checkpoint is.

    Args:
        checkpoint: The base model.
        stated: ``model.arch`` of the user's own configuration, or None.

    Raises:
        RecipeInvalidError: When ai-toolkit does not train it, or nothing says which model it is.
    """
    family = {
        arch: one for arch, one in MODELS.items() if one.architecture == checkpoint.architecture
    }
    if not family:
        raise RecipeInvalidError(
            f"ai-toolkit does not train {checkpoint.architecture or 'a nameless architecture'}; "
            f"it trains {', '.join(FAMILIES)}",
            hint="lora train --trainer kohya_ss or mflux, or manual for weights made elsewhere",
        )
    if stated is not None:
        if stated in family:
            return family[stated]
        raise RecipeInvalidError(
            f"--trainer-config says model.arch {stated}, and checkpoint "
            f"{checkpoint.checkpoint_id} is {checkpoint.architecture}",
            hint=f"say one of {', '.join(family)}, or leave it out",
        )
    return next(iter(family.values())) if len(family) == 1 else _flux2(checkpoint, family)


def is_distilled_by_name(checkpoint: CheckpointOnDisk) -> bool:
    """Return whether a checkpoint's name says that it was distilled to few steps."""
    return bool({"turbo", "schnell", "lightning"} & _words(checkpoint))


def _flux2(checkpoint: CheckpointOnDisk, family: Mapping[str, ToolkitModel]) -> ToolkitModel:
    words = _words(checkpoint)
    if "klein" not in words:
        return family["flux2"]
    sizes = [size for size in ("4b", "9b") if size in words]
    if len(sizes) != 1:
        raise RecipeInvalidError(
            f"nothing says which size of FLUX.2 klein checkpoint {checkpoint.checkpoint_id} is",
            hint="--trainer-config FILE with model: {arch: flux2_klein_4b}, or flux2_klein_9b",
        )
    return family[f"flux2_klein_{sizes[0]}"]


def _words(checkpoint: CheckpointOnDisk) -> frozenset[str]:
    name = f"{checkpoint.checkpoint_id} {checkpoint.path.name}".lower()
    return frozenset(re.split(r"[^a-z0-9]+", name))
