"""How many optimiser steps a recipe means for a number of images. Pure."""

from __future__ import annotations

import math

from lora_pipeline.training.records import Recipe


def total_steps(recipe: Recipe, images_per_epoch: int) -> int:
    """Return the optimiser steps; ``steps`` wins over ``epochs``."""
    if recipe.steps is not None:
        return recipe.steps
    shown = (recipe.epochs or 1) * images_per_epoch
    return max(1, math.ceil(shown / (recipe.batch_size * recipe.gradient_accumulation)))


def looks_per_image(recipe: Recipe, images_per_epoch: int) -> float:
    """Return how often training looks at each image, repeats counted as images."""
    shown = total_steps(recipe, images_per_epoch) * recipe.batch_size
    return shown * recipe.gradient_accumulation / max(1, images_per_epoch)
