"""Training runs: list, show, read their logs, stop one, and settle one that was killed."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any, Literal

from msgspec.structs import replace

from lora_pipeline.foundation.errors import FileMissingError, StateError
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.run_notes import read_wishes
from lora_pipeline.operations.run_states import UNDER_WAY
from lora_pipeline.operations.train import train
from lora_pipeline.operations.train_hosted import adopt_job, stop_job, take_up
from lora_pipeline.operations.train_run import finish_killed, mark_interrupted
from lora_pipeline.operations.train_sending import may_have_job
from lora_pipeline.releases.lookup import ScopeName, scope_of
from lora_pipeline.training.hosted.spending import counts_for
from lora_pipeline.training.records import Run
from lora_pipeline.training.run_folder import is_alive, is_here, process_of, run_folder
from lora_pipeline.training.run_log import LOG_FILE
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

RunStateFilter = Literal["", "training", "interrupted", "ready", "failed", "cancelled"]
_MAX_LOG_LINES = 100_000


def list_runs(
    workspace: Workspace,
    *,
    lora: str = "",
    state: RunStateFilter = "",
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """List training runs, newest first.

    Args:
        workspace: Where they are.
        lora: Only those of this LoRA.
        state: Only those in this state; ``interrupted`` are those whose process was killed.
        project: The project; else the one in use.
        scope: ``baseline`` to see only runs of shared LoRAs.

    Raises:
        RecordError: When a run is not a valid record.
    """
    rows = [
        _row(workspace, loaded)
        for place in _places(workspace, project, scope)
        for loaded in workspace.records.all(Run, place)
        if lora in ("", loaded.record.lora_id)
    ]
    rows = sorted(
        (row for row in rows if state in ("", row["state"])),
        key=lambda row: (row["createdAt"], row["runId"]),
        reverse=True,
    )
    stuck = [row for row in rows if row["state"] == "interrupted"]
    return Result(
        data={"runs": rows, "costs": _costs(rows)},
        reasoning=f"{len(rows)} runs",
        suggestions=[f"lora run resume {row['runId']}" for row in stuck[:3]]
        or ([] if rows else ["lora train --lora ID --dataset ID --plan"]),
    )


def show_run(
    workspace: Workspace,
    run: str,
    *,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Show a training run with its recipe and what it came to.

    Args:
        workspace: Where it is.
        run: Its id, or the beginning of it.
        project: The project; else the one in use.
        scope: ``baseline`` to look among the runs of shared LoRAs only.

    Raises:
        RecordNotFoundError: When there is no such run.
    """
    loaded = find_run(workspace, run, project=project, scope=scope)
    row = _row(workspace, loaded)
    return Result(
        data={"run": loaded.record.to_dict(), **row},
        reasoning=f"Run {loaded.record_id} of {loaded.record.lora_id} is {row['state']}",
        suggestions=_next(loaded.record, row["state"]),
    )


def read_run_log(
    workspace: Workspace,
    run: str,
    *,
    lines: int = 200,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Read what the trainer of a run printed, without secrets.

    Args:
        workspace: Where it is.
        run: Its id, or the beginning of it.
        lines: How many lines from the end; 0 for all that is kept.
        project: The project; else the one in use.
        scope: ``baseline`` to look among the runs of shared LoRAs only.

    Raises:
        RecordNotFoundError: When there is no such run.
        FileMissingError: When its log is not on this machine.
    """
    loaded = find_run(workspace, run, project=project, scope=scope)
    path = run_folder(workspace, loaded.record_id) / LOG_FILE
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise FileMissingError(
            f"the log of run {loaded.record_id} is not on this machine",
            hint=f"it stands where the run was started; lora run show {loaded.record_id}",
        ) from error
    every = text.splitlines()
    shown = every[-lines:] if lines else every[-_MAX_LOG_LINES:]
    return Result(
        data={
            "runId": loaded.record_id,
            "path": workspace.relative(path),
            "lines": shown,
            "linesInAll": len(every),
        },
        reasoning=f"{len(shown)} of {len(every)} lines of run {loaded.record_id}",
    )


def cancel_run(
    workspace: Workspace,
    run: str,
    *,
    no_job: bool = False,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Stop a run that is under way, or give up one whose process was killed.

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
        return _stopped(workspace, record)
    if no_job and record.external_job_id:
        raise StateError(
            f"run {record.id} has a job, {record.external_job_id}",
            hint=f"lora run cancel {record.id}",
        )
    if not (workspace.dry_run or no_job):
        # First: a run that is recorded as cancelled is never looked after again.
        record = stop_job(workspace, record)
    changes = Changes(workspace)
    changes.update(
        loaded, replace(record, state="cancelled", error=None, updated_at=workspace.now())
    )
    return Result(
        data={"runId": record.id, "state": "cancelled"},
        reasoning=f"Gave up run {record.id} of {record.lora_id}, which nobody worked on",
        warnings=_elsewhere(workspace, record),
        suggestions=(f"lora train --lora {record.lora_id} --dataset {record.dataset_id}",),
        written=changes.apply(),
        dry_run=workspace.dry_run,
    )


def resume_run(
    workspace: Workspace,
    run: str,
    *,
    job: str = "",
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Complete a run that was killed: add its release, or do its work anew.

    A run that had its weights verified gets its release. One whose job runs elsewhere is
    followed again; the job is never sent twice. Any other that was killed while it trained is
    recorded as failed and trained again with the same recipe.

    Args:
        workspace: Where it is.
        run: Its id, or the beginning of it.
        job: Id of its job at its service, when somebody found it there and nothing else could.
        project: The project; else the one in use.
        scope: ``baseline`` to look among the runs of shared LoRAs only.

    Raises:
        RecordNotFoundError: When there is no such run.
        StateError: When it is under way, or was not interrupted, or has another job.
        TrainerError: When training fails again.
    """
    loaded = find_run(workspace, run, project=project, scope=scope)
    record = loaded.record
    if record.state in UNDER_WAY and is_alive(workspace, record.id):
        raise StateError(f"run {record.id} is under way", hint=f"lora run show {record.id}")
    wishes = read_wishes(workspace, record.id) or {}
    if not workspace.dry_run:
        notes = str(wishes.get("notes", ""))
        if job:
            loaded = adopt_job(workspace, loaded, job)
        finished = finish_killed(workspace, loaded, notes) or take_up(workspace, loaded, notes)
        if finished is not None:
            return Result(
                data={"runId": record.id, "loraId": record.lora_id,
                      "releaseId": finished.release_id, "resumed": True},
                reasoning=f"Added {finished.release_id} to {record.lora_id} from run {record.id}",
                warnings=finished.warnings,
                suggestions=(f"lora eval grid {record.lora_id} {finished.release_id}",),
                written=finished.written,
            )  # fmt: skip
    if not (record.state in UNDER_WAY or _may_go_again(record)):
        raise StateError(
            f"run {record.id} is {record.state}, it was not interrupted",
            hint=f"lora train --lora {record.lora_id} --dataset {record.dataset_id}",
        )
    return _trained_again(workspace, loaded, wishes)


def find_run(
    workspace: Workspace, run: str, *, project: str | None, scope: ScopeName
) -> Loaded[Run]:
    """Return the run that an id, or the beginning of one, names.

    Raises:
        RecordNotFoundError: When there is none.
    """
    places = _places(workspace, project, scope)
    wanted = run.upper()
    found = [
        (place, record_id)
        for place in places
        for record_id in workspace.records.ids(Run, place)
        if len(wanted) >= 4 and (record_id.startswith(wanted) or record_id.endswith(wanted))
    ]
    if len(found) == 1:
        return workspace.records.read(Run, *found[0])
    return workspace.records.find(Run, places, wanted)


def _may_go_again(run: Run) -> bool:
    interrupted = run.error is not None and run.error.code == "interrupted"
    return run.state == "failed" and (interrupted or may_have_job(run))


def _trained_again(workspace: Workspace, loaded: Loaded[Run], wishes: dict[str, Any]) -> Result:
    record = loaded.record
    if not workspace.dry_run and record.state in UNDER_WAY:
        mark_interrupted(workspace, loaded)
    return train(
        workspace,
        record.lora_id,
        str(wishes.get("datasetId", "")) or record.dataset_id,
        trainer=record.trainer,
        config=record.recipe.to_dict(),
        trainer_arguments=tuple(map(str, wishes.get("trainerArguments", []))),
        trainer_config=str(wishes.get("trainerConfig", "")),
        notes=str(wishes.get("notes", "")),
        yes_upload=wishes.get("yesUpload") is True,
        project=loaded.scope.project_id,
        scope="project" if loaded.scope.project_id else "baseline",
    )


def _stopped(workspace: Workspace, run: Run) -> Result:
    process = process_of(workspace, run.id)
    if process is None or os.name == "nt":
        raise StateError(
            f"run {run.id} is under way and cannot be reached from here",
            hint="press Ctrl-C where it was started",
        )
    if not workspace.dry_run:
        os.kill(process, signal.SIGTERM)
    return Result(
        data={"runId": run.id, "state": "stopping", "process": process},
        reasoning=f"Asked run {run.id} of {run.lora_id} to stop",
        suggestions=(f"lora run show {run.id}",),
        dry_run=workspace.dry_run,
    )


def _places(workspace: Workspace, project: str | None, scope: ScopeName) -> list[Scope]:
    if scope == "project" and not project and not workspace.records.project_ids():
        return [scope_of(workspace, project, "baseline")]
    return workspace.visible(scope_of(workspace, project, scope))


def _row(workspace: Workspace, loaded: Loaded[Run]) -> dict[str, Any]:
    run = loaded.record
    return {
        "runId": run.id,
        "loraId": run.lora_id,
        "releaseId": run.release_id,
        "state": state_now(workspace, run),
        "trainer": run.trainer,
        "datasetId": run.dataset_id,
        "createdAt": run.created_at,
        "requestedBy": run.requested_by,
        "stepsDone": run.steps_done,
        "stepsPlanned": run.steps_planned,
        "seconds": run.duration_seconds,
        "finalLoss": run.final_loss,
        "cost": _cost(run),
        "error": run.error.code if run.error else None,
        "folder": workspace.relative(run_folder(workspace, run.id))
        if is_here(workspace, run.id)
        else None,
    }


def _cost(run: Run) -> dict[str, Any] | None:
    """Return what a run counts for, or None where nothing had a price."""
    amount, known = counts_for(run)
    if not (run.cost.estimate or run.cost.actual or amount):
        return None
    return {"amount": amount, "known": known, "currency": run.cost.currency}


def _costs(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what the runs that are listed come to, by currency."""
    found: dict[str, dict[str, Any]] = {}
    for cost in (row["cost"] for row in rows if row["cost"]):
        total = found.setdefault(
            cost["currency"], {"currency": cost["currency"], "paid": 0.0, "open": 0.0}
        )
        kind = "paid" if cost["known"] else "open"
        total[kind] = round(total[kind] + cost["amount"], 4)
    return [found[currency] for currency in sorted(found)]


def state_now(workspace: Workspace, run: Run) -> str:
    """Return the state of a run as it is: ``interrupted`` when its process is gone.

    A run that was started on another machine is what its record says.
    """
    here = run.state in UNDER_WAY and is_here(workspace, run.id)
    return "interrupted" if here and not is_alive(workspace, run.id) else run.state


def _next(run: Run, state: str) -> list[str]:
    return list(_next_commands(run, state))


def _next_commands(run: Run, state: str) -> Iterator[str]:
    if state == "interrupted" or may_have_job(run):
        yield f"lora run resume {run.id}"
        yield f"lora run cancel {run.id}"
    elif state == "ready":
        yield f"lora eval grid {run.lora_id} {run.release_id}"
    else:
        yield f"lora run log {run.id}"


def _elsewhere(workspace: Workspace, run: Run) -> list[str]:
    if is_here(workspace, run.id):
        return []
    return ["it was started on another machine; nobody knows from here whether it still runs"]
