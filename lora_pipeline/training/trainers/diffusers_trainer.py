"""The embedded trainer: diffusers and peft in a child process of our own environment.

Imports nothing of torch; whether it is installed is asked without importing it.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

from lora_pipeline import __version__
from lora_pipeline.foundation import files
from lora_pipeline.foundation.child_environment import own_program
from lora_pipeline.foundation.errors import PipelineError, RecipeInvalidError
from lora_pipeline.foundation.extras import missing_modules
from lora_pipeline.foundation.process import OutputLine
from lora_pipeline.training.diffusion.job import Job, JobImage
from lora_pipeline.training.diffusion.messages import read_message
from lora_pipeline.training.failure import explain_failure
from lora_pipeline.training.plan import Plan, PlannedFile, TrainingRequest
from lora_pipeline.training.records import Recipe, RunError
from lora_pipeline.training.steps import total_steps
from lora_pipeline.training.trainers.interface import (
    Collected,
    CollectedFile,
    Continuation,
    Problem,
    TrainingProgress,
)
from lora_pipeline.training.trainers.offline import OFFLINE
from lora_pipeline.training.weights.file import read_header
from lora_pipeline.workspace.settings import Settings

MODULES = ("torch", "diffusers", "peft", "transformers", "accelerate")
_PROGRAM = "lora_pipeline.training.diffusion.train_job"
_JOB = "job.json"
_OUTPUT = "output"
_STATE = "state.safetensors"
# How many times a run keeps what it would go on from, when the recipe keeps no checkpoints.
_STATES = 10
_PACKAGE_ROOT = Path(__file__).resolve().parents[3]
# How the architecture is called in the metadata that other programs read.
_MODELSPEC = {
    "sd15": "stable-diffusion-v1/lora",
    "sdxl": "stable-diffusion-xl-v1-base/lora",
    "flux1": "flux-1-dev/lora",
}
_BASE_VERSION = {"sd15": "sd_v1", "sdxl": "sdxl_base_v1-0", "flux1": "flux1"}
_DEVICES = ("auto", "cpu", "cuda", "mps")


class DiffusersTrainer:
    """The adapter to our own child process."""

    name = "diffusers"
    summary = "diffusers and peft in a child process here; CPU, CUDA or MPS"
    architectures = tuple(_MODELSPEC)
    starts_program = True
    loads_adapters = False

    def health(self, settings: Settings) -> Problem | None:
        """Return why it cannot run on this machine, or None when it can."""
        device = settings.text("trainers.diffusers.device") or "auto"
        if device not in _DEVICES:
            return Problem(
                f"trainers.diffusers.device is {device!r}, no device", f"one of {_DEVICES}"
            )
        missing = missing_modules(MODULES)
        if missing:
            return Problem(
                f"the extra train is not installed ({', '.join(missing)} missing)",
                "pip install 'lora-pipeline[train]'",
            )
        return None

    def version(self, settings: Settings) -> str:  # noqa: ARG002
        """Return the versions of what computes."""
        try:
            names = ("diffusers", "peft", "torch")
            return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
        except importlib.metadata.PackageNotFoundError:
            return "unknown"

    def prepare(self, request: TrainingRequest, settings: Settings, version: str) -> Plan:
        """Return what will be run.

        Raises:
            RecipeInvalidError: When the recipe asks for what it cannot do.
        """
        _require_trainable(request, settings)
        steps = total_steps(request.recipe, request.data.images_per_epoch)
        job = _job(request, settings, steps)
        return Plan(
            trainer=self.name,
            trainer_version=version,
            files=(PlannedFile(_JOB, job.to_text()),),
            argv=tuple(own_program(_PROGRAM, str(request.run_folder / _JOB))),
            cwd=request.run_folder,
            environment={
                **OFFLINE,
                "CUBLAS_WORKSPACE_CONFIG": ":4096:8",  # without it cuBLAS does not repeat itself
                "PYTHONPATH": str(_PACKAGE_ROOT),
                "TOKENIZERS_PARALLELISM": "false",
            },
            expected_output=f"{_OUTPUT}/{request.output_name}.safetensors",
            total_steps=steps,
            warnings=tuple(_cautions(request)),
        )

    def read_line(self, line: OutputLine) -> TrainingProgress | None:
        """Return the progress that a message tells."""
        message = read_message(line.text) if line.stream == "stdout" else None
        if message is None or message.get("event") != "step":
            return None
        step, total, loss = (message.get(key) for key in ("step", "total", "average"))
        if not isinstance(step, int) or not isinstance(total, int):
            return None
        if isinstance(loss, int) and abs(loss) >= 2**53:
            loss = None  # too large for a float, it may be
        return TrainingProgress(step, total, float(loss) if isinstance(loss, int | float) else None)

    def collect(self, plan: Plan, run_folder: Path) -> Collected:
        """Return the final weights and those saved at steps, unverified."""
        final = run_folder / plan.expected_output
        stem = final.name.removesuffix(".safetensors")
        kept = []
        for path in sorted(final.parent.glob(f"{stem}-step*.safetensors")):
            step = path.name.removeprefix(f"{stem}-step").removesuffix(".safetensors")
            if step.isdigit():
                kept.append(CollectedFile(path, int(step)))
        return Collected(CollectedFile(final) if final.is_file() else None, tuple(kept))

    def carry_over(self, plan: Plan, earlier: Path, run_folder: Path) -> Continuation | None:
        """Copy the state of an interrupted run and the saves up to it."""
        try:
            step = int(read_header(earlier / _STATE).metadata["step"])
        except (PipelineError, LookupError, ValueError):
            return None
        if not 0 < step < plan.total_steps:
            return None
        output = (run_folder / plan.expected_output).parent
        for saved in self.collect(plan, earlier).checkpoints:
            if saved.step is not None and saved.step <= step:
                files.copy_atomic(saved.path, output / saved.path.name)
        files.copy_atomic(earlier / _STATE, run_folder / _STATE)
        return Continuation(step, plan)

    def explain(self, lines: Sequence[OutputLine], status: int) -> RunError:
        """Return why a run failed: the child says it itself, unless it was killed."""
        for line in reversed(lines):
            message = read_message(line.text) if line.stream == "stdout" else None
            if message is not None and message.get("event") == "error":
                code, words = str(message.get("code", "")), str(message.get("message", ""))
                if code and words:
                    return RunError(code=code, message=words, hint=str(message.get("hint", "")))
        return explain_failure(lines, status)


DIFFUSERS = DiffusersTrainer()


def _require_trainable(request: TrainingRequest, settings: Settings) -> None:
    recipe, architecture = request.recipe, request.checkpoint.architecture
    if architecture not in _MODELSPEC:
        raise RecipeInvalidError(
            f"diffusers does not train {architecture or 'a checkpoint without architecture'}; "
            f"it trains {', '.join(_MODELSPEC)}",
            hint="lora train --trainer kohya_ss or mflux, or manual for weights made elsewhere",
        )
    if request.extra_arguments:
        raise RecipeInvalidError(
            "diffusers takes no arguments of its own", hint="leave --trainer-args out"
        )
    if request.config_file is not None:
        raise RecipeInvalidError(
            "diffusers has no configuration of its own", hint="put settings into --config-file"
        )
    _require_recipe(recipe, architecture, device=settings.text("trainers.diffusers.device") or "")


def _cautions(request: TrainingRequest) -> Iterator[str]:
    recipe, base = request.recipe, request.checkpoint
    if base.path.suffix and "config" not in base.companions:
        alone = (
            "holds the transformer alone: training needs"
            if base.architecture == "flux1"
            else ("does not describe its parts: without a network it needs")
        )
        yield (
            f"{base.path.name} {alone} a diffusers folder of the same kind "
            f"(lora checkpoint add --companion config=FOLDER)"
        )
    if recipe.lr_scheduler == "constant" and recipe.warmup_steps:
        yield "warmupSteps is not used: a constant schedule has no warm-up"
    if recipe.sample_prompts and not recipe.sample_every:
        yield "samplePrompts is not used: sampleEvery is not set"
    if recipe.sample_every and not recipe.sample_prompts:
        yield "sampleEvery is not used: there are no samplePrompts"


def _require_recipe(recipe: Recipe, architecture: str, *, device: str) -> None:
    if recipe.quantize is not None:
        raise RecipeInvalidError(
            f"diffusers does not quantize (quantize {recipe.quantize})",
            hint="leave quantize out, or lora train --trainer mflux",
        )
    if recipe.optimizer not in {"adamw", "adafactor"}:
        raise RecipeInvalidError(
            f"diffusers has no optimizer {recipe.optimizer}",
            hint="adamw or adafactor, or lora train --trainer kohya_ss",
        )
    if recipe.mixed_precision == "fp16" and device == "cpu":
        raise RecipeInvalidError(
            "mixedPrecision fp16 needs a GPU, and trainers.diffusers.device is cpu",
            hint="set mixedPrecision to no, or to bf16",
        )
    if architecture == "flux1" and recipe.min_snr_gamma is not None:
        raise RecipeInvalidError(
            "diffusers would ignore minSnrGamma: flux1 is trained by flow matching",
            hint="leave minSnrGamma out",
        )
    if architecture == "flux1" and (recipe.train_text_encoder or recipe.target_convolutions):
        raise RecipeInvalidError(
            "diffusers trains the transformer of flux1 alone",
            hint="leave trainTextEncoder and targetConvolutions out",
        )


def _job(request: TrainingRequest, settings: Settings, steps: int) -> Job:
    config = request.checkpoint.companions.get("config")
    return Job(
        checkpoint=str(request.checkpoint.path),
        architecture=request.checkpoint.architecture,
        config=str(config) if config else "",
        images_folder=str(request.data.folder),
        images=tuple(
            JobImage(
                name=image.name,
                caption=image.caption,
                repeats=image.repeats,
                width=image.width,
                height=image.height,
                mask=image.mask,
            )
            for image in request.data.images
        ),
        output_folder=str(request.run_folder / _OUTPUT),
        output_name=request.output_name,
        total_steps=steps,
        recipe=request.recipe,
        metadata=_metadata(request),
        device=settings.text("trainers.diffusers.device") or "auto",
        threads=settings.integer("trainers.diffusers.threads"),
        state_file=str(request.run_folder / _STATE),
        state_every=request.recipe.save_every or math.ceil(steps / _STATES),
    )


def _metadata(request: TrainingRequest) -> dict[str, str]:
    """Return what the weights say of themselves: never captions, folders or prompts."""
    recipe, architecture = request.recipe, request.checkpoint.architecture
    told = {key: value for key, value in recipe.to_dict().items() if key != "samplePrompts"}
    metadata = {
        "lora_pipeline.checkpoint_digest": request.checkpoint.digest,
        "lora_pipeline.manifest_hash": request.data.manifest_hash,
        "lora_pipeline.recipe": json.dumps(told, sort_keys=True),
        "lora_pipeline.version": __version__,
        "modelspec.architecture": _MODELSPEC[architecture],
        "modelspec.implementation": "diffusers",
        "modelspec.resolution": f"{recipe.resolution}x{recipe.resolution}",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.title": request.output_name,
        "modelspec.trigger_phrase": request.trigger_word,
        "ss_base_model_version": _BASE_VERSION[architecture],
        "ss_network_dim": str(recipe.rank),
        "ss_output_name": request.output_name,
        "ss_seed": str(recipe.seed),
    }
    return {key: value for key, value in metadata.items() if value}
