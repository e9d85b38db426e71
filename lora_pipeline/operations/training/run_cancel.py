"""Ending a run that waits, that is under way, or that was left by its process."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from msgspec.structs import replace

from lora_pipeline.foundation.errors import StateError
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.training.run_lookup import find_run
from lora_pipeline.operations.training.run_states import UNDER_WAY, WAITING, closed, record_end
from lora_pipeline.operations.training.train_hosted import stop_job
from lora_pipeline.operations.training.train_sending import may_have_job
from lora_pipeline.releases.lookup import ScopeName
from lora_pipeline.training.records import Run
from lora_pipeline.training.runs.folder import (
    is_alive,
    is_here,
    process_of,
    run_folder,
    working_in,
)
from lora_pipeline.training.runs.ticket import ask_to_cancel
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

# A trainer has ten seconds to end by itself, and five more until nothing of it is left.
_ENDS_WITHIN_S = 25.0


def cancel_run(
    workspace: Workspace,
    run: str,
    *,
    no_job: bool = False,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Stop a run that waits or is under way, or give up one whose process was killed.

    Args:
        workspace: Where it is.
        run: Its id, or the beginning of it.
        no_job: Somebody looked and there is no job of it at its service, which is not asked.
        project: The project; else the one in use.
        scope: ``baseline`` to look among the runs of shared LoRAs only.

    Raises:
        RecordNotFoundError: When there is no such run.
        StateError: When it ended already, or runs on another machine, or its job is known.
    """
    loaded = find_run(workspace, run, project=project, scope=scope)
    record = loaded.record
    if record.state not in UNDER_WAY and not may_have_job(record):
        raise StateError(f"run {record.id} is {record.state} already", hint="lora run list")
    if is_alive(workspace, record.id):
        return _stopped(workspace, loaded)
    if no_job and record.external_job_id:
        raise StateError(
            f"run {record.id} has a job, {record.external_job_id}",
            hint=f"lora run cancel {record.id}",
        )
    if workspace.dry_run:
        return _given_up(workspace, record, _paths(workspace, loaded))
    with contextlib.ExitStack() as stack:
        if is_here(workspace, record.id):
            # From here on no worker starts it; one that has started it meanwhile is stopped.
            try:
                stack.enter_context(working_in(run_folder(workspace, record.id), workspace.now()))
            except StateError:
                return _stopped(workspace, loaded)
        record = workspace.records.read(Run, loaded.scope, record.id).record
        if record.state not in UNDER_WAY and not may_have_job(record):
            raise StateError(f"run {record.id} is {record.state} already", hint="lora run list")
        sent = record.state not in WAITING or bool(record.attempts)
        if sent and not no_job:
            # First: a run that is recorded as cancelled is never looked after again.
            record = stop_job(workspace, record)
        return _given_up(workspace, record, _cancelled(workspace, loaded, record))


def _cancelled(workspace: Workspace, loaded: Loaded[Run], record: Run) -> list[str]:
    now, attempts = workspace.now(), record.attempts
    if attempts and not attempts[-1].ended_at:
        attempts = closed(attempts, now, None, "cancelled")
    ended = replace(record, state="cancelled", error=None, updated_at=now, attempts=attempts)
    return record_end(workspace, loaded.scope, ended)


def _paths(workspace: Workspace, loaded: Loaded[Run]) -> list[str]:
    changes = Changes(workspace)
    changes.update(loaded, replace(loaded.record, state="cancelled", error=None))
    return changes.paths


def _given_up(workspace: Workspace, run: Run, written: list[str]) -> Result:
    waited = run.state in WAITING
    words = "had not started" if waited and not run.attempts else "nobody worked on"
    subject = f"Gave up run {run.id} of {run.lora_id}, which {words}"
    here = is_here(workspace, run.id)
    return Result(
        data={"runId": run.id, "state": "cancelled"},
        reasoning=subject,
        warnings=[]
        if here
        else ["it was started on another machine; nobody knows from here whether it still runs"],
        suggestions=(f"lora train --lora {run.lora_id} --dataset {run.dataset_id}",),
        written=written,
        dry_run=workspace.dry_run,
    )


def _stopped(workspace: Workspace, loaded: Loaded[Run]) -> Result:
    """Stop a run that another process works on, and wait until it has said so."""
    run = loaded.record
    process = process_of(workspace, run.id)
    if process is None:
        raise StateError(
            f"run {run.id} is under way and cannot be reached from here",
            hint="press Ctrl-C where it was started, or try again in a moment",
        )
    state, written = "stopping", list[str]()
    if not workspace.dry_run:
        folder = run_folder(workspace, run.id)
        # First: should its process end without a word, whoever finds the run knows what to do.
        ask_to_cancel(folder, workspace.actor or "")
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGTERM)
        if _ends(workspace, run.id):
            state, written = _after_the_stop(workspace, loaded)
    return Result(
        data={"runId": run.id, "state": state, "process": process},
        reasoning=f"Stopped run {run.id} of {run.lora_id}"
        if state != "stopping"
        else f"Asked run {run.id} of {run.lora_id} to stop",
        suggestions=(f"lora run show {run.id}",),
        written=written,
        dry_run=workspace.dry_run,
    )


def _after_the_stop(workspace: Workspace, loaded: Loaded[Run]) -> tuple[str, list[str]]:
    """Record the end of a run whose process could not; where it could, say what it recorded."""
    run = workspace.records.read(Run, loaded.scope, loaded.record_id).record
    if run.state not in UNDER_WAY:
        return run.state, [workspace.relative(loaded.path)]
    try:
        with working_in(run_folder(workspace, run.id), workspace.now()):
            run = workspace.records.read(Run, loaded.scope, run.id).record
            if run.state not in UNDER_WAY:
                return run.state, [workspace.relative(loaded.path)]
            return "cancelled", _cancelled(workspace, loaded, run)
    except StateError:
        return "stopping", []


def _ends(workspace: Workspace, run_id: str) -> bool:
    deadline = time.monotonic() + _ENDS_WITHIN_S
    while is_alive(workspace, run_id):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
