"""One run, from its first record to its last: training, ready, failed or cancelled.

The order is that of every write here: the run's record before anything starts, bytes into the
store, a note of them in the run's folder, then the run's record and the release that counts.
Killed anywhere, what is there says how far it came, and the same command completes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from lora_pipeline.foundation.errors import StateError, TrainerError
from lora_pipeline.operations.releases.release_register import (
    add_trained_release,
    keep_bytes,
    new_release,
)
from lora_pipeline.operations.training.run_notes import (
    remember_outcome,
    remember_wishes,
    remembered_outcome,
)
from lora_pipeline.operations.training.run_notices import tell
from lora_pipeline.operations.training.run_states import (
    UNDER_WAY,
    after_end,
    closed,
    failed,
    interrupted,
    record_end,
    stopped,
)
from lora_pipeline.operations.training.train_request import Training
from lora_pipeline.releases.records import Lora, Release
from lora_pipeline.training.outcome import Outcome, output_of
from lora_pipeline.training.plan import CheckpointOnDisk, Plan
from lora_pipeline.training.records import Attempt, Cost, OutputFile, Run, RunError
from lora_pipeline.training.runs.folder import is_alive, is_here, run_folder, working_in
from lora_pipeline.training.runs.retries import worth_retrying
from lora_pipeline.training.runs.ticket import read_ticket
from lora_pipeline.training.supervision import asked_to_stop, supervise
from lora_pipeline.training.trainers.interface import Continuation, Resuming
from lora_pipeline.training.weights.inspection import WeightsReport, inspect_weights
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import open_store


class Finished(msgspec.Struct, frozen=True):
    """A run that brought a release.

    Attributes:
        run: Its record.
        release_id: The release.
        weights: What its weights are.
        written: What was written.
        warnings: What was worth knowing.
    """

    run: Run
    release_id: str
    weights: WeightsReport
    written: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def new_run(
    workspace: Workspace,
    training: Training,
    base: CheckpointOnDisk,
    plan: Plan,
    run_id: str,
    digest: str,
    cost: Cost = Cost(),  # noqa: B008 - frozen
) -> Run:
    """Return the record of a run that is about to start."""
    now = workspace.now()
    return Run(
        id=run_id,
        lora_id=training.lora.record_id,
        release_id=training.release_id,
        state="training",
        trainer=plan.trainer,
        trainer_version=plan.trainer_version,
        created_at=now,
        updated_at=now,
        started_at=now,
        requested_by=workspace.require_actor(),
        plan_digest=digest,
        dataset_id=training.manifest.id,
        manifest_hash=training.manifest.content_hash,
        checkpoint_id=base.checkpoint_id,
        checkpoint_digest=base.digest,
        recipe=training.recipe.recipe,
        steps_planned=plan.total_steps,
        attempts=(Attempt(number=1, started_at=now),),
        cost=cost,
        warnings=plan.warnings,
    )


def execute(
    workspace: Workspace,
    training: Training,
    base: CheckpointOnDisk,
    plan: Plan,
    run: Run,
    notes: str,
    *,
    elsewhere: Callable[[], Outcome] | None = None,
    earlier: Sequence[Loaded[Run]] = (),
) -> Finished:
    """Run a plan and record what it came to.

    Args:
        workspace: Where the records are.
        training: What training is about.
        base: The base model.
        plan: What is run.
        run: Its record, not written yet.
        notes: Kept with the release.
        elsewhere: Does the work where no program is started on this machine.
        earlier: Runs of the very same plan; what an interrupted one saved is gone on from.

    Raises:
        TrainerError: When it brought no usable weights; the run is recorded as failed.
        KeyboardInterrupt: When it was asked to stop; the run is recorded as cancelled.
        LockedError, RecordConflictError: When the records could not be written.
    """
    scope, folder = training.lora.scope, run_folder(workspace, run.id)
    with asked_to_stop(), working_in(folder, run.started_at):
        remember_wishes(folder, training, notes)
        going_on = _going_on(workspace, training, plan, run, earlier)
        if going_on is not None:
            run = replace(run, warnings=(*run.warnings, going_on.words))
        changes = Changes(workspace)
        changes.create(run, scope, run.id)
        changes.apply()
        tell(workspace, run)
        outcome = (
            elsewhere()
            if elsewhere is not None
            else work_here(
                workspace, training, base, plan, folder, going_on.how if going_on else None
            )
        )
        return conclude(workspace, scope, run.id, outcome, notes)


def work_here(
    workspace: Workspace,
    training: Training,
    base: CheckpointOnDisk,
    plan: Plan,
    folder: Path,
    going_on: Continuation | None,
) -> Outcome:
    """Run a plan on this machine and return what it came to; the caller holds the folder."""
    return supervise(
        plan,
        training.trainer,
        base,
        folder,
        events=workspace.events,
        idle_timeout_s=workspace.settings.number("trainers.idleTimeoutSeconds") or None,
        going_on=going_on,
    )


class _GoingOn(msgspec.Struct, frozen=True):
    how: Continuation
    words: str


def _going_on(
    workspace: Workspace, training: Training, plan: Plan, run: Run, earlier: Sequence[Loaded[Run]]
) -> _GoingOn | None:
    """Take over what an interrupted run of the same plan saved, when the trainer can go on."""
    trainer = training.trainer
    broken = [one.record for one in earlier if _was_broken_off(one.record)]
    if not isinstance(trainer, Resuming) or not broken:
        return None
    last = broken[-1].id
    how = trainer.carry_over(plan, run_folder(workspace, last), run_folder(workspace, run.id))
    if how is None:
        return None
    words = f"it went on from step {how.step} of run {last}, which was broken off"
    return _GoingOn(how, words)


def _was_broken_off(run: Run) -> bool:
    code = run.error.code if run.error is not None else ""
    failed = run.state == "failed" and (worth_retrying(code) or code in {"killed", "disk_full"})
    return failed or run.state in {*UNDER_WAY, "cancelled"}


def conclude(
    workspace: Workspace, scope: Scope, run_id: str, outcome: Outcome, notes: str
) -> Finished:
    """Record what a run came to, and bring its release when there are weights.

    Raises:
        TrainerError: When it brought no usable weights; the run is recorded as failed.
        KeyboardInterrupt: When it was asked to stop; the run is recorded as cancelled.
    """
    # Read anew: while it ran, the id of its job may have come into the record.
    run = workspace.records.read(Run, scope, run_id).record
    ended = _ended(workspace, run, outcome)
    if outcome.interrupted:
        record_end(workspace, scope, stopped(workspace, ended))
        raise KeyboardInterrupt
    if outcome.error is not None or outcome.final is None:
        raise _failed(workspace, scope, ended, outcome.error)
    keep_bytes(workspace, outcome.final)
    remember_outcome(run_folder(workspace, run_id), ended, outcome.final)
    return _bring_release(workspace, scope, ended, outcome.final, notes)


def earlier_runs(
    workspace: Workspace, scope: Scope, lora_id: str, digest: str
) -> list[Loaded[Run]]:
    """Return the runs of the very same plan, oldest first."""
    return [
        loaded
        for loaded in workspace.records.all(Run, scope)
        if loaded.record.lora_id == lora_id and loaded.record.plan_digest == digest
    ]


def complete_earlier(
    workspace: Workspace, runs: list[Loaded[Run]], notes: str
) -> tuple[Finished | None, list[str]]:
    """Settle what killed runs of the same plan left behind.

    A run whose weights were verified before it was killed is finished; one that was killed
    while it trained is recorded as failed.

    Returns:
        The run that could be finished, or None, and what was written besides.

    Raises:
        StateError: When one of them is under way.
    """
    written: list[str] = []
    for loaded in runs:
        run = loaded.record
        require_free(workspace, run)
        finished = finish_killed(workspace, loaded, notes)
        if finished is not None:
            return finished, written
        if run.state in UNDER_WAY and is_here(workspace, run.id):
            written += mark_interrupted(workspace, loaded)
    return None, written


def require_free(workspace: Workspace, run: Run) -> None:
    """Check that nobody works on a run, or is going to.

    Raises:
        StateError: When it is under way, or waits in the queue.
    """
    if run.state not in UNDER_WAY:
        return
    if is_alive(workspace, run.id):
        raise StateError(f"run {run.id} trains this already", hint=f"lora run show {run.id}")
    if read_ticket(run_folder(workspace, run.id)) is not None:
        raise StateError(
            f"run {run.id} of the queue trains this already",
            hint=f"lora worker --once executes it, lora run cancel {run.id} gives it up",
        )


def finish_killed(workspace: Workspace, loaded: Loaded[Run], notes: str = "") -> Finished | None:
    """Finish a run whose weights were verified before it was killed, or return None."""
    run, folder = loaded.record, run_folder(workspace, loaded.record.id)
    if run.state in UNDER_WAY:
        run = remembered_outcome(folder, run)
    if run.state != "ready" or not run.outputs or _has_release(workspace, loaded, run):
        return None
    stored = open_store(workspace).path(_final(run).sha256)
    if not stored.is_file():
        return None
    return _bring_release(workspace, loaded.scope, run, inspect_weights(stored), notes)


def mark_interrupted(workspace: Workspace, loaded: Loaded[Run]) -> list[str]:
    """Record that a run was killed and return what was written."""
    return record_end(workspace, loaded.scope, interrupted(workspace, loaded.record))


def _final(run: Run) -> OutputFile:
    return next((one for one in run.outputs if one.step is None), run.outputs[0])


def _has_release(workspace: Workspace, loaded: Loaded[Run], run: Run) -> bool:
    if not workspace.records.exists(Lora, loaded.scope, run.lora_id):
        return True  # the LoRA was deleted; there is nothing to add a release to
    lora = workspace.records.read(Lora, loaded.scope, run.lora_id).record
    return any(release.training.get("runId") == run.id for release in lora.releases)


def _bring_release(
    workspace: Workspace, scope: Scope, run: Run, report: WeightsReport, notes: str
) -> Finished:
    loaded = workspace.records.read(Run, scope, run.id)
    lora = workspace.records.read(Lora, scope, run.lora_id).record
    folder = run_folder(workspace, run.id)
    outputs = run.outputs
    if not any(one.step is None for one in outputs):
        outputs = (output_of(report, folder), *outputs)
    ready = replace(run, state="ready", updated_at=workspace.now(), outputs=outputs)
    release = _release(workspace, lora, run, report, notes)
    written, release_id = add_trained_release(workspace, loaded, ready, release)
    after_end(workspace, replace(ready, release_id=release_id))
    warnings = list(run.warnings)
    if release_id != run.release_id:
        warnings.append(f"{run.release_id} was taken meanwhile, the release is {release_id}")
    if report.leaks:
        shown = ", ".join(report.leaks[:3])
        warnings.append(f"its metadata tells what a studio keeps to itself ({shown})")
    return Finished(
        run=replace(ready, release_id=release_id),
        release_id=release_id,
        weights=report,
        written=tuple(written),
        warnings=tuple(warnings),
    )


def _release(
    workspace: Workspace, lora: Lora, run: Run, report: WeightsReport, notes: str
) -> Release:
    training: Mapping[str, Any] = {
        "trainer": run.trainer,
        "trainerVersion": run.trainer_version,
        "recipe": run.recipe.to_dict(),
        "datasetId": run.dataset_id,
        "manifestHash": run.manifest_hash,
        "checkpointId": run.checkpoint_id,
        "checkpointDigest": run.checkpoint_digest,
        "runId": run.id,
    }
    return new_release(workspace, lora, report, run.release_id, training, run.requested_by, notes)


def _ended(workspace: Workspace, run: Run, outcome: Outcome) -> Run:
    now = workspace.now()
    code = outcome.error.code if outcome.error else "cancelled" if outcome.interrupted else ""
    run = with_cost(run, outcome.cost)
    return replace(
        run,
        updated_at=now,
        ended_at=now,
        duration_seconds=round(outcome.seconds, 1),
        steps_done=outcome.steps_done,
        final_loss=outcome.final_loss,
        attempts=closed(run.attempts, now, outcome.status, code),
        outputs=outcome.checkpoints,
        warnings=(*run.warnings, *outcome.warnings),
    )


def with_cost(run: Run, paid: Cost | None) -> Run:
    """Return a run with what its job has cost, as its service tells; None leaves it unknown.

    Where a service bills what was estimated, it tells no amount but says so.
    """
    if paid is None or (paid.actual is None and not paid.actual_basis):
        return run
    as_estimated = paid.actual is None
    known = replace(
        run.cost,
        actual=run.cost.estimate if as_estimated else paid.actual,
        currency=run.cost.currency if as_estimated else paid.currency,
        actual_basis=paid.actual_basis,
    )
    return replace(run, cost=known)


def _failed(workspace: Workspace, scope: Scope, run: Run, error: RunError | None) -> TrainerError:
    error = error or RunError(code="no_output", message="the trainer left no weights")
    run = failed(workspace, run, error)
    record_end(workspace, scope, run)
    advice = f"{error.hint}; lora run log {run.id}" if error.hint else f"lora run log {run.id}"
    state = "waits for another try" if run.state == "queued" else "failed"
    return TrainerError(f"{error.message}  (run {run.id} {state}: {error.code})", hint=advice)
