"""ostris' ai-toolkit on this machine, started as a process. Written for version 0.12."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lora_pipeline.foundation import files
from lora_pipeline.foundation.errors import PipelineError, RecipeInvalidError
from lora_pipeline.foundation.process import OutputLine
from lora_pipeline.training.failure import explain_failure
from lora_pipeline.training.plan import Plan, PlannedFile, TrainingRequest
from lora_pipeline.training.records import RunError
from lora_pipeline.training.steps import total_steps
from lora_pipeline.training.trainers.ai_toolkit import config as ai_toolkit_config
from lora_pipeline.training.trainers.ai_toolkit.home import CHECKOUT
from lora_pipeline.training.trainers.ai_toolkit.models import (
    FAMILIES,
    ToolkitModel,
    choose_model,
    is_distilled_by_name,
)
from lora_pipeline.training.trainers.ai_toolkit.user_file import merge_user_file, read_user_file
from lora_pipeline.training.trainers.interface import (
    Collected,
    CollectedFile,
    Continuation,
    Problem,
    TrainingProgress,
)
from lora_pipeline.training.trainers.offline import OFFLINE
from lora_pipeline.training.trainers.progress_bar import read_bar
from lora_pipeline.training.weights.inspection import inspect_weights
from lora_pipeline.workspace.settings import Settings

_SETUP = "lora setup ai_toolkit"
_JOB = "job.yaml"
_OUTPUT = "output"
_STATE = "optimizer.pt"
_SAVED = re.compile(r"_(\d{9})\.safetensors$")
_SAID = re.compile(r"^Error running job: (.+)")


class AiToolkitTrainer:
    """The adapter to ``run.py`` of ai-toolkit."""

    name = "ai_toolkit"
    summary = "ostris' ai-toolkit, in an environment of its own"
    architectures = FAMILIES
    starts_program = True
    loads_adapters = True

    def health(self, settings: Settings) -> Problem | None:
        """Return why it cannot run on this machine, or None when it can."""
        device = settings.text("trainers.ai_toolkit.device") or "auto"
        if device not in {"auto", "cpu"}:
            return Problem(f"trainers.ai_toolkit.device is {device!r}, no device", "auto or cpu")
        home = CHECKOUT.find_home(settings)
        return Problem(home, _SETUP) if isinstance(home, str) else None

    def version(self, settings: Settings) -> str:
        """Return the version of the checkout, or ``unknown``."""
        home = CHECKOUT.find_home(settings)
        return "unknown" if isinstance(home, str) else CHECKOUT.version(home.folder)

    def prepare(self, request: TrainingRequest, settings: Settings, version: str) -> Plan:
        """Return what will be run.

        Raises:
            RecipeInvalidError: When ai-toolkit cannot do what was asked for.
        """
        cpu = settings.text("trainers.ai_toolkit.device") == "cpu"
        theirs = read_user_file(request.config_file)
        model = choose_model(request.checkpoint, stated_arch(theirs))
        ai_toolkit_config.require_trainable(request, model)
        _require_device(request, cpu=cpu)
        images = _image_files(request)
        adapter = request.checkpoint.training_adapter
        ours = ai_toolkit_config.job_document(
            request,
            model,
            ai_toolkit_config.Places(
                kind="sd_trainer",
                name=request.output_name,
                training_folder=str(request.run_folder / _OUTPUT),
                base=str(request.checkpoint.path),
                adapter=None if adapter is None else str(adapter),
                datasets=[
                    {
                        "dataset_path": str(request.run_folder / path),
                        "num_repeats": times,
                        **_masks(request),
                    }
                    for times, path, _ in images
                ],
                cpu=cpu,
            ),
        )
        document, warnings = merged(ours, theirs, request.config_file)
        ai_toolkit_config.require_plain_texts(document)
        home = CHECKOUT.find_home(settings)
        if isinstance(home, str):
            warnings.append(f"python and the folder stand for what {_SETUP} will bring")
            python, folder = "python", request.run_folder
        else:
            python, folder = str(home.python), home.folder
        return Plan(
            trainer=self.name,
            trainer_version=version,
            files=(
                PlannedFile(_JOB, ai_toolkit_config.to_yaml(document)),
                *(PlannedFile(path, text) for _, path, text in images),
            ),
            argv=(python, "run.py", str(request.run_folder / _JOB)),
            cwd=folder,
            environment={
                **OFFLINE,
                "DISABLE_TELEMETRY": "YES",
                "NO_ALBUMENTATIONS_UPDATE": "1",
                **({"ACCELERATE_USE_CPU": "true"} if cpu else {}),
            },
            expected_output=f"{_OUTPUT}/{request.output_name}/{request.output_name}.safetensors",
            total_steps=total_steps(request.recipe, request.data.images_per_epoch),
            warnings=(*warnings, *about_the_model(request, model, adapter is not None)),
        )

    def read_line(self, line: OutputLine) -> TrainingProgress | None:
        """Return the progress that the training's bar tells."""
        return read_bar(line)

    def collect(self, plan: Plan, run_folder: Path) -> Collected:
        """Return the final weights and those saved at steps, unverified."""
        final = run_folder / plan.expected_output
        kept = []
        for path in sorted(final.parent.glob("*.safetensors")):
            saved = _SAVED.search(path.name)
            if saved and path.name.startswith(f"{final.stem}_"):
                kept.append(CollectedFile(path, int(saved.group(1))))
        return Collected(CollectedFile(final) if final.is_file() else None, tuple(kept))

    def carry_over(self, plan: Plan, earlier: Path, run_folder: Path) -> Continuation | None:
        """Copy the saves of an interrupted run; ai-toolkit goes on from the newest in its folder.

        Only saves as old as the optimiser's state count: one that came after it would go on
        with the wrong momentum, and may be cut short.
        """
        target = (run_folder / plan.expected_output).parent
        state = (earlier / plan.expected_output).with_name(_STATE)
        saves = [
            one
            for one in self.collect(plan, earlier).checkpoints
            if state.is_file() and one.path.stat().st_mtime_ns <= state.stat().st_mtime_ns
        ]
        if not saves or not _sound(saves[-1].path):
            return None
        for one in saves:  # in order: the newest by the clock must be the last step
            files.copy_atomic(one.path, target / one.path.name)
        files.copy_atomic(state, target / _STATE)
        return Continuation(saves[-1].step or 0, plan)

    def explain(self, lines: Sequence[OutputLine], status: int) -> RunError:
        """Return why a run failed; stopped by Ctrl-C it ends with 0 and says so."""
        error = explain_failure(lines, status)
        if error.code != "trainer_failed":
            return error
        if any(line.text.strip() == "Job stopped" for line in lines):
            return RunError(
                code="no_output",
                message="ai-toolkit was stopped before it saved the last step",
                hint="train again",
            )
        said = [found.group(1) for line in lines if (found := _SAID.match(line.text))]
        if not said:
            return error
        return RunError(code=error.code, message=f"ai-toolkit: {said[-1][:300]}", hint=error.hint)


AI_TOOLKIT = AiToolkitTrainer()


def stated_arch(theirs: dict[str, Any]) -> str | None:
    """Return ``model.arch`` of the user's own job; what follows a colon is for ai-toolkit's UI."""
    model = theirs.get("model")
    arch = model.get("arch") if isinstance(model, dict) else None
    return str(arch).split(":", 1)[0] if arch else None


def merged(
    ours: dict[str, Any], theirs: dict[str, Any], path: Path | None, *, taken: tuple[str, ...] = ()
) -> tuple[dict[str, Any], list[str]]:
    """Return our job with the user's own settings in it, and warnings about the others."""
    process, warnings = merge_user_file(
        ours["config"]["process"][0], theirs, path.name if path else "", ours_too=taken
    )
    process["model"]["arch"] = ours["config"]["process"][0]["model"]["arch"]
    return {**ours, "config": {**ours["config"], "process": [process]}}, warnings


def about_the_model(request: TrainingRequest, model: ToolkitModel, adapter: bool) -> list[str]:  # noqa: FBT001
    """Return what to know before a run of ai-toolkit starts, here or on a server."""
    found = [f"trained as {model.arch}", *ai_toolkit_config.cautions(request, model)]
    if not adapter and is_distilled_by_name(request.checkpoint):
        found.append(
            f"{request.checkpoint.checkpoint_id} seems to be distilled: training without an "
            "adapter undoes that (lora checkpoint add --training-adapter FILE)"
        )
    return found


def _sound(path: Path) -> bool:
    try:
        return not inspect_weights(path).problems
    except PipelineError:
        return False


def _image_files(request: TrainingRequest) -> list[tuple[int, str, str]]:
    """Return for each repeat count a list of images with their captions: count, path and text.

    Lists instead of the folder: ai-toolkit writes its notes beside what it is given, and the
    staged images belong to every run.
    """
    found = []
    for times in sorted({image.repeats for image in request.data.images}):
        entries = {
            str(request.data.folder / image.name): {"caption": image.caption}
            for image in request.data.images
            if image.repeats == times
        }
        # Every character beyond ASCII is escaped: it is read in whatever encoding the machine has.
        found.append((times, f"images-{times}x.json", json.dumps(entries, indent=1) + "\n"))
    return found


def _masks(request: TrainingRequest) -> dict[str, str]:
    if not request.data.masked:
        return {}
    return {"mask_path": str(request.data.masks_folder)}


def _require_device(request: TrainingRequest, *, cpu: bool) -> None:
    recipe = request.recipe
    if cpu and recipe.mixed_precision == "fp16":
        raise RecipeInvalidError(
            "mixedPrecision fp16 needs a GPU, and trainers.ai_toolkit.device is cpu",
            hint="set mixedPrecision to no, or to bf16",
        )
    if cpu and recipe.optimizer == "adamw8bit":
        raise RecipeInvalidError(
            "adamw8bit needs a GPU, and trainers.ai_toolkit.device is cpu",
            hint="set optimizer to adamw",
        )
