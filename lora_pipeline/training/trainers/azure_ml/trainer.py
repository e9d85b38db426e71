"""Azure ML: ai-toolkit in a command job, images and weights in the workspace's own storage."""

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
from lora_pipeline.training.trainers.azure_ml.api import (
    EXTRA,
    MODULES,
    AzureCommand,
    AzureMl,
    AzurePlace,
)
from lora_pipeline.training.trainers.azure_ml.job import AzureMlService
from lora_pipeline.training.trainers.interface import Problem
from lora_pipeline.workspace.settings import Settings

KEY = "trainers.azure_ml"
START_FILE, JOB_FILE = "start.py", "azure-job.json"
_PORTAL = "https://ml.azure.com"
_PLAIN = re.compile(r"[A-Za-z0-9][\w .:/@+-]{0,200}")
_FOLDER = re.compile(r"/[\w./-]{1,200}")
_URI = re.compile(r"azureml://[\w./:-]{1,300}")
_REQUIRED = ("subscriptionId", "resourceGroup", "workspaceName", "compute")
_TOLD = (*_REQUIRED, "datastore", "image")


class AzureMlTrainer(AiToolkitServer):
    """The adapter to command jobs of Azure ML."""

    key, kind = KEY, "sd_trainer"
    name = "azure_ml"
    summary = "ai-toolkit in a command job of an Azure ML workspace"
    extra, modules = EXTRA, MODULES

    def problems(self, settings: Settings) -> Iterator[Problem]:
        """Yield what is not set up here; Azure itself is not asked."""
        for name in _REQUIRED:
            if not settings.text(f"{KEY}.{name}"):
                yield Problem(f"{KEY}.{name} is not set", "see Azure ML's studio for its name")
        for name in _TOLD:
            value = settings.text(f"{KEY}.{name}")
            if value and not _PLAIN.fullmatch(value):
                yield Problem(
                    f"{KEY}.{name} is {value!r}, which Azure cannot know", "see the studio"
                )
        if not _FOLDER.fullmatch(settings.require_text(f"{KEY}.toolkitFolder")):
            yield Problem(f"{KEY}.toolkitFolder is no folder of a container", "/app/ai-toolkit")
        models = settings.text(f"{KEY}.modelsUri")
        if models and not _URI.fullmatch(models):
            yield Problem(
                f"{KEY}.modelsUri is {models!r}", "such as azureml://datastores/NAME/paths/models/"
            )
        if settings.number(f"{KEY}.maxHours") <= 0:
            yield Problem(f"{KEY}.maxHours must be more than 0", "leave it out for the default")

    def version(self, settings: Settings) -> str:
        """Return the image that trains."""
        return settings.require_text(f"{KEY}.image")

    def address(self, settings: Settings) -> str:
        """Return the workspace as an address of Azure ML's."""
        subscription, group, workspace, _ = (
            settings.text(f"{KEY}.{name}") or "unset" for name in _REQUIRED
        )
        root = settings.text(f"{KEY}.endpoint") or _PORTAL
        return f"{root.rstrip('/')}/subscriptions/{subscription}/{group}/{workspace}"

    @property
    def models_setting(self) -> str:
        """Name of the setting that says where base models are."""
        return f"{KEY}.modelsUri"

    def models_root(self, settings: Settings) -> str:
        """Return what stands for the folder that only the container knows."""
        return "{MODELS_FOLDER}" if settings.text(f"{KEY}.modelsUri") else ""

    def token_variable(self, settings: Settings) -> str:
        """Return the name of the environment variable that may hold what lets us in."""
        return settings.text(f"{KEY}.tokenVariable") or "AZURE_CLIENT_SECRET"

    def about(self, address: str, base: str) -> Iterator[str]:  # noqa: ARG002
        """Yield what a careful person wants to know of the workspace."""
        yield "images and weights stay in the workspace's storage when the run has ended"
        yield about_the_base(base)

    def prepare(self, request: TrainingRequest, settings: Settings, version: str) -> Plan:
        """Return what would be sent.

        Raises:
            RecipeInvalidError: When ai-toolkit cannot do what was asked for, or nothing says
                where the base model is.
        """
        plan = super().prepare(request, settings, version)
        command = _command(settings)
        job = {
            "command": command.command,
            "image": command.image,
            "compute": command.compute,
            "timeoutSeconds": command.max_seconds,
            "datastore": settings.require_text(f"{KEY}.datastore"),
            "models": settings.text(f"{KEY}.modelsUri"),
        }
        start = Path(ai_toolkit_start.__file__).read_text(encoding="utf-8")
        return replace(
            plan,
            files=(
                *plan.files,
                PlannedFile(START_FILE, start),
                PlannedFile(JOB_FILE, json.dumps(job, indent=2) + "\n"),
            ),
        )

    def estimate(self, plan: Plan, recipe: Recipe, settings: Settings) -> JobEstimate:
        """Return what the job is expected to cost."""
        work = plan.total_steps * recipe.batch_size * recipe.gradient_accumulation
        currency = settings.require_text(f"{KEY}.currency")
        return estimate_rented(settings, KEY, work, currency=currency)

    def service(self, settings: Settings) -> AzureMlService:
        """Open a connection.

        Raises:
            TrainerUnavailableError: When something is not set up here.
            ExtraMissingError: When the extra ``azure_ml`` is not installed.
        """
        self.require_set_up(settings)
        place = AzurePlace(
            subscription=settings.require_text(f"{KEY}.subscriptionId"),
            group=settings.require_text(f"{KEY}.resourceGroup"),
            workspace=settings.require_text(f"{KEY}.workspaceName"),
            datastore=settings.require_text(f"{KEY}.datastore"),
            endpoint=settings.text(f"{KEY}.endpoint") or "",
            storage_url=settings.text(f"{KEY}.storageUrl") or "",
            token_variable=settings.text(f"{KEY}.tokenVariable") or "",
            storage_key_variable=settings.text(f"{KEY}.storageKeyVariable") or "",
        )
        pause = min(1.0, settings.number("trainers.pollSeconds"))
        return AzureMlService(
            AzureMl(place, pause_s=pause),
            place.datastore,
            _command(settings),
            models=settings.text(f"{KEY}.modelsUri") or "",
            price_per_hour=settings.number(f"{KEY}.pricePerHour"),
            currency=settings.require_text(f"{KEY}.currency"),
        )


AZURE_ML = AzureMlTrainer()


def _command(settings: Settings) -> AzureCommand:
    models = " ${{inputs.models}}" if settings.text(f"{KEY}.modelsUri") else ""
    toolkit = settings.require_text(f"{KEY}.toolkitFolder")
    return AzureCommand(
        name="",
        command=f"python ${{{{inputs.work}}}}/{START_FILE} ${{{{inputs.work}}}} "
        f"${{{{outputs.out}}}} {toolkit}{models}",
        image=settings.require_text(f"{KEY}.image"),
        compute=settings.text(f"{KEY}.compute") or "",
        inputs={},
        output="",
        max_seconds=int(settings.number(f"{KEY}.maxHours") * 3600),
    )
