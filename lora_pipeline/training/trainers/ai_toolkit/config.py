"""The job of ai-toolkit, made from a request. Pure.

ai-toolkit ignores unknown keys without a word, so only keys that its version 0.12 reads are
written; and it replaces ``${NAME}`` and ``[name]`` anywhere in a job, so no text may hold them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from lora_pipeline.foundation.errors import RecipeInvalidError
from lora_pipeline.training.plan import TrainingRequest
from lora_pipeline.training.records import Recipe
from lora_pipeline.training.steps import total_steps
from lora_pipeline.training.trainers.ai_toolkit.models import ToolkitModel

_DTYPES = {"no": "fp32", "fp16": "fp16", "bf16": "bf16"}
_SAVED = {"no": "float32", "fp16": "float16", "bf16": "bf16"}
_QTYPES = {4: "uint4", 8: "qfloat8"}
# Every save is kept: which ones are worth it is decided by people, with pictures.
_KEEP_ALL = 100_000
_REPLACED = re.compile(r"\$\{|\[name\]|\[trigger\]")


class Places(msgspec.Struct, frozen=True):
    """Where a job runs and what it finds there.

    Attributes:
        kind: ``sd_trainer``, or ``diffusion_trainer``, which reports to a server.
        name: Name of the job: its folder and the stem of its files.
        training_folder: Where its folder is made.
        base: Where the base model is.
        adapter: Where the training adapter is, or None.
        datasets: Where the images are, one entry for each repeat count.
        cpu: Whether it runs on the CPU.
    """

    kind: str
    name: str
    training_folder: str
    base: str
    adapter: str | None
    datasets: Sequence[Mapping[str, Any]]
    cpu: bool = False


def job_document(request: TrainingRequest, model: ToolkitModel, places: Places) -> dict[str, Any]:
    """Return a job as ai-toolkit reads it."""
    recipe = request.recipe
    steps = total_steps(recipe, request.data.images_per_epoch)
    process: dict[str, Any] = {
        "type": places.kind,
        "training_folder": places.training_folder,
        "device": "cpu" if places.cpu else "cuda",
        "training_seed": recipe.seed,
        "network": _network(recipe, model),
        "save": {
            "dtype": _SAVED[recipe.mixed_precision],
            "save_every": recipe.save_every or steps + 1,
            "max_step_saves_to_keep": _KEEP_ALL,
            "save_format": "safetensors",
            "push_to_hub": False,
        },
        "datasets": [{**one, **_reading(recipe, cpu=places.cpu)} for one in places.datasets],
        "train": _train(recipe, model, steps),
        "model": _model(recipe, model, places.base, places.adapter),
        "logging": {"log_every": 1, "use_wandb": False, "use_ui_logger": True},
        "sample": _sample(recipe, model, steps),
    }
    return {
        "job": "extension",
        "config": {"name": places.name, "process": [process]},
        "meta": {"name": "[name]", "version": "1.0"},
    }


def require_trainable(request: TrainingRequest, model: ToolkitModel) -> None:
    """Check that ai-toolkit can do what was asked for.

    Raises:
        RecipeInvalidError: When it cannot, or would do something else without a word.
    """
    for message, hint in (
        *_of_the_model(request.recipe, model),
        *_of_the_program(request.recipe),
        *_of_this_request(request),
    ):
        raise RecipeInvalidError(f"ai-toolkit {message}", hint=hint)


def require_plain_texts(document: Mapping[str, Any]) -> None:
    """Check that no text of a job holds what ai-toolkit would replace.

    Raises:
        RecipeInvalidError: When one does.
    """
    for where, text in _texts(document.get("config"), "config"):
        found = _REPLACED.search(text)
        if found is not None:
            raise RecipeInvalidError(
                f"ai-toolkit would replace {found.group()} in {where}: {text[:80]}",
                hint="write the words themselves; folders with such names are to be renamed",
            )


def to_yaml(document: Mapping[str, Any]) -> str:
    """Return a job as YAML; texts that could be read as anything else are quoted."""
    import yaml  # imported late: 15 ms

    text = yaml.dump(document, Dumper=_dumper(), sort_keys=False, allow_unicode=True, width=10_000)  # nosec - the dumper derives from the safe one
    return str(text)


def cautions(request: TrainingRequest, model: ToolkitModel) -> list[str]:
    """Return what to know before a run starts."""
    recipe, found = request.recipe, list[str]()
    if recipe.resolution % 64:
        found.append(f"resolution {recipe.resolution} is no multiple of 64: images are cropped")
    if recipe.warmup_steps and recipe.lr_scheduler in {"cosine", "linear"}:
        found.append(
            f"warmupSteps {recipe.warmup_steps} is not used: ai-toolkit has no warm-up with "
            f"lrScheduler {recipe.lr_scheduler}"
        )
    if model.flow and recipe.mixed_precision == "no":
        found.append("mixedPrecision no loads the whole model in full precision")
    if recipe.sample_prompts and not recipe.sample_every:
        found.append("samplePrompts does nothing without sampleEvery")
    return found


def _network(recipe: Recipe, model: ToolkitModel) -> dict[str, Any]:
    # Without alpha ai-toolkit takes 1, not the rank.
    alpha = recipe.rank if recipe.alpha is None else recipe.alpha
    network = {"type": "lora", "linear": recipe.rank, "linear_alpha": alpha}
    if recipe.target_convolutions and model.encoders:
        network |= {"conv": recipe.rank, "conv_alpha": alpha}
    return network


def _reading(recipe: Recipe, *, cpu: bool) -> dict[str, Any]:
    reading: dict[str, Any] = {
        "caption_ext": "txt",
        "caption_dropout_rate": recipe.caption_dropout,
        # In memory, never on disk: the caches would be written beside the staged images.
        "cache_latents": recipe.cache_latents,
        "cache_latents_to_disk": False,
        "resolution": [recipe.resolution],
    }
    if recipe.flip:
        reading["flip_x"] = True
    if cpu:
        reading["num_workers"] = 0
    return reading


def _train(recipe: Recipe, model: ToolkitModel, steps: int) -> dict[str, Any]:
    train: dict[str, Any] = {
        "batch_size": recipe.batch_size,
        "steps": steps,
        "gradient_accumulation": recipe.gradient_accumulation,
        "train_unet": True,
        "train_text_encoder": recipe.train_text_encoder,
        "gradient_checkpointing": recipe.gradient_checkpointing,
        "noise_scheduler": "flowmatch" if model.flow else "ddpm",
        "optimizer": recipe.optimizer,
        "optimizer_params": {"weight_decay": recipe.weight_decay},
        "lr": recipe.learning_rate,
        "lr_scheduler": recipe.lr_scheduler,
        "lr_scheduler_params": _schedule(recipe),
        "max_grad_norm": recipe.max_grad_norm,
        "dtype": _DTYPES[recipe.mixed_precision],
        "disable_sampling": not (recipe.sample_every and recipe.sample_prompts),
        "skip_first_sample": True,
    }
    if model.flow:
        train["timestep_type"] = model.timesteps
    if recipe.train_text_encoder:
        te = recipe.text_encoder_learning_rate
        train["text_encoder_lr"] = recipe.learning_rate if te is None else te
    if recipe.min_snr_gamma is not None:
        train["min_snr_gamma"] = recipe.min_snr_gamma
    if recipe.noise_offset:
        train["noise_offset"] = recipe.noise_offset
    if recipe.ema_decay is not None:
        train["ema_config"] = {"use_ema": True, "ema_decay": recipe.ema_decay}
    return train


def _schedule(recipe: Recipe) -> dict[str, Any]:
    if recipe.lr_scheduler == "constant_with_warmup":
        return {"num_warmup_steps": recipe.warmup_steps}
    if recipe.lr_scheduler == "linear":  # torch's own default rises from a third to the whole
        return {"start_factor": 1.0, "end_factor": 0.0}
    return {}


def _model(recipe: Recipe, model: ToolkitModel, base: str, adapter: str | None) -> dict[str, Any]:
    document: dict[str, Any] = {"name_or_path": base, "arch": model.arch}
    if recipe.quantize is not None:
        qtype = _QTYPES[recipe.quantize]
        document |= {"quantize": True, "qtype": qtype, "quantize_te": True, "qtype_te": "qfloat8"}
    if recipe.low_memory:
        document["low_vram"] = True
    if adapter is not None:
        document["assistant_lora_path"] = adapter
    return document


def _sample(recipe: Recipe, model: ToolkitModel, steps: int) -> dict[str, Any]:
    return {
        "sampler": "flowmatch" if model.flow else "ddpm",
        "sample_every": recipe.sample_every or steps + 1,
        "width": recipe.resolution,
        "height": recipe.resolution,
        "samples": [{"prompt": prompt} for prompt in recipe.sample_prompts],
        "neg": "",
        "seed": recipe.seed,
        "walk_seed": True,
        "guidance_scale": model.guidance,
        "sample_steps": model.steps,
    }


def _of_the_model(recipe: Recipe, model: ToolkitModel) -> Iterator[tuple[str, str]]:
    name = model.architecture
    if not model.encoders and recipe.train_text_encoder:
        yield f"trains no text encoder of {name}", "set trainTextEncoder to false"
    if not model.encoders and recipe.target_convolutions:
        yield f"finds no convolutions in {name}", "set targetConvolutions to false"
    if model.flow and (recipe.min_snr_gamma is not None or recipe.noise_offset):
        yield (
            f"trains {name} by flow matching, without SNR or noise offset",
            "leave minSnrGamma and noiseOffset out",
        )
    if not model.keeps_alpha and recipe.alpha not in (None, recipe.rank):
        yield (
            f"trains {name} with alpha equal to rank, and saves no alpha",
            f"leave alpha out, or set it to {recipe.rank}",
        )
    if not model.flow and recipe.quantize is not None:
        yield f"does not quantize {name}", "leave quantize out"


def _of_the_program(recipe: Recipe) -> Iterator[tuple[str, str]]:
    if recipe.optimizer == "lion":
        yield "does not bring lion_pytorch, which its lion needs", "set optimizer to adamw"
    if recipe.optimizer == "prodigy" and recipe.learning_rate < 0.1:
        yield (
            f"would train prodigy with a learning rate of 1, not {recipe.learning_rate:g}",
            "set learningRate to 1",
        )
    if not recipe.max_grad_norm:
        yield "always limits gradients, and 0 would stop all learning", "set maxGradNorm to 1"


def _of_this_request(request: TrainingRequest) -> Iterator[tuple[str, str]]:
    if request.extra_arguments:
        yield (
            "takes everything from its job, and no arguments",
            "put it into a YAML file for --trainer-config",
        )


def _texts(value: object, where: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, Mapping):
        for key, one in value.items():
            yield from _texts(one, f"{where}.{key}")
    elif isinstance(value, Sequence):
        for number, one in enumerate(value):
            yield from _texts(one, f"{where}[{number}]")


@functools.cache
def _dumper() -> Any:
    import yaml

    class Dumper(yaml.SafeDumper):
        """Quotes every text but plain words, because ai-toolkit reads 1e-4 as a number."""

        def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
            return True

    def text(dumper: Any, value: str) -> Any:
        plain = re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value) is not None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')

    Dumper.add_representer(str, text)
    return Dumper
