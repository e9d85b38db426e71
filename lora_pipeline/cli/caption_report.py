"""What the commands of ``lora caption`` say to people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lora_pipeline.cli.output import Report, Table, counted
from lora_pipeline.foundation.result import Result

_SEVERITIES = ("error", "warning", "info")


def linted(*, every: bool) -> Callable[[Result], Report]:
    """Return what tells the findings; with ``every`` each of them, else one of each kind."""

    def text(result: Result) -> Report:
        checked = result.data["checked"]
        return _one(checked[0], every=every) if len(checked) == 1 else _several(checked)

    return text


def _one(checked: dict[str, Any], *, every: bool) -> Report:
    rows = [("read by", _target(checked))]
    if checked["captions"]:
        rows.append(("tokens", _tokens(checked["encoders"])))
    if checked["triggerWord"]:
        rows.append(("trigger", checked["triggerWord"]))
    tables = []
    if checked["counts"]:
        kinds = [
            (one["severity"], one["code"], one["findings"], _example(one["example"]), one["fix"])
            for one in checked["counts"]
        ]
        tables.append(Table(("", "rule", "found", "for example", "what helps"), kinds))
    if every and checked["findings"]:
        found = [
            (one["where"], one["severity"], one["message"], one["caption"] or "")
            for one in checked["findings"]
        ]
        tables.append(Table(("caption of", "", "what", "caption"), found))
    more = not every and any(one["findings"] > 1 for one in checked["counts"])
    return Report(_headline(checked), rows, tables, ["(--all shows every finding)"] if more else [])


def _several(checked: list[dict[str, Any]]) -> Report:
    rows = [
        (
            one["name"],
            one["projectId"] or "shared",
            one["captions"],
            *(_number(one, severity) or "" for severity in _SEVERITIES),
        )
        for one in checked
    ]
    columns = ("dataset", "project", "captions", "errors", "warnings", "notes")
    captions = sum(one["captions"] for one in checked)
    headline = f"{counted(len(checked), 'dataset')} · {counted(captions, 'caption')}"
    return Report(headline, tables=[Table(columns, rows)])


def _headline(checked: dict[str, Any]) -> str:
    parts = [
        counted(number, word)
        for severity, word in (("error", "error"), ("warning", "warning"), ("info", "note"))
        if (number := _number(checked, severity))
    ]
    found = ", ".join(parts) or "nothing to mend"
    return f"{checked['name']} · {found} in {counted(checked['captions'], 'caption')}"


def _number(checked: dict[str, Any], severity: str) -> int:
    return sum(one["findings"] for one in checked["counts"] if one["severity"] == severity)


def _target(checked: dict[str, Any]) -> str:
    if checked["targetKnown"]:
        return f"{checked['checkpointId']} ({checked['architecture']})"
    if checked["checkpointId"]:
        return f"{checked['checkpointId']}, whose text encoders are not known here"
    return "nobody said which model (--checkpoint, --lora)"


def _tokens(encoders: list[dict[str, Any]]) -> str:
    """Say the lengths once for all encoders that make the same of the captions."""
    lines: dict[tuple[str, str], list[str]] = {}
    for one in encoders:
        about = "" if one["exact"] else "about "
        least, most = one["shortest"], one["longest"]
        span = f"{least} to {most}, usually {one['median']}" if most > least else f"{most}"
        how = f"counted by {one['tokenizer']}" if one["exact"] else f"estimated: {one['notExact']}"
        lines.setdefault((about + span, how), []).append(f"{one['name']} reads {one['reads']}")
    return "\n".join(f"{span} · {', '.join(reads)} ({how})" for (span, how), reads in lines.items())


def _example(example: dict[str, Any]) -> str:
    return f"{example['where']}: {example['message']}"
