"""All trainers by name."""

from __future__ import annotations

from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.training.trainers.ai_toolkit import AI_TOOLKIT
from lora_pipeline.training.trainers.ai_toolkit_server import AI_TOOLKIT_SERVER
from lora_pipeline.training.trainers.azure_ml import AZURE_ML
from lora_pipeline.training.trainers.diffusers_trainer import DIFFUSERS
from lora_pipeline.training.trainers.fal import FAL
from lora_pipeline.training.trainers.interface import Registry, Trainer
from lora_pipeline.training.trainers.kohya_ss import KOHYA_SS
from lora_pipeline.training.trainers.manual import MANUAL
from lora_pipeline.training.trainers.mflux import MFLUX
from lora_pipeline.training.trainers.modal import MODAL
from lora_pipeline.training.trainers.replicate import REPLICATE
from lora_pipeline.training.trainers.runpod import RUNPOD

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
