"""Progress events as bars on stderr, or as plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from lora_pipeline.cli.output import plain, say
from lora_pipeline.foundation.events import Event, EventSink, discard

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

_LINE_EVERY_S = 5.0


def terminal_sink(*, show: bool, verbose: bool) -> EventSink:
    """Return the sink that fits: bars in a terminal, lines elsewhere, nothing when quiet."""
    if not show:
        return discard
    return Bars(verbose=verbose) if sys.stderr.isatty() else Lines(verbose=verbose)


class Lines:
    """A line for each step at most every few seconds: for logs and CI."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._last = time.monotonic()

    def __call__(self, event: Event) -> None:
        """Print the event when it is due."""
        if event.type == "log" and not self._verbose:
            return
        now = time.monotonic()
        if event.type == "progress":
            if now - self._last < _LINE_EVERY_S:
                return
            self._last = now
        line = _words(event)
        if line:
            say(f"  {line}", err=True)


class Bars:
    """One bar a topic, drawn by rich and gone when the work is done."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, event: Event) -> None:
        """Show the event."""
        progress = self._started()
        if event.type == "progress":
            task = self._tasks.get(event.topic)
            if task is None:
                task = progress.add_task(plain(event.topic), total=event.total, note="")
                self._tasks[event.topic] = task
            progress.update(
                task, completed=event.step or 0, total=event.total, note=plain(event.message)
            )
        elif event.message and (event.type != "log" or self._verbose):
            progress.console.print(f"  {plain(event.message)}", markup=False, highlight=False)

    def close(self) -> None:
        """Take the bars off the screen."""
        if self._progress is not None:
            self._progress.stop()

    def _started(self) -> Progress:
        if self._progress is None:
            from rich.console import Console
            from rich.progress import (
                BarColumn,
                MofNCompleteColumn,
                Progress,
                TextColumn,
                TimeRemainingColumn,
            )

            self._progress = Progress(
                TextColumn("  {task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}", markup=False),
                console=Console(stderr=True),
                transient=True,
            )
            self._progress.start()
        return self._progress


def _words(event: Event) -> str:
    total = "" if event.total is None else f"/{event.total}"
    counted = f"{event.step}{total} {event.unit}".strip() if event.step is not None else ""
    return "  ".join(
        part
        for part in (plain(event.topic) if counted else "", counted, plain(event.message))
        if part
    )
