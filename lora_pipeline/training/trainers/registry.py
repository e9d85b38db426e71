"""All trainers by name."""

from __future__ import annotations

from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.training.trainers.ai_toolkit.server import AI_TOOLKIT_SERVER
from lora_pipeline.training.trainers.ai_toolkit.trainer import AI_TOOLKIT
from lora_pipeline.training.trainers.azure_ml.trainer import AZURE_ML
from lora_pipeline.training.trainers.diffusers_trainer import DIFFUSERS
from lora_pipeline.training.trainers.fal.trainer import FAL
from lora_pipeline.training.trainers.interface import Registry, Trainer
from lora_pipeline.training.trainers.kohya.trainer import KOHYA_SS
from lora_pipeline.training.trainers.manual import MANUAL
from lora_pipeline.training.trainers.mflux.trainer import MFLUX
from lora_pipeline.training.trainers.modal.trainer import MODAL
from lora_pipeline.training.trainers.replicate.trainer import REPLICATE
from lora_pipeline.training.trainers.runpod.trainer import RUNPOD

TRAINERS: Registry = {
    "diffusers": DIFFUSERS,
    "kohya_ss": KOHYA_SS,
    "mflux": MFLUX,
    "ai_toolkit": AI_TOOLKIT,
    "ai_toolkit_server": AI_TOOLKIT_SERVER,
    "replicate": REPLICATE,
    "fal": FAL,
    "runpod": RUNPOD,
    "azure_ml": AZURE_ML,
    "modal": MODAL,
    "manual": MANUAL,
}


def find_trainer(name: str, registry: Registry | None = None) -> Trainer:
    """Return one trainer.

    Raises:
        ArgumentInvalidError: When there is none of that name.
    """
    known = TRAINERS if registry is None else registry
    if name in known:
        return known[name]
    near = did_you_mean(name, known)
    raise ArgumentInvalidError(
        f"no trainer {name!r}",
        hint=f"did you mean {near}?" if near else "there are: " + ", ".join(known),
    )
