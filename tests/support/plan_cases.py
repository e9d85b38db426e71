"""Every trainer with every model that it trains: what the golden plans are made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from lora_pipeline.foundation import strict_yaml
from lora_pipeline.training.plan import Plan
from lora_pipeline.training.portable_plan import (
    Places,
    anywhere,
    places_of_program,
    without_places,
)
from lora_pipeline.training.trainers.ai_toolkit import models as ai_toolkit_models
from lora_pipeline.training.trainers.kohya.families import FAMILIES as KOHYA
from lora_pipeline.training.trainers.mflux import models as mflux_models
from lora_pipeline.training.trainers.registry import TRAINERS
from lora_pipeline.workspace.settings import Settings
from tests.support.trainer_requests import make_request, settings_with

# Settings without which a trainer makes no plan; a place that is nowhere keeps programs of this
# machine out of the others.
SETTINGS = {
    "trainers__mflux__program": "/nowhere/mflux-train",
    "trainers__ai_toolkit__home": "/nowhere/ai-toolkit",
    "trainers__kohya_ss__home": "/nowhere/sd-scripts",
    "trainers__ai_toolkit_server__baseUrl": "http://127.0.0.1:8675",
    "trainers__modal__modelsVolume": "models",
    "trainers__azure_ml__modelsUri": "azureml://datastores/models/paths/base/",
    "trainers__replicate__destination": "studio/icons",
}
RECIPE = {
    "resolution": 1024, "steps": 1600, "rank": 16, "mixed_precision": "bf16",
    "gradient_checkpointing": True, "save_every": 400, "seed": 7, "sample_every": 400,
    "sample_prompts": ("neon icon, a green tree",),
}  # fmt: skip
CAPTIONS = (
    "neon icon, a red circle",
    'neon icon, a "blue" star',
    "neon icon, grün",
    "neon icon, a cross",
)
SIZES = ((1024, 1024), (768, 512), (512, 512), (1024, 1024))
MORE = {"mflux": {"quantize": 8, "low_memory": True}}
# Trainers that can show one image more often than another.
REPEATING = {"diffusers", "kohya_ss"} | {
    name
    for name, trainer in TRAINERS.items()
    if trainer.architectures == ai_toolkit_models.FAMILIES
}
VERSION = "1.2.3"


@dataclass(frozen=True)
class Case:
    """One golden plan.

    Attributes:
        trainer: Name of the trainer.
        name: What it trains; the name of the file.
        architecture: Our name of its family.
        options: What else the request says.
    """

    trainer: str
    name: str
    architecture: str
    options: dict[str, Any]

    @property
    def golden(self) -> str:
        """The file below ``tests/goldens``."""
        return f"plans/{self.trainer}/{self.name}.yaml"


def cases() -> list[Case]:
    """Return every case of every trainer."""
    return [case for trainer in TRAINERS for case in _of(trainer)]


def _of(trainer: str) -> Iterator[Case]:
    if trainer == "mflux":
        for alias, model in mflux_models.MODELS.items():
            # The one name that says which of the two is meant.
            named = {"krea-2": "krea-2-turbo"}.get(alias, alias)
            yield Case(trainer, alias, model.architecture, _called(named))
        return
    if TRAINERS[trainer].architectures == ai_toolkit_models.FAMILIES:
        for arch, toolkit_model in ai_toolkit_models.MODELS.items():
            named = arch.replace("_", "-")
            yield Case(trainer, arch, toolkit_model.architecture, _called(named))
        return
    architectures = TRAINERS[trainer].architectures or ("any",)
    for architecture in architectures:
        companions = KOHYA[architecture].required if trainer == "kohya_ss" else ()
        yield Case(trainer, architecture, architecture, {"companions": companions})


def _called(name: str) -> dict[str, Any]:
    return {"checkpoint": name, "checkpoint_id": name}


def settings_for_goldens(folder: Path) -> Settings:
    """Return settings that hold no place of this machine; unknown ones are left out."""
    from lora_pipeline.workspace.settings import SETTINGS as KNOWN

    keys = {setting.key for setting in KNOWN}
    used = {key: value for key, value in SETTINGS.items() if key.replace("__", ".") in keys}
    # Where the models are on machines that are not ours.
    used |= {key.replace(".", "__"): "/models" for key in keys if key.endswith(".modelsRoot")}
    return settings_with(folder, **used)


def plan_text(case: Case, folder: Path) -> str:
    """Return a plan as its golden file holds it."""
    settings = settings_for_goldens(folder / "workspace")
    request = make_request(
        folder,
        case.architecture,
        recipe=RECIPE | MORE.get(case.trainer, {}),
        captions=CAPTIONS,
        repeats=(1, 1, 1, 3) if case.trainer in REPEATING else (2, 2, 2, 2),
        **case.options,
    )
    # Sizes as a studio's, without drawing pictures of them: a plan reads none.
    images = tuple(
        replace(image, width=width, height=height)
        for image, (width, height) in zip(request.data.images, SIZES, strict=True)
    )
    request = replace(request, data=replace(request.data, images=images))
    plan = TRAINERS[case.trainer].prepare(anywhere(request), settings, VERSION)
    return strict_yaml.dumps(_document(without_places(plan, Places(places_of_program())))).decode()


def _document(plan: Plan) -> dict[str, Any]:
    document = plan.to_dict()
    sent = [one["name"] for one in document.pop("uploads", [])]
    files = document.pop("files")
    return document | ({"uploads": sent} if sent else {}) | {"files": files}
