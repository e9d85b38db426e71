"""What sd-scripts cannot do with a recipe, and what a careful person should know. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from lora_pipeline.foundation.errors import RecipeInvalidError
from lora_pipeline.training.plan import TrainingData, TrainingRequest
from lora_pipeline.training.records import Recipe
from lora_pipeline.training.trainers.kohya.config import BUCKET_STEP
from lora_pipeline.training.trainers.kohya.families import Family


def require_trainable(request: TrainingRequest, family: Family, *, cpu: bool) -> None:
    """Check that sd-scripts can do what was asked for.

    Raises:
        RecipeInvalidError: When it cannot, or would ignore it without a word.
    """
    recipe, architecture = request.recipe, request.checkpoint.architecture
    refusals = [
        *_by_family(recipe, family, architecture),
        *_by_device(recipe, cpu=cpu),
        *_by_masks(request.data),
    ]
    for message, hint in refusals:
        raise RecipeInvalidError(f"kohya_ss {message}", hint=hint)


def _by_family(recipe: Recipe, family: Family, architecture: str) -> Iterator[tuple[str, str]]:
    if recipe.train_text_encoder and not family.text_encoders:
        yield f"trains no text encoder of {architecture}", "set trainTextEncoder to false"
    if recipe.target_convolutions and family.network_module != "networks.lora":
        yield f"finds no convolutions in {architecture}", "set targetConvolutions to false"
    if family.flow and recipe.min_snr_gamma is not None:
        yield _no_meaning("minSnrGamma", architecture), "leave minSnrGamma out"
    if family.flow and recipe.noise_offset:
        yield _no_meaning("noiseOffset", architecture), "leave noiseOffset out"
    if recipe.ema_decay is not None:
        yield "keeps no running mean of the weights", "leave emaDecay out, or use diffusers"
    if recipe.quantize == 8 and not family.fp8:
        yield f"cannot quantise {architecture}", "leave quantize out"


def _by_device(recipe: Recipe, *, cpu: bool) -> Iterator[tuple[str, str]]:
    if recipe.quantize == 4:
        yield "has no 4-bit base models", "set quantize to 8, or leave it out"
    if recipe.quantize == 8 and recipe.mixed_precision == "no":
        yield "quantises only with mixed precision", "set mixedPrecision to bf16"
    if cpu and recipe.mixed_precision == "fp16":
        yield "cannot train in fp16 on a CPU", "set mixedPrecision to no or bf16"
    if cpu and recipe.optimizer == "adamw8bit":
        yield "has adamw8bit only for CUDA", "set optimizer to adamw"
    if recipe.caption_dropout >= 1:
        yield "would train without any caption", "set captionDropout below 1"


def _by_masks(data: TrainingData) -> Iterator[tuple[str, str]]:
    if data.masked and len({image.repeats for image in data.images}) > 1:
        build = f"lora dataset build {data.dataset_id} --alpha background"
        yield (
            "takes masks for one repeat count alone: the dataset, masked by alpha, has more",
            f"{build}, or lora train --trainer diffusers",
        )


def cautions(request: TrainingRequest, family: Family, *, tokenizer_cache: bool) -> list[str]:
    """Return what to know before a run starts."""
    recipe, images = request.recipe, request.data.images
    found = []
    if recipe.lr_scheduler == "constant" and recipe.warmup_steps:
        found.append("warmupSteps is not used: a constant schedule has no warm-up")
    if recipe.sample_prompts and not recipe.sample_every:
        found.append("samplePrompts is not used: sampleEvery is not set")
    if recipe.sample_every and not recipe.sample_prompts:
        found.append("sampleEvery is not used: there are no samplePrompts")
    if family.tokenizers and not tokenizer_cache:
        found.append(
            "trainers.kohya_ss.tokenizerCache is not set: offline, sd-scripts needs "
            f"{', '.join(family.tokenizers)} in the Hugging Face cache"
        )
    if family.constants.get("v2") and recipe.resolution >= 768:
        found.append("a 768 model of SD 2 needs v_parameterization = true in --trainer-config")
    if family.fp8 == "fp8_scaled" and recipe.mixed_precision != "bf16":
        found.append(f"{request.checkpoint.architecture} is meant for mixedPrecision bf16")
    small = sum(min(one.width, one.height) < recipe.resolution / 2 for one in images)
    if small:
        found.append(f"{small} of {len(images)} images are enlarged to more than twice their size")
    odd = sum(one.width != one.height for one in images)
    if request.data.masked and recipe.resolution < BUCKET_STEP and odd:
        found.append(
            f"without buckets sd-scripts stretches masks and cuts images: {odd} of {len(images)} "
            "are not square, and their masks do not lie on them"
        )
    if len({image.repeats for image in images}) > 1:
        found.append("several repeat counts: captions are given in lists, not beside the images")
    return found


def _no_meaning(name: str, architecture: str) -> str:
    return f"would ignore {name}: {architecture} is trained by flow matching"
