"""The LoRA's values beside the base's, with an interval for the mean difference.

Pairs of one prompt are alike, so the bootstrap draws prompts and not pairs (the cluster
bootstrap of Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8),
and the interval is the one between percentiles (Efron and Tibshirani, An Introduction to the
Bootstrap, 1993, chapter 13). The draws follow from a fixed seed: the same pairs give the same
interval on every system.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import msgspec

from lora_pipeline.evaluation.metric_records import Compared

SEED = 20_011
DRAWS = 2_000
DIGITS = 4
_LOW, _HIGH = 0.025, 0.975


class Pair(msgspec.Struct, frozen=True):
    """One value of the LoRA and the base's at the same prompt and seed.

    Attributes:
        prompt_id: The prompt.
        lora: Value of the LoRA's cell.
        base: Value of the base cell.
    """

    prompt_id: str
    lora: float
    base: float


def compared(pairs: Sequence[Pair]) -> Compared | None:
    """Return the means of pairs with the interval of their difference; None without pairs.

    The order of the pairs changes nothing.
    """
    if not pairs:
        return None
    by_prompt: dict[str, list[float]] = {}
    for pair in sorted(pairs, key=lambda one: (one.prompt_id, one.lora, one.base)):
        by_prompt.setdefault(pair.prompt_id, []).append(pair.lora - pair.base)
    groups = list(by_prompt.values())
    low, high = interval(groups)
    return Compared(
        lora=_mean(sorted(pair.lora for pair in pairs)),
        base=_mean(sorted(pair.base for pair in pairs)),
        difference=_mean([one for group in groups for one in group]),
        low=low,
        high=high,
        pairs=len(pairs),
        prompts=len(groups),
    )


def interval(groups: Sequence[Sequence[float]]) -> tuple[float | None, float | None]:
    """Return the 95 % interval of the mean over all values, drawing whole groups.

    One group says nothing about another one: then there is no interval.
    """
    if len(groups) < 2:
        return None, None
    sums = [(sum(group), len(group)) for group in groups]
    # ``random()`` is the one generator that Python promises to keep as it is.
    draw = random.Random(SEED).random  # noqa: S311 - nobody has to guess it
    count, means = len(sums), []
    for _ in range(DRAWS):
        drawn = [sums[int(draw() * count)] for _ in range(count)]
        means.append(sum(total for total, _ in drawn) / sum(size for _, size in drawn))
    means.sort()
    return _percentile(means, _LOW), _percentile(means, _HIGH)


def _percentile(ordered: Sequence[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return round(ordered[below] + (ordered[above] - ordered[below]) * (place - below), DIGITS)


def _mean(values: Sequence[float]) -> float:
    # Adding 0.0 turns a negative zero into a plain one.
    return round(sum(values) / len(values), DIGITS) + 0.0
