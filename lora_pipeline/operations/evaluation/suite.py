"""Show evaluation suites."""

from __future__ import annotations

from lora_pipeline.evaluation.suites import cell_count, read_suite, rules_of, suite_ids
from lora_pipeline.foundation.result import Result
from lora_pipeline.workspace.root import Workspace


def list_suites(workspace: Workspace, *, asset_type: str = "") -> Result:
    """List the evaluation suites of this workspace and those that ship.

    Args:
        workspace: The workspace.
        asset_type: Only those for this asset type.

    Raises:
        RecordInvalidError: When one of them is not valid.
    """
    suites = [read_suite(workspace, suite_id) for suite_id in suite_ids(workspace)]
    shown = [
        {
            "id": one.suite.id,
            "summary": one.suite.summary,
            "assetTypes": list(one.suite.asset_types),
            "prompts": len(one.suite.prompts),
            "cells": cell_count(one.suite),
            "source": one.source,
            "digest": one.digest,
        }
        for one in suites
        if asset_type in ("", *one.suite.asset_types)
    ]
    return Result(
        data={"suites": shown, "total": len(suites)},
        reasoning=f"{len(shown)} of {len(suites)} suites",
        suggestions=(f"lora suite show {shown[0]['id']}",) if shown else (),
    )


def show_suite(workspace: Workspace, suite: str) -> Result:
    """Show one evaluation suite: its prompts, seeds, strengths and settings.

    Args:
        workspace: The workspace.
        suite: Its id.

    Raises:
        RecordNotFoundError: When there is none of that id.
        RecordInvalidError: When it is not valid.
    """
    one = read_suite(workspace, suite)
    return Result(
        data={
            "suite": one.suite.to_dict(),
            "digest": one.digest,
            "source": one.source,
            "cells": cell_count(one.suite),
            "rules": rules_of(one.suite),
        },
        reasoning=f"Suite {suite} renders {cell_count(one.suite)} cells",
        suggestions=(f"lora eval grid LORA RELEASE --suite {suite}",),
    )
