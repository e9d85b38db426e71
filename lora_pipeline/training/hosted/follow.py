"""One job at a service, from its sending to verified weights; the only place that does it.

The order is what makes a run safe: is there a job of this run already? → upload → a durable note
that a job may exist from now on → create it → its id into the run's record → start → follow → fetch
→ verify → give back what was rented. Killed anywhere, the same steps again find the job, or what
was fetched of it, instead of making another.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from lora_pipeline.foundation import files
from lora_pipeline.foundation.errors import (
    JobInDoubtError,
    PipelineError,
    ProgramTimedOutError,
    ServiceError,
    ServiceRefusedError,
    ServiceUnreachableError,
)
from lora_pipeline.foundation.events import Event, EventSink
from lora_pipeline.foundation.process import OutputLine
from lora_pipeline.training.hosted.fetched import fetch_outputs, fetched_before
from lora_pipeline.training.hosted.interface import (
    HostedService,
    HostedTrainer,
    JobView,
    Spent,
)
from lora_pipeline.training.hosted.rented import Renting
from lora_pipeline.training.outcome import Found, Outcome
from lora_pipeline.training.plan import CheckpointOnDisk, Plan
from lora_pipeline.training.progress import TOPIC, progress_event
from lora_pipeline.training.records import Cost, RunError
from lora_pipeline.training.runs.log import RunLog

_SLOWER = 1.5
_SLOWEST = 6.0
BEGUN = "service.json"
_SENDING = "sending.json"


class Pace(msgspec.Struct, frozen=True):
    """How often is asked, and how long is waited.

    Attributes:
        every_s: Shortest time between two looks.
        patience_s: Longest time without news, or without an answer; None is for ever.
        sleep: Waits.
        clock: A clock that only goes forward, in seconds.
    """

    every_s: float = 5.0
    patience_s: float | None = None
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic


class HostedJob(msgspec.Struct, frozen=True):
    """What a run knows of its job.

    Attributes:
        name: The job's name at the service, which is made from the run's id.
        expected_output: Where the final weights are put, below the run's folder.
        total_steps: Optimiser steps that were planned.
        folder: Private folder of the run; whoever follows the job holds it.
        job_id: The job's id, or empty while none is recorded.
        plan: What is sent when there is no job yet; None when nothing may be sent any more.
    """

    name: str
    expected_output: str
    total_steps: int
    folder: Path
    job_id: str = ""
    plan: Plan | None = None


@dataclass
class _Watch:
    job_id: str = ""
    steps: int = 0
    loss: float | None = None
    spent: Spent | None = None
    warnings: list[str] = field(default_factory=list)


def note_begun(folder: Path, service: str) -> None:
    """Note in a run's folder where its job goes, before anything is sent there."""
    files.write_atomic(folder / BEGUN, json.dumps({"service": service}).encode())


def surely_unsent(folder: Path) -> bool:
    """Return whether a run began on this machine and never came to create its job."""
    return (folder / BEGUN).is_file() and not (folder / _SENDING).exists()


def find_job(service: HostedService, job: HostedJob) -> str | None:
    """Return the id of a run's job, the recorded one or the one of its name, or None.

    Raises:
        ServiceError: When nobody can say whether there is one.
    """
    if job.job_id:
        return job.job_id
    return None if surely_unsent(job.folder) else service.find(job.name)


def follow(
    job: HostedJob,
    trainer: HostedTrainer,
    service: HostedService,
    checkpoint: CheckpointOnDisk,
    *,
    recorded: Callable[[str], None],
    events: EventSink,
    pace: Pace,
    secrets: tuple[str, ...] = (),
) -> Outcome:
    """Bring one job to its end and return what it came to; a failure is an outcome, no error.

    Args:
        job: The job.
        trainer: Explains its log.
        service: Where it is, or is to be sent.
        checkpoint: The base model that the weights must fit.
        recorded: Called with the job's id before anybody waits for it; what it raises ends all.
        events: Takes progress.
        pace: How often is asked.
        secrets: Values that must not be kept.
    """
    started, watch = pace.clock(), _Watch(job.job_id)
    error, interrupted, found = None, False, Found(None, (), None)
    with RunLog(job.folder, secrets) as log:
        sink = log.beside(events)
        try:
            final = job.folder / job.expected_output
            earlier = fetched_before(final, job.folder, checkpoint)
            if earlier is None:
                _have_job(job, service, watch, recorded, sink)
                service.start(watch.job_id)
                _until_ended(job, trainer, service, watch, log, sink, pace)
                say = _teller(sink)
                earlier = fetch_outputs(service, watch.job_id, final, job.folder, checkpoint, say)
            found, error = earlier, earlier.error
            _let_go(job, service, watch)
        except KeyboardInterrupt:
            error = _stop(job, service, watch)
            # What may cost money without anybody's knowing its name is not settled by a Ctrl-C.
            interrupted = error is None
        except _JobFailedError as failure:
            error = failure.error
            _let_go(job, service, watch)
        except ProgramTimedOutError as failure:
            _stop(job, service, watch)
            error = RunError(code=failure.code, message=failure.message, hint=failure.hint or "")
        except PipelineError as failure:
            error = _told(failure, watch)
        if error is None or error.code != ServiceUnreachableError.code:
            _ask_what_it_cost(service, watch)
        outcome = Outcome(
            status=None,
            interrupted=interrupted,
            error=error,
            final=None if interrupted or error else found.final,
            checkpoints=found.checkpoints,
            steps_done=watch.steps,
            final_loss=watch.loss,
            seconds=pace.clock() - started,
            warnings=tuple(watch.warnings),
            cost=as_paid(watch.spent),
        )
        log.add_event(Event("finished", TOPIC, outcome.words))
    return outcome


def as_paid(spent: Spent | None) -> Cost | None:
    """Return what a job has cost as a run's record keeps it."""
    if spent is None:
        return None
    return Cost(actual=spent.amount, currency=spent.currency, actual_basis=spent.basis)


def _ask_what_it_cost(service: HostedService, watch: _Watch) -> None:
    if not watch.job_id:
        return
    try:
        watch.spent = service.spent(watch.job_id)
    except PipelineError as failure:
        watch.warnings.append(f"what the job cost is not known: {failure.message}")


def _have_job(
    job: HostedJob,
    service: HostedService,
    watch: _Watch,
    recorded: Callable[[str], None],
    events: EventSink,
) -> None:
    known = find_job(service, job)
    if known is None:
        if job.plan is None:
            raise ServiceRefusedError(
                f"there is no job {job.name} at the service", hint="lora train sends it anew"
            )
        events(Event("started", TOPIC, f"sending {len(job.plan.uploads)} files"))
        known = _sent(job, job.plan, service)
    watch.job_id = known
    if known != job.job_id:
        recorded(known)
    events(Event("started", TOPIC, f"job {known}"))


def _sent(job: HostedJob, plan: Plan, service: HostedService) -> str:
    def creating() -> None:
        files.write_atomic(job.folder / _SENDING, json.dumps({"name": job.name}).encode())

    try:
        return service.send(plan, job.name, creating)
    except ServiceUnreachableError as lost:
        # The answer was lost, and perhaps the job was not: whoever sends again looks first.
        try:
            known = find_job(service, job)
        except JobInDoubtError:
            raise
        except ServiceError:
            raise lost from None
        if known is None:
            raise
        return known


def _until_ended(
    job: HostedJob,
    trainer: HostedTrainer,
    service: HostedService,
    watch: _Watch,
    log: RunLog,
    events: EventSink,
    pace: Pace,
) -> None:
    wait, news = pace.every_s, pace.clock()
    last: JobView | None = None
    while True:
        try:
            view = service.look(watch.job_id)
        except ServiceUnreachableError as failure:
            if _too_long(pace, news):
                raise
            events(Event("warning", TOPIC, f"{failure.message}; asking again"))
        else:
            _note(view, job, trainer, watch, log, events, changed=_changed(view, last))
            if view.state == "ended":
                return
            if view.state in {"failed", "stopped"}:
                raise _JobFailedError(_why(view, trainer, log))
            if _changed(view, last) or view.state == "waiting":
                wait, news = pace.every_s, pace.clock()
            last = view
            if _too_long(pace, news):
                raise ProgramTimedOutError(
                    f"job {watch.job_id} told nothing new for {pace.patience_s:g} s",
                    hint="trainers.idleTimeoutSeconds says how long is waited",
                )
        pace.sleep(wait)
        wait = min(wait * _SLOWER, pace.every_s * _SLOWEST)


def _too_long(pace: Pace, news: float) -> bool:
    return pace.patience_s is not None and pace.clock() - news > pace.patience_s


def _changed(view: JobView, last: JobView | None) -> bool:
    return last is None or bool(view.lines) or view != last


def _note(
    view: JobView,
    job: HostedJob,
    trainer: HostedTrainer,
    watch: _Watch,
    log: RunLog,
    events: EventSink,
    *,
    changed: bool,
) -> None:
    for text in view.lines:
        line = log.add_line(OutputLine("stdout", text))
        told = trainer.read_line(line)
        if told is None:
            events(Event("log", TOPIC, line.text))
        elif told.total in {None, job.total_steps}:
            watch.steps = max(watch.steps, told.step)
            watch.loss = told.loss if told.loss is not None and math.isfinite(told.loss) else None
    watch.steps = max(watch.steps, view.step or 0)
    if changed and (watch.steps or view.message):
        events(progress_event(watch.steps, job.total_steps, watch.loss, view.message))


def _why(view: JobView, trainer: HostedTrainer, log: RunLog) -> RunError:
    if view.state == "stopped":
        return RunError(
            code="stopped_elsewhere",
            message="somebody stopped the job at its service",
            hint="lora train sends it anew",
        )
    told = trainer.explain(log.last_lines, 1)
    if told.code != "trainer_failed" or not view.message:
        return told
    told = trainer.explain([OutputLine("stderr", view.message)], 1)
    if told.code != "trainer_failed":
        return told
    return RunError(code=told.code, message=f"the job failed: {view.message[:300]}", hint=told.hint)


def _let_go(job: HostedJob, service: HostedService, watch: _Watch) -> None:
    """Give back what was rented for a job of which nothing more is wanted."""
    if not isinstance(service, Renting):
        return
    try:
        service.let_go(job.name)
    except PipelineError as failure:
        watch.warnings.append(
            f"what was rented for {job.name} may go on costing money: {failure.message}"
        )


def _stop(job: HostedJob, service: HostedService, watch: _Watch) -> RunError | None:
    """Stop a job, where there is one; returns why it is in doubt whether there is."""
    try:
        # The request that made it may have been cut off before its answer came.
        job_id = watch.job_id or find_job(service, job)
        if job_id:
            watch.job_id = job_id
            service.stop(job_id)
    except PipelineError as failure:
        watch.warnings.append(
            f"job {watch.job_id or job.name} could not be stopped and may go on: {failure.message}"
        )
        if not watch.job_id:
            hint = failure.hint or ""
            return RunError(code=JobInDoubtError.code, message=failure.message, hint=hint)
    return None


def _told(failure: PipelineError, watch: _Watch) -> RunError:
    hint = failure.hint or ""
    if watch.job_id:
        hint = "lora run resume takes the job up again, lora run cancel gives it up"
    return RunError(code=failure.code, message=failure.message, hint=hint)


def _teller(events: EventSink) -> Callable[[str], None]:
    return lambda words: events(Event("log", TOPIC, words))


class _JobFailedError(PipelineError):
    def __init__(self, error: RunError) -> None:
        super().__init__(error.message)
        self.error = error
