"""What a run came to, told by what stands on disk and never by the program's own word."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from lora_pipeline.foundation.errors import PipelineError, UnsafePathError
from lora_pipeline.foundation.result import Refusal
from lora_pipeline.training.plan import CheckpointOnDisk
from lora_pipeline.training.records import Cost, OutputFile, RunError
from lora_pipeline.training.trainers.interface import Collected, CollectedFile
from lora_pipeline.training.weights.inspection import WeightsReport, inspect_weights, require_usable

# File systems keep times as coarse as two seconds.
_CLOCK_GRAIN_NS = 2_000_000_000


class Outcome(msgspec.Struct, frozen=True):
    """What a run came to.

    Attributes:
        status: Exit status of the program, or None when it did not end by itself.
        interrupted: Whether somebody asked it to stop.
        error: Why there are no usable weights, or None.
        final: The verified weights, or None.
        checkpoints: Verified weights of earlier steps.
        steps_done: Steps that the program reported.
        final_loss: The last loss that it reported.
        seconds: How long it ran.
        warnings: What was worth knowing.
        cost: What it cost as its service tells, or None; only what is actual counts.
    """

    status: int | None
    interrupted: bool
    error: RunError | None
    final: WeightsReport | None
    checkpoints: tuple[OutputFile, ...]
    steps_done: int
    final_loss: float | None
    seconds: float
    warnings: tuple[str, ...]
    cost: Cost | None = None

    @property
    def words(self) -> str:
        """How it ended, in a few words."""
        if self.interrupted:
            return "cancelled"
        return f"failed: {self.error.message}" if self.error else "weights verified"


class Found(msgspec.Struct, frozen=True):
    """What of the collected files is usable."""

    final: WeightsReport | None
    checkpoints: tuple[OutputFile, ...]
    error: RunError | None


def refused_outcome(refusal: Refusal) -> Outcome:
    """Return the outcome of a run that was refused after it was recorded: nothing was begun."""
    error = RunError(code=refusal.code, message=refusal.message, hint=refusal.hint or "")
    return Outcome(None, False, error, None, (), 0, None, 0.0, ())  # noqa: FBT003


def verify_outputs(
    collected: Collected, folder: Path, checkpoint: CheckpointOnDisk, started_ns: int
) -> Found:
    """Check the files that a run left: new, sound, finite, not all zero, and for this model.

    Args:
        collected: What the adapter found.
        folder: Folder of the run; what leaves it is not taken.
        checkpoint: The base model.
        started_ns: When the run started; older files are not its own.
    """
    checkpoints = tuple(
        output
        for one in collected.checkpoints
        if (output := _kept(one, folder, checkpoint, started_ns)) is not None
    )
    if collected.final is None:
        error = RunError(
            code="no_output",
            message="the trainer ended without an error and without weights",
            hint="lora run log shows what it printed",
        )
        return Found(None, checkpoints, error)
    try:
        report = _verified(collected.final, folder, checkpoint, started_ns)
    except PipelineError as error:
        return Found(
            None,
            checkpoints,
            RunError(code=error.code, message=error.message, hint=error.hint or ""),
        )
    return Found(report, checkpoints, None)


def not_before(started_ns: int, seconds: float, now_ns: int) -> int:
    """Return the time before which no file of a run can have been written.

    A clock that was set back while the run went on would make its own files look older than it;
    the duration is told by a clock that nobody can set.
    """
    return min(started_ns, now_ns - round(seconds * 1e9))


def output_of(report: WeightsReport, folder: Path, step: int | None = None) -> OutputFile:
    """Return verified weights as a run's record names them."""
    return OutputFile(
        name=report.path.relative_to(folder).as_posix(),
        sha256=report.sha256,
        bytes=report.bytes,
        tensor_sha256=report.tensor_sha256,
        step=step,
    )


def steps_warning(steps_done: int, planned: int) -> Sequence[str]:
    """Return a warning when fewer steps were reported than planned."""
    if 0 < steps_done < planned:
        return [f"the trainer reported {steps_done} of {planned} steps"]
    return []


def _kept(
    one: CollectedFile, folder: Path, checkpoint: CheckpointOnDisk, started_ns: int
) -> OutputFile | None:
    # A checkpoint may have been cut short by whatever ended the run; then it is simply not kept.
    try:
        return output_of(_verified(one, folder, checkpoint, started_ns), folder, one.step)
    except PipelineError:
        return None


def _verified(
    one: CollectedFile, folder: Path, checkpoint: CheckpointOnDisk, started_ns: int
) -> WeightsReport:
    if one.path.is_symlink() or not one.path.resolve().is_relative_to(folder.resolve()):
        raise UnsafePathError(
            f"{one.path.name} is a link, or stands outside of the run's folder",
            hint="lora run log shows what the trainer printed",
        )
    report = inspect_weights(one.path)
    if one.path.stat().st_mtime_ns < started_ns - _CLOCK_GRAIN_NS:
        raise _OldFileError(
            f"{one.path.name} is older than the run: the trainer wrote no new weights",
            hint="lora run log shows what it printed",
        )
    require_usable(report, checkpoint)
    return report


class _OldFileError(PipelineError):
    code = "no_output"
