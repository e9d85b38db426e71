"""One try of a run that belongs to the queue, from its turn to what it came to.

Whoever tries holds the run's lock from before the try is written down until after its end is. A
try that finds the run held, ended or given up does nothing. What was agreed on when the run was
queued is what is trained: another manifest, base model or recipe is refused, not trained.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from lora_pipeline.foundation import files
from lora_pipeline.foundation.errors import (
    FileMissingError,
    PipelineError,
    PlanOutdatedError,
    StateError,
)
from lora_pipeline.foundation.events import Event
from lora_pipeline.foundation.result import Refusal
from lora_pipeline.operations.training.run_notes import read_wishes
from lora_pipeline.operations.training.run_notices import tell
from lora_pipeline.operations.training.run_preflight import preflight
from lora_pipeline.operations.training.run_queue import give_up
from lora_pipeline.operations.training.run_states import (
    WAITING,
    begun,
    closed,
    failed,
    record_end,
    stopped,
    update_run,
)
from lora_pipeline.operations.training.train_hosted import require_service, take_up, work_elsewhere
from lora_pipeline.operations.training.train_request import Training, Wishes, gather, make_plan
from lora_pipeline.operations.training.train_run import Finished, conclude, finish_killed, work_here
from lora_pipeline.operations.training.train_start import Start, prove, rights_refusal, start_of
from lora_pipeline.training.hosted.interface import HostedTrainer
from lora_pipeline.training.outcome import Outcome
from lora_pipeline.training.plan import Plan
from lora_pipeline.training.records import Run, RunError
from lora_pipeline.training.runs.folder import run_folder, working_in
from lora_pipeline.training.runs.log import EVENTS_FILE, LOG_FILE, TAIL_FILES
from lora_pipeline.training.runs.ticket import Ticket, cancel_asked, read_ticket
from lora_pipeline.training.supervision import asked_to_stop
from lora_pipeline.training.trainers.interface import Continuation, Resuming, Trainer
from lora_pipeline.training.trainers.registry import TRAINERS
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

# What an earlier try left stands here while the next one works.
_BEFORE = "before"
_STAYS = frozenset(
    {
        _BEFORE, "process.lock", "process.json", "trainer.lock", "ticket.json", "cancel.json",
        "wishes.json", LOG_FILE, EVENTS_FILE, *TAIL_FILES,
    }
)  # fmt: skip


class AttemptEnd(msgspec.Struct, frozen=True):
    """What a try came to.

    Attributes:
        run: The run's record after it.
        finished: The release that it brought, or None.
        tried: False when there was nothing to do.
    """

    run: Run
    finished: Finished | None
    tried: bool


def attempt_run(workspace: Workspace, run_id: str) -> AttemptEnd:
    """Try a run that waits in the queue of this machine.

    Raises:
        FileMissingError: When no such run was queued here.
        StateError: When somebody else holds it.
        KeyboardInterrupt: When it was asked to stop; the run is cancelled or waits again.
    """
    folder = run_folder(workspace, run_id)
    ticket = read_ticket(folder)
    if ticket is None:
        raise FileMissingError(f"run {run_id} is not in the queue", hint="lora run list")
    scope = Scope(ticket.project) if ticket.project else SHARED
    hosted = isinstance(_trainer_of(workspace, scope, run_id), HostedTrainer)
    # A job at a service goes on without us; only who wants it cancelled wants it stopped.
    with (
        asked_to_stop(leaves=lambda: hosted and not cancel_asked(folder)),
        working_in(folder, workspace.now()),
    ):
        loaded = workspace.records.read(Run, scope, run_id)
        if loaded.record.state not in WAITING:
            return AttemptEnd(loaded.record, None, tried=False)
        if cancel_asked(folder):
            return AttemptEnd(give_up(workspace, scope, loaded.record), None, tried=False)
        finished = _tried(workspace, loaded, ticket)
    return AttemptEnd(workspace.records.read(Run, scope, run_id).record, finished, tried=True)


def _trainer_of(workspace: Workspace, scope: Scope, run_id: str) -> Trainer | None:
    return TRAINERS.get(workspace.records.read(Run, scope, run_id).record.trainer)


def _tried(workspace: Workspace, loaded: Loaded[Run], ticket: Ticket) -> Finished | None:
    scope, run = loaded.scope, begun(workspace, loaded.record)
    wishes = read_wishes(workspace, run.id) or {}
    notes = str(wishes.get("notes", ""))
    update_run(workspace, scope, run)
    tell(workspace, run)
    try:
        loaded = workspace.records.read(Run, scope, run.id)
        known = finish_killed(workspace, loaded, notes) or take_up(
            workspace, loaded, notes, held=True
        )
        if known is not None:
            return known
        outcome = _worked(workspace, scope, run, wishes, ticket)
        return conclude(workspace, scope, run.id, outcome, notes)
    except KeyboardInterrupt:
        _close(workspace, scope, run.id, lambda one: stopped(workspace, one), "cancelled")
        raise
    except PipelineError as error:
        told = RunError(code=_code(error), message=error.message, hint=error.hint or "")
        _close(workspace, scope, run.id, lambda one: failed(workspace, one, told), told.code)
        return None


def _close(
    workspace: Workspace, scope: Scope, run_id: str, end: Callable[[Run], Run], code: str
) -> None:
    """Record the end of a try that ended before its outcome could be."""
    run = workspace.records.read(Run, scope, run_id).record
    if run.state == "training":
        now = workspace.now()
        attempts = closed(run.attempts, now, None, code)
        record_end(workspace, scope, end(replace(run, updated_at=now, attempts=attempts)))


def _worked(
    workspace: Workspace, scope: Scope, run: Run, wishes: dict[str, Any], ticket: Ticket
) -> Outcome:
    training = _as_queued(workspace, scope, run, wishes)
    refusal = rights_refusal(workspace, training)
    start = start_of(workspace, training, besides=run.id)
    if isinstance(start, Refusal):
        refusal = refusal or start
    if refusal is not None or isinstance(start, Refusal):
        assert refusal is not None  # noqa: S101 - one of the two
        raise _RefusedError(refusal)
    if not ticket.skip_preflight:
        short = preflight(workspace, training, start)
        if short:
            first = short[0]
            raise _RefusedError(
                Refusal(first.code, "; ".join(one.message for one in short), first.hint)
            )
    proven = prove(workspace, training, start)
    plan = make_plan(workspace, training, proven.base, proven.staging, run.id, start.version)
    run = _told_of_changes(workspace, scope, run, start, proven.digest)
    folder, trainer = run_folder(workspace, run.id), training.trainer
    if isinstance(trainer, HostedTrainer):
        require_service(workspace, trainer)
        return work_elsewhere(workspace, trainer, scope, proven.base, plan, run)()
    going_on = _gone_on_from(workspace, training, plan, run, folder)
    return work_here(workspace, training, proven.base, plan, folder, going_on)


def _as_queued(workspace: Workspace, scope: Scope, run: Run, asked: dict[str, Any]) -> Training:
    """Return the training that was queued.

    Raises:
        PlanOutdatedError: When it would be another one now.
    """
    wishes = Wishes(
        lora=run.lora_id,
        dataset=str(asked.get("datasetId", "")) or run.dataset_id,
        trainer=run.trainer,
        preset="",
        config_file="",
        config=run.recipe.to_dict(),
        flags={},
        trainer_arguments=tuple(map(str, asked.get("trainerArguments", []))),
        trainer_config=str(asked.get("trainerConfig", "")),
        release="",
        project=scope.project_id,
        scope="project" if scope.project_id else "baseline",
        yes_upload=asked.get("yesUpload") is True,
    )
    training = replace(gather(workspace, wishes), release_id=run.release_id)
    again = f"lora run cancel {run.id}, or queue it anew: lora train --lora {run.lora_id} --detach"
    if training.manifest.content_hash != run.manifest_hash:
        raise PlanOutdatedError(
            f"dataset {training.manifest.id} was built anew since the run was queued: "
            f"{run.manifest_hash[:19]}… then, {training.manifest.content_hash[:19]}… now",
            hint=again,
        )
    now = training.checkpoint.digest
    if training.checkpoint.id != run.checkpoint_id or (now and now != run.checkpoint_digest):
        raise PlanOutdatedError(
            f"the base model is another one since the run was queued: "
            f"{run.checkpoint_id} {run.checkpoint_digest[:19]}… then, "
            f"{training.checkpoint.id} {now[:19]}… now",
            hint=again,
        )
    return training


def _told_of_changes(
    workspace: Workspace, scope: Scope, run: Run, start: Start, digest: str
) -> Run:
    """Record that this machine's part of the plan is another one than it was when queued."""
    if digest == run.plan_digest:
        return run
    what = "its plan changed with the settings of this machine since it was queued"
    if start.version != run.trainer_version:
        what = f"{run.trainer} was {run.trainer_version} when it was queued, it is {start.version}"
    changed = replace(
        run,
        plan_digest=digest,
        trainer_version=start.version,
        warnings=tuple(dict.fromkeys((*run.warnings, what))),
    )
    update_run(workspace, scope, changed)
    return changed


def _gone_on_from(
    workspace: Workspace, training: Training, plan: Plan, run: Run, folder: Path
) -> Continuation | None:
    """Put aside what the try before left, and take over what the trainer can go on from."""
    before = folder / _BEFORE
    leftovers = [one for one in folder.iterdir() if one.name not in _STAYS]
    if leftovers:
        shutil.rmtree(before, ignore_errors=True)
        before.mkdir()
        for one in leftovers:
            one.rename(before / one.name)
    trainer = training.trainer
    if not isinstance(trainer, Resuming) or not before.is_dir():
        return None
    with files.disk_refusals():
        how = trainer.carry_over(plan, before, folder)
    if how is not None:
        words = f"try {run.attempts[-1].number} goes on from step {how.step}"
        workspace.events(Event("log", "train", words))
    return how


class _RefusedError(StateError):
    """A try that is refused before it starts; ``refusal.code`` goes into the record."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message, hint=refusal.hint)
        self.refusal = refusal


def _code(error: PipelineError) -> str:
    return error.refusal.code if isinstance(error, _RefusedError) else error.code
