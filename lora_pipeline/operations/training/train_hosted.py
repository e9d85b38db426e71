"""Runs whose training happens elsewhere: consent, sending, and taking up what was sent."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from msgspec.structs import replace

from lora_pipeline.catalog.records import Checkpoint
from lora_pipeline.foundation import files
from lora_pipeline.foundation.errors import (
    FileMissingError,
    RecordInvalidError,
    ServiceError,
    SettingsError,
    StateError,
)
from lora_pipeline.operations.training.run_states import begun, update_run
from lora_pipeline.operations.training.train_rented import let_go_unsent
from lora_pipeline.operations.training.train_request import base_model
from lora_pipeline.operations.training.train_run import (
    Finished,
    complete_earlier,
    conclude,
    finish_killed,
    require_free,
    with_cost,
)
from lora_pipeline.operations.training.train_sending import cap_refusal, may_have_job
from lora_pipeline.training.hosted.follow import (
    BEGUN,
    HostedJob,
    Pace,
    as_paid,
    find_job,
    follow,
    note_begun,
)
from lora_pipeline.training.hosted.interface import (
    HostedTrainer,
    JobEstimate,
    expected_output,
)
from lora_pipeline.training.outcome import Outcome, refused_outcome
from lora_pipeline.training.plan import CheckpointOnDisk, Plan
from lora_pipeline.training.records import Run
from lora_pipeline.training.runs.folder import run_folder, working_in
from lora_pipeline.training.supervision import asked_to_stop
from lora_pipeline.training.trainers.registry import TRAINERS
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace


def base_elsewhere(workspace: Workspace, checkpoint: Checkpoint) -> CheckpointOnDisk:
    """Return a base model that need not be on this machine."""
    try:
        return base_model(workspace, checkpoint, prove=False)
    except (FileMissingError, SettingsError, RecordInvalidError):
        nowhere = workspace.runtime / "nowhere"
        return CheckpointOnDisk(checkpoint.id, checkpoint.architecture, nowhere, checkpoint.digest)


def require_service(workspace: Workspace, trainer: HostedTrainer) -> None:
    """Ask a service whether it is there and takes our token, before a run exists.

    Raises:
        TrainerUnavailableError, ServiceError: When it is not, or does not.
    """
    with trainer.service(workspace.settings) as service:
        service.check()


def work_elsewhere(
    workspace: Workspace,
    trainer: HostedTrainer,
    scope: Scope,
    base: CheckpointOnDisk,
    plan: Plan,
    run: Run,
) -> Callable[[], Outcome]:
    """Return what sends a run's job, follows it and fetches its weights."""

    def work() -> Outcome:
        folder = run_folder(workspace, run.id)
        note_begun(folder, plan.service)
        refused = cap_refusal(workspace, scope, _estimated(run), besides=run.id)
        if refused is not None:
            # Somebody else began meanwhile: whoever is recorded counts, so both may be refused.
            return refused_outcome(refused)
        for planned in plan.files:
            files.write_atomic(files.safe_join(folder, planned.path), planned.content.encode())
        name = trainer.job_name(run.id)
        job = HostedJob(name, plan.expected_output, plan.total_steps, folder, plan=plan)
        return _followed(workspace, trainer, scope, base, run.id, job, plan.secrets)

    return work


def complete_earlier_jobs(
    workspace: Workspace, runs: list[Loaded[Run]], notes: str
) -> tuple[Finished | None, list[str]]:
    """Settle earlier runs of the same plan: a job that was sent is taken up, never sent again.

    Returns:
        The run that could be finished, or None, and what was written besides.

    Raises:
        StateError: When one of them is under way.
        ServiceError: When nobody can say what became of a job.
        TrainerError: When a job that was taken up brought no usable weights.
    """
    for loaded in runs:
        require_free(workspace, loaded.record)
        finished = finish_killed(workspace, loaded, notes) or take_up(workspace, loaded, notes)
        if finished is not None:
            return finished, []
    return complete_earlier(workspace, runs, notes)


def take_up(
    workspace: Workspace, loaded: Loaded[Run], notes: str, *, held: bool = False
) -> Finished | None:
    """Follow the job of a run that nobody works on any more; None when nothing was sent.

    Args:
        workspace: Where the run is.
        loaded: Its record.
        notes: Kept with the release.
        held: Whether the caller holds the run and has begun its try.

    Raises:
        ServiceError: When nobody can say what became of the job.
        StateError: When it went to another service than the one that is set now.
        TrainerError: When it brought no usable weights; the run is recorded as failed.
    """
    run, scope = loaded.record, loaded.scope
    trainer = TRAINERS.get(run.trainer)
    if not isinstance(trainer, HostedTrainer) or not may_have_job(run):
        return None
    _require_same_service(workspace, trainer, run)
    job = _job_of(workspace, trainer, run)
    with trainer.service(workspace.settings) as service:
        job_id = find_job(service, job)
        if job_id is None or let_go_unsent(workspace, loaded, service, job, job_id):
            return None
    checkpoint = workspace.records.find(
        Checkpoint, workspace.visible(scope), run.checkpoint_id
    ).record
    base = base_elsewhere(workspace, replace(checkpoint, training_adapter=None))
    with contextlib.ExitStack() as stack:
        if not held:
            stack.enter_context(asked_to_stop())
            stack.enter_context(working_in(run_folder(workspace, run.id), workspace.now()))
            run = begun(workspace, run)
        update_run(workspace, scope, replace(run, external_job_id=job_id))
        job = replace(job, job_id=job_id)
        outcome = _followed(workspace, trainer, scope, base, run.id, job, ())
        return conclude(workspace, scope, run.id, outcome, notes)


def adopt_job(workspace: Workspace, loaded: Loaded[Run], job_id: str) -> Loaded[Run]:
    """Record the id of a job that somebody found at its service, for a run that knows none.

    Raises:
        StateError: When the run has another job, or is none that may have one.
    """
    run = loaded.record
    if run.external_job_id not in ("", job_id) or not may_have_job(run):
        known = f"has job {run.external_job_id}" if run.external_job_id else f"is {run.state}"
        raise StateError(f"run {run.id} {known}", hint=f"lora run show {run.id}")
    update_run(workspace, loaded.scope, replace(run, external_job_id=job_id))
    return workspace.records.read(Run, loaded.scope, run.id)


def stop_job(workspace: Workspace, run: Run) -> Run:
    """Stop the job of a run that nobody works on; returns the run with what is known of the job.

    Raises:
        ServiceError: When nobody can say what became of the job.
        StateError: When it went to another service than the one that is set now.
    """
    trainer = TRAINERS.get(run.trainer)
    if not isinstance(trainer, HostedTrainer):
        return run
    _require_same_service(workspace, trainer, run)
    with trainer.service(workspace.settings) as service:
        job_id = find_job(service, _job_of(workspace, trainer, run))
        if job_id is None:
            return run
        service.stop(job_id)
        cost = None
        with contextlib.suppress(ServiceError):  # what is gone tells no cost
            cost = as_paid(service.spent(job_id))
    return with_cost(replace(run, external_job_id=job_id), cost)


def _followed(
    workspace: Workspace,
    trainer: HostedTrainer,
    scope: Scope,
    base: CheckpointOnDisk,
    run_id: str,
    job: HostedJob,
    secrets: tuple[str, ...],
) -> Outcome:
    def recorded(job_id: str) -> None:
        run = workspace.records.read(Run, scope, run_id).record
        update_run(
            workspace, scope, replace(run, external_job_id=job_id, updated_at=workspace.now())
        )

    settings = workspace.settings
    pace = Pace(
        every_s=settings.number("trainers.pollSeconds"),
        patience_s=settings.number("trainers.idleTimeoutSeconds") or None,
    )
    with trainer.service(settings) as service:
        return follow(
            job, trainer, service, base,
            recorded=recorded,
            events=workspace.events,
            pace=pace,
            secrets=tuple(os.environ[name] for name in secrets if os.environ.get(name)),
        )  # fmt: skip


def _estimated(run: Run) -> JobEstimate:
    return JobEstimate(run.cost.estimate, run.cost.minutes, run.cost.currency)


def _job_of(workspace: Workspace, trainer: HostedTrainer, run: Run) -> HostedJob:
    return HostedJob(
        name=trainer.job_name(run.id),
        expected_output=expected_output(f"{run.lora_id}-{run.release_id}"),
        total_steps=run.steps_planned,
        folder=run_folder(workspace, run.id),
        job_id=run.external_job_id,
    )


def _require_same_service(workspace: Workspace, trainer: HostedTrainer, run: Run) -> None:
    sent_to = _sent_to(run_folder(workspace, run.id) / BEGUN)
    address = trainer.address(workspace.settings)
    if sent_to and sent_to != address:
        raise StateError(
            f"run {run.id} went to {sent_to}, and {address} is set now",
            hint=f"set the address of {trainer.name} to {sent_to} again",
        )


def _sent_to(path: Path) -> str:
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return ""
    return str(document.get("service", "")) if isinstance(document, dict) else ""
