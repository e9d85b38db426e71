"""``lora eval waive``."""

from __future__ import annotations

import click

from lora_pipeline.cli.evaluation_options import ScopeName, scope_choice
from lora_pipeline.cli.options import writing_options
from lora_pipeline.cli.output import Report
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result


@click.command()
@click.argument("lora")
@click.argument("release")
@click.argument("condition")
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is kept with the waiver.")
@click.option("--days", type=int, metavar="N", help="For how long; else as the policy allows.")
@scope_choice
@writing_options
@click.pass_obj
def waive(
    session: Session,
    lora: str,
    release: str,
    condition: str,
    *,
    reason: str,
    days: int | None,
    scope: ScopeName,
) -> None:
    """Set a condition of the gate aside, for a while.

    Only what the policy lets be waived: what rests on judgement (preference, copy, metrics,
    freshness), never bytes, reviews or rights. CONDITION is its id, as promote --json has it.
    Writes one record below waivers/, which is bound to this grid, never changed again, and ends
    by itself. Everybody who promotes or validates reads it.

    Exits with 0, with 1 when the policy does not allow it, with 3 when there is nothing to waive.

    Example: lora eval waive ui_icons r7 copy --reason "a product shot" --days 14
    """
    from lora_pipeline.operations.evaluation.waive import waive_condition

    session.run(
        waive_condition,
        _waived,
        lora,
        release,
        condition,
        reason=reason,
        days=days,
        project=session.project,
        scope=scope,
    )


def _waived(result: Result) -> Report:
    facts = result.data
    name = f"{facts['loraId']} {facts['releaseId']}"
    if result.refusal is not None:
        rows = [("fail", result.refusal.message)]
        return Report(f"refused · {facts['condition']} of {name} is not waived", rows)
    verb = "would be" if result.dry_run else "is"
    rows = [
        ("found", facts["found"]),
        ("reason", f"{facts['reason']}   ({facts['waivedBy']})"),
        ("until", facts["until"][:10]),
    ]
    return Report(f"{facts['title']} of {name} {verb} waived", rows)
