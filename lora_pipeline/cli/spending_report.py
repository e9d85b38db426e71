"""How money looks in a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lora_pipeline.cli.output import counted
from lora_pipeline.foundation.result import Result


def spent_rows(spent: Mapping[str, Any] | None) -> list[tuple[str, str]]:
    """Return what pictures at a service came to; nothing where nothing was paid."""
    return [("cost", _pictures(spent))] if spent else []


def refusal_rows(result: Result) -> list[tuple[str, str]]:
    """Return why nothing is drawn, and what helps where that is no command to paste."""
    if result.refusal is None:
        return []
    rows = [("why", result.refusal.message)]
    if result.refusal.hint and not result.suggestions:
        rows.append(("", result.refusal.hint))
    return rows


def total_rows(costs: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return what runs and pictures come to, by currency."""
    rows = []
    for one in costs:
        words = f"{one['paid']:.2f} {one['currency']} paid"
        if one["open"]:
            words += f", {one['open']:.2f} {one['currency']} estimated of what is not settled yet"
        rows.append(("cost", words))
        if one["ofPictures"]:
            rows.append(("of it", _pictures({**one, "cost": one["ofPictures"], "open": 0.0})))
    return rows


def cost_cell(cost: Mapping[str, Any] | None) -> str:
    """Return what one thing counts for, as a cell of a table."""
    if cost is None:
        return ""
    return f"{'' if cost['known'] else '≈ '}{cost['amount']:.2f} {cost['currency']}"


def _pictures(spent: Mapping[str, Any]) -> str:
    from lora_pipeline.training.hosted.spending import money

    what = (
        counted(spent["pictures"], "picture") if spent["pictures"] else "pictures not counted yet"
    )
    words = f"{money(spent['cost'], spent['currency'])} for {what}"
    if spent.get("open"):
        words += f", {money(spent['open'], spent['currency'])} of it estimated"
    return words
