"""A report as one page that needs nothing but itself, pictures and all. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lora_pipeline.datasets.diff.page import Pictures, difference_section
from lora_pipeline.foundation.markup import GENERATOR, Markup, data_uri, element, page
from lora_pipeline.operations.pull_requests.reporting.view import GridChange, LoraChange, ReportView
from lora_pipeline.operations.pull_requests.reporting.words import (
    RULES_HINT,
    STATUS_WORDS,
    asset_words,
    decision_words,
    verdict_mark,
    verdict_words,
)

_CHIPS = {"pass": "came", "fail": "went", "not_proven": "changed"}


def report_page(view: ReportView, pictures: Sequence[Pictures]) -> str:
    """Return the page.

    Args:
        view: The report.
        pictures: The small pictures of each dataset, in their order.
    """
    parts = [
        element("h1", "What changed", class_="name"),
        element("p", f"{view.older.label} → {view.newer.label}", class_="sides"),
        element("p", view.headline(), class_="headline"),
        element("p", verdict_words(view), class_=f"note {verdict_mark(view)}".strip()),
        *_rules(view),
        *_listed("Not as it should be", view.unreadable),
        *_listed(
            "Errors", [f"{one['where']}: {one['message']} [{one['code']}]" for one in view.errors]
        ),
    ]
    for change in view.loras:
        parts += _lora(change)
    parts += _reviews(view)
    parts += [_grid(one) for one in view.grids]
    if view.assets.counts:
        parts += [element("h2", "Assets"), element("p", asset_words(view.assets))]
    parts += [
        difference_section(one.view, shown)
        for one, shown in zip(view.datasets, pictures, strict=True)
    ]
    footer = element("footer", f"Made by {GENERATOR}. Pictures show what training sees.")
    return page(f"{view.older.label} → {view.newer.label}", *parts, footer)


def _rules(view: ReportView) -> list[Markup]:
    if not view.rules:
        return []
    rows = [element("li", f"{one.name} {one.kind}") for one in view.rules]
    return [
        element("h2", "What is asked for changes"),
        element("p", RULES_HINT, class_="note"),
        element("ul", rows),
    ]


def _listed(title: str, lines: Sequence[str]) -> Iterator[Markup]:
    if lines:
        yield element("h2", title)
        yield element("ul", [element("li", line) for line in lines])


def _lora(change: LoraChange) -> list[Markup]:
    parts = [element("h2", change.lora_id)]
    if change.sentences:
        parts.append(element("ul", [element("li", one) for one in change.sentences]))
    for decision in change.decisions:
        parts += _decision(decision)
    return parts


def _decision(decision: Mapping[str, Any]) -> list[Markup]:
    active = " · active" if decision["active"] else ""
    words = f"{decision['releaseId']}{active} {decision_words(decision)}"
    rows = [
        element(
            "tr",
            element(
                "td",
                element(
                    "span", STATUS_WORDS[one["status"]], class_=f"chip {_CHIPS[one['status']]}"
                ),
            ),
            element("th", one["title"]),
            element("td", one["reason"]),
        )
        for one in decision["conditions"]
    ]
    return [element("p", words, class_="headline"), element("table", rows, class_="rules")]


def _reviews(view: ReportView) -> list[Markup]:
    if not view.reviews:
        return []
    head = element("tr", [element("th", one) for one in ("release", "verdict", "by", "says")])
    rows = [
        element(
            "tr",
            element("td", f"{one.lora_id} {one.release_id}"),
            element("td", one.verdict),
            element("td", one.reviewer),
            element("td", one.comment),
        )
        for one in view.reviews
    ]
    return [element("h2", "Verdicts"), element("table", head, rows, class_="rules stacks")]


def _grid(grid: GridChange) -> Markup:
    record = grid.evaluation
    words = f"{record.lora_id} {record.release_id} · {record.status} · {len(record.cells)} cells"
    parts = [element("h2", "Grid ", element("span", words, class_="hint"))]
    if grid.sheet:
        source = data_uri("image/webp", grid.sheet)
        sheet = element("img", src=source, alt=f"contact sheet of {words}", class_="sheet")
        name = f"contact sheet of {words}"
        parts.append(
            element("div", sheet, class_="frame", tabindex="0", role="region", aria_label=name)
        )
    else:
        parts.append(element("p", "no contact sheet in Git", class_="hint"))
    return element("section", parts)
