"""What the LoRA changes: the difference between base and LoRA cells at equal seeds."""

from __future__ import annotations

import hashlib
import itertools
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from lora_pipeline.evaluation.grid import BASE
from lora_pipeline.evaluation.records import Cell, EvaluationMetrics, Suite
from lora_pipeline.evaluation.suites import calling_prompts, silent_prompts

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

CONSTANT = "it shows one colour only"
# A higher strength may change a little less, but never the same: then it was ignored.
_SLACK = 0.95
_DIGITS = 6
_OF_THE_EFFECT = (
    "effect_mean", "effect_min", "effect_without_trigger", "effect_by_strength", "monotone",
    "constant_cells", "duplicate_cells",
)  # fmt: skip


def mean_difference(first: Pixels, second: Pixels) -> float:
    """Return the mean absolute difference of two images, in 0..1 of the value range."""
    import numpy as np

    difference = np.abs(first.astype(np.int16) - second.astype(np.int16))
    return round(float(difference.mean()) / 255.0, _DIGITS)


def measure(
    suite: Suite, cells: Sequence[Cell], load: Callable[[Cell], Pixels]
) -> tuple[tuple[Cell, ...], EvaluationMetrics]:
    """Return the cells with their effect, and what follows for the grid.

    Args:
        suite: The suite of the grid.
        cells: All cells; those that are not done are passed through.
        load: Returns the pixels of a done cell.
    """
    measured: list[Cell] = []
    shown: dict[str, set[str]] = defaultdict(set)
    base: tuple[tuple[str, int], Pixels] | None = None
    for cell in cells:
        effect = None
        if cell.status == "done":
            pixels = load(cell)
            shown[hashlib.sha256(pixels.tobytes()).hexdigest()].add(cell.id)
            # The base stands first of its prompt and seed, so one is in memory at a time.
            if cell.strength == BASE:
                base = ((cell.prompt_id, cell.seed), pixels)
            elif base is not None and base[0] == (cell.prompt_id, cell.seed):
                effect = mean_difference(base[1], pixels)
        measured.append(msgspec.structs.replace(cell, effect=effect))
    duplicates = sum(len(ids) - 1 for ids in shown.values())
    return tuple(measured), summarise(suite, measured, duplicates)


def summarise(suite: Suite, cells: Sequence[Cell], duplicates: int) -> EvaluationMetrics:
    """Return the metrics of cells whose effects are known."""
    calling, silent = calling_prompts(suite), silent_prompts(suite)
    by_strength: dict[float, list[float]] = defaultdict(list)
    leaks: dict[float, list[float]] = defaultdict(list)
    for cell in cells:
        if cell.effect is None:
            continue
        if cell.prompt_id in calling:
            by_strength[cell.strength].append(cell.effect)
        elif cell.prompt_id in silent:
            leaks[cell.strength].append(cell.effect)
    means = {strength: _mean(effects) for strength, effects in sorted(by_strength.items())}
    top = max(means, default=BASE)
    return EvaluationMetrics(
        effect_mean=means.get(top),
        effect_min=min(by_strength[top], default=None),
        effect_without_trigger=_mean(leaks[top]) if leaks[top] else None,
        effect_by_strength={f"{strength:g}": mean for strength, mean in means.items()},
        monotone=_rises(list(means.values())),
        constant_cells=sum(cell.error == CONSTANT for cell in cells),
        duplicate_cells=duplicates,
    )


def effect_alone(metrics: EvaluationMetrics) -> EvaluationMetrics:
    """Return what was measured of the effect, without what other measurements added."""
    return EvaluationMetrics(**{name: getattr(metrics, name) for name in _OF_THE_EFFECT})


def doubts(metrics: EvaluationMetrics) -> list[str]:
    """Return what a careful person would want to know about the measurements."""
    found = []
    if metrics.effect_mean == 0:
        found.append("the LoRA changes nothing: every LoRA cell is its base cell")
    elif metrics.monotone is False:
        found.append("a higher strength does not change more: the strength may be ignored")
    if metrics.duplicate_cells and metrics.effect_mean != 0:
        found.append(
            f"{metrics.duplicate_cells} cells show the same pixels as a cell with other settings"
        )
    if metrics.constant_cells:
        found.append(f"{metrics.constant_cells} cells show one colour only and were refused")
    return found


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), _DIGITS)


def _rises(means: Sequence[float]) -> bool | None:
    if len(means) < 2:
        return None
    return all(high != low and high >= low * _SLACK for low, high in itertools.pairwise(means))
