"""The files that a run of sd-scripts reads, made from a request. Pure.

Three files: ``run.toml`` (the training options), ``dataset.toml`` (folders, resolution and
buckets, repeats) and, where samples are wanted, ``sample-prompts.json``. Sample prompts are JSON
because the text form reads what stands after `` --`` as options.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import groupby

from lora_pipeline.foundation.errors import RecipeInvalidError
from lora_pipeline.training.plan import StagedImage, TrainingData, TrainingRequest
from lora_pipeline.training.records import Recipe
from lora_pipeline.training.steps import total_steps
from lora_pipeline.training.trainers.kohya.families import Family
from lora_pipeline.training.trainers.kohya.toml import Value, toml_table

OUTPUT_FOLDER = "output"
BUCKET_STEP = 64
_OPTIMIZERS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "adamw": ("AdamW", ()),
    "adamw8bit": ("AdamW8bit", ()),
    # Adafactor sets its own learning rate unless these three say that the recipe's holds.
    "adafactor": ("Adafactor", ("relative_step=False", "scale_parameter=False",
                                "warmup_init=False")),
    "prodigy": ("Prodigy", ()),
    "lion": ("Lion", ()),
}  # fmt: skip
_SAVE_PRECISION = {"no": "float", "fp16": "fp16", "bf16": "bf16"}
_SWAPPED_BLOCKS = 18
_KEPT_OF_ACCUMULATION = 8


def run_options(
    request: TrainingRequest, family: Family, *, tokenizer_cache: str | None
) -> dict[str, Value]:
    """Return the options of ``run.toml``; only keys that sd-scripts knows."""
    folder = request.run_folder
    options: dict[str, Value] = {
        "pretrained_model_name_or_path": request.checkpoint.path.as_posix(),
        **_companions(request, family),
        "dataset_config": (folder / "dataset.toml").as_posix(),
        "output_dir": (folder / OUTPUT_FOLDER).as_posix(),
        "output_name": request.output_name,
        "save_model_as": "safetensors",
        "training_comment": f"lora-pipeline run {request.run_id}",
    }
    if tokenizer_cache and family.tokenizers:
        options["tokenizer_cache_dir"] = tokenizer_cache
    if request.data.masked:
        options["masked_loss"] = True
    if request.trigger_word:
        options["metadata_trigger_phrase"] = request.trigger_word
    return (
        options
        | _network(request.recipe, family)
        | _optimisation(request.recipe, total_steps(request.recipe, request.data.images_per_epoch))
        | _text_encoder(request.recipe, family)
        | _device(request.recipe, family)
        | _saving(request)
        | dict(family.constants)
    )


def run_toml(options: Mapping[str, Value]) -> str:
    """Return ``run.toml``."""
    return toml_table("", options)


def dataset_toml(request: TrainingRequest) -> str:
    """Return ``dataset.toml``.

    Images of one repeat count are one folder with captions beside the images. Images of several
    counts share that folder, so that each count needs a list of its own (``metadata_file``).
    Masks are what sd-scripts calls conditioning images, each under the name of its image.
    """
    recipe, data = request.recipe, request.data
    parts = [
        toml_table("[general]", {"caption_extension": ".txt"}),
        toml_table("[[datasets]]", _dataset(recipe, data.images)),
    ]
    counts = sorted({image.repeats for image in data.images})
    for repeats in counts:
        subset: dict[str, Value] = {"image_dir": data.folder.as_posix(), "num_repeats": repeats}
        if len(counts) > 1:
            path = request.run_folder / metadata_name(repeats)
            subset["metadata_file"] = path.as_posix()
        if data.masked:
            subset["conditioning_data_dir"] = data.masks_folder.as_posix()
        if recipe.flip:
            subset["flip_aug"] = True
        if recipe.caption_dropout:
            subset["caption_dropout_rate"] = recipe.caption_dropout
        parts.append(toml_table("[[datasets.subsets]]", subset))
    return "\n".join(parts)


def metadata_name(repeats: int) -> str:
    """Return the file that lists the images of one repeat count."""
    return f"images-{repeats}x.json"


def metadata_lists(data: TrainingData) -> dict[str, str]:
    """Return the lists of images by file name; none when all images have one repeat count."""
    by_count = sorted(data.images, key=lambda image: image.repeats)
    groups = {count: list(group) for count, group in groupby(by_count, lambda one: one.repeats)}
    if len(groups) < 2:
        return {}
    return {
        metadata_name(count): _json(
            {(data.folder / one.name).as_posix(): {"caption": one.caption} for one in images}
        )
        for count, images in groups.items()
    }


def sample_prompts_json(recipe: Recipe) -> str:
    """Return the sample prompts, each exactly as it was written."""
    side = max(64, recipe.resolution // 8 * 8)
    return _json(
        [
            {"prompt": prompt, "width": side, "height": side, "seed": recipe.seed,
             "sample_steps": 20}
            for prompt in recipe.sample_prompts
        ]
    )  # fmt: skip


def _companions(request: TrainingRequest, family: Family) -> dict[str, Value]:
    there = request.checkpoint.companions
    missing = [name for name in family.required if name not in there]
    if missing:
        raise RecipeInvalidError(
            f"kohya_ss needs {', '.join(missing)} to train {request.checkpoint.architecture}, "
            f"and checkpoint {request.checkpoint.checkpoint_id} names no such companion",
            hint=f"name the file as companion {missing[0]} of the checkpoint, then train again",
        )
    names = [name for name in (*family.required, *family.optional) if name in there]
    return {name: there[name].as_posix() for name in names}


def _network(recipe: Recipe, family: Family) -> dict[str, Value]:
    alpha = recipe.rank if recipe.alpha is None else recipe.alpha
    options: dict[str, Value] = {
        "network_module": family.network_module,
        "network_dim": recipe.rank,
        "network_alpha": alpha,  # sd-scripts' own default is 1, whatever the rank
    }
    if recipe.target_convolutions:
        options["network_args"] = [f"conv_dim={recipe.rank}", f"conv_alpha={alpha:g}"]
    return options


def _optimisation(recipe: Recipe, steps: int) -> dict[str, Value]:
    name, arguments = _OPTIMIZERS[recipe.optimizer]
    options: dict[str, Value] = {
        "learning_rate": recipe.learning_rate,
        "unet_lr": recipe.learning_rate,
        "optimizer_type": name,
        "optimizer_args": [*arguments, f"weight_decay={recipe.weight_decay!r}"],
        "lr_scheduler": recipe.lr_scheduler,
        "max_grad_norm": recipe.max_grad_norm,
        "max_train_steps": steps,
        "train_batch_size": recipe.batch_size,
        "gradient_accumulation_steps": recipe.gradient_accumulation,
        "seed": recipe.seed,
        "max_data_loader_n_workers": 0,
    }
    if recipe.lr_scheduler != "constant":  # which refuses to be given a warm-up
        options["lr_warmup_steps"] = recipe.warmup_steps
    if recipe.min_snr_gamma is not None:
        options["min_snr_gamma"] = recipe.min_snr_gamma
    if recipe.noise_offset:
        options["noise_offset"] = recipe.noise_offset
    return options


def _text_encoder(recipe: Recipe, family: Family) -> dict[str, Value]:
    if recipe.train_text_encoder:
        rate = recipe.text_encoder_learning_rate
        return {"text_encoder_lr": [recipe.learning_rate if rate is None else rate]}
    options: dict[str, Value] = {"network_train_unet_only": True}
    if family.caches_text and not recipe.caption_dropout:  # the two exclude each other
        options["cache_text_encoder_outputs"] = True
    return options


def _device(recipe: Recipe, family: Family) -> dict[str, Value]:
    options: dict[str, Value] = {
        "mixed_precision": recipe.mixed_precision,
        "save_precision": _SAVE_PRECISION[recipe.mixed_precision],
        "gradient_checkpointing": recipe.gradient_checkpointing or recipe.low_memory,
        "cache_latents": recipe.cache_latents,
        "console_log_simple": True,
    }
    if recipe.quantize == 8:
        options[family.fp8] = True
    if recipe.low_memory and family.swaps_blocks:
        options["blocks_to_swap"] = _SWAPPED_BLOCKS
    return options


def _saving(request: TrainingRequest) -> dict[str, Value]:
    recipe, options = request.recipe, dict[str, Value]()
    if recipe.save_every:
        options["save_every_n_steps"] = recipe.save_every
        # What an interrupted run goes on from: two, for one may be cut short; more where only
        # some of them can be gone on from.
        kept = 2 if recipe.gradient_accumulation == 1 else _KEPT_OF_ACCUMULATION
        options["save_state"] = True
        options["save_last_n_steps_state"] = (kept - 1) * recipe.save_every
    if recipe.sample_every and recipe.sample_prompts:
        options["sample_every_n_steps"] = recipe.sample_every
        options["sample_prompts"] = (request.run_folder / "sample-prompts.json").as_posix()
    return options


def _dataset(recipe: Recipe, images: Sequence[StagedImage]) -> dict[str, Value]:
    side = recipe.resolution
    options: dict[str, Value] = {"resolution": [side, side], "batch_size": recipe.batch_size}
    if side < BUCKET_STEP or all((one.width, one.height) == (side, side) for one in images):
        return options | {"enable_bucket": False}
    return options | {
        "enable_bucket": True,
        "min_bucket_reso": min(256, side // BUCKET_STEP * BUCKET_STEP),
        "max_bucket_reso": max(1024, math.ceil(2 * side / BUCKET_STEP) * BUCKET_STEP),
        "bucket_reso_steps": BUCKET_STEP,
        "bucket_no_upscale": False,
    }


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
