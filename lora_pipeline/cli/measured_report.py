"""How what was measured on a grid looks in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lora_pipeline.cli.output import Report, counted
from lora_pipeline.foundation.result import Result

_MOST_DIFFERING = 8


def measured(result: Result) -> Report:
    """Return the report of ``eval metrics``."""
    facts = result.data
    values = [one for one in facts["measured"] if one["proven"]]
    rows = []
    if "differing" in facts:
        head = "as recorded" if result.success else "not as recorded"
        rows += [("fail", words) for words in facts["differing"][:_MOST_DIFFERING]]
        if len(facts["differing"]) > _MOST_DIFFERING:
            rows.append(("", f"… and {len(facts['differing']) - _MOST_DIFFERING:,} more"))
    elif result.refusal:
        head = "stays as it was judged"
        rows.append(("why", result.refusal.message))
    else:
        head = f"{counted(len(values), 'value')} beside the effect"
        if not facts["changed"]:
            head += ", as before"
    return Report(
        f"{facts['loraId']} {facts['releaseId']} · {head}", rows=[*rows, *measured_rows(facts)]
    )


def measured_rows(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return each value with what it is worth, and what could not be computed."""
    words = [_words(one) for one in facts["measured"] if one["proven"]]
    rows = _labelled("measured", words)
    reasons: dict[str, list[str]] = {}
    for one in facts["measured"]:
        if not one["proven"]:
            reasons.setdefault(one["words"], []).append(one["title"])
    rows += [("not proven", f"{', '.join(names)}: {why}") for why, names in reasons.items()]
    return rows + _labelled("encoders", facts["encoders"])


def _labelled(label: str, lines: Sequence[str]) -> list[tuple[str, str]]:
    return [(label if number == 0 else "", words) for number, words in enumerate(lines)]


def _words(one: Mapping[str, Any]) -> str:
    return f"{one['title']:<24} {one['words']}\n{'':<24} {one['worth']}"
