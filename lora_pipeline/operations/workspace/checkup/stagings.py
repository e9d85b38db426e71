"""Stagings as a check-up sees them: how much room they take that nobody needs."""

from __future__ import annotations

import time
from collections.abc import Iterator

from lora_pipeline.datasets.staging.folder import stagings_root
from lora_pipeline.datasets.staging.garbage import find_garbage
from lora_pipeline.training.runs.folder import stagings_of_runs
from lora_pipeline.workspace.health.machine import Check
from lora_pipeline.workspace.root import Workspace

_DAY_S = 24 * 3600
_MIB = 1024 * 1024


def staging_checks(workspace: Workspace) -> Iterator[Check]:
    """Yield how much of what was staged could go; it is no fault, for it can be made again."""
    if not stagings_root(workspace).is_dir():
        return
    garbage = find_garbage(
        workspace, before=time.time() - _DAY_S, in_use=stagings_of_runs(workspace)
    )
    if garbage.unreadable:
        words = f"{garbage.unreadable[0]} cannot be read, so nobody knows what could go"
        yield Check("stagings", "skipped", words, "lora validate")
    elif garbage.count:
        words = f"{garbage.bytes / _MIB:.1f} MiB could go, which can be made again"
        yield Check("stagings", "ok", f"{words}: lora store gc")
    else:
        yield Check("stagings", "ok", "nothing that could go")
