"""What a careful person would want to know before training: length, and what looks unusual.

Pure. Thresholds are those of practice with style LoRAs; they warn and never refuse.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from lora_pipeline.catalog.records import CheckpointLicense
from lora_pipeline.training.plan import TrainingData
from lora_pipeline.training.records import Recipe
from lora_pipeline.training.steps import looks_per_image, total_steps

FEW_IMAGES = 15
FEW_LOOKS = 20
MANY_LOOKS = 200
IMAGES_PER_RANK = 1.0


@dataclass(frozen=True)
class Estimate:
    """How long training will be and what is unusual about it.

    Attributes:
        images: Images of the training split.
        images_per_epoch: Images of one pass, repeats counted.
        steps: Optimiser steps.
        looks: How often each image is looked at.
        warnings: What is unusual, one sentence each.
    """

    images: int
    images_per_epoch: int
    steps: int
    looks: float
    warnings: tuple[str, ...]


def estimate(
    recipe: Recipe,
    data: TrainingData,
    *,
    trigger_word: str,
    license: CheckpointLicense | None,  # noqa: A002 - the word of the record
    recommended: tuple[int, int] | None = None,
) -> Estimate:
    """Return what training will be.

    Args:
        recipe: The settings in force.
        data: The images.
        trigger_word: The LoRA's trigger word, or empty.
        license: The base model's licence, when it is known.
        recommended: How many images the asset type usually has.
    """
    per_epoch = data.images_per_epoch
    looks = looks_per_image(recipe, per_epoch)
    warnings = [
        *_about_images(data, recommended),
        *_about_length(recipe, looks),
        *_about_rank(recipe, len(data.images)),
        *_about_captions(data, trigger_word),
        *_about_sizes(recipe, data),
        *_about_license(license),
    ]
    return Estimate(
        images=len(data.images),
        images_per_epoch=per_epoch,
        steps=total_steps(recipe, per_epoch),
        looks=looks,
        warnings=tuple(warnings),
    )


def _about_images(data: TrainingData, recommended: tuple[int, int] | None) -> Sequence[str]:
    count = len(data.images)
    if recommended and count < recommended[0]:
        return [f"{count} images; {recommended[0]} to {recommended[1]} are usual for this type"]
    if not recommended and count < FEW_IMAGES:
        return [f"{count} images are few: the LoRA will draw them again instead of their style"]
    return []


def _about_length(recipe: Recipe, looks: float) -> Sequence[str]:
    found = []
    if looks > MANY_LOOKS:
        found.append(f"each image is looked at {looks:.0f} times, which invites memorising")
    if looks < FEW_LOOKS:
        found.append(f"each image is looked at {looks:.0f} times, which may be too few to learn")
    if recipe.steps is not None and recipe.epochs is not None:
        found.append(f"steps {recipe.steps} counts, epochs {recipe.epochs} is left aside")
    if recipe.warmup_steps and recipe.lr_scheduler == "constant":
        found.append("warmupSteps does nothing with lrScheduler constant")
    return found


def _about_rank(recipe: Recipe, images: int) -> Sequence[str]:
    found = []
    if recipe.rank >= 64 and recipe.rank > images * IMAGES_PER_RANK:
        found.append(f"rank {recipe.rank} for {images} images can store them one by one")
    alpha = recipe.alpha
    if alpha is not None and not recipe.rank / 8 <= alpha <= recipe.rank * 2:
        found.append(f"alpha {alpha:g} with rank {recipe.rank} scales by {alpha / recipe.rank:g}")
    return found


def _about_captions(data: TrainingData, trigger_word: str) -> Sequence[str]:
    if not trigger_word:
        return ["the LoRA has no trigger word: its style will show in every prompt"]
    spoken = re.compile(rf"(?<!\w){re.escape(trigger_word)}(?!\w)")
    without = sum(1 for image in data.images if not spoken.search(image.caption))
    if without:
        return [f"{without} of {len(data.images)} captions lack the trigger word {trigger_word}"]
    return []


def _about_sizes(recipe: Recipe, data: TrainingData) -> Sequence[str]:
    area = recipe.resolution**2
    small = sum(1 for image in data.images if image.width * image.height < 0.9 * area)
    if small:
        return [f"{small} images are smaller than {recipe.resolution} px and are enlarged"]
    return []


def _about_license(license: CheckpointLicense | None) -> Sequence[str]:  # noqa: A002
    if license is None:
        return ["the base model's licence is not recorded"]
    if license.commercial_loras == "no":
        return [f"LoRAs of this base model may not be used commercially ({license.id})"]
    if license.commercial_loras == "unknown":
        return [f"whether its LoRAs may be used commercially is not recorded ({license.id})"]
    return []
