"""Reading what a run printed and what happened to it, once or as it goes on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from lora_pipeline.foundation.errors import FileMissingError
from lora_pipeline.foundation.events import Event
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.training.run_lookup import find_run, state_now
from lora_pipeline.operations.training.run_states import UNDER_WAY
from lora_pipeline.releases.lookup import ScopeName
from lora_pipeline.training.records import Run
from lora_pipeline.training.runs.folder import is_here, run_folder
from lora_pipeline.training.runs.log import (
    EVENTS_FILE,
    LOG_FILE,
    TAIL_FILES,
    documents_of,
    read_log,
)
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace

TOPIC = "run"
_MAX_LOG_LINES = 100_000
_LOOK_EVERY_S = 0.25


def read_run_log(
    workspace: Workspace,
    run: str,
    *,
    lines: int = 200,
    events: bool = False,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Read what the trainer of a run printed, without secrets, or what happened to the run.

    Args:
        workspace: Where it is.
        run: Its id, or the beginning of it.
        lines: How many lines from the end; 0 for all that is kept.
        events: Read its events, one object each, instead of what was printed.
        project: The project; else the one in use.
        scope: ``baseline`` to look among the runs of shared LoRAs only.

    Raises:
        RecordNotFoundError: When there is no such run.
        FileMissingError: When its log is not on this machine.
    """
    loaded = find_run(workspace, run, project=project, scope=scope)
    folder = run_folder(workspace, loaded.record_id)
    path = folder / (EVENTS_FILE if events else LOG_FILE)
    try:
        every = path.read_text(encoding="utf-8").splitlines() if events else read_log(folder)
    except OSError as error:
        raise _no_log(workspace, loaded.record) from error
    shown = every[-lines:] if lines else every[-_MAX_LOG_LINES:]
    told: dict[str, Any] = {"lines": shown} if not events else {"events": list(documents_of(shown))}
    return Result(
        data={
            "runId": loaded.record_id,
            "path": workspace.relative(path),
            **told,
            "linesInAll": len(every),
        },
        reasoning=f"{len(shown)} of {len(every)} lines of run {loaded.record_id}",
    )


def follow_run(
    workspace: Workspace,
    run: str,
    *,
    lines: int = 200,
    events: bool = False,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Tell what a run prints, or what happens to it, until it is at its end.

    Every line is an event of the workspace. A run that waits in the queue is waited for.

    Args:
        workspace: Where it is.
        run: Its id, or the beginning of it.
        lines: How many lines of what was printed before; 0 for all that is kept.
        events: Follow its events instead of what is printed.
        project: The project; else the one in use.
        scope: ``baseline`` to look among the runs of shared LoRAs only.

    Raises:
        RecordNotFoundError: When there is no such run.
        FileMissingError: When it does not run on this machine.
    """
    loaded = find_run(workspace, run, project=project, scope=scope)
    run_id, place = loaded.record_id, loaded.scope
    if not is_here(workspace, run_id):
        raise _no_log(workspace, loaded.record)
    folder = run_folder(workspace, run_id)
    tell = _tell_event if events else _tell_line
    names = (EVENTS_FILE,) if events else (LOG_FILE, TAIL_FILES[-1])
    tails = [_Tail(folder / name) for name in names]
    first = True
    while True:
        ended = _is_ended(workspace, place, run_id)  # asked before reading: nothing is missed
        new = [line for tail in tails for line in tail.read()]
        for line in new[-lines:] if first and lines else new:
            tell(workspace, line)
        first = False
        if ended:
            break
        time.sleep(_LOOK_EVERY_S)
    record = workspace.records.read(Run, place, run_id).record
    state = state_now(workspace, record)
    return Result(
        data={"runId": run_id, "loraId": record.lora_id, "releaseId": record.release_id,
              "state": state, "error": record.error.code if record.error else None},
        reasoning=f"Run {run_id} is {state}",
        suggestions=(f"lora run show {run_id}",),
    )  # fmt: skip


class _Tail:
    """Reads whole lines that were added to a file since it was last asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._at = 0
        self._inode: int | None = None

    def read(self) -> list[str]:
        """Return the new lines."""
        try:
            with self._path.open("rb") as stream:
                facts = self._path.stat()
                if facts.st_ino != self._inode or facts.st_size < self._at:
                    self._inode, self._at = facts.st_ino, 0  # another file took its name
                stream.seek(self._at)
                data = stream.read()
        except OSError:
            return []
        whole, _, _ = data.rpartition(b"\n")
        if not whole:
            return []
        self._at += len(whole) + 1
        return whole.decode("utf-8", "replace").splitlines()


def _is_ended(workspace: Workspace, scope: Scope, run_id: str) -> bool:
    run = workspace.records.read(Run, scope, run_id).record
    return run.state not in UNDER_WAY or state_now(workspace, run) == "interrupted"


def _tell_line(workspace: Workspace, line: str) -> None:
    workspace.events(Event("log", TOPIC, line))


def _tell_event(workspace: Workspace, line: str) -> None:
    for document in documents_of([line]):
        workspace.events(
            Event(document.get("type", "log"), TOPIC, document.get("message", ""), data=document)
        )


def _no_log(workspace: Workspace, run: Run) -> FileMissingError:
    state = state_now(workspace, run)
    if is_here(workspace, run.id) and run.state in UNDER_WAY:
        return FileMissingError(
            f"run {run.id} is {state} and has printed nothing yet",
            hint=f"lora run log {run.id} --follow waits for it",
        )
    return FileMissingError(
        f"the log of run {run.id} is not on this machine",
        hint=f"it stands where the run was started; lora run show {run.id}",
    )
