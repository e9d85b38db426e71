"""The queue of runs: putting one in, and settling what is owed to those that are in it.

The truth about a run is its record, its ticket and its lock; the queue's file only says who is
next. So everything here can be interrupted anywhere and done again by anyone: ``settle`` looks at
every ticket and brings back into the queue what was lost from it, and lets go of what has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from lora_pipeline.engine.queue import EXTRA, MODULES, Queue
from lora_pipeline.foundation.errors import PipelineError, StateError
from lora_pipeline.foundation.events import Event
from lora_pipeline.foundation.extras import require_extra
from lora_pipeline.foundation.ids import new_ulid
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.training.run_notes import notes_of, remember_wishes
from lora_pipeline.operations.training.run_preflight import preflight
from lora_pipeline.operations.training.run_states import (
    UNDER_WAY,
    WAITING,
    interrupted,
    record_end,
    update_run,
)
from lora_pipeline.operations.training.train_hosted import stop_job
from lora_pipeline.operations.training.train_request import Training, base_model, plan_digest
from lora_pipeline.operations.training.train_run import finish_killed
from lora_pipeline.operations.training.train_start import (
    Start,
    expected_of,
    not_done,
    start_of,
)
from lora_pipeline.releases.records import Lora
from lora_pipeline.training.plan import CheckpointOnDisk
from lora_pipeline.training.records import Run
from lora_pipeline.training.runs.folder import is_alive, run_folder, working_in
from lora_pipeline.training.runs.retries import MOST_RETRIES
from lora_pipeline.training.runs.ticket import (
    Ticket,
    cancel_asked,
    drop_ticket,
    read_ticket,
    tickets,
    write_ticket,
)
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

_FILE = "queue/runs.db"


def open_queue(workspace: Workspace) -> Queue:
    """Return the queue of this workspace on this machine.

    Raises:
        ExtraMissingError: When the extra ``queue`` is not installed.
    """
    return Queue(workspace.runtime / _FILE)


def enqueue_training(
    workspace: Workspace, training: Training, notes: str, *, skip_preflight: bool
) -> Result:
    """Put a training into the queue; a worker executes it.

    Raises:
        ExtraMissingError: When the extra ``queue`` is not installed; nothing was written.
        StateError: When the very same training waits or runs already.
        PipelineError: As for a training that starts at once.
    """
    require_extra(EXTRA, MODULES)
    actor = workspace.require_actor()
    start = start_of(workspace, training)
    if isinstance(start, Refusal):
        return not_done(workspace, training, start)
    if not start.base.digest:
        # A record that does not say what the model is cannot say later that it is the same.
        base = base_model(workspace, training.checkpoint, prove=True)
        start = replace(start, base=base)
    _require_new(workspace, training, start)
    training = replace(training, release_id=_free_release(workspace, training))
    run = _new_run(workspace, training, start, actor)
    folder, scope = run_folder(workspace, run.id), training.lora.scope
    ticket = Ticket(
        project=scope.project_id or "",
        retries=min(workspace.settings.integer("runs.retries"), MOST_RETRIES),
        skip_preflight=skip_preflight,
    )
    with working_in(folder, run.created_at), open_queue(workspace) as queue:
        ahead = len(owed(workspace, queue))
        remember_wishes(folder, training, notes)
        write_ticket(folder, ticket)
        changes = Changes(workspace)
        changes.create(run, scope, run.id)
        written = changes.apply()
        queue.put(run.id)
        update_run(workspace, scope, replace(run, state="queued"))
    return _told(workspace, training, start, run, ahead, written)


def requeue(workspace: Workspace, loaded: Loaded[Run], *, skip_preflight: bool) -> list[str]:
    """Put a run that ended without weights into the queue again, with new tries.

    Raises:
        ExtraMissingError: When the extra ``queue`` is not installed; nothing was written.
        StateError: When somebody works on it.
    """
    require_extra(EXTRA, MODULES)
    run, scope = loaded.record, loaded.scope
    folder = run_folder(workspace, run.id)
    ticket = Ticket(
        project=scope.project_id or "",
        retries=min(workspace.settings.integer("runs.retries"), MOST_RETRIES),
        # The tries that it had count no more: somebody looked and wants it tried again.
        since=len(run.attempts),
        skip_preflight=skip_preflight,
    )
    with working_in(folder, workspace.now()), open_queue(workspace) as queue:
        drop_ticket(folder)
        write_ticket(folder, ticket)
        waiting = replace(run, state="queued", ended_at="", updated_at=workspace.now())
        written = update_run(workspace, scope, waiting)
        if run.id not in queue.waiting():
            queue.put(run.id)
    return written


def settle(workspace: Workspace, queue: Queue) -> list[str]:
    """Bring into the queue every run that is owed a try, and let go of those that ended.

    Returns:
        Ids of the runs that were found to have lost their process.
    """
    waiting = set(queue.waiting())
    broken = []
    for run_id, ticket in tickets(workspace):
        if run_id in waiting or is_alive(workspace, run_id):
            continue
        try:
            if settle_run(workspace, queue, run_id, ticket):
                broken.append(run_id)
        except PipelineError as error:  # of this run alone; it is looked at again
            words = f"run {run_id}: {error.message}  [{error.code}]"
            workspace.events(Event("warning", "worker", words))
    return broken


def settle_run(
    workspace: Workspace, queue: Queue, run_id: str, ticket: Ticket, *, taken_back: bool = False
) -> bool:
    """Settle one run that nobody works on and that does not wait in the queue.

    Args:
        workspace: Where it is.
        queue: Where it waits again, when it is owed a try.
        run_id: Its id.
        ticket: Its ticket.
        taken_back: Whether its worker ended its process, which is nobody's failure.

    Returns:
        Whether its process was lost.
    """
    folder = run_folder(workspace, run_id)
    try:
        with working_in(folder, workspace.now()):
            found = _record_of(workspace, run_id, ticket)
            if found is None:
                drop_ticket(folder)  # killed before its record was written: nobody was promised it
                return False
            run = found.record
            lost = run.state == "training"
            if lost and finish_killed(workspace, found, notes_of(workspace, run_id)) is not None:
                return True  # its weights had been verified; nothing was left but the records
            if lost:
                run = interrupted(workspace, run, taken_back=taken_back)
                record_end(workspace, found.scope, run)
            if run.state in WAITING and cancel_asked(folder):
                run = give_up(workspace, found.scope, run)
            if run.state == "created":
                run = replace(run, state="queued", updated_at=workspace.now())
                update_run(workspace, found.scope, run)
            if run.state == "queued":
                now = read_ticket(folder) or ticket
                queue.put(run_id, not_before=now.not_before)
            elif run.state not in UNDER_WAY:
                drop_ticket(folder)
            return lost
    except StateError:
        return False  # somebody works on it since we looked


def give_up(workspace: Workspace, scope: Scope, run: Run) -> Run:
    """Cancel a run that waits, and first the job that an earlier try may have sent.

    Raises:
        ServiceError: When nobody can say what became of the job; the run stays as it is.
    """
    if run.attempts:
        run = stop_job(workspace, run)
    ended = replace(run, state="cancelled", error=None, updated_at=workspace.now())
    record_end(workspace, scope, ended)
    return ended


def owed(workspace: Workspace, queue: Queue) -> list[str]:
    """Return the runs that wait, in their order; entries that nothing is owed to are left out."""
    return [
        run_id
        for run_id in dict.fromkeys(queue.waiting())
        if read_ticket(run_folder(workspace, run_id)) is not None
    ]


def places_in_queue(workspace: Workspace) -> dict[str, int]:
    """Return the place of every run that waits, 1 for the next; empty without the extra."""
    try:
        with open_queue(workspace) as queue:
            return {run_id: number for number, run_id in enumerate(owed(workspace, queue), 1)}
    except PipelineError:
        return {}


def _record_of(workspace: Workspace, run_id: str, ticket: Ticket) -> Loaded[Run] | None:
    scope = Scope(ticket.project) if ticket.project else SHARED
    if not workspace.records.exists(Run, scope, run_id):
        return None
    return workspace.records.read(Run, scope, run_id)


def _new_run(workspace: Workspace, training: Training, start: Start, actor: str) -> Run:
    now = workspace.now()
    digest = plan_digest(workspace, training, start.base, start.staging, start.version)
    return Run(
        id=new_ulid(),
        lora_id=training.lora.record_id,
        release_id=training.release_id,
        state="created",
        trainer=start.plan.trainer,
        trainer_version=start.plan.trainer_version,
        created_at=now,
        updated_at=now,
        requested_by=actor,
        plan_digest=digest,
        dataset_id=training.manifest.id,
        manifest_hash=training.manifest.content_hash,
        checkpoint_id=start.base.checkpoint_id,
        checkpoint_digest=start.base.digest,
        recipe=training.recipe.recipe,
        steps_planned=start.plan.total_steps,
        cost=start.cost,
        warnings=start.plan.warnings,
    )


def _require_new(workspace: Workspace, training: Training, start: Start) -> None:
    """Check that nothing like it waits or runs: who asks twice wants one run.

    Raises:
        StateError: When something does.
    """
    for run in _unfinished(workspace, training):
        same = replace(training, release_id=run.release_id)
        base: CheckpointOnDisk = start.base
        digest = plan_digest(workspace, same, base, start.staging, start.version)
        if digest == run.plan_digest:
            raise StateError(
                f"run {run.id} is {run.state} and trains this already",
                hint=f"lora run show {run.id}",
            )


def _free_release(workspace: Workspace, training: Training) -> str:
    """Return the id of the release: the one that was wished for, else the next that is free.

    Runs that wait hold the ids that they were promised.
    """
    if training.wishes.release:
        return training.release_id
    held = {run.release_id for run in _unfinished(workspace, training)}
    lora: Lora = training.lora.record
    taken = held | {release.id for release in lora.releases}
    number = int(training.release_id.removeprefix("r"))
    while f"r{number}" in taken:
        number += 1
    return f"r{number}"


def _unfinished(workspace: Workspace, training: Training) -> Iterator[Run]:
    for loaded in workspace.records.all(Run, training.lora.scope):
        run = loaded.record
        if run.lora_id == training.lora.record_id and run.state in UNDER_WAY:
            yield run


def _told(
    workspace: Workspace,
    training: Training,
    start: Start,
    run: Run,
    ahead: int,
    written: list[str],
) -> Result:
    outlook = expected_of(workspace, training, start)
    short = [f"at this moment: {one.message}" for one in preflight(workspace, training, start)]
    data: dict[str, Any] = {
        "runId": run.id,
        "loraId": run.lora_id,
        "releaseId": run.release_id,
        "state": "queued",
        "trainer": run.trainer,
        "datasetId": run.dataset_id,
        "steps": run.steps_planned,
        "ahead": ahead,
        "minutes": outlook.minutes.to_dict(),
    }
    return Result(
        data=data,
        reasoning=f"Queued {run.release_id} of {run.lora_id} from {run.dataset_id}",
        warnings=list(dict.fromkeys([*short, *(one.message for one in outlook.cautions)])),
        suggestions=(
            "lora worker", f"lora run show {run.id}", f"lora run log {run.id} --follow",
        ),
        written=written,
    )  # fmt: skip
