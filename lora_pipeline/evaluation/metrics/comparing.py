"""Do two measurings of one grid agree? Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lora_pipeline.evaluation.records import EvaluationMetrics

# Another processor may round otherwise; a value that somebody typed is farther away.
_AGREE = 0.005
_NOT_VALUES = frozenset({"notProven", "method"})


def disagreements(recorded: EvaluationMetrics, anew: EvaluationMetrics) -> list[str]:
    """Return where a record does not say what was measured anew.

    What could not be measured anew is no disagreement; ``unchecked`` names it.
    """
    then, now = recorded.to_dict(), anew.to_dict()
    return [
        words
        for name in sorted((set(then) | set(now)) - _NOT_VALUES)
        if name not in anew.not_proven and _derived_from(name) not in anew.not_proven
        for words in _differing(name, then.get(name), now.get(name))
    ]


def unchecked(recorded: EvaluationMetrics, anew: EvaluationMetrics) -> dict[str, str]:
    """Return which recorded values could not be measured anew, and why."""
    then = recorded.to_dict()
    return {name: reason for name, reason in anew.not_proven.items() if name in then}


def _derived_from(name: str) -> str:
    return {
        "copySimilarityMax": "copies",
        "manifestHash": "lookAlike",
        "trainingImages": "lookAlike",
    }.get(name, name)


def _differing(name: str, then: Any, now: Any) -> Iterator[str]:
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        if then.get("encoder") != now.get("encoder"):
            yield f"{name} was measured by another encoder, or by another version of it"
            return
        for key in sorted(set(then) | set(now)):
            yield from _differing(f"{name}.{key}", then.get(key), now.get(key))
    elif not _agree(then, now):
        yield f"{name} is {_shown(now)}, recorded {_shown(then)}"


def _agree(then: Any, now: Any) -> bool:
    if isinstance(then, float) or isinstance(now, float):
        numbers = isinstance(then, int | float) and isinstance(now, int | float)
        return numbers and abs(then - now) <= _AGREE
    return bool(then == now)


def _shown(value: Any) -> str:
    if value is None:
        return "absent"
    return f"{value:g}" if isinstance(value, float) else str(value)
