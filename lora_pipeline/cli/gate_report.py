"""How a decision of the gate looks: one line for each condition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_LABELS = {"pass": "pass", "fail": "fail", "not_proven": "not proven", "waived": "waived"}


def condition_rows(conditions: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return the labelled lines of a decision, titles aligned."""
    width = max((len(condition["title"]) for condition in conditions), default=0) + 2
    return [
        (_LABELS[condition["status"]], f"{condition['title']:<{width}}{condition['reason']}")
        for condition in conditions
    ]
