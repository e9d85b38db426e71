"""How blind comparisons look in a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lora_pipeline.cli.compared_measures import measures_tables
from lora_pipeline.cli.measured_report import measured_rows
from lora_pipeline.cli.output import Report, Table, counted, size_text
from lora_pipeline.foundation.result import Result

_QUESTIONS = {"better": "would use", "prompt": "follows prompt", "sound": "cleaner"}


def planned(result: Result) -> Report:
    """Return the report of a page that was written."""
    facts = result.data
    extra = [
        f"{facts[name]} {words}"
        for name, words in (("repeats", "shown twice"), ("controls", "with equal sides"))
        if facts.get(name)
    ]
    size = f", {size_text(facts['pageBytes'])}" if facts["pageBytes"] else ""
    rows = [
        ("page", f"{facts['page']}{size}"),
        ("pairs", ", ".join([f"{facts['pairs']} that count", *extra])),
        ("strength", f"{facts['strength']:g}"),
        ("order", "kept in .lora/blind until the answers are in; Git holds its digest"),
    ]
    verb = "would be compared" if result.dry_run else "to be compared"
    return Report(
        f"{facts['loraId']} {facts['releaseId']} · {verb} with {facts['againstWords']}, blind", rows
    )


def answered(result: Result) -> Report:
    """Return the report of answers that were recorded."""
    facts = result.data
    return Report(
        f"{facts['loraId']} {facts['releaseId']} · compared blind with {facts['against']} "
        f"by {facts['reviewer']}",
        [*_rows(facts), *_alone(facts)],
        tables=_beside(facts),
        lines=["", *(f"  {one}" for one in facts["sentences"])],
    )


def compared(result: Result) -> Report:
    """Return the report of all blind reviews of a release."""
    facts = result.data
    title = f"{facts['loraId']} {facts['releaseId']} · blind comparisons"
    if not facts["comparisons"]:
        return Report(f"{title}: none yet", _open(facts))
    rows: list[tuple[str, str]] = []
    lines: list[str] = []
    tables: list[Table] = []
    for one in facts["comparisons"]:
        rows += [("against", one["against"]), *_rows(one), *_alone(one)]
        tables += _beside(one | {"releaseId": facts["releaseId"]})
        lines += ["", *(f"  {sentence}" for sentence in one["sentences"])]
    return Report(title, [*rows, *_open(facts)], tables=tables, lines=lines)


def _alone(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was measured beside the base; beside a release a table says it."""
    return [] if facts["measures"] else measured_rows(facts)


def _beside(facts: Mapping[str, Any]) -> list[Table]:
    return measures_tables(facts["measures"], facts["against"], facts["releaseId"])


def _rows(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [
        (
            _QUESTIONS.get(question, question),
            f"{tally['wins']} for it, {tally['losses']} against, {tally['ties']} no difference",
        )
        for question, tally in facts["questions"].items()
        if any(tally.values())
    ]
    for review in facts["reviews"]:
        checks = (
            f", {review['checksMet']} of {review['checks']} checks met" if review["checks"] else ""
        )
        who = f"{review['reviewer']}, {counted(review['pairs'], 'pair')}{checks}"
        rows.append(("fail", review["problem"]) if review["problem"] else ("reviewer", who))
        if review["comment"]:
            rows.append(("", review["comment"]))
    return rows


def _open(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    count = len(facts["unanswered"])
    return [("open", f"{counted(count, 'page')} not answered")] if count else []
