"""What the child that trains says on its standard output: one JSON object on a line.

Imports nothing of torch: the adapter reads what the child writes.
"""

from __future__ import annotations

import json
import sys
from typing import Any

PREFIX = '{"event":'


class TrainingStoppedError(Exception):
    """Training cannot go on, for a reason that is told in words.

    Args:
        code: Stable slug, as runs record it.
        message: What happened.
        hint: What to do about it.
    """

    def __init__(self, code: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint


def tell(event: str, **facts: Any) -> None:
    """Print one message at once."""
    line = json.dumps({"event": event, **facts}, ensure_ascii=False, separators=(",", ":"))
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def read_message(text: str) -> dict[str, Any] | None:
    """Return the message of a line, or None when it is something else."""
    if not text.startswith(PREFIX):
        return None
    try:
        document = json.loads(text)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None
