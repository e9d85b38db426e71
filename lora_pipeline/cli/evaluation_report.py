"""How evaluations and reviews look in a terminal."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from lora_pipeline.cli.measured_report import measured_rows
from lora_pipeline.cli.output import Report, Table, counted
from lora_pipeline.cli.spending_report import refusal_rows, spent_rows
from lora_pipeline.foundation.result import Result

_MOST_FAILED = 5
_MOST_ROWS = 100


def created(result: Result) -> Report:
    """Return the report of ``eval create``."""
    facts = result.data
    return Report(
        f"{_name(facts)} · {counted(facts['cellsTotal'], 'cell')} to render",
        rows=[("evaluation", facts["evaluationId"]), ("suite", _suite(facts))],
    )


def rendered(result: Result) -> Report:
    """Return the report of ``eval grid``."""
    facts = result.data
    if "toRender" in facts:
        return _not_started(result)
    done, total = facts["cellsDone"], facts["cellsTotal"]
    state = "complete" if facts["status"] == "complete" else "incomplete"
    rows = [("suite", _suite(facts)), ("cells", _origin(facts))]
    if facts["renderer"]:
        rows.append(("renderer", _renderer(facts["renderer"])))
    rows += [
        ("fail", f"{cell['promptId']}, seed {cell['seed']}, {_column(cell)}: {cell['error']}")
        for cell in facts["failed"][:_MOST_FAILED]
    ]
    if len(facts["failed"]) > _MOST_FAILED:
        rows.append(("", f"… and {len(facts['failed']) - _MOST_FAILED} more"))
    if facts["stopped"]:
        rows.append(("stopped", facts["stopped"]))
    rows += spent_rows(facts.get("spent"))
    return Report(
        f"{_name(facts)} · {state} · {done} of {total} cells", rows=[*rows, *_seen(facts)]
    )


def shown(result: Result) -> Report:
    """Return the report of ``eval show``."""
    facts = result.data
    rows = [("evaluation", facts["evaluationId"]), ("suite", _suite(facts))]
    renderer = facts["renderer"]
    if renderer:
        rows.append(("renderer", _renderer(renderer)))
    rows += spent_rows(facts["spent"])
    rows += [("fail", problem) for problem in facts["problems"]]
    rows += _suspicious(facts)
    rows += [*_seen(facts), *measured_rows(facts)]
    rows += [("rule", f"{prompt} {words}") for prompt, words in facts["rules"].items()]
    rows += [_review_row(review) for review in facts["reviews"]]
    if not facts["reviews"]:
        rows.append(("reviews", "nobody has given a verdict yet"))
    return Report(
        f"{_name(facts)} · {facts['status']} · {facts['cellsDone']} of {facts['cellsTotal']} cells",
        rows=rows,
        tables=[_effects(facts["cells"])] if facts["cells"] else (),
        lines=_left_out(facts["cells"]),
    )


def reviewed(result: Result) -> Report:
    """Return the report of a verdict."""
    facts = result.data
    binding = facts["binding"]
    verb = "would be" if result.dry_run else "is"
    rows = [
        ("reviewer", facts["reviewer"]),
        ("seen", f"{facts['cellsSeen']} of {facts['cellsTotal']} cells"),
        ("holds for", f"weights {binding['weightsSha256'][:12]}…, grid {_short(binding)}…"),
    ]
    rows += [
        ("broken" if prompt in facts.get("broken", ()) else "holds", f"{prompt} {words}")
        for prompt, words in facts["rules"].items()
    ]
    if facts.get("signs"):
        rows.append(("signs", ", ".join(facts["signs"])))
    if facts.get("comment"):
        rows.append(("comment", facts["comment"]))
    rows += measured_rows(facts)
    return Report(
        f"{_name(facts)} {verb} {facts['verdict'].replace('_', ' ')} by {facts['reviewer']}",
        rows=rows[1:],
    )


def _not_started(result: Result) -> Report:
    facts = result.data
    to_draw, total = facts["toRender"], facts["cellsTotal"]
    head = "would draw" if result.success else "not started"
    rows = [("suite", _suite(facts)), ("takes", facts["estimate"]["words"])]
    if facts["estimate"]["sentTo"]:
        rows.append(("sent to", facts["estimate"]["sentTo"]))
    rows += refusal_rows(result)
    return Report(f"{_name(facts)} · {head} · {to_draw} of {total} cells", rows=rows)


def _name(facts: Mapping[str, Any]) -> str:
    return f"{facts['loraId']} {facts['releaseId']}"


def _suite(facts: Mapping[str, Any]) -> str:
    return f"{facts['suiteId']}    {facts['suiteDigest'][:19]}…"


def _short(binding: Mapping[str, Any]) -> str:
    return str(binding["resultDigest"])[:19]


def _renderer(renderer: Mapping[str, Any]) -> str:
    """Return what drew, and the fingerprint within which pictures compare."""
    version = "" if renderer["version"] == "unknown" else f" {renderer['version'][:16]}"
    model = renderer.get("details", {}).get("model")
    where = renderer.get("device") or model
    return (
        f"{renderer['name']}{version}{f' on {where}' if where else ''}"
        f"    {str(renderer['fingerprint'])[:19]}…"
    )


def _origin(facts: Mapping[str, Any]) -> str:
    parts = [
        f"{facts[key]} {words}"
        for key, words in (
            ("rendered", "drawn now"),
            ("kept", "drawn before"),
            ("reused", "taken from earlier evaluations"),
        )
        if facts[key]
    ]
    return ", ".join(parts) or "none drawn"


def _seen(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    metrics = facts["metrics"]
    if metrics and "effectMean" in metrics:
        strengths = sorted(metrics["effectByStrength"].items(), key=lambda item: -float(item[0]))
        words = ", ".join(f"{mean:.3f} at strength {strength}" for strength, mean in strengths)
        if "effectWithoutTrigger" in metrics:
            words += f", {metrics['effectWithoutTrigger']:.3f} without the trigger word"
        rows.append(("effect", words))
    if facts["sheet"]:
        pages = facts.get("sheetPages", 1)
        more = f"    page 1 of {pages}; --png FILE --page N draws another" if pages > 1 else ""
        rows.append(("look at", facts["png"] or facts["sheet"] + more))
    return rows


def _suspicious(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the first pictures that cannot be what was asked for."""
    by_id = {cell["id"]: cell for cell in facts["cells"]}
    found = [(by_id[cell_id], why) for cell_id, why in facts["suspicious"].items()]
    rows = [
        ("warning", f"{cell['promptId']}, seed {cell['seed']}, {_column(cell)}: {why}")
        for cell, why in found[:_MOST_FAILED]
    ]
    if len(found) > _MOST_FAILED:
        rows.append(("", f"… and {len(found) - _MOST_FAILED:,} more suspicious cells"))
    return rows


def _review_row(review: Mapping[str, Any]) -> tuple[str, str]:
    words = f"{review['verdict'].replace('_', ' ')} by {review['reviewer']}, {review['createdAt']}"
    if review["cellsSeen"] < review["cellsTotal"]:
        words += f", {review['cellsSeen']} of {review['cellsTotal']} cells seen"
    if review.get("signs"):
        words += f"\nsigns: {', '.join(review['signs'])}"
    if review.get("comment"):
        words += f"\n{review['comment']}"
    return ("review", words) if review["unchanged"] else ("fail", f"edited by hand: {words}")


def _effects(cells: Sequence[Mapping[str, Any]]) -> Table:
    """Return one row for each prompt and seed, one column for each strength; the first ones."""
    strengths = list(dict.fromkeys(cell["strength"] for cell in cells))
    rows: dict[tuple[str, int], dict[float, str]] = {}
    for cell in cells:
        row = rows.setdefault((cell["promptId"], cell["seed"]), {})
        row[cell["strength"]] = _state(cell)
    return Table(
        ("prompt", "seed", *("base" if one == 0 else f"{one:g}" for one in strengths)),
        [
            (prompt, seed, *(row.get(one, "") for one in strengths))
            for (prompt, seed), row in itertools.islice(rows.items(), _MOST_ROWS)
        ],
    )


def _left_out(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """Say how many rows of the table a person was spared."""
    rows = len({(cell["promptId"], cell["seed"]) for cell in cells})
    if rows <= _MOST_ROWS:
        return []
    return [f"… and {rows - _MOST_ROWS:,} more prompts and seeds; --json has all"]


def _state(cell: Mapping[str, Any]) -> str:
    status = cell.get("status", "pending")
    if status != "done":
        return str(status)
    return f"{cell['effect']:.3f}" if "effect" in cell else "done"


def _column(cell: Mapping[str, Any]) -> str:
    return "base" if cell["strength"] == 0 else f"strength {cell['strength']:g}"
