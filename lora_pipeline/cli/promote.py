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
@click.option(
    "--recommended/--not-recommended",
    default=None,
    help="Choose this LoRA before others of its asset types.",
)
@click.option("--emergency", is_flag=True, help="Without verdicts, for a few days; all will know.")
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
    recommended: bool | None,
    emergency: bool,
    reason: str,
    scope: Literal["project", "baseline"],
) -> None:
    """Make a release active, when the gate passes.

    Reads the weights, the run, the manifest, the grid with its images, the reviews and the
    policy, and computes every condition anew. Writes the LoRA's record: status, pointer and one
    entry of its history. --dry-run shows the decision alone.

    --emergency makes it active although people have not judged it, where the policy allows
    that. Weights, origin and rights are asked for all the same. The history says who, why and
    what did not pass; lora validate fails until the gate passes, and lora resolve after the term.

    Exits with 0 when it is active, 1 when the gate refuses.

    Example: lora promote ui_icons r7 --reason "style sheet 12"
    """
    if emergency:
        if evaluation or recommended is not None:
            raise click.UsageError("An emergency takes a --reason, and nothing else.")
        from lora_pipeline.operations.releases.emergency import break_glass

        session.run(
            break_glass,
            _promoted,
            lora,
            release,
            project=session.project,
            scope=scope,
            reason=reason,
        )
        return
    from lora_pipeline.operations.releases.promote import promote_release

    session.run(
        promote_release,
        _promoted,
        lora,
        release,
        project=session.project,
        scope=scope,
        evaluation=evaluation,
        reason=reason,
        recommended=recommended,
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
    from lora_pipeline.operations.releases.promote import rollback_release

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
    if result.refusal is not None and result.refusal.code == "emergency_refused":
        rows = [("fail", result.refusal.message)]
    if not result.success:
        return Report(f"refused · {release} {_stays(facts)}", rows)
    if not facts["passed"]:
        return _in_emergency(result, rows)
    if result.dry_run:
        return Report(f"would pass · {release} of {lora}, by policy {facts['policyId']}", rows)
    if not result.written:
        return Report(f"nothing to do · {release} is active on the same evidence")
    if "fromReleaseId" not in facts:
        return Report(result.reasoning)
    before = facts["fromReleaseId"]
    instead = f", instead of {before}" if before else ""
    return Report(f"active · {release} of {lora}{instead}, by policy {facts['policyId']}", rows)


def _in_emergency(result: Result, rows: list[tuple[str, str]]) -> Report:
    facts = result.data
    verb = "would be" if result.dry_run else "is"
    return Report(
        f"EMERGENCY · {facts['releaseId']} of {facts['loraId']} {verb} active without the gate, "
        f"until {facts['until'][:10]}",
        [*rows, ("warning", "lora validate fails until the gate passes, or lora rollback")],
    )


def _stays(facts: Mapping[str, Any]) -> str:
    if facts["status"] == "candidate":
        return "stays a candidate"
    if facts["activeReleaseId"] == facts["releaseId"]:
        return "is active on evidence that no longer holds"
    return f"stays {facts['status']}, and is not active"
