"""What a run printed and how it went, kept in bounds and without secrets.

``log.txt`` holds the beginning and the end of what the program printed; while it runs, what
comes after the beginning stands in two small files beside it that take turns, so that a run
that is killed has its last lines, too. ``events.jsonl`` holds one JSON object for each thing
that happened, with a number that only grows: whoever reads on later knows where it was.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec.structs import replace

from lora_pipeline.foundation.events import Event, EventSink, line_of
from lora_pipeline.foundation.process import OutputLine
from lora_pipeline.foundation.redaction import redacted

LOG_FILE = "log.txt"
EVENTS_FILE = "events.jsonl"
TAIL_FILES = ("log.tail.1.txt", "log.tail.txt")  # the older first
HEAD_BYTES = 4 * 1024 * 1024
TAIL_BYTES = 512 * 1024
TAIL_LINES = 2000
LONGEST_LINE = 4000
_LEAST_HEAD = 64 * 1024  # of every further try
_EVERY_S = 0.5
_END_BYTES = 16 * 1024
_SPARSER_AFTER = 2000  # progress lines; then half as many a second


class RunLog:
    """Writes the files of a run; use it as a context manager.

    Args:
        folder: Folder of the run, whose name is the run's id.
        secrets: Values that must not be kept.
    """

    def __init__(self, folder: Path, secrets: Sequence[str] = ()) -> None:
        self._folder = folder
        self._secrets = tuple(secrets)
        _fold_tails(folder)
        self._log: IO[str] = (folder / LOG_FILE).open("a", encoding="utf-8")
        self._written = self._log.tell()
        self._head = max(HEAD_BYTES, self._written + min(_LEAST_HEAD, HEAD_BYTES))
        if self._written:
            self._log.write("… another try …\n")
        self._live: IO[str] | None = None
        self._seq = _lines_in(folder / EVENTS_FILE)
        self._events: IO[str] = (folder / EVENTS_FILE).open("a", encoding="utf-8")
        self._left_out = 0
        self._tail: deque[OutputLine] = deque(maxlen=TAIL_LINES)
        self._last_progress = 0.0
        self._progress_lines = 0
        self._opened = time.monotonic()

    def __enter__(self) -> RunLog:
        """Return the log."""
        return self

    def __exit__(self, *_: object) -> None:
        """Put the end of what was printed behind its beginning, and close all files."""
        if self._left_out:
            kept = list(self._tail)[-min(self._left_out, TAIL_LINES) :]
            hidden = self._left_out - len(kept)
            if hidden:
                self._log.write(f"… {hidden} lines left out …\n")
            self._log.writelines(f"{line.text}\n" for line in kept)
        self._log.close()
        self._events.close()
        if self._live is not None:
            self._live.close()
            for name in TAIL_FILES:
                (self._folder / name).unlink(missing_ok=True)

    @property
    def last_lines(self) -> list[OutputLine]:
        """The last lines, without secrets."""
        return list(self._tail)

    def add_line(self, line: OutputLine) -> OutputLine:
        """Keep one line and return it without secrets."""
        clean = OutputLine(line.stream, redacted(line.text[:LONGEST_LINE], self._secrets))
        self._tail.append(clean)
        if self._written < self._head:
            self._written += self._log.write(f"{clean.text}\n")
            self._log.flush()
        else:
            self._left_out += 1
            self._add_live(clean.text)
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
            if now - self._last_progress < _EVERY_S * 2 ** (self._progress_lines // _SPARSER_AFTER):
                return
            self._last_progress = now
            self._progress_lines += 1
        if event.type == "progress":
            seconds = round(now - self._opened, 1)
            event = replace(event, data={**event.data, "seconds": seconds})
        self._seq += 1
        line = line_of(event, seq=self._seq, at=datetime.now(UTC), run=self._folder.name)
        text = redacted(json.dumps(line, ensure_ascii=False), self._secrets)
        self._events.write(f"{text}\n")
        self._events.flush()

    def _add_live(self, text: str) -> None:
        older, newer = (self._folder / name for name in TAIL_FILES)
        if self._live is not None and self._live.tell() > TAIL_BYTES:
            self._live.close()
            newer.replace(older)
            self._live = None
        if self._live is None:
            self._live = newer.open("w", encoding="utf-8")
        self._live.write(f"{text}\n")
        self._live.flush()


class Progress(msgspec.Struct, frozen=True):
    """How far a run that goes on has come.

    Attributes:
        step: Optimiser steps done.
        loss: The last loss, or None.
        seconds: How long the try has taken for them.
    """

    step: int
    loss: float | None
    seconds: float


def last_progress(folder: Path) -> Progress | None:
    """Return how far a run has come, from its events; None when it told nothing yet."""
    try:
        with (folder / EVENTS_FILE).open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - _END_BYTES))
            documents = list(documents_of(stream.read().splitlines()))
    except OSError:
        return None
    last: dict[str, Any] | None = None
    for document in documents:
        if document.get("type") == "started":
            last = None  # what came before belongs to an earlier try
        elif document.get("type") == "progress":
            last = document
    if last is None:
        return None
    try:
        data = last.get("data", {})
        return Progress(int(last["step"]), data.get("loss"), float(data.get("seconds", 0.0)))
    except (KeyError, TypeError, ValueError):
        return None


def documents_of(lines: Iterable[bytes | str]) -> Iterator[dict[str, Any]]:
    """Yield the events of a run's lines, without what is none."""
    for line in lines:
        try:
            document = json.loads(line)
        except ValueError:
            continue  # cut off: at the beginning of what was read, or by a kill
        if isinstance(document, dict):
            yield document


def read_log(folder: Path) -> list[str]:
    """Return the lines that are kept of what a run printed.

    Raises:
        OSError: When there is no log.
    """
    lines = _read(folder / LOG_FILE)
    for name in TAIL_FILES:
        with contextlib.suppress(FileNotFoundError):
            lines += _read(folder / name)
    return lines


def _fold_tails(folder: Path) -> None:
    """Put behind its beginning what a try that was killed had printed last."""
    there = [folder / name for name in TAIL_FILES if (folder / name).is_file()]
    if not there:
        return
    lines = [line for path in there for line in _read(path)][-TAIL_LINES:]
    with (folder / LOG_FILE).open("a", encoding="utf-8") as log:
        log.write("… lines left out …\n")
        log.writelines(f"{line}\n" for line in lines)
    for path in there:
        path.unlink(missing_ok=True)


def _read(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines()


def _lines_in(path: Path) -> int:
    """Return how many lines a file has; one that was cut off by a kill is ended first."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return 0
    if data and not data.endswith(b"\n"):
        with path.open("ab") as stream:
            stream.write(b"\n")
        return data.count(b"\n") + 1
    return data.count(b"\n")
