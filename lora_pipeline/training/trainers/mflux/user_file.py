"""The user's own ``train.json`` put under ours. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_pipeline.foundation.errors import RecipeInvalidError
from lora_pipeline.training.trainers.user_file import reason_unused

# What the user's file may say; the rest follows from the recipe or is the pipeline's.
FREE = {
    "": ("model", "steps", "guidance", "cache_limit_gb"),
    "training_loop": ("timestep_low", "timestep_high", "timestep_type"),
    "monitoring": (
        "plot_frequency", "preview_width", "preview_height", "smooth_loss", "smooth_loss_window",
    ),
    "lora_layers": ("targets",),
}  # fmt: skip
RECIPE = {
    "seed": "seed", "quantize": "quantize", "max_resolution": "resolution",
    "low_ram": "lowMemory", "gradient_checkpointing": "gradientCheckpointing",
    "training_loop.num_epochs": "steps", "training_loop.batch_size": "batchSize",
    "optimizer.name": "optimizer", "optimizer.learning_rate": "learningRate",
    "optimizer.lr_schedule": "lrScheduler", "optimizer.lr_warmup_steps": "warmupSteps",
    "optimizer.lr_total_steps": "steps", "optimizer.optimizer_params": "weightDecay",
    "optimizer.max_grad_norm": "maxGradNorm",
    "optimizer.gradient_accumulation_steps": "gradientAccumulation",
    "checkpoint.save_frequency": "saveEvery", "monitoring.generate_image_frequency": "sampleEvery",
}  # fmt: skip
PIPELINE = ("model_path", "data", "checkpoint.output_path")


def merge_user_file(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], name: str
) -> tuple[dict[str, Any], list[str]]:
    """Return our configuration with what of the user's file is the user's to set, and warnings.

    The user chooses modules and blocks; rank and alpha stay the recipe's.

    Raises:
        RecipeInvalidError: When a target names no module.
    """
    merged = {key: dict(value) if isinstance(value, dict) else value for key, value in ours.items()}
    warnings = []
    for path, value in _leaves(theirs):
        section, _, key = path.rpartition(".")
        holder = merged.setdefault(section, {}) if section else merged
        if path == "lora_layers.targets" and isinstance(value, list) and value:
            holder[key] = _retargeted(ours, value, name)
        elif key in FREE.get(section, ()):
            holder[key] = value
        elif holder.get(key) != value:
            warnings.append(f"{name}: {path} is not used: {_reason(path)}")
    return merged, warnings


def _leaves(document: Mapping[str, Any]) -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for key, value in document.items():
        if isinstance(value, dict):
            leaves += [(f"{key}.{inner}", one) for inner, one in value.items()]
        else:
            leaves.append((key, value))
    return leaves


def _retargeted(ours: Mapping[str, Any], targets: list[Any], name: str) -> list[dict[str, Any]]:
    for one in targets:
        if not isinstance(one, dict) or not isinstance(one.get("module_path"), str):
            raise RecipeInvalidError(
                f"{name}: every target of lora_layers needs a module_path",
                hint='{"module_path": "layers.{block}.attention.to_q", "blocks": {…}}',
            )
    first = ours["lora_layers"]["targets"][0]
    fixed = {key: first[key] for key in ("rank", "alpha") if key in first}
    return [
        {key: one[key] for key in ("module_path", "blocks") if key in one} | fixed
        for one in targets
    ]


def _reason(path: str) -> str:
    return reason_unused(path, free=FREE, recipe=RECIPE, pipeline=PIPELINE, reader="mflux")
