"""fal: training on its machines, through its own Python client.

fal has an endpoint for each model, and each takes other inputs under other names. They take few
settings: what of the recipe is not sent is named in the plan.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from lora_pipeline.foundation.errors import RecipeInvalidError
from lora_pipeline.foundation.extras import require_extra
from lora_pipeline.foundation.ids import did_you_mean
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
    from lora_pipeline.training.trainers.fal.api import FalService

EXTRA, MODULES = "fal", ("fal_client", "httpx2")
REQUEST_FILE = "request.json"
PARCEL = "{IMAGES}"  # stands in the plan where the address of the uploaded images comes
KEY = "trainers.fal"
PRICED = "2026-11"  # of when the built-in prices are
_NAME = re.compile(r"[A-Z_][A-Z0-9_]{1,60}")
_STEP = re.compile(r"\bStep (\d{1,7})/(\d{1,7})\b")
_ADDRESSES = ("baseUrl", "storageUrl", "filesUrl")


class Endpoint(msgspec.Struct, frozen=True):
    """One trainer of fal's.

    Attributes:
        name: Its name.
        architecture: Our name of what it trains.
        images: Its input for the zip.
        fixed: Inputs that are always the same.
        free: Inputs that the user's own file may say.
        steps: Steps that it takes.
        multiple: Its steps are a multiple of this.
        fewest: Fewest images.
        price: USD for one step, or 0 when it is not known.
        rate: Whether it takes a learning rate.
        word: Its input for a trigger word, or empty.
    """

    name: str
    architecture: str
    images: str
    fixed: Mapping[str, Any]
    free: tuple[str, ...] = ()
    steps: range = range(1, 10_001)
    multiple: int = 1
    fewest: int = 1
    price: float = 0.0
    rate: bool = True
    word: str = ""


# Inputs as fal documents them. With captions in the zip the trigger word is ignored, is_style
# ignores the captions, and a trigger phrase would be put into captions that are complete.
ENDPOINTS: Mapping[str, Endpoint] = {
    one.name: one
    for one in (
        Endpoint(
            "fal-ai/flux-lora-fast-training", "flux1", "images_data_url",
            {"is_style": False, "create_masks": False}, ("create_masks",),
            fewest=4, price=0.002, rate=False, word="trigger_word",
        ),
        Endpoint(
            "fal-ai/flux-2-trainer", "flux2", "image_data_url", {"output_lora_format": "fal"},
        ),
        Endpoint(
            "fal-ai/z-image-base-trainer", "zimage", "image_data_url", {}, ("training_type",),
            steps=range(100, 10_001), multiple=100, price=0.00226,
        ),
        Endpoint(
            "fal-ai/z-image-trainer", "zimage", "image_data_url", {}, ("training_type",),
            steps=range(100, 10_001), multiple=100, price=0.00226,
        ),
        Endpoint("fal-ai/qwen-image-trainer", "qwen_image", "image_data_url", {}),
    )
}  # fmt: skip
_TURBO = "fal-ai/z-image-trainer"


class Fal(HostedTrainer):
    """The adapter to fal's trainers."""

    name = "fal"
    summary = "FLUX and Z-Image on fal's machines, paid by the step"
    architectures: tuple[str, ...] = tuple(
        dict.fromkeys(one.architecture for one in ENDPOINTS.values())
    )
    # z-image-trainer is made for the distilled model, and brings what that needs.
    loads_adapters = True
    extra, modules = EXTRA, MODULES

    def problems(self, settings: Settings) -> Iterator[Problem]:
        """Yield what is not set up here; fal itself is not asked."""
        for name in _ADDRESSES:
            base = settings.require_text(f"{KEY}.{name}")
            parts = urlsplit(base)
            if parts.scheme not in {"http", "https"} or not parts.hostname:
                yield Problem(f"{KEY}.{name} is {base!r}, no address", f"set it in {LOCAL_FILE}")
            elif parts.username or parts.password or parts.query or parts.fragment:
                yield Problem(
                    f"{KEY}.{name} holds more than host, port and path", "the address only"
                )
            elif not is_confidential(base):
                yield Problem(
                    f"{KEY}.{name} is not encrypted", "an address that begins with https://"
                )
        variable = _variable(settings)
        if not _NAME.fullmatch(variable):
            yield Problem(
                f"{KEY}.keyVariable is no name of a variable", "give the name, never the key"
            )
        elif not os.environ.get(variable, "").strip():
            yield Problem(
                f"the environment variable {variable} does not hold a key",
                f"export {variable}=…, from fal.ai/dashboard/keys",
            )
        endpoint = settings.text(f"{KEY}.endpoint")
        if endpoint and endpoint not in ENDPOINTS:
            near = did_you_mean(endpoint, ENDPOINTS)
            yield Problem(
                f"{KEY}.endpoint {endpoint!r} is none whose inputs are known",
                f"did you mean {near}?" if near else f"one of {', '.join(ENDPOINTS)}",
            )

    def version(self, settings: Settings) -> str:  # noqa: ARG002
        """Return ``unknown``: fal's trainers tell no version."""
        return "unknown"

    def address(self, settings: Settings) -> str:
        """Return the address of fal's queue."""
        return settings.require_text(f"{KEY}.baseUrl").rstrip("/")

    def service(self, settings: Settings) -> FalService:
        """Open a connection.

        Raises:
            TrainerUnavailableError: When something is not set up here.
            ExtraMissingError: When the extra ``fal`` is not installed.
        """
        require_extra(EXTRA, MODULES)
        self.require_set_up(settings)
        from lora_pipeline.training.trainers.fal.api import Addresses, connect

        queue, storage, files_ = (
            settings.require_text(f"{KEY}.{name}").rstrip("/") for name in _ADDRESSES
        )
        return connect(
            Addresses(queue, storage, files_),
            variable=_variable(settings),
            keep_days=settings.integer(f"{KEY}.keepDays"),
            pause_s=min(1.0, settings.number("trainers.pollSeconds")),
        )

    def prepare(self, request: TrainingRequest, settings: Settings, version: str) -> Plan:
        """Return what would be sent.

        Raises:
            RecipeInvalidError: When no endpoint trains the model, or it cannot do what was
                asked for.
        """
        endpoint = _endpoint_for(request, settings.text(f"{KEY}.endpoint"))
        steps = total_steps(request.recipe, request.data.images_per_epoch)
        require_plain(request, self.name)
        _require_within(request, endpoint, steps)
        inputs, warnings = with_user_file(
            _inputs(request, endpoint, steps),
            request,
            free=endpoint.free,
            recipe={"steps": "steps", "learning_rate": "learningRate"},
            reader=endpoint.name,
        )
        text = json.dumps({"endpoint": endpoint.name, "input": inputs}, indent=2) + "\n"
        taken = ("steps", "epochs", *(("learningRate",) if endpoint.rate else ()))
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
                *decided_there(request.recipe, self.name, taken),
                _about_the_base(endpoint),
            ),
            service=self.address(settings),
            uploads=tuple(uploads_of(request, self.job_name(request.run_id))),
        )

    def read_line(self, line: OutputLine) -> TrainingProgress | None:
        """Return the progress that a line of the job's log tells, where a trainer tells any."""
        found = _STEP.search(line.text)
        if found is None:
            return read_bar(line)
        return TrainingProgress(int(found.group(1)), int(found.group(2)))

    def estimate(
        self,
        plan: Plan,
        recipe: Recipe,  # noqa: ARG002
        settings: Settings,
    ) -> JobEstimate:
        """Return what a training is expected to cost: its steps, at the price of one."""
        endpoint = ENDPOINTS[json.loads(plan.files[0].content)["endpoint"]]
        each = settings.number(f"{KEY}.secondsPerStep")
        minutes = round(plan.total_steps * each / 60, 1) if each else None
        thousand = settings.number(f"{KEY}.pricePerThousandSteps") or endpoint.price * 1000
        if not thousand:
            return JobEstimate(
                None, minutes, "USD",
                f"set {KEY}.pricePerThousandSteps, as fal.ai/models/{endpoint.name} tells it",
            )  # fmt: skip
        return JobEstimate(
            round(plan.total_steps * thousand / 1000, 4),
            minutes,
            "USD",
            f"{plan.total_steps} steps, {thousand:g} USD for a thousand"
            f"{of_when(settings, f'{KEY}.pricePerThousandSteps', PRICED)}",
        )


FAL = Fal()


def _about_the_base(endpoint: Endpoint) -> str:
    return f"{endpoint.name} trains its own base model; that it is the checkpoint is not proven"


def _variable(settings: Settings) -> str:
    return settings.require_text(f"{KEY}.keyVariable")


def _endpoint_for(request: TrainingRequest, stated: str | None) -> Endpoint:
    checkpoint = request.checkpoint
    fitting = [one for one in ENDPOINTS.values() if one.architecture == checkpoint.architecture]
    if not fitting:
        raise RecipeInvalidError(
            f"fal trains {', '.join(FAL.architectures)}, and checkpoint "
            f"{checkpoint.checkpoint_id} is {checkpoint.architecture or 'of another kind'}",
            hint="lora train --trainer kohya_ss, ai_toolkit or mflux",
        )
    if stated in {one.name for one in fitting}:
        return ENDPOINTS[str(stated)]
    if checkpoint.training_adapter is not None and ENDPOINTS[_TURBO] not in fitting:
        raise RecipeInvalidError(
            f"checkpoint {checkpoint.checkpoint_id} is distilled, and fal trains no such "
            f"{checkpoint.architecture}",
            hint="--trainer ai_toolkit, or train on the model that it was distilled from",
        )
    turbo = (
        checkpoint.training_adapter is not None
        or "turbo" in f"{checkpoint.checkpoint_id} {checkpoint.path.name}".lower()
    )
    if turbo and ENDPOINTS[_TURBO] in fitting:
        return ENDPOINTS[_TURBO]
    return fitting[0]


def _require_within(request: TrainingRequest, endpoint: Endpoint, steps: int) -> None:
    if steps not in endpoint.steps or steps % endpoint.multiple:
        near = max(endpoint.steps[0], round(steps / endpoint.multiple) * endpoint.multiple)
        by = f", by the {endpoint.multiple}" if endpoint.multiple > 1 else ""
        raise RecipeInvalidError(
            f"{endpoint.name} trains {endpoint.steps[0]} to {endpoint.steps[-1]} steps{by}, "
            f"not {steps}",
            hint=f"--steps {min(near, endpoint.steps[-1])}",
        )
    if len(request.data.images) < endpoint.fewest:
        raise RecipeInvalidError(
            f"{endpoint.name} takes {endpoint.fewest} images or more, not "
            f"{len(request.data.images)}",
            hint="lora dataset build with a wider selection",
        )


def _inputs(request: TrainingRequest, endpoint: Endpoint, steps: int) -> dict[str, Any]:
    inputs: dict[str, Any] = {endpoint.images: PARCEL, "steps": steps, **endpoint.fixed}
    if endpoint.rate:
        inputs["learning_rate"] = request.recipe.learning_rate
    if endpoint.word and request.trigger_word:
        inputs[endpoint.word] = request.trigger_word
    return inputs
