"""What a worker passes on of what the child of a run says."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from lora_pipeline.foundation.events import Event
from lora_pipeline.foundation.process import OutputLine

TOPIC = "worker"
_PROGRESS_EVERY_S = 10.0


class Forwarding:
    """Passes on what a child says of its run; progress now and then."""

    def __init__(self, run_id: str, tell: Callable[[Event], None]) -> None:
        self._run_id = run_id
        self._tell = tell
        self._last = float("-inf")

    def __call__(self, line: OutputLine) -> None:
        """Pass one line on; what is no event is a warning."""
        document = _event(line.text)
        if document is None:
            event = Event("warning", TOPIC, line.text[:500], data={"run": self._run_id})
        else:
            event = document
            now = time.monotonic()
            if event.type == "progress":
                if event.topic != "train" or now - self._last < _PROGRESS_EVERY_S:
                    return
                self._last = now
            elif event.type != "warning":
                return  # begin and end are told from the record
            event = Event(
                event.type, TOPIC, event.message, event.step, event.total, event.unit,
                {**event.data, "run": self._run_id},
            )  # fmt: skip
        self._tell(event)


def _event(text: str) -> Event | None:
    try:
        document = json.loads(text)
        return Event(
            type=document["type"],
            topic=document["topic"],
            message=document.get("message", ""),
            step=document.get("step"),
            total=document.get("total"),
            unit=document.get("unit", ""),
            data=document.get("data", {}),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
