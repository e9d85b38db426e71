"""Processes that tests look after."""

from __future__ import annotations

import os
from pathlib import Path


def exists(process: int) -> bool:
    """Return whether a process works; one that only waits to be collected does not."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{process}/status")
    return not status.is_file() or "State:\tZ" not in status.read_text()
