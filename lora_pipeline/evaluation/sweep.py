"""Which step of a training to take: what its kept checkpoints change, and at what price.

Trained too little, a LoRA changes nothing; trained too long, it draws one picture whatever it is
asked. So a sweep draws a few prompts and seeds with every checkpoint and looks at three numbers:
the effect, how much of it shows without the trigger word, and how far the seeds are still apart.
They order the steps; which one is good a person sees on the sheet.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from lora_pipeline.evaluation.effect import mean_difference
from lora_pipeline.evaluation.grid import BASE
from lora_pipeline.evaluation.records import Cell, PromptKind, Suite, SuitePrompt
from lora_pipeline.evaluation.suites import calling_prompts, seeds_of, takes_caption

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

_ASKED: tuple[tuple[PromptKind, ...], ...] = (
    ("in_domain", "must"),
    ("novel_context", "composition", "other_style"),
    ("no_trigger", "class_only"),
)
_ENOUGH = 0.9  # of the strongest effect: what comes after it is little
_VARIED = 0.75  # of the base's variety: below it, seeds begin to look alike
_LEAKS = 0.5  # of the effect shows without the trigger word
_DIGITS = 6


class StepMeasure(msgspec.Struct, frozen=True):
    """What one checkpoint came to; None is what could not be measured.

    Attributes:
        step: Its step.
        sha256: Its weights.
        effect: Mean effect over the prompts that call the LoRA.
        leak: The same over those that do not.
        variety: How far the seeds of a prompt are apart, as a share of the base's.
        cells: How many cells it has.
        drawn: How many of them have a picture.
    """

    step: int
    sha256: str
    effect: float | None
    leak: float | None
    variety: float | None
    cells: int
    drawn: int

    def to_dict(self) -> dict[str, Any]:
        """Return it as every face tells it."""
        return {
            "step": self.step,
            "sha256": self.sha256,
            "effect": self.effect,
            "effectWithoutTrigger": self.leak,
            "variety": self.variety,
            "cells": self.cells,
            "cellsDone": self.drawn,
        }


class Advice(msgspec.Struct, frozen=True):
    """Which step the numbers speak for, and why.

    Attributes:
        step: The step, or None when they speak for none.
        words: One sentence.
    """

    step: int | None
    words: str


def sweep_suite(
    suite: Suite, *, every_prompt: bool = False, seeds: int = 2, strength: float | None = None
) -> Suite:
    """Return the part of a suite that a sweep draws.

    One prompt that the LoRA was made for, one that it was not, and one that does not call it;
    the first seeds; and the highest strength, where too long a training shows first. All of it
    is part of the release grid, so that nothing is drawn twice.

    Args:
        suite: The whole suite.
        every_prompt: Whether to take all prompts.
        seeds: How many seeds of each prompt.
        strength: Another strength.
    """
    asked = tuple(one for one in suite.prompts if not takes_caption(one))
    prompts = asked if every_prompt else tuple(_chosen(suite)) or asked[:1]
    return replace(
        suite,
        prompts=tuple(replace(one, seeds=seeds_of(suite, one)[:seeds]) for one in prompts),
        seeds=suite.seeds[:seeds],
        strengths=(max(suite.strengths) if strength is None else strength,),
    )


def thinned(steps: Sequence[int], most: int) -> list[int]:
    """Return at most ``most`` of the steps, evenly spread; the last one is always among them."""
    if len(steps) <= most:
        return list(steps)
    places = {round((number + 1) * len(steps) / most) - 1 for number in range(most)}
    return [steps[place] for place in sorted(places)]


def measure_step(
    step: int,
    sha256: str,
    suite: Suite,
    cells: Sequence[Cell],
    load: Callable[[Cell], Pixels],
) -> tuple[list[Cell], StepMeasure]:
    """Return the cells of one checkpoint with their effect, and what they come to.

    Args:
        step: The step.
        sha256: Its weights.
        suite: The suite of the sweep.
        cells: The cells, base cells included; those without a picture are passed through.
        load: Returns the pixels of a cell that is done.
    """
    calling = calling_prompts(suite)
    measured: list[Cell] = []
    pictures: dict[tuple[str, bool], list[Pixels]] = defaultdict(list)
    effects: dict[bool, list[float]] = {True: [], False: []}
    for base, cell in itertools.pairwise(cells):
        if cell.strength == BASE:
            continue
        effect = None
        if base.status == cell.status == "done":
            before, after = load(base), load(cell)
            effect = mean_difference(before, after)
            effects[cell.prompt_id in calling].append(effect)
            if cell.prompt_id in calling:
                pictures[cell.prompt_id, False].append(before)
                pictures[cell.prompt_id, True].append(after)
        measured += [base, replace(cell, effect=effect)]
    asked = [cell for cell in cells if cell.strength > BASE]
    return measured, StepMeasure(
        step=step,
        sha256=sha256,
        effect=_mean(effects[True]),
        leak=_mean(effects[False]),
        variety=_variety(pictures),
        cells=len(asked),
        drawn=sum(cell.status == "done" for cell in asked),
    )


def advice(steps: Sequence[StepMeasure]) -> Advice:
    """Return the earliest step that changes about as much as any that still varies.

    Later steps add little effect; what they add instead is what makes pictures alike.
    """
    known = [one for one in steps if one.effect is not None]
    if len(known) < 2:
        return Advice(None, "fewer than two checkpoints could be compared")
    if not any(one.effect for one in known):
        return Advice(None, "no checkpoint changes anything: the LoRA has no effect")
    varied = [one for one in known if one.variety is None or one.variety >= _VARIED]
    if not varied:
        return Advice(
            None,
            f"every checkpoint draws the seeds more alike than the base does by a quarter "
            f"(variety {_share(min(_varieties(known)))} at the least); look before you take one",
        )
    top = max(_effect(one) for one in varied)
    chosen = next(one for one in varied if _effect(one) >= _ENOUGH * top)
    return Advice(chosen.step, f"{_reason(chosen, known, top)}{_caution(chosen)}")


def _reason(chosen: StepMeasure, known: Sequence[StepMeasure], top: float) -> str:
    words = f"step {chosen.step:,}: effect {_effect(chosen):.3f}"
    if chosen.variety is not None:
        words += f", variety {_share(chosen.variety)} of the base's"
    later = [one for one in known if one.step > chosen.step]
    if not later:
        return f"{words}; it is the last one, so more steps may change more"
    stuck = [one for one in later if one.variety is not None and one.variety < _VARIED]
    if stuck:
        return f"{words}; from step {stuck[0].step:,} on the seeds look alike ({_share(stuck[0])})"
    return f"{words}; later steps reach {max(top, _effect(chosen)):.3f} at most"


def _caution(chosen: StepMeasure) -> str:
    if chosen.leak is None or chosen.leak < _LEAKS * _effect(chosen):
        return ""
    return f"; without the trigger word it changes {chosen.leak:.3f}, so it leaks"


def _share(value: StepMeasure | float) -> str:
    share = value if isinstance(value, float) else (value.variety or 0.0)
    return f"{share:.0%}"


def _effect(one: StepMeasure) -> float:
    return one.effect or 0.0


def _varieties(steps: Iterable[StepMeasure]) -> list[float]:
    return [one.variety for one in steps if one.variety is not None]


def _chosen(suite: Suite) -> Iterable[SuitePrompt]:
    for kinds in _ASKED:
        found = next((one for one in suite.prompts if one.kind in kinds), None)
        if found is not None:
            yield found


def _variety(pictures: dict[tuple[str, bool], list[Pixels]]) -> float | None:
    apart = {
        with_lora: [
            mean_difference(first, second)
            for (_, one), shown in pictures.items()
            if one is with_lora
            for first, second in itertools.combinations(shown, 2)
        ]
        for with_lora in (False, True)
    }
    base, ours = _mean(apart[False]), _mean(apart[True])
    return None if not base or ours is None else round(ours / base, _DIGITS)


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), _DIGITS) if values else None
