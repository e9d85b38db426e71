"""Progress as data: operations emit events, faces show them.

The same event becomes a progress bar in a terminal, a JSON line in a log and a server-sent
event in a browser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

EventType = Literal["started", "progress", "log", "artifact", "warning", "finished"]


class Event(msgspec.Struct, frozen=True):
    """One thing that happened during an operation.

    Attributes:
        type: What kind of thing.
        topic: What it belongs to, such as ``import``, ``train`` or ``grid``; one bar each.
        message: One line for people.
        step: Units done so far.
        total: Units in all, when known.
        unit: What is counted, such as ``images``.
        data: Further facts (loss, path, …), JSON-ready.
    """

    type: EventType
    topic: str
    message: str = ""
    step: int | None = None
    total: int | None = None
    unit: str = ""
    data: Mapping[str, Any] = msgspec.field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the event as one JSON line holds it; empty fields are left out."""
        document = {
            "type": self.type,
            "topic": self.topic,
            "message": self.message,
            "step": self.step,
            "total": self.total,
            "unit": self.unit,
            "data": dict(self.data),
        }
        return {key: value for key, value in document.items() if value not in ("", None, {})}


EventSink = Callable[[Event], None]
VERSION = 1


def line_of(event: Event, *, seq: int, at: datetime, run: str = "") -> dict[str, Any]:
    """Return an event as one line of a stream: who reads on later knows where it was.

    Args:
        event: The event.
        seq: Its number in the stream; each is larger than the one before.
        at: When it happened.
        run: The run that it belongs to, or empty.
    """
    moment = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    head: dict[str, Any] = {"v": VERSION, "ts": moment, "seq": seq}
    if run:
        head["run"] = run
    return head | event.to_dict()


def discard(event: Event) -> None:
    """Take an event and do nothing with it: the sink of callers that want no progress."""
