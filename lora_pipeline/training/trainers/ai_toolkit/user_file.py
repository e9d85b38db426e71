"""The user's own job of ai-toolkit put under ours. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_pipeline.foundation import strict_json, strict_yaml
from lora_pipeline.foundation.errors import RecipeInvalidError, RecordError
from lora_pipeline.training.trainers.user_file import reason_unused

_HINT = "--trainer-config takes a job of ai-toolkit (job, config, process), or one process of it"
# What the user's file may say; the rest follows from the recipe or is the pipeline's.
FREE: Mapping[str, tuple[str, ...]] = {
    "network": ("network_kwargs", "dropout"),
    "save": ("max_step_saves_to_keep",),
    "datasets": ("resolution", "keep_tokens", "shuffle_tokens", "num_workers", "flip_y"),
    "train": (
        "timestep_type", "content_or_style", "loss_type", "unload_text_encoder",
        "cache_text_embeddings", "attention_backend", "bypass_guidance_embedding",
        "min_denoising_steps", "max_denoising_steps", "do_differential_guidance",
        "differential_guidance_scale", "force_consistent_noise",
    ),
    "model": (
        "arch", "vae_path", "te_name_or_path", "extras_name_or_path", "quantize_te", "qtype",
        "qtype_te", "attn_masking", "layer_offloading", "is_v_pred",
        "layer_offloading_transformer_percent", "layer_offloading_text_encoder_percent",
        "model_kwargs", "model_paths",
    ),
    "sample": (
        "sampler", "width", "height", "neg", "seed", "walk_seed", "guidance_scale",
        "sample_steps",
    ),
}  # fmt: skip
RECIPE: Mapping[str, str] = {
    "training_seed": "seed", "network.linear": "rank", "network.rank": "rank",
    "network.linear_alpha": "alpha", "network.alpha": "alpha",
    "network.conv": "targetConvolutions", "network.conv_alpha": "targetConvolutions",
    "save.dtype": "mixedPrecision", "save.save_every": "saveEvery",
    "datasets.num_repeats": "the dataset's repeats", "datasets.flip_x": "flip",
    "datasets.caption_dropout_rate": "captionDropout", "datasets.cache_latents": "cacheLatents",
    "datasets.cache_latents_to_disk": "cacheLatents", "train.batch_size": "batchSize",
    "train.steps": "steps", "train.gradient_accumulation": "gradientAccumulation",
    "train.train_text_encoder": "trainTextEncoder", "train.lr": "learningRate",
    "train.unet_lr": "learningRate", "train.text_encoder_lr": "textEncoderLearningRate",
    "train.gradient_checkpointing": "gradientCheckpointing", "train.optimizer": "optimizer",
    "train.optimizer_params": "weightDecay", "train.lr_scheduler": "lrScheduler",
    "train.lr_scheduler_params": "warmupSteps", "train.max_grad_norm": "maxGradNorm",
    "train.dtype": "mixedPrecision", "train.min_snr_gamma": "minSnrGamma",
    "train.snr_gamma": "minSnrGamma", "train.noise_offset": "noiseOffset",
    "train.ema_config": "emaDecay", "train.ema_config.use_ema": "emaDecay",
    "train.ema_config.ema_decay": "emaDecay",
    "model.quantize": "quantize", "model.low_vram": "lowMemory",
    "sample.sample_every": "sampleEvery", "sample.samples": "samplePrompts",
    "sample.prompts": "samplePrompts",
}  # fmt: skip
PIPELINE = (
    "type", "training_folder", "device", "trigger_word", "sqlite_db_path", "network.type",
    "save.save_format", "datasets.folder_path", "datasets.dataset_path", "datasets.caption_ext",
    "datasets.default_caption", "datasets.mask_path", "datasets.alpha_mask",
    "train.train_unet", "train.noise_scheduler", "train.disable_sampling",
    "train.skip_first_sample", "model.name_or_path", "model.assistant_lora_path",
    "logging.log_every", "logging.use_ui_logger",
)  # fmt: skip
# What would send a studio's work somewhere.
_SENDS = ("save.push_to_hub", "save.hf_repo_id", "logging.use_wandb")


def read_user_file(path: Path | None) -> dict[str, Any]:
    """Return the process that the user's own job describes; an empty one without a file.

    Raises:
        RecipeInvalidError: When it is no job of ai-toolkit, or has several processes.
    """
    if path is None:
        return {}
    try:
        document = strict_yaml.loads(strict_json.read_bytes(path), path.name)
    except RecordError as error:
        raise RecipeInvalidError(error.message, hint=_HINT) from error
    if not isinstance(document, dict):
        raise RecipeInvalidError(f"{path.name} must hold names and values", hint=_HINT)
    config = document.get("config", document)
    processes = config.get("process", [config]) if isinstance(config, dict) else None
    if not isinstance(processes, list) or len(processes) != 1:
        raise RecipeInvalidError(f"{path.name} must describe one process", hint=_HINT)
    if not isinstance(processes[0], dict):
        raise RecipeInvalidError(f"{path.name}: a process has names and values", hint=_HINT)
    return processes[0]


def merge_user_file(
    ours: Mapping[str, Any], theirs: Mapping[str, Any], name: str, *, ours_too: tuple[str, ...] = ()
) -> tuple[dict[str, Any], list[str]]:
    """Return our process with what of the user's is the user's to set, and warnings.

    Args:
        ours: Our process.
        theirs: The user's.
        name: Name of the user's file.
        ours_too: Dotted names that were taken from the user's file already.

    Raises:
        RecipeInvalidError: When the file would send data out of this machine, or its
            resolutions are not those of the recipe.
    """
    merged = {key: dict(one) if isinstance(one, dict) else one for key, one in ours.items()}
    merged["datasets"] = [dict(one) for one in ours["datasets"]]
    warnings = []
    for path, value in _leaves(theirs, name):
        section, _, key = path.rpartition(".")
        places = merged["datasets"] if section == "datasets" else [merged.get(section, merged)]
        if path in _SENDS and value:
            raise RecipeInvalidError(
                f"{name}: {path} would send data out of this machine",
                hint=f"leave {path} out; lora release publish is the way out",
            )
        if path == "datasets.resolution":
            numbers = _resolutions(value, ours["datasets"][0]["resolution"][0], name)
            for place in places:
                place[key] = numbers
        elif key in FREE.get(section, ()):
            for place in places:
                place[key] = value
        elif path not in {*ours_too, *_SENDS} and any(place.get(key) != value for place in places):
            warnings.append(f"{name}: {path} is not used: {_reason(path)}")
    return merged, warnings


def _resolutions(value: object, largest: int, name: str) -> list[int]:
    """Return the resolutions of multi-resolution buckets: each is a pass over the images."""
    given = value if isinstance(value, list) else [value]
    numbers = [one for one in given if isinstance(one, int) and 0 < one <= 8192]
    if len(numbers) != len(given) or not numbers or len(set(numbers)) != len(numbers):
        raise RecipeInvalidError(
            f"{name}: datasets.resolution must be different whole numbers, got {value!r}",
            hint="resolution: [512, 768, 1024]",
        )
    if max(numbers) != largest:
        raise RecipeInvalidError(
            f"{name}: the largest of datasets.resolution is {max(numbers)}, "
            f"and the recipe says resolution {largest}",
            hint=f"--resolution {max(numbers)}, or end the list with {largest}",
        )
    return numbers


def _leaves(document: Mapping[str, Any], name: str) -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for key, value in document.items():
        section = _only_data_set(value, name) if key == "datasets" else value
        if isinstance(section, dict) and key in {*FREE, "logging"}:
            leaves += [(f"{key}.{inner}", one) for inner, one in section.items()]
        elif key not in {"name", "process"}:
            leaves.append((key, value))
    return leaves


def _only_data_set(value: object, name: str) -> dict[str, Any]:
    entries = value if isinstance(value, list) else [value]
    if len(entries) != 1 or not isinstance(entries[0], dict):
        raise RecipeInvalidError(
            f"{name}: datasets must have one entry, which holds for all images",
            hint="datasets: [{resolution: [512, 768, 1024]}]",
        )
    return entries[0]


def _reason(path: str) -> str:
    return reason_unused(path, free=FREE, recipe=RECIPE, pipeline=PIPELINE, reader="the adapter")
