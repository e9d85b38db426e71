"""Replicate: training of FLUX.1 on its machines, through its own Python client.

Written for ``ostris/flux-dev-lora-trainer``, which is ai-toolkit inside. Replicate keeps what it
trains in a model of the account, the destination: it must be private, and is made so when it is
not there.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from lora_pipeline.foundation.errors import RecipeInvalidError, TrainerUnavailableError
from lora_pipeline.foundation.extras import missing_modules, require_extra
from lora_pipeline.foundation.loopback import is_confidential
from lora_pipeline.foundation.process import OutputLine
from lora_pipeline.training.hosted.interface import HostedTrainer, JobEstimate, expected_output
from lora_pipeline.training.hosted.parcel import uploads_of
from lora_pipeline.training.hosted.recipe import (
    decided_there,
    of_when,
    require_plain,
    with_user_file,
)
from lora_pipeline.training.plan import Plan, PlannedFile, TrainingRequest
from lora_pipeline.training.records import Recipe
from lora_pipeline.training.steps import total_steps
from lora_pipeline.training.trainers.interface import Problem, TrainingProgress
from lora_pipeline.training.trainers.progress_bar import read_bar
from lora_pipeline.workspace.settings import LOCAL_FILE, Settings

if TYPE_CHECKING:
    from lora_pipeline.training.trainers.replicate.api import ReplicateService

EXTRA, MODULES = "replicate", ("replicate", "httpx2")
REQUEST_FILE = "training.json"
PARCEL = "{IMAGES}"  # stands in the plan where the address of the uploaded images comes
KEY = "trainers.replicate"
PRICED = "2026-11"  # of when the default price is
_ARCHITECTURE = "flux1"
_BASE = "replicate trains its own copy of FLUX.1 [dev]; that it is the checkpoint is not proven"
_START_S = 120.0  # loading the model, packing and saving
_MODEL = re.compile(r"[A-Za-z0-9][\w.-]{0,99}/[A-Za-z0-9][\w.-]{0,99}")
_VERSION = re.compile(r"[0-9a-f]{40,64}")
_NAME = re.compile(r"[A-Z_][A-Z0-9_]{1,60}")
_STEPS, _RANKS = range(3, 6001), range(1, 129)
_FREE = ("layers_to_optimize_regex", "cache_latents_to_disk", "resolution")
# By input of the trainer, what of the recipe decides it.
_INPUTS: Mapping[str, str] = {
    "steps": "steps", "learning_rate": "learningRate", "batch_size": "batchSize",
    "lora_rank": "rank", "caption_dropout_rate": "captionDropout", "optimizer": "optimizer",
    "gradient_checkpointing": "gradientCheckpointing",
}  # fmt: skip
_TAKEN = (
    "steps", "epochs", "learningRate", "batchSize", "rank", "alpha", "captionDropout", "optimizer",
    "gradientCheckpointing", "resolution",
)  # fmt: skip


class Replicate(HostedTrainer):
    """The adapter to Replicate's trainings."""

    name = "replicate"
    summary = "FLUX.1 on Replicate's machines, paid by the second"
    architectures: tuple[str, ...] = (_ARCHITECTURE,)
    extra, modules = EXTRA, MODULES

    def problems(self, settings: Settings) -> Iterator[Problem]:
        """Yield what is not set up here; Replicate itself is not asked."""
        yield from _of_the_account(settings)
        yield from _of_the_training(settings)

    def version(self, settings: Settings) -> str:
        """Return the trainer and its version, or ``unknown`` while none is set."""
        version = settings.text(f"{KEY}.version")
        trainer = settings.require_text(f"{KEY}.trainer")
        return f"{trainer}:{version[:12]}" if version else "unknown"

    def address(self, settings: Settings) -> str:
        """Return Replicate's address."""
        return settings.require_text(f"{KEY}.baseUrl").rstrip("/")

    def service(self, settings: Settings) -> ReplicateService:
        """Open a connection.

        Raises:
            TrainerUnavailableError: When something is not set up here.
            ExtraMissingError: When the extra ``replicate`` is not installed.
        """
        return self._connected(settings, tuple(self.problems(settings)))

    def discover(self, settings: Settings) -> Mapping[str, str]:
        """Ask for the trainer's newest version, and name a model for what is trained.

        Raises:
            ServiceError: When Replicate cannot be asked.
        """
        version = settings.text(f"{KEY}.version")
        destination = settings.text(f"{KEY}.destination")
        if (version and destination) or missing_modules(MODULES) or any(_of_the_account(settings)):
            return {}
        found = {}
        with self._connected(settings, tuple(_of_the_account(settings))) as service:
            if not version:
                found[f"{KEY}.version"] = service.newest_version()
            if not destination:
                found[f"{KEY}.destination"] = f"{service.account()}/lora-pipeline"
        return found

    def prepare(self, request: TrainingRequest, settings: Settings, version: str) -> Plan:
        """Return what would be sent.

        Raises:
            RecipeInvalidError: When the trainer cannot do what was asked for, or would do
                something else without a word.
        """
        steps = total_steps(request.recipe, request.data.images_per_epoch)
        _require_trainable(request, steps)
        name = self.job_name(request.run_id)
        inputs, warnings = with_user_file(
            _inputs(request.recipe, name, steps),
            request,
            free=_FREE,
            recipe=_INPUTS,
            reader="the trainer",
        )
        _require_largest(inputs, request.recipe)
        document = {
            "trainer": settings.require_text(f"{KEY}.trainer"),
            "version": settings.text(f"{KEY}.version"),
            "destination": settings.text(f"{KEY}.destination"),
            "input": inputs,
        }
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        return Plan(
            trainer=self.name,
            trainer_version=version,
            files=(PlannedFile(REQUEST_FILE, text),),
            argv=(),
            cwd=request.run_folder,
            environment={},
            secrets=(_variable(settings),),
            expected_output=expected_output(request.output_name),
            total_steps=steps,
            warnings=(
                *warnings,
                *decided_there(request.recipe, self.name, _TAKEN),
                _BASE,
            ),
            service=self.address(settings),
            uploads=tuple(uploads_of(request, name)),
        )

    def estimate(self, plan: Plan, recipe: Recipe, settings: Settings) -> JobEstimate:
        """Return what a training is expected to cost: its time, at the price of a second."""
        price = settings.number(f"{KEY}.pricePerSecond")
        each = settings.number(f"{KEY}.secondsPerStep")
        seconds = _START_S + plan.total_steps * recipe.batch_size * each
        minutes = round(seconds / 60, 1)
        if not price:
            return JobEstimate(None, minutes, "USD", f"set {KEY}.pricePerSecond")
        batch = f" of {recipe.batch_size} images" if recipe.batch_size > 1 else ""
        return JobEstimate(
            round(seconds * price, 4),
            minutes,
            "USD",
            f"{plan.total_steps} steps{batch} at {each:g} s and {_START_S:g} s to start, "
            f"{price:g} USD a second{of_when(settings, f'{KEY}.pricePerSecond', PRICED)}",
        )

    def read_line(self, line: OutputLine) -> TrainingProgress | None:
        """Return the progress that a line of the training's log tells."""
        return read_bar(line)

    def _connected(self, settings: Settings, problems: tuple[Problem, ...]) -> ReplicateService:
        require_extra(EXTRA, MODULES)
        for problem in problems:
            raise TrainerUnavailableError(f"{self.name}: {problem.message}", hint=problem.hint)
        from lora_pipeline.training.trainers.replicate.api import Account, connect

        return connect(
            Account(
                address=self.address(settings),
                variable=_variable(settings),
                trainer=settings.require_text(f"{KEY}.trainer"),
                version=settings.text(f"{KEY}.version") or "",
                destination=settings.text(f"{KEY}.destination") or "",
                hardware=settings.require_text(f"{KEY}.hardware"),
                price_per_second=settings.number(f"{KEY}.pricePerSecond"),
                pause_s=min(1.0, settings.number("trainers.pollSeconds")),
            )
        )


REPLICATE = Replicate()


def _of_the_account(settings: Settings) -> Iterator[Problem]:
    base = settings.require_text(f"{KEY}.baseUrl")
    parts = urlsplit(base)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        yield Problem(f"{KEY}.baseUrl is {base!r}, no address", f"set it in {LOCAL_FILE}")
    elif parts.username or parts.password or parts.query or parts.fragment:
        yield Problem(f"{KEY}.baseUrl holds more than host, port and path", "give the address only")
    elif not is_confidential(base):
        yield Problem(f"{KEY}.baseUrl is not encrypted", "an address that begins with https://")
    trainer = settings.require_text(f"{KEY}.trainer")
    if not _MODEL.fullmatch(trainer):
        yield Problem(f"{KEY}.trainer is {trainer!r}", "owner/name, without a version")
    variable = _variable(settings)
    if not _NAME.fullmatch(variable):
        yield Problem(
            f"{KEY}.tokenVariable is no name of a variable", "give the name, never the token"
        )
    elif not os.environ.get(variable, "").strip():
        yield Problem(
            f"the environment variable {variable} does not hold a token",
            f"export {variable}=…, from replicate.com/account/api-tokens",
        )


def _of_the_training(settings: Settings) -> Iterator[Problem]:
    version = settings.text(f"{KEY}.version")
    if not version:
        yield Problem("no version of the trainer is set", "lora setup replicate records the newest")
    elif not _VERSION.fullmatch(version):
        yield Problem(f"{KEY}.version is {version[:20]!r}", "64 digits of 0-9 and a-f")
    destination = settings.text(f"{KEY}.destination")
    if not destination:
        yield Problem(
            "no model is named for what is trained", "lora setup replicate names one of the account"
        )
    elif not _MODEL.fullmatch(destination):
        yield Problem(f"{KEY}.destination is {destination!r}", "owner/name of a private model")


def _variable(settings: Settings) -> str:
    return settings.require_text(f"{KEY}.tokenVariable")


def _inputs(recipe: Recipe, name: str, steps: int) -> dict[str, Any]:
    return {
        "input_images": PARCEL,
        # Captions are complete: a word that is set here would be put before each.
        "trigger_word": "",
        "autocaption": False,
        "steps": steps,
        "learning_rate": recipe.learning_rate,
        "batch_size": recipe.batch_size,
        "resolution": str(recipe.resolution),
        "lora_rank": recipe.rank,
        "caption_dropout_rate": recipe.caption_dropout,
        "optimizer": recipe.optimizer,
        "gradient_checkpointing": recipe.gradient_checkpointing,
        # Does nothing without a key of Weights & Biases, is kept with the training, and is how
        # the training of a run is found again.
        "wandb_run": name,
    }


def _require_trainable(request: TrainingRequest, steps: int) -> None:
    recipe, architecture = request.recipe, request.checkpoint.architecture
    if architecture != _ARCHITECTURE:
        raise RecipeInvalidError(
            f"replicate trains {_ARCHITECTURE}, and checkpoint {request.checkpoint.checkpoint_id} "
            f"is {architecture or 'of no known architecture'}",
            hint="lora train --trainer fal, ai_toolkit or kohya_ss",
        )
    require_plain(request, "replicate")
    if steps not in _STEPS:
        raise RecipeInvalidError(
            f"replicate trains {_STEPS[0]} to {_STEPS[-1]} steps, not {steps}", hint="--steps 1000"
        )
    if recipe.rank not in _RANKS:
        raise RecipeInvalidError(
            f"replicate trains ranks of {_RANKS[0]} to {_RANKS[-1]}, not {recipe.rank}",
            hint="--rank 32",
        )
    if recipe.optimizer == "prodigy" and recipe.learning_rate < 0.1:
        raise RecipeInvalidError(
            f"replicate would train prodigy with a learning rate of 1, not "
            f"{recipe.learning_rate:g}",
            hint="--lr 1",
        )


def _require_largest(inputs: Mapping[str, Any], recipe: Recipe) -> None:
    sizes = str(inputs["resolution"]).replace(" ", "").split(",")
    if not all(size.isdigit() for size in sizes) or max(map(int, sizes)) != recipe.resolution:
        raise RecipeInvalidError(
            f"resolution {inputs['resolution']!r} of --trainer-config must be sizes of which "
            f"{recipe.resolution} is the largest",
            hint=f'"512,768,{recipe.resolution}", or another --resolution',
        )
