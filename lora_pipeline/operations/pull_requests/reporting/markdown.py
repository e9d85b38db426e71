"""A report as Markdown for the comment of a pull request. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lora_pipeline.datasets.diff.markdown import difference_markdown
from lora_pipeline.foundation.markdown import code, details, table
from lora_pipeline.operations.pull_requests.reporting.view import LoraChange, ReportView
from lora_pipeline.operations.pull_requests.reporting.words import (
    RULES_HINT,
    STATUS_WORDS,
    asset_words,
    decision_words,
    verdict_words,
)

_ROOM = 60_000  # characters; a comment of GitHub holds 65,536
_MOST = 30  # rows of a list


def report_markdown(view: ReportView, *, command: str) -> str:
    """Return a report as Markdown, cut where a comment would be too long.

    Args:
        view: The report.
        command: What makes the whole report on one's own machine.
    """
    parts = [_head(view)]
    room = _ROOM - len(parts[0])
    sections = list(_sections(view))
    for number, section in enumerate(sections):
        room -= len(section) + 2
        if room < 0:
            left = len(sections) - number
            noun = "1 more section" if left == 1 else f"{left} more sections"
            parts.append(f"{noun}: {code(command)}")
            break
        parts.append(section)
    return "\n\n".join(parts)


def _head(view: ReportView) -> str:
    sides = f"{code(view.older.label)} → {code(view.newer.label)}"
    if view.is_empty:
        return f"## lora\n\n{sides} · nothing of the pipeline changed"
    right = view.findings is not None and not view.errors
    sign = "✅" if right else "⚠️" if view.findings is None else "❌"
    return f"## lora\n\n{sides} · **{view.headline()}**\n\n{sign} {_plain(verdict_words(view))}"


def _sections(view: ReportView) -> Iterator[str]:
    if view.rules:
        yield _rules(view)
    if view.unreadable:
        lines = [f"- {code(one)}" for one in view.unreadable[:_MOST]]
        yield "\n".join(["### Not as it should be", "", *lines])
    if view.errors:
        yield _findings(view)
    yield from (_lora(one) for one in view.loras)
    if view.reviews:
        yield _reviews(view)
    if view.grids:
        yield _grids(view)
    if view.assets.counts:
        yield f"### Assets\n\n{_plain(asset_words(view.assets))}"
    for one in view.datasets:
        more = f"lora dataset diff {one.view.name} --git …"
        yield "\n".join(difference_markdown(one.view, more=more)).rstrip()
    if view.others:
        told = " · ".join(f"{count} {code(kind)}" for kind, count in view.others.items())
        yield f"### Other records\n\n{told}"


def _rules(view: ReportView) -> str:
    lines = [f"- {code(one.name)} {one.kind}" for one in view.rules[:_MOST]]
    return "\n".join(
        [
            "### What is asked for changes",
            "",
            RULES_HINT,
            "",
            *lines,
        ]
    )


def _findings(view: ReportView) -> str:
    rows = [
        [code(one["code"]), code(one["where"]), code(one["message"])] for one in view.errors[:_MOST]
    ]
    body = table(("", "where", "what"), rows)
    more = len(view.errors) - len(rows)
    return "\n".join(
        ["### Errors", "", *body, *(["", f"{more} more: `lora validate`"] if more > 0 else [])]
    )


def _lora(change: LoraChange) -> str:
    lines = [f"### {code(change.lora_id)}", ""]
    lines += [f"- {code(sentence)}" for sentence in change.sentences[:_MOST]]
    for decision in change.decisions:
        lines += ["", *_decision(decision)]
    return "\n".join(lines)


def _decision(decision: Mapping[str, Any]) -> list[str]:
    sign = "✅" if decision["passed"] else "❌"
    active = " · **active**" if decision["active"] else ""
    rows = [
        [STATUS_WORDS[one["status"]], _plain(one["title"]), code(one["reason"])]
        for one in decision["conditions"]
    ]
    return [
        f"{sign} {code(decision['releaseId'])}{active} {_plain(decision_words(decision))}",
        "",
        *details("What the gate looked at", table(("", "condition", "found"), rows)),
    ]


def _reviews(view: ReportView) -> str:
    rows = [
        [code(f"{one.lora_id} {one.release_id}"), code(one.verdict), code(one.reviewer),
         code(one.comment)]
        for one in view.reviews[:_MOST]
    ]  # fmt: skip
    return "\n".join(["### Verdicts", "", *table(("release", "verdict", "by", "says"), rows)])


def _grids(view: ReportView) -> str:
    rows = [
        [code(f"{one.evaluation.lora_id} {one.evaluation.release_id}"), code(one.evaluation.id),
         one.kind, one.evaluation.status, str(len(one.evaluation.cells))]
        for one in view.grids[:_MOST]
    ]  # fmt: skip
    body = table(("release", "evaluation", "", "status", "cells"), rows)
    return "\n".join(["### Grids", "", *body])


def _plain(words: str) -> str:
    # Words of ours with names in them: nothing of it may be taken for markup.
    return "".join(f"\\{one}" if one in "\\`*_{}[]<>#|~@" else one for one in words)
