"""What was measured on two grids, side by side, and what follows from it. Pure.

A value stands beside its base's, and its interval is that of the difference to the base. Two
releases differ for certain only where these intervals lie apart; where they overlap, nothing is
proven, whichever number is the larger one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from lora_pipeline.evaluation.metric_records import Compared, NearestImage
from lora_pipeline.evaluation.metrics.words import MEASURES, number, signed, than, title_of
from lora_pipeline.evaluation.records import EvaluationMetrics

# Values of one image and the training images: they compare where these are the same.
_OF_THE_ART = frozenset(
    {"lookAlike", "copies", "paletteDistance", "toneDistance", "clipImage", "dino"}
)
_EFFECTS = (
    ("effectMean", "effect"),
    ("effectMin", "smallest effect"),
    ("effectWithoutTrigger", "effect without the trigger word"),
    ("monotone", "more strength changes more"),
    ("constantCells", "cells of one colour"),
    ("duplicateCells", "cells like another cell"),
)
_ALWAYS = frozenset({"effectMean", "effectMin"})


class Side(msgspec.Struct, frozen=True):
    """What one grid says of a value.

    Attributes:
        words: The value, beside the base's where there is one; or why there is none.
        difference: LoRA less base, with its interval in words; empty where it has none.
        proven: Whether there is a value.
        middle: Mean of the differences to the base, or None.
        low: Lower end of its interval, or None.
        high: Upper end, or None.
    """

    words: str
    difference: str = ""
    proven: bool = True
    middle: float | None = None
    low: float | None = None
    high: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form."""
        return msgspec.structs.asdict(self)


class Measure(msgspec.Struct, frozen=True):
    """One value of two grids.

    Attributes:
        name: As the records have it, and as a gate policy asks for it.
        title: What it is.
        before: What the older grid says.
        after: What the newer one says.
        says: What follows for the two, and what does not; or why a value is lacking.
    """

    name: str
    title: str
    before: Side
    after: Side
    says: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form."""
        return {
            "name": self.name, "title": self.title, "before": self.before.to_dict(),
            "after": self.after.to_dict(), "says": self.says,
        }  # fmt: skip


def compare_measures(
    before: EvaluationMetrics | None, after: EvaluationMetrics | None, *, than_what: str
) -> list[Measure]:
    """Return every value that one of two grids has, or has not for a reason.

    Args:
        before: What was measured on the older grid; None where nothing was.
        after: What was measured on the newer one.
        than_what: What the older one is called in sentences.
    """
    if before is None and after is None:
        return []
    return [*_effects(before, after), *_values(before, after, than_what)]


def _effects(
    before: EvaluationMetrics | None, after: EvaluationMetrics | None
) -> Iterator[Measure]:
    facts = [one.to_dict() if one else {} for one in (before, after)]
    for name, title in _EFFECTS:
        first, second = (one.get(name) for one in facts)
        if name in _ALWAYS or first or second:
            yield Measure(name, title, _plain(first), _plain(second))


def _plain(value: object) -> Side:
    if value is None:
        return Side("not measured", proven=False)
    if isinstance(value, bool):
        return Side("yes" if value else "no")
    return Side(number(value) if isinstance(value, float) else str(value))


def _values(
    before: EvaluationMetrics | None, after: EvaluationMetrics | None, than_what: str
) -> Iterator[Measure]:
    for name, field in MEASURES.items():
        first, second = (getattr(one, field) if one else None for one in (before, after))
        reasons = [one.not_proven.get(name, "") if one else "" for one in (before, after)]
        if first is None and second is None and not any(reasons):
            continue
        sides = (_side(first, reasons[0]), _side(second, reasons[1]))
        if first is not None and second is not None:
            says = _unlike(name, before, after) or _compared(name, first, second, than_what)
        else:
            # One reason for both, or that of the one that lacks the value.
            says = "; ".join(dict.fromkeys(side.words for side in sides if not side.proven))
        yield Measure(name, title_of(name), *sides, says)


def _side(value: Compared | NearestImage | None, reason: str) -> Side:
    if value is None:
        return Side(reason or "not measured", proven=False)
    if isinstance(value, NearestImage):
        base = "" if value.base is None else f", base {value.base:.2f}"
        return Side(f"{value.similarity:.2f}{base}")
    difference = signed(value.difference)
    if value.low is not None and value.high is not None:
        difference += f" ({signed(value.low)} to {signed(value.high)})"
    return Side(
        f"{number(value.lora)}, base {number(value.base)}", difference,
        middle=value.difference, low=value.low, high=value.high,
    )  # fmt: skip


def _unlike(name: str, before: EvaluationMetrics | None, after: EvaluationMetrics | None) -> str:
    """Return why two values of that name do not compare; empty when they do."""
    assert before is not None  # noqa: S101 - both have the value
    assert after is not None  # noqa: S101
    first, second = getattr(before, MEASURES[name]), getattr(after, MEASURES[name])
    encoders = [getattr(one, "encoder", None) for one in (first, second)]
    if encoders[0] != encoders[1]:
        return "by different encoders: the values do not compare"
    if encoders[0] is None and before.method != after.method:
        return "measured in different ways: the values do not compare"
    if name in _OF_THE_ART and before.manifest_hash != after.manifest_hash:
        return "beside different training images: the values do not compare"
    return ""


def _compared(
    name: str, first: Compared | NearestImage, second: Compared | NearestImage, than_what: str
) -> str:
    if isinstance(first, NearestImage) or isinstance(second, NearestImage):
        return ""
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return "not proven: one prompt says nothing about others"
    if second.low > first.high:
        return than(name, than_what, more=True)
    if second.high < first.low:
        return than(name, than_what, more=False)
    return "not proven: the intervals overlap"
