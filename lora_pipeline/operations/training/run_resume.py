"""Take up a training run that ended without weights."""

from __future__ import annotations

from typing import Any

from lora_pipeline.engine.queue import EXTRA, MODULES
from lora_pipeline.foundation.errors import StateError
from lora_pipeline.foundation.extras import require_extra
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.training.run_lookup import find_run
from lora_pipeline.operations.training.run_notes import read_wishes
from lora_pipeline.operations.training.run_queue import (
    open_queue,
    places_in_queue,
    requeue,
    settle_run,
)
from lora_pipeline.operations.training.run_states import UNDER_WAY, WAITING
from lora_pipeline.operations.training.train import train
from lora_pipeline.operations.training.train_hosted import adopt_job, take_up
from lora_pipeline.operations.training.train_run import finish_killed, mark_interrupted
from lora_pipeline.operations.training.train_sending import may_have_job
from lora_pipeline.releases.lookup import ScopeName
from lora_pipeline.training.records import Run
from lora_pipeline.training.runs.folder import is_alive, is_here, run_folder
from lora_pipeline.training.runs.ticket import Ticket, read_ticket
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace


def resume_run(
    workspace: Workspace,
    run: str,
    *,
    job: str = "",
    detach: bool = False,
    skip_preflight: bool = False,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Complete a run that was killed: add its release, or do its work anew.

    A run that had its weights verified gets its release. One whose job runs elsewhere is
    followed again; the job is never sent twice. One of the queue goes back into the queue. Any
    other that was killed while it trained is recorded as failed and trained again with the same
    recipe. With ``detach`` a run that failed or was cancelled is put into the queue again, with
    new tries.

    Args:
        workspace: Where it is.
        run: Its id, or the beginning of it.
        job: Id of its job at its service, when somebody found it there and nothing else could.
        detach: Put it into the queue; ``lora worker`` does the work.
        skip_preflight: Start although disk, memory or GPU look too small.
        project: The project; else the one in use.
        scope: ``baseline`` to look among the runs of shared LoRAs only.

    Raises:
        RecordNotFoundError: When there is no such run.
        ExtraMissingError: With ``detach``, when the extra ``queue`` is not installed.
        StateError: When it is under way, or was not interrupted, or has another job.
        TrainerError: When training fails again.
    """
    loaded = find_run(workspace, run, project=project, scope=scope)
    record = loaded.record
    if record.state in UNDER_WAY and is_alive(workspace, record.id):
        raise StateError(f"run {record.id} is under way", hint=f"lora run show {record.id}")
    ticket = read_ticket(run_folder(workspace, record.id))
    if ticket is not None and record.state in UNDER_WAY:
        return _back_in_queue(workspace, loaded, ticket)
    if detach:
        return _queued_again(workspace, loaded, skip_preflight=skip_preflight)
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
    return _trained_again(workspace, loaded, wishes, skip_preflight=skip_preflight)


def _back_in_queue(workspace: Workspace, loaded: Loaded[Run], ticket: Ticket) -> Result:
    """Bring back into the queue a run that is owed a try."""
    run = loaded.record
    if run.state in WAITING and run.id in places_in_queue(workspace):
        raise StateError(
            f"run {run.id} waits in the queue",
            hint=f"lora worker --once executes it, lora run cancel {run.id} gives it up",
        )
    if not workspace.dry_run:
        with open_queue(workspace) as queue:
            settle_run(workspace, queue, run.id, ticket)
    now = workspace.records.read(Run, loaded.scope, run.id).record
    return _waits(workspace, now, [] if now == run else [workspace.relative(loaded.path)])


def _queued_again(workspace: Workspace, loaded: Loaded[Run], *, skip_preflight: bool) -> Result:
    require_extra(EXTRA, MODULES)
    run = loaded.record
    if run.state == "ready":
        raise StateError(
            f"run {run.id} is ready, it needs no other try",
            hint=f"lora eval grid {run.lora_id} {run.release_id}",
        )
    if not is_here(workspace, run.id):
        raise StateError(
            f"run {run.id} was started on another machine",
            hint=f"lora train --lora {run.lora_id} --dataset {run.dataset_id} --detach",
        )
    written = [workspace.relative(loaded.path)]
    if not workspace.dry_run:
        written = requeue(workspace, loaded, skip_preflight=skip_preflight)
    now = workspace.records.read(Run, loaded.scope, run.id).record
    return _waits(workspace, now, written)


def _waits(workspace: Workspace, run: Run, written: list[str]) -> Result:
    return Result(
        data={
            "runId": run.id,
            "loraId": run.lora_id,
            "releaseId": run.release_id,
            "state": run.state,
            "ahead": max(0, places_in_queue(workspace).get(run.id, 1) - 1),
        },
        reasoning=f"Queued run {run.id} of {run.lora_id} again",
        suggestions=("lora worker", f"lora run show {run.id}"),
        written=written,
        dry_run=workspace.dry_run,
    )


def _may_go_again(run: Run) -> bool:
    interrupted = run.error is not None and run.error.code == "interrupted"
    return run.state == "failed" and (interrupted or may_have_job(run))


def _trained_again(
    workspace: Workspace, loaded: Loaded[Run], wishes: dict[str, Any], *, skip_preflight: bool
) -> Result:
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
        skip_preflight=skip_preflight,
        project=loaded.scope.project_id,
        scope="project" if loaded.scope.project_id else "baseline",
    )
