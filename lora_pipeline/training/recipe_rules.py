"""The rule of every training setting: its type, its bounds and its words. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec

from lora_pipeline.foundation.errors import RecipeInvalidError


class Rule(msgspec.Struct, frozen=True):
    """What a setting may be.

    Attributes:
        summary: What it is for, with its unit.
        check: Returns the value as the recipe holds it, or raises ``BrokenRuleError``.
        optional: Whether null means "not set".
    """

    summary: str
    check: Callable[[Any], Any]
    optional: bool = False

    def checked(self, value: Any) -> Any:
        """Return the value as the recipe holds it.

        Raises:
            BrokenRuleError: When it breaks the rule; the message continues the setting's name.
        """
        if value is None:
            if self.optional:
                return None
            raise BrokenRuleError("must have a value, got null")
        return self.check(value)


class BrokenRuleError(RecipeInvalidError):
    """Raised inside, where the source of the value is not known; never leaves ``recipe``."""


def _whole(low: int, high: int, multiple: int = 1) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise BrokenRuleError(f"must be a whole number, got {_shown(value)}")
        _bounds(value, low, high)
        if value % multiple:
            raise BrokenRuleError(f"must be a multiple of {multiple}, got {value}")
        return value

    return check


def _number(low: float, high: float, *, above: bool = False) -> Callable[[Any], float]:
    def check(value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BrokenRuleError(f"must be a number, got {_shown(value)}")
        if not math.isfinite(value):
            raise BrokenRuleError(f"must be a finite number, got {value}")
        if above and value <= low:
            raise BrokenRuleError(f"must be above {low:g}, got {value:g}")
        _bounds(value, low, high)
        return float(value)

    return check


def _bounds(value: float, low: float, high: float) -> None:
    if value < low:
        raise BrokenRuleError(f"must be at least {low:g}, got {value:g}")
    if value > high:
        raise BrokenRuleError(f"must be at most {high:.15g}, got {value:.15g}")


def _switch(value: Any) -> bool:
    if not isinstance(value, bool):
        raise BrokenRuleError(f"must be true or false, got {_shown(value)}")
    return value


def _one_of(*choices: str | int) -> Callable[[Any], str | int]:
    def check(value: Any) -> str | int:
        for choice in choices:
            if value == choice and type(value) is type(choice):
                return choice
        words = ", ".join(map(str, choices))
        raise BrokenRuleError(f"must be one of {words}, got {_shown(value)}")

    return check


def _prompts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise BrokenRuleError(f"must be a list of prompts, got {_shown(value)}")
    if len(value) > 16:
        raise BrokenRuleError(f"must be at most 16 prompts, got {len(value)}")
    for one in value:
        if not one.strip() or "\n" in one or len(one) > 1000:
            raise BrokenRuleError("must be prompts of one line and at most 1000 characters")
    return tuple(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:39] + "…"


RULES: dict[str, Rule] = {
    "resolution": Rule("Width and height of training, in pixels", _whole(16, 4096, 8)),
    "steps": Rule("Optimiser steps; wins over epochs", _whole(1, 1_000_000), optional=True),
    "epochs": Rule("Passes over the images", _whole(1, 100_000), optional=True),
    "rank": Rule("Rank of the LoRA: how much it can hold", _whole(1, 1024)),
    "alpha": Rule("Scale times rank; null is rank", _number(0, 4096, above=True), optional=True),
    "learningRate": Rule("Learning rate", _number(0, 10, above=True)),
    "textEncoderLearningRate": Rule(
        "Learning rate of the text encoders; null is learningRate", _number(0, 10), optional=True
    ),
    "batchSize": Rule("Images in one forward pass", _whole(1, 1024)),
    "gradientAccumulation": Rule("Forward passes in one optimiser step", _whole(1, 1024)),
    "optimizer": Rule(
        "Optimiser", _one_of("adamw", "adamw8bit", "adafactor", "prodigy", "lion")
    ),
    "weightDecay": Rule("Weight decay", _number(0, 1)),
    "lrScheduler": Rule(
        "Course of the learning rate",
        _one_of("constant", "constant_with_warmup", "linear", "cosine"),
    ),
    "warmupSteps": Rule("Steps until the full learning rate", _whole(0, 1_000_000)),
    "maxGradNorm": Rule("Longest gradient; 0 is no limit", _number(0, 1000)),
    "trainTextEncoder": Rule("Whether text encoders learn too", _switch),
    "targetConvolutions": Rule("Whether convolutions are adapted too", _switch),
    "captionDropout": Rule("Share of images shown without caption", _number(0, 1)),
    "minSnrGamma": Rule(
        "Cap on the weight of easy timesteps; null is none", _number(0, 100, above=True),
        optional=True,
    ),
    "noiseOffset": Rule("Shift of the noise's mean, for very dark or light art", _number(0, 1)),
    "emaDecay": Rule(
        "Decay of the weights' running mean, which is what is kept; null is none",
        _number(0, 0.99999, above=True),
        optional=True,
    ),
    "mixedPrecision": Rule("Type of the computation", _one_of("no", "fp16", "bf16")),
    "gradientCheckpointing": Rule("Compute again instead of keeping: less memory", _switch),
    "cacheLatents": Rule("Encode every image once", _switch),
    "quantize": Rule("Bits of the base model's weights", _one_of(4, 8), optional=True),
    "lowMemory": Rule("Trade speed for memory wherever the trainer can", _switch),
    "flip": Rule("Show images mirrored half of the time", _switch),
    "seed": Rule("Seed of everything random", _whole(0, 2**32 - 1)),
    "saveEvery": Rule("Steps between kept checkpoints; null is none", _whole(1, 1_000_000),
                      optional=True),
    "sampleEvery": Rule("Steps between sample images; null is none", _whole(1, 1_000_000),
                        optional=True),
    "samplePrompts": Rule("Prompts of the sample images", _prompts),
}  # fmt: skip
