"""``lora promote`` and ``lora rollback``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import click

from lora_pipeline.cli.gate_report import condition_rows
from lora_pipeline.cli.lora_options import reason_option, scope_option
from lora_pipeline.cli.options import writing_options
from lora_pipeline.cli.output import Report
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result


@click.command()
@click.argument("lora")
@click.argument("release")
@click.option("--evaluation", default="", metavar="ID", help="Grid to judge; else the newest.")
@reason_option
@scope_option
@writing_options
@click.pass_obj
def promote(
    session: Session,
    lora: str,
    release: str,
    *,
    evaluation: str,
    reason: str,
    scope: Literal["project", "baseline"],
) -> None:
    """Make a release active, when the gate passes.

    Reads the weights, the run, the manifest, the grid with its images, the reviews and the
    policy, and computes every condition anew. Writes the LoRA's record: status, pointer and one
    entry of its history. --dry-run shows the decision alone.

    Exits with 0 when it is active, 1 when the gate refuses.

    Example: lora promote ui_icons r7 --reason "style sheet 12"
    """
    from lora_pipeline.operations.promote import promote_release

    session.run(
        promote_release,
        _promoted,
        lora,
        release,
        project=session.project,
        scope=scope,
        evaluation=evaluation,
        reason=reason,
    )


@click.command()
@click.argument("lora")
@click.option("--to", default="", metavar="RELEASE", help="Release; else the one before.")
@reason_option
@scope_option
@writing_options
@click.pass_obj
def rollback(
    session: Session,
    lora: str,
    *,
    to: str,
    reason: str,
    scope: Literal["project", "baseline"],
) -> None:
    """Go back to an earlier approved release.

    Reads the same evidence as promote: what was approved then must still be what is there now.
    Writes the LoRA's record: pointer and one entry of its history.

    Exits with 0 when it is active again, 1 when the gate refuses.

    Example: lora rollback ui_icons --to r5 --reason "halo on dark backgrounds"
    """
    from lora_pipeline.operations.promote import rollback_release

    session.run(
        rollback_release,
        _promoted,
        lora,
        to=to,
        project=session.project,
        scope=scope,
        reason=reason,
    )


def _promoted(result: Result) -> Report:
    facts = result.data
    release, lora = facts["releaseId"], facts["loraId"]
    rows = condition_rows(facts["conditions"])
    if not result.success:
        return Report(f"refused · {release} {_stays(facts)}", rows)
    if result.dry_run:
        return Report(f"would pass · {release} of {lora}, by policy {facts['policyId']}", rows)
    if not result.written:
        return Report(f"nothing to do · {release} is active on the same evidence")
    before = facts["fromReleaseId"]
    instead = f", instead of {before}" if before else ""
    return Report(f"active · {release} of {lora}{instead}, by policy {facts['policyId']}", rows)


def _stays(facts: Mapping[str, Any]) -> str:
    if facts["status"] == "candidate":
        return "stays a candidate"
    if facts["activeReleaseId"] == facts["releaseId"]:
        return "is active on evidence that no longer holds"
    return f"stays {facts['status']}, and is not active"
