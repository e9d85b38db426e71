"""``lora validate``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import click

from lora_pipeline.cli.options import shared_options
from lora_pipeline.cli.output import Report, counted
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result

MAX_FILES_SHOWN, MAX_LINES_SHOWN = 25, 6
_LABELS = {"error": "error", "not_proven": "not proven", "warning": "warning", "info": "note"}


@click.command()
@click.option("--require-weights", is_flag=True, help="Weights of active releases must be here.")
@click.option(
    "--require-images", is_flag=True,
    help="Images must be here; all are hashed, grids measured anew.",
)  # fmt: skip
@click.option("--base", default="", metavar="REV", help="What the branch is to be merged into.")
@shared_options
@click.pass_obj
def validate(session: Session, *, require_weights: bool, require_images: bool, base: str) -> None:
    """Check every record and every active release.

    Reads all records once: their form, what they name, digests, words, and the gate of every
    active release, computed anew from its evidence. Writes nothing. What is not on this machine
    is not proven, which is no error unless it is required.

    --base is for pull requests: HEAD must hold the whole history of REV, and what was promoted
    since must pass the gate by the policies of REV as well.

    Exits with 0 when there is no error, 1 when there is one.

    Example: lora validate --require-weights
    """
    from lora_pipeline.operations.workspace.validate import validate_workspace

    session.run(
        validate_workspace,
        _validated,
        project=session.project,
        require_weights=require_weights,
        require_images=require_images,
        base=base,
    )


def _validated(result: Result) -> Report:
    facts = result.data
    parts = [
        counted(facts["records"], "record") + " checked",
        counted(facts["errors"], "error"),
    ]
    if facts["notProven"]:
        parts.append(f"{facts['notProven']} not proven")
    if facts["warnings"]:
        parts.append(counted(facts["warnings"], "warning"))
    return Report(" · ".join(parts), _rows(facts["findings"]))


def _rows(findings: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    groups = groupby(findings, key=lambda one: (one["severity"], one["where"]))
    listed = [(severity, where, list(group)) for (severity, where), group in groups]
    for severity, where, group in listed[:MAX_FILES_SHOWN]:
        lines = [where]
        for one in group[:MAX_LINES_SHOWN]:
            lines.append(f"  {one['message']}")
            if one["fix"]:
                lines.append(f"    {one['fix']}")
        if len(group) > MAX_LINES_SHOWN:
            lines.append(f"  and {len(group) - MAX_LINES_SHOWN} more")
        rows.append((_LABELS[severity], "\n".join(lines)))
    if len(listed) > MAX_FILES_SHOWN:
        left = counted(len(listed) - MAX_FILES_SHOWN, "more file")
        rows.append(("", f"and {left}; --json lists all"))
    return rows
