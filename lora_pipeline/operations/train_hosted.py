"""Runs whose training happens elsewhere: consent, sending, and taking up what was sent."""

from __future__ import annotations

import dataclasses
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
    SettingsError,
    StateError,
)
from lora_pipeline.foundation.result import Refusal
from lora_pipeline.operations.train_request import Training, base_model
from lora_pipeline.operations.train_run import (
    UNDER_WAY,
    Finished,
    complete_earlier,
    conclude,
    finish_killed,
    update_run,
)
from lora_pipeline.training.hosted.follow import HostedJob, Pace, find_job, follow
from lora_pipeline.training.hosted.interface import HostedTrainer, expected_output
from lora_pipeline.training.outcome import Outcome
from lora_pipeline.training.plan import CheckpointOnDisk, Plan
from lora_pipeline.training.records import Attempt, Run, RunError
from lora_pipeline.training.run_folder import is_alive, run_folder, working_in
from lora_pipeline.training.supervision import asked_to_stop
from lora_pipeline.training.trainers.registry import TRAINERS
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

_WHERE = "service.json"
# Failures of ours or of the way there: the job itself may be running, or done.
_JOB_MAY_LIVE = frozenset(
    {"interrupted", "service_unreachable", "service_refused", "storage_failed"}
)


def upload_refusal(workspace: Workspace, training: Training, plan: Plan) -> Refusal | None:
    """Return why nothing is sent yet: nobody said yes to what would leave this machine."""
    if not plan.service or training.wishes.yes_upload:
        return None
    images = sum(1 for one in plan.uploads if one.source.suffix != ".txt")
    captions = len(plan.uploads) - images
    folder = workspace.relative(plan.uploads[0].source.parent) if plan.uploads else ""
    return Refusal(
        "upload_not_agreed",
        f"{images} images and {captions} captions of {folder} and the job itself "
        f"would be sent to {plan.service}",
        "the same command with --yes-upload sends them; --plan --json lists every file",
    )


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
        files.write_atomic(folder / _WHERE, json.dumps({"service": plan.service}).encode())
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
        if loaded.record.state in UNDER_WAY and is_alive(workspace, loaded.record.id):
            raise StateError(
                f"run {loaded.record.id} trains this already",
                hint=f"lora run show {loaded.record.id}",
            )
        finished = finish_killed(workspace, loaded, notes) or take_up(workspace, loaded, notes)
        if finished is not None:
            return finished, []
    return complete_earlier(workspace, runs, notes)


def may_have_job(run: Run) -> bool:
    """Return whether a run that nobody works on may have a job at a service."""
    if not isinstance(TRAINERS.get(run.trainer), HostedTrainer):
        return False
    if run.state in UNDER_WAY:
        return True
    failed = run.state == "failed" and run.error is not None
    return failed and bool(run.external_job_id) and _code(run.error) in _JOB_MAY_LIVE


def take_up(workspace: Workspace, loaded: Loaded[Run], notes: str) -> Finished | None:
    """Follow the job of a run that nobody works on any more; None when nothing was sent.

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
    if job_id is None:
        return None
    checkpoint = workspace.records.find(
        Checkpoint, workspace.visible(scope), run.checkpoint_id
    ).record
    base = base_elsewhere(workspace, replace(checkpoint, training_adapter=None))
    now = workspace.now()
    with asked_to_stop(), working_in(run_folder(workspace, run.id), now):
        attempt = Attempt(number=len(run.attempts) + 1, started_at=now)
        update_run(
            workspace, scope,
            replace(
                run, state="training", error=None, updated_at=now, external_job_id=job_id,
                attempts=(*run.attempts, attempt),
            ),
        )  # fmt: skip
        job = dataclasses.replace(job, job_id=job_id)
        outcome = _followed(workspace, trainer, scope, base, run.id, job, ())
        return conclude(workspace, scope, run.id, outcome, notes)


def stop_job(workspace: Workspace, run: Run) -> str | None:
    """Stop the job of a run that nobody works on; returns its id, or None when there is none.

    Raises:
        ServiceError: When nobody can say what became of the job.
        StateError: When it went to another service than the one that is set now.
    """
    trainer = TRAINERS.get(run.trainer)
    if not isinstance(trainer, HostedTrainer):
        return None
    _require_same_service(workspace, trainer, run)
    with trainer.service(workspace.settings) as service:
        job_id = find_job(service, _job_of(workspace, trainer, run))
        if job_id is not None:
            service.stop(job_id)
    return job_id


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


def _job_of(workspace: Workspace, trainer: HostedTrainer, run: Run) -> HostedJob:
    return HostedJob(
        name=trainer.job_name(run.id),
        expected_output=expected_output(f"{run.lora_id}-{run.release_id}"),
        total_steps=run.steps_planned,
        folder=run_folder(workspace, run.id),
        job_id=run.external_job_id,
    )


def _require_same_service(workspace: Workspace, trainer: HostedTrainer, run: Run) -> None:
    sent_to = _sent_to(run_folder(workspace, run.id) / _WHERE)
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


def _code(error: RunError | None) -> str:
    return error.code if error is not None else ""
