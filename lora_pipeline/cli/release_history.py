"""``lora release history``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import click

from lora_pipeline.cli.lora_options import scope_option
from lora_pipeline.cli.options import shared_options
from lora_pipeline.cli.output import Report, Table
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result


@click.command()
@click.argument("lora")
@scope_option
@shared_options
@click.pass_obj
def history(session: Session, lora: str, *, scope: Literal["project", "baseline"]) -> None:
    """Show what was active when, by whom and on what evidence.

    Reads the LoRA's record and computes the chain of its history anew. Exits with 1 when an
    entry was edited, removed or moved.

    Example: lora release history ui_icons
    """
    from lora_pipeline.operations.releases.release_history import show_history

    session.run(show_history, _history, lora, project=session.project, scope=scope)


def _history(result: Result) -> Report:
    facts = result.data
    if not facts["entries"]:
        return Report(f"{facts['loraId']} · no history yet")
    rows = [(str(number), *_row(one)) for number, one in enumerate(facts["entries"], 1)]
    chain = (
        ("pass", "the chain is whole") if facts["chain"] == "whole" else ("fail", facts["chain"])
    )
    active = facts["activeByHistory"] or "nothing"
    return Report(
        f"{facts['loraId']} · {active} is active",
        [chain],
        tables=[Table(("", "when", "what", "by", "evidence", "digest"), rows)],
    )


def _row(entry: Mapping[str, Any]) -> tuple[str, ...]:
    event = entry["event"].replace("_", " ")
    before = f", was {entry['fromReleaseId']}" if entry.get("fromReleaseId") else ""
    what = (
        f"{event.upper() if event == 'emergency' else event} {entry.get('releaseId', '')}{before}"
    )
    reason = f"\n{entry['reason']}" if entry.get("reason") else ""
    return (
        entry["at"][:16].replace("T", " "),
        f"{what.strip()}{reason}",
        entry["by"],
        _evidence(entry),
        entry["digest"][7:19],
    )


def _evidence(entry: Mapping[str, Any]) -> str:
    found = entry.get("evidence")
    if not found:
        return f"skipped: {', '.join(entry['skipped'])}" if entry.get("skipped") else ""
    parts = [f"{len(found['reviewDigests'])} approved"]
    for name, words in (("blindDigests", "compared blind"), ("waiverDigests", "waived")):
        if found.get(name):
            parts.append(f"{len(found[name])} {words}")
    return f"{found['policyId']}: {', '.join(parts)}"
