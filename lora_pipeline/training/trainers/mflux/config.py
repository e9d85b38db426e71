"""``train.json`` of mflux-train, made from a request. Pure.

mflux refuses unknown keys in ``training_loop`` and ``optimizer`` and ignores all others, so only
keys of the installed version are written.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from lora_pipeline.foundation.errors import RecipeInvalidError, TrainerUnavailableError
from lora_pipeline.training.plan import TrainingData, TrainingRequest
from lora_pipeline.training.records import Recipe
from lora_pipeline.training.trainers.mflux.models import MfluxModel

OUTPUT_FOLDER = "mflux"
OLDEST = (0, 16)
# Where alpha, schedules, optimiser parameters and gradient checkpointing came in.
FULL = (0, 24)
_OPTIMIZERS = {"adamw": "AdamW", "adamw8bit": "AdamW", "adafactor": "Adafactor", "lion": "Lion"}
_SIDE = 16
_UNASKED_SIDE = 256

Version = tuple[int, int]


def parse_version(text: str) -> Version | None:
    """Return the first two numbers of a version, or None when it is not known."""
    parts = text.split(".")
    if len(parts) < 2 or not (parts[0].isdigit() and parts[1].isdigit()):
        return None
    return int(parts[0]), int(parts[1])


def require_recent(version: Version | None) -> None:
    """Check that mflux reads the configuration that is written here.

    Raises:
        TrainerUnavailableError: When it is older than 0.16.
    """
    if version is not None and version < OLDEST:
        raise TrainerUnavailableError(
            f"mflux {version[0]}.{version[1]} is too old: training has another configuration "
            f"since {OLDEST[0]}.{OLDEST[1]}",
            hint="lora setup mflux",
        )


def epochs_and_steps(recipe: Recipe, data: TrainingData) -> tuple[int, int]:
    """Return how many epochs mflux is told, and the steps that these come to."""
    batches = max(1, math.ceil(len(data.images) / recipe.batch_size))
    if recipe.steps is not None:
        epochs = math.ceil(recipe.steps / batches)
    else:
        epochs = (recipe.epochs or 1) * data.images[0].repeats
    return epochs, epochs * batches


def train_json(request: TrainingRequest, model: MfluxModel, *, full: bool) -> dict[str, Any]:
    """Return ``train.json``.

    Args:
        request: What is to be trained.
        model: The model that the checkpoint is.
        full: Whether the installed version has the keys of 0.24.
    """
    recipe = request.recipe
    epochs, steps = epochs_and_steps(recipe, request.data)
    # mflux draws at the beginning and at the end whether it was asked for or not.
    largest = recipe.resolution if recipe.sample_every else min(recipe.resolution, _UNASKED_SIDE)
    side = max(_SIDE, largest // _SIDE * _SIDE)
    document: dict[str, Any] = {
        "model": model.alias,
        "model_path": str(request.checkpoint.path),
        "data": str(request.data.folder),
        "seed": recipe.seed,
        # Previews draw bars of their own; another number of steps tells them apart.
        "steps": model.steps + (model.steps == steps),
        "guidance": model.guidance,
        "quantize": recipe.quantize,
        "max_resolution": recipe.resolution,
        "low_ram": recipe.low_memory,
        "training_loop": {"num_epochs": epochs, "batch_size": recipe.batch_size},
        "optimizer": _optimizer(recipe, steps, full=full),
        "checkpoint": {
            "save_frequency": recipe.save_every or steps,
            "output_path": str(request.run_folder / OUTPUT_FOLDER),
        },
        # Without it mflux keeps no losses.
        "monitoring": {
            "plot_frequency": min(20, steps),
            "generate_image_frequency": recipe.sample_every or steps,
            "preview_width": side,
            "preview_height": side,
        },
        "lora_layers": {"targets": model.targets(recipe.rank, _alpha(recipe))},
    }
    if full and (recipe.gradient_checkpointing or recipe.low_memory):
        document["gradient_checkpointing"] = True
    return document


def require_trainable(request: TrainingRequest, *, full: bool) -> None:
    """Check that mflux can do what was asked for.

    Raises:
        RecipeInvalidError: When it cannot, or would ignore it without a word.
    """
    refusals = [
        *_never(request.recipe),
        *_of_this_request(request),
        *([] if full else _since_full(request.recipe)),
    ]
    for message, hint in refusals:
        raise RecipeInvalidError(f"mflux {message}", hint=hint)


def cautions(request: TrainingRequest, model: MfluxModel, told_by: str) -> list[str]:
    """Return what to know before a run starts."""
    recipe = request.recipe
    found = [f"trained as {model.alias}, told by {told_by}"]
    _, steps = epochs_and_steps(recipe, request.data)
    if recipe.steps is not None and steps != recipe.steps:
        found.append(f"mflux trains whole epochs: {steps} steps instead of {recipe.steps}")
    if recipe.mixed_precision != "bf16":
        found.append(f"mixedPrecision {recipe.mixed_precision} is not used: mflux computes in bf16")
    if recipe.optimizer == "adamw8bit":
        found.append("mflux has no 8-bit optimiser: AdamW is used")
    if recipe.lr_scheduler == "constant" and recipe.warmup_steps:
        found.append("warmupSteps is not used: a constant schedule has no warm-up")
    if recipe.sample_prompts:
        found.append("samplePrompts is not used: mflux draws previews of the first caption")
    if recipe.low_memory:
        found.append("lowMemory keeps encoded images in .mflux_cache beside the staged images")
    if model.assistant:
        found.append(f"mflux loads {model.assistant}: it must be in the Hugging Face cache")
    return found


def _alpha(recipe: Recipe) -> float | None:
    # mflux exports no alpha, so a scale other than 1 is put into the weights afterwards.
    return None if recipe.alpha in (None, recipe.rank) else recipe.alpha


def _optimizer(recipe: Recipe, steps: int, *, full: bool) -> dict[str, Any]:
    name = _OPTIMIZERS[recipe.optimizer]
    document: dict[str, Any] = {"name": name, "learning_rate": recipe.learning_rate}
    if not full:
        return document
    document["optimizer_params"] = {"weight_decay": recipe.weight_decay}
    if name == "Adafactor":  # which would set its own learning rate
        document["optimizer_params"] |= {"relative_step": False, "scale_parameter": False}
    if recipe.max_grad_norm:
        document["max_grad_norm"] = recipe.max_grad_norm
    if recipe.lr_scheduler == "cosine":
        document |= {"lr_schedule": "cosine", "lr_total_steps": steps}
    if recipe.lr_scheduler != "constant" and recipe.warmup_steps:
        document["lr_warmup_steps"] = recipe.warmup_steps
    return document


def _never(recipe: Recipe) -> Iterator[tuple[str, str]]:
    if recipe.train_text_encoder:
        yield "trains no text encoders", "set trainTextEncoder to false"
    if recipe.target_convolutions:
        yield "finds no convolutions in these models", "set targetConvolutions to false"
    if recipe.caption_dropout:
        yield "has no caption dropout", "set captionDropout to 0"
    if recipe.flip:
        yield "does not mirror images", "set flip to false"
    if recipe.min_snr_gamma is not None or recipe.noise_offset:
        yield (
            "trains by flow matching, without SNR or noise offset",
            ("leave minSnrGamma and noiseOffset out"),
        )
    if recipe.ema_decay is not None:
        yield "keeps no running mean of the weights", "leave emaDecay out"
    if recipe.optimizer == "prodigy":
        yield "has no optimiser prodigy", "set optimizer to adamw"
    if recipe.lr_scheduler == "linear":
        yield "has no linear schedule", "set lrScheduler to cosine or constant"


def _of_this_request(request: TrainingRequest) -> Iterator[tuple[str, str]]:
    recipe, images = request.recipe, request.data.images
    if recipe.gradient_accumulation > 1:
        yield (
            "counts forward passes, not optimiser steps, so that steps would mean another number",
            "raise batchSize, and set gradientAccumulation to 1",
        )
    repeats = sorted({image.repeats for image in images})
    if len(repeats) > 1:
        counts = f"repeats some {repeats[-1]} times and others {repeats[0]} times"
        yield (
            f"shows every image equally often, and the dataset {counts}",
            "build the dataset with one repeat count, or train with kohya_ss",
        )
    if request.data.masked:
        build = f"lora dataset build {request.data.dataset_id} --alpha background"
        yield (
            "weighs no loss by masks, and the rule of the dataset is alpha mask",
            f"{build}, or lora train --trainer kohya_ss or diffusers",
        )
    if request.checkpoint.path.suffix in {".safetensors", ".ckpt"}:
        yield (
            "reads base models as diffusers folders, not as single files",
            ("lora checkpoint add the diffusers folder of this model"),
        )
    if request.extra_arguments:
        yield (
            "takes everything from its configuration, and no arguments",
            ("put it into a JSON file for --trainer-config"),
        )


def _since_full(recipe: Recipe) -> Iterator[tuple[str, str]]:
    upgrade = "lora setup mflux, which installs a newer one"
    if recipe.lr_scheduler != "constant":
        yield f"has lrScheduler {recipe.lr_scheduler} only since 0.24", upgrade
    if _alpha(recipe) is not None:
        yield "has alpha only since 0.24", upgrade
    if recipe.optimizer == "adafactor":
        yield "lets adafactor keep the recipe's learning rate only since 0.24", upgrade
