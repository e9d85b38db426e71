"""Modal: ai-toolkit in a sandbox, images and weights in a volume."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace

from lora_pipeline.training.hosted.interface import JobEstimate
from lora_pipeline.training.hosted.rented import estimate_rented
from lora_pipeline.training.plan import Plan, PlannedFile, TrainingRequest
from lora_pipeline.training.records import Recipe
from lora_pipeline.training.trainers.ai_toolkit import start as ai_toolkit_start
from lora_pipeline.training.trainers.ai_toolkit.server import AiToolkitServer, about_the_base
from lora_pipeline.training.trainers.interface import Problem
from lora_pipeline.training.trainers.modal.api import (
    EXTRA,
    MODULES,
    ModalAccount,
    ModalCommand,
    ModalPlace,
)
from lora_pipeline.training.trainers.modal.job import ModalService
from lora_pipeline.workspace.settings import Settings

KEY = "trainers.modal"
START_FILE, SANDBOX_FILE = "start.py", "sandbox.json"
_PLAIN = re.compile(r"[A-Za-z0-9][\w.:/@+-]{0,200}")
_FOLDER = re.compile(r"/[\w./-]{1,200}")
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]{1,60}")
_LONGEST_HOURS = 24.0


class ModalTrainer(AiToolkitServer):
    """The adapter to sandboxes of Modal."""

    key, kind = KEY, "sd_trainer"
    name = "modal"
    summary = "ai-toolkit in a sandbox of Modal's"
    extra, modules = EXTRA, MODULES

    def problems(self, settings: Settings) -> Iterator[Problem]:
        """Yield what is not set up here; Modal itself is not asked."""
        for name in ("app", "volume", "modelsVolume", "image", "gpu"):
            value = settings.text(f"{KEY}.{name}")
            if value is not None and not _PLAIN.fullmatch(value):
                yield Problem(
                    f"{KEY}.{name} is {value!r}, which Modal cannot know", "see modal.com"
                )
        if not _FOLDER.fullmatch(settings.require_text(f"{KEY}.toolkitFolder")):
            yield Problem(f"{KEY}.toolkitFolder is no folder of a container", "/app/ai-toolkit")
        if not 0 < settings.number(f"{KEY}.maxHours") <= _LONGEST_HOURS:
            yield Problem(
                f"{KEY}.maxHours must be more than 0 and at most {_LONGEST_HOURS:g}",
                "Modal ends a sandbox after a day",
            )
        for name in ("tokenIdVariable", "tokenSecretVariable"):
            if not _VARIABLE.fullmatch(settings.require_text(f"{KEY}.{name}")):
                yield Problem(
                    f"{KEY}.{name} is no name of a variable", "give the name, never the token"
                )

    def version(self, settings: Settings) -> str:
        """Return the image that trains."""
        return settings.require_text(f"{KEY}.image")

    def address(self, settings: Settings) -> str:
        """Return the app as an address of Modal's."""
        return f"https://modal.com/apps/{settings.require_text(f'{KEY}.app')}"

    @property
    def models_setting(self) -> str:
        """Name of the setting that says where base models are."""
        return f"{KEY}.modelsVolume"

    def models_root(self, settings: Settings) -> str:
        """Return where the volume with base models is mounted."""
        return "{MODELS_FOLDER}" if settings.text(self.models_setting) else ""

    def token_variable(self, settings: Settings) -> str:
        """Return the name of the environment variable with the token's secret."""
        return settings.require_text(f"{KEY}.tokenSecretVariable")

    def about(self, address: str, base: str) -> Iterator[str]:  # noqa: ARG002
        """Yield what a careful person wants to know of Modal."""
        yield "images and weights stay in Modal's volume when the run has ended"
        yield about_the_base(base)

    def prepare(self, request: TrainingRequest, settings: Settings, version: str) -> Plan:
        """Return what would be sent.

        Raises:
            RecipeInvalidError: When ai-toolkit cannot do what was asked for, or nothing says
                where the base model is.
        """
        plan = super().prepare(request, settings, version)
        command = _command(settings)
        sandbox = {
            "app": settings.require_text(f"{KEY}.app"),
            "volume": settings.require_text(f"{KEY}.volume"),
            "modelsVolume": settings.text(self.models_setting),
            "image": command.image,
            "gpu": command.gpu,
            "timeoutSeconds": command.max_seconds,
        }
        start = Path(ai_toolkit_start.__file__).read_text(encoding="utf-8")
        return replace(
            plan,
            files=(
                *plan.files,
                PlannedFile(START_FILE, start),
                PlannedFile(SANDBOX_FILE, json.dumps(sandbox, indent=2) + "\n"),
            ),
        )

    def estimate(self, plan: Plan, recipe: Recipe, settings: Settings) -> JobEstimate:
        """Return what the sandbox is expected to cost."""
        work = plan.total_steps * recipe.batch_size * recipe.gradient_accumulation
        return estimate_rented(settings, KEY, work, currency="USD")

    def service(self, settings: Settings) -> ModalService:
        """Open a connection.

        Raises:
            TrainerUnavailableError: When something is not set up here.
            ExtraMissingError: When the extra ``modal`` is not installed.
        """
        self.require_set_up(settings)
        place = ModalPlace(
            app=settings.require_text(f"{KEY}.app"),
            volume=settings.require_text(f"{KEY}.volume"),
            models_volume=settings.text(self.models_setting) or "",
            token_id_variable=settings.require_text(f"{KEY}.tokenIdVariable"),
            token_secret_variable=settings.require_text(f"{KEY}.tokenSecretVariable"),
        )
        return ModalService(
            ModalAccount(place),
            _command(settings),
            toolkit=settings.require_text(f"{KEY}.toolkitFolder"),
            price_per_hour=settings.number(f"{KEY}.pricePerHour"),
        )


MODAL = ModalTrainer()


def _command(settings: Settings) -> ModalCommand:
    return ModalCommand(
        name="",
        arguments=(),
        image=settings.require_text(f"{KEY}.image"),
        gpu=settings.require_text(f"{KEY}.gpu"),
        max_seconds=int(settings.number(f"{KEY}.maxHours") * 3600),
    )
