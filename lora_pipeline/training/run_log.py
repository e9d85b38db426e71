"""What a run printed and how it went, kept in bounds and without secrets.

``log.txt`` holds the beginning and the end of what the program printed; ``events.jsonl`` one
JSON object for each thing that happened, progress at most every half second.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from lora_pipeline.foundation.events import Event, EventSink
from lora_pipeline.foundation.process import OutputLine
from lora_pipeline.foundation.redaction import redacted

LOG_FILE = "log.txt"
EVENTS_FILE = "events.jsonl"
HEAD_BYTES = 4 * 1024 * 1024
TAIL_LINES = 2000
LONGEST_LINE = 4000
_EVERY_S = 0.5


class RunLog:
    """Writes the two files of a run; use it as a context manager.

    Args:
        folder: Folder of the run.
        secrets: Values that must not be kept.
    """

    def __init__(self, folder: Path, secrets: Sequence[str] = ()) -> None:
        self._secrets = tuple(secrets)
        self._log: IO[str] = (folder / LOG_FILE).open("a", encoding="utf-8")
        self._events: IO[str] = (folder / EVENTS_FILE).open("a", encoding="utf-8")
        self._written = 0
        self._left_out = 0
        self._tail: deque[OutputLine] = deque(maxlen=TAIL_LINES)
        self._last_progress = 0.0

    def __enter__(self) -> RunLog:
        """Return the log."""
        return self

    def __exit__(self, *_: object) -> None:
        """Write what was held back, and close both files."""
        if self._left_out:
            kept = list(self._tail)[-min(self._left_out, TAIL_LINES) :]
            hidden = self._left_out - len(kept)
            if hidden:
                self._log.write(f"… {hidden} lines left out …\n")
            self._log.writelines(f"{line.text}\n" for line in kept)
        self._log.close()
        self._events.close()

    @property
    def last_lines(self) -> list[OutputLine]:
        """The last lines, without secrets."""
        return list(self._tail)

    def add_line(self, line: OutputLine) -> OutputLine:
        """Keep one line and return it without secrets."""
        clean = OutputLine(line.stream, redacted(line.text[:LONGEST_LINE], self._secrets))
        self._tail.append(clean)
        if self._written < HEAD_BYTES:
            self._written += self._log.write(f"{clean.text}\n")
            self._log.flush()
        else:
            self._left_out += 1
        return clean

    def beside(self, events: EventSink) -> EventSink:
        """Return a sink that keeps each event here before ``events`` takes it."""

        def sink(event: Event) -> None:
            if event.type != "log":  # lines stand in the log itself
                self.add_event(event)
            events(event)

        return sink

    def add_event(self, event: Event) -> None:
        """Keep one event; of progress the first, the last and some in between."""
        now = time.monotonic()
        if event.type == "progress" and event.step != event.total:
            if now - self._last_progress < _EVERY_S:
                return
            self._last_progress = now
        self._events.write(json.dumps(event.to_dict(), ensure_ascii=False) + "\n")
        self._events.flush()
