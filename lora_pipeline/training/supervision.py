"""Run a plan: files written, program started and watched, its outcome verified on disk."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

from lora_pipeline.foundation import files
from lora_pipeline.foundation.child_environment import child_environment
from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.foundation.events import Event, EventSink
from lora_pipeline.foundation.process import OutputLine, Supervised
from lora_pipeline.training.outcome import (
    Found,
    Outcome,
    not_before,
    steps_warning,
    verify_outputs,
)
from lora_pipeline.training.plan import CheckpointOnDisk, Plan
from lora_pipeline.training.progress import TOPIC, progress_event
from lora_pipeline.training.records import RunError
from lora_pipeline.training.runs.folder import trainer_runs
from lora_pipeline.training.runs.log import RunLog
from lora_pipeline.training.trainers.interface import Continuation, Trainer, TrainingProgress

_LEFT = 130  # exit status of a process that leaves its work to somebody else


class _Guarded(msgspec.Struct, frozen=True):
    """How a program is started and watched."""

    environment: dict[str, str]
    held: tuple[int, ...]
    idle_timeout_s: float | None


@dataclass
class _Watch:
    """What was seen of a running program so far."""

    steps: int = 0
    loss: float | None = None


def supervise(
    plan: Plan,
    trainer: Trainer,
    checkpoint: CheckpointOnDisk,
    folder: Path,
    *,
    events: EventSink,
    idle_timeout_s: float | None = None,
    going_on: Continuation | None = None,
) -> Outcome:
    """Run a plan to its end and return what it came to; a failure is an outcome, no error.

    Args:
        plan: What to run.
        trainer: Reads its output.
        checkpoint: The base model that the weights must fit.
        folder: Private folder of the run; the caller holds it.
        events: Takes progress.
        idle_timeout_s: Longest silence of the program; None is for ever.
        going_on: How the plan is run when it goes on from an earlier run's saves.
    """
    going_on = going_on or Continuation(0, plan)
    plan = going_on.plan
    for planned in plan.files:
        path = files.safe_join(folder, planned.path)
        files.write_atomic(path, planned.content.encode())
    files.safe_join(folder, plan.expected_output).parent.mkdir(parents=True, exist_ok=True)
    secrets = {name: os.environ[name] for name in plan.secrets if name in os.environ}
    started, started_ns, watch = time.monotonic(), time.time_ns(), _Watch()
    with RunLog(folder, list(secrets.values())) as log:
        events = log.beside(events)
        status, error, interrupted = None, None, False
        try:
            environment = child_environment(dict(plan.environment) | secrets)
            with trainer_runs(folder) as held:
                guarded = _Guarded(environment, () if held is None else (held,), idle_timeout_s)
                status = _run(going_on, trainer, guarded, watch, log, events)
        except KeyboardInterrupt:
            interrupted = True
        except PipelineError as failure:
            error = RunError(code=failure.code, message=failure.message, hint=failure.hint or "")
        seconds = time.monotonic() - started
        earliest = not_before(started_ns, seconds, time.time_ns())
        found, written_loss = _found(plan, trainer, folder, checkpoint, earliest)
        if status == 0 and found.error and found.error.code == "no_output":
            # Some programs say on the way why there is nothing, and end as if all were well.
            told = trainer.explain(log.last_lines, status)
            error = found.error if told.code == "trainer_failed" else told
        elif status != 0 and not interrupted:
            error = error or trainer.explain(log.last_lines, status if status is not None else -1)
            found = Found(None, found.checkpoints, None)
        error = None if interrupted else error or found.error
        outcome = Outcome(
            status=status,
            interrupted=interrupted,
            error=error,
            final=None if interrupted or error else found.final,
            checkpoints=found.checkpoints,
            steps_done=watch.steps,
            final_loss=written_loss if watch.loss is None else watch.loss,
            seconds=seconds,
            warnings=tuple([] if error else steps_warning(watch.steps, plan.total_steps)),
        )
        log.add_event(Event("finished", TOPIC, outcome.words))
    return outcome


@contextlib.contextmanager
def asked_to_stop(*, leaves: Callable[[], bool] | None = None) -> Iterator[None]:
    """Treat a request to end (SIGTERM, a closed terminal) like Ctrl-C for the time of the block.

    Without it the operating system would end us at once, and nobody would record the run.

    Args:
        leaves: Asked then; True ends this process at once instead, as a kill would. For work
            that goes on elsewhere and that somebody else takes up.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        if leaves is not None and leaves():
            os._exit(_LEFT)
        signal.default_int_handler(number, frame)

    names = [one for one in ("SIGTERM", "SIGHUP") if hasattr(signal, one)]
    before: dict[int, Any] = {}
    for name in names:
        number = getattr(signal, name)
        before[number] = signal.signal(number, end)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(
    going_on: Continuation,
    trainer: Trainer,
    guarded: _Guarded,
    watch: _Watch,
    log: RunLog,
    events: EventSink,
) -> int:
    plan = going_on.plan
    events(Event("started", TOPIC, f"{plan.trainer} {plan.trainer_version}".strip()))
    with Supervised(
        plan.argv, cwd=plan.cwd, environment=guarded.environment, held=guarded.held
    ) as process:
        for line in process.lines(idle_timeout_s=guarded.idle_timeout_s):
            clean = log.add_line(line)
            progress = trainer.read_line(clean)
            progress = None if progress is None else going_on.counted(progress)
            if progress is None or progress.total not in {None, plan.total_steps}:
                # Bars of another length are of something else: previews, caches, downloads.
                events(_log_event(clean))
            else:
                _note(progress, plan, watch, events)
        return process.wait()


def _note(progress: TrainingProgress, plan: Plan, watch: _Watch, events: EventSink) -> None:
    # A program may count wrongly, or mean to; the record knows how many steps were planned.
    step = min(max(progress.step, 0), plan.total_steps)
    watch.steps = max(watch.steps, step)
    if progress.loss is not None:
        # JSON has no NaN, and a loss that is none says nothing about how far training came.
        watch.loss = progress.loss if math.isfinite(progress.loss) else None
    events(progress_event(step, progress.total or plan.total_steps, watch.loss))


def _log_event(line: OutputLine) -> Event:
    return Event("log", TOPIC, line.text)


def _found(
    plan: Plan, trainer: Trainer, folder: Path, checkpoint: CheckpointOnDisk, started_ns: int
) -> tuple[Found, float | None]:
    try:
        collected = trainer.collect(plan, folder)
    except PipelineError as error:
        told = RunError(code=error.code, message=error.message, hint=error.hint or "")
        return Found(None, (), told), None
    return verify_outputs(collected, folder, checkpoint, started_ns), collected.loss
