"""How long a cell takes: measured by the last grid of a renderer on this machine, kept beside it.

It is a hint for people before a large grid, and no part of any record.
"""

from __future__ import annotations

import json
import math

from lora_pipeline.evaluation.records import Cell
from lora_pipeline.foundation.files import write_atomic
from lora_pipeline.workspace.root import Workspace

_FILE = "render-pace.json"
_MEGAPIXEL = 1_000_000


def work_of(cell: Cell) -> float:
    """Return how much there is to draw: millions of pixels times steps."""
    return cell.width * cell.height * cell.steps / _MEGAPIXEL


def remember_pace(workspace: Workspace, renderer: str, seconds: float) -> None:
    """Keep how many seconds a renderer needs for a million pixels and one step."""
    known = _known(workspace)
    known[renderer] = seconds
    write_atomic(workspace.runtime / _FILE, json.dumps(known, sort_keys=True).encode())


def expected_seconds(workspace: Workspace, renderer: str, cell: Cell) -> float | None:
    """Return how long a cell is going to take, or None when that was never measured here."""
    pace = _known(workspace).get(renderer)
    return None if pace is None else pace * work_of(cell)


def _known(workspace: Workspace) -> dict[str, float]:
    try:
        document = json.loads((workspace.runtime / _FILE).read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(document, dict):
        return {}
    return {
        str(name): float(value)
        for name, value in document.items()
        if isinstance(value, int | float) and math.isfinite(value) and value >= 0
    }
