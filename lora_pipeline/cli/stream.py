"""Commands that go on for a while: what happens is printed as it does, one line each."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec

from msgspec.structs import replace

from lora_pipeline.cli.output import Report, plain, say
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.events import Event, EventSink, line_of

if TYPE_CHECKING:
    from lora_pipeline.foundation.result import Result
    from lora_pipeline.workspace.root import Workspace

P = ParamSpec("P")


class JsonLines:
    """Prints every event as one JSON object on a line of its own."""

    def __init__(self) -> None:
        self._seq = 0

    def __call__(self, event: Event) -> None:
        """Print one event."""
        self._seq += 1
        data = dict(event.data)
        run = str(data.pop("run", ""))
        line = line_of(replace(event, data=data), seq=self._seq, at=datetime.now(UTC), run=run)
        print_line(line)


class StoredLines:
    """Prints events that were stored as they were stored."""

    def __call__(self, event: Event) -> None:
        """Print one event."""
        print_line(dict(event.data))


class TextLines:
    """Prints what was logged as it is, without what could steer the terminal."""

    def __call__(self, event: Event) -> None:
        """Print one line."""
        say(plain(event.message))


def print_line(document: dict[str, Any]) -> None:
    """Print a JSON object on one line, at once."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    say(json.dumps(document, ensure_ascii=not unicode))
    sys.stdout.flush()


def run_streaming(
    session: Session,
    sink: EventSink,
    text: Callable[[Result], Report] | None,
    operation: Callable[Concatenate[Workspace, P], Result],
    *args: P.args,
    **kwargs: P.kwargs,
) -> Result:
    """Call an operation whose events are its output.

    With ``--json`` the last line is the result; without it the report follows the events, or
    nothing when ``text`` is None.

    Args:
        session: This call.
        sink: Prints the events.
        text: Turns the result into what people read, or None.
        operation: The verb.
        *args: Passed to the operation.
        **kwargs: Passed to the operation.

    Raises:
        PipelineError: As the operation does.
    """
    workspace = replace(session.open_workspace(), events=sink)
    result = operation(workspace, *args, **kwargs)
    if session.commit and not session.dry_run and result.written:
        from lora_pipeline.operations.workspace.commit import commit_written

        result = commit_written(workspace, result)
    if not result.success:
        session.exit_code = 1
    if session.json:
        print_line(result.to_dict())
    elif text is not None:
        session.show(result, text)
    elif result.refusal:
        say(f"refused · {plain(result.refusal.message)}", err=True)
    return result
