"""How long training will be, and how large what it reads and writes. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

import msgspec

from lora_pipeline.training.cautions import Caution, Subject, cautions_about
from lora_pipeline.training.records import Recipe
from lora_pipeline.training.steps import looks_per_image, total_steps

# Of the same trainer and base model, how many earlier runs are asked for their speed.
_LAST_RUNS = 5
# How far a run may be from those before it: other work on the machine, a warm-up, saves.
_SLACK = 0.25


class Estimate(msgspec.Struct, frozen=True):
    """How long training will be and what is unusual about it.

    Attributes:
        images: Images of the training split.
        images_per_epoch: Images of one pass, repeats counted.
        steps: Optimiser steps.
        looks: How often each image is looked at.
        cautions: What is unusual.
    """

    images: int
    images_per_epoch: int
    steps: int
    looks: float
    cautions: tuple[Caution, ...]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is unusual, one sentence each."""
        return tuple(one.message for one in self.cautions)


class PastRun(msgspec.Struct, frozen=True):
    """What an earlier run of the same trainer and base model tells.

    Attributes:
        seconds: How long it took.
        steps: Optimiser steps that it did.
        recipe: Its settings.
        weights_bytes: Length of its weights, or 0.
        here: Whether it ran on this machine.
    """

    seconds: float
    steps: int
    recipe: Recipe
    weights_bytes: int
    here: bool


class Duration(msgspec.Struct, frozen=True):
    """About how long a run takes.

    Attributes:
        low: Minutes at least, or None when nothing tells.
        high: Minutes at most, or None.
        basis: What it was read from, or why it is not known.
    """

    low: float | None
    high: float | None
    basis: str

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form."""
        return {"low": self.low, "high": self.high, "basis": self.basis}


def estimate(subject: Subject) -> Estimate:
    """Return what training will be."""
    recipe, per_epoch = subject.recipe, subject.data.images_per_epoch
    return Estimate(
        images=len(subject.data.images),
        images_per_epoch=per_epoch,
        steps=total_steps(recipe, per_epoch),
        looks=looks_per_image(recipe, per_epoch),
        cautions=cautions_about(subject),
    )


def duration_of(recipe: Recipe, steps: int, past: Sequence[PastRun]) -> Duration:
    """Return about how long a run takes, from what runs before it took for each pixel.

    Args:
        recipe: Its settings.
        steps: Its optimiser steps.
        past: Runs of the same trainer on the same base model, oldest first.
    """
    timed = [one for one in past if one.seconds > 0 and one.steps > 0]
    here = [one for one in timed if one.here]
    used = (here or timed)[-_LAST_RUNS:]
    if not used:
        return Duration(None, None, "no run of this trainer on this base model tells yet")
    seconds = [one.seconds / one.steps / _work(one.recipe) * _work(recipe) * steps for one in used]
    low, high = min(seconds) * (1 - _SLACK), max(seconds) * (1 + _SLACK)
    where = "on this machine" if here else "on other machines"
    runs = f"{len(used)} earlier run{'' if len(used) == 1 else 's'}"
    return Duration(round(low / 60, 1), round(high / 60, 1), f"{runs} {where}")


def weights_size(recipe: Recipe, past: Sequence[PastRun]) -> int | None:
    """Return about how many bytes the weights will have, or None when nothing tells."""
    sizes = [
        one.weights_bytes / one.recipe.rank
        for one in past
        if one.weights_bytes
        and one.recipe.train_text_encoder == recipe.train_text_encoder
        and one.recipe.target_convolutions == recipe.target_convolutions
    ]
    return round(median(sizes[-_LAST_RUNS:]) * recipe.rank) if sizes else None


def _work(recipe: Recipe) -> int:
    """Return what one optimiser step computes, in pixels."""
    return recipe.resolution**2 * recipe.batch_size * recipe.gradient_accumulation
