"""How what was measured on two grids looks in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lora_pipeline.cli.output import Table


def measures_tables(measures: Sequence[Mapping[str, Any]], before: str, after: str) -> list[Table]:
    """Return each value of two grids beside each other, and what follows from it."""
    rows = []
    for one in measures:
        rows.append(
            (one["title"], *(_value(one[side]) for side in ("before", "after")), one["says"])
        )
        differences = (one["before"]["difference"], one["after"]["difference"])
        if any(differences):
            rows.append(("", *differences, ""))
    return [Table(("", before, after, ""), rows)] if rows else []


def _value(side: Mapping[str, Any]) -> str:
    return str(side["words"]) if side["proven"] else "not proven"
