"""What a trainer adapter is: it translates, and runs nothing itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import msgspec

from lora_pipeline.foundation.process import OutputLine
from lora_pipeline.training.plan import Plan, TrainingRequest
from lora_pipeline.training.records import RunError
from lora_pipeline.workspace.settings import Settings


class Problem(msgspec.Struct, frozen=True):
    """Why a trainer cannot run here, and the command that mends it."""

    message: str
    hint: str


class TrainingProgress(msgspec.Struct, frozen=True):
    """Where a run stands, read from one line of the trainer.

    Attributes:
        step: Optimiser steps done.
        total: Steps in all, or None when the line does not say.
        loss: Latest loss, or None.
    """

    step: int
    total: int | None = None
    loss: float | None = None


class CollectedFile(msgspec.Struct, frozen=True):
    """Weights that a run left behind; not verified yet.

    Attributes:
        path: The safetensors file.
        step: Optimiser step it was saved at, or None for the final one.
    """

    path: Path
    step: int | None = None


class Collected(msgspec.Struct, frozen=True):
    """What a run left behind.

    Attributes:
        final: The final weights, when there are any.
        checkpoints: Weights of earlier steps.
        loss: The last loss, where the program wrote it down instead of printing it.
    """

    final: CollectedFile | None
    checkpoints: tuple[CollectedFile, ...] = ()
    loss: float | None = None


class Continuation(msgspec.Struct, frozen=True):
    """How a run goes on from what an interrupted one saved.

    Attributes:
        step: The step that it goes on from.
        plan: What is run: the same work, told to go on.
        bar: What the program says are all its steps, where it counts what is left from zero;
            None where it counts on.
    """

    step: int
    plan: Plan
    bar: int | None = None

    def counted(self, progress: TrainingProgress) -> TrainingProgress:
        """Return progress in steps of the whole training."""
        if self.bar is None or progress.total != self.bar:
            return progress
        done = self.step + progress.step
        return TrainingProgress(done, self.plan.total_steps, progress.loss)


class Trainer(Protocol):
    """An adapter to one training program.

    Attributes:
        name: Its name on the command line.
        summary: One line about it.
        architectures: Architectures that it trains; empty means any.
        starts_program: False when nothing is run on this machine.
        loads_adapters: Whether it can train a distilled model with the adapter that it needs.
    """

    name: str
    summary: str
    architectures: tuple[str, ...]
    starts_program: bool
    loads_adapters: bool

    def health(self, settings: Settings) -> Problem | None:
        """Return why it cannot run on this machine, or None when it can."""

    def version(self, settings: Settings) -> str:
        """Return the version of the program, or ``unknown``."""

    def prepare(self, request: TrainingRequest, settings: Settings, version: str) -> Plan:
        """Return what will be run, whether the program is installed or not.

        Pure: it reads no clock and no environment, looks for the program where the settings
        say, and reads no file but ``request.config_file``.

        Raises:
            RecipeInvalidError: When the recipe asks for what the trainer cannot do.
        """

    def read_line(self, line: OutputLine) -> TrainingProgress | None:
        """Return the progress that a line tells, or None: unknown lines are no errors."""

    def collect(self, plan: Plan, run_folder: Path) -> Collected:
        """Return the weights that the run left below its folder, unverified."""

    def explain(self, lines: Sequence[OutputLine], status: int) -> RunError:
        """Return why a failed run failed, from its last lines and its exit status."""


@runtime_checkable
class Resuming(Protocol):
    """A trainer whose program goes on from what an interrupted run has saved."""

    def carry_over(self, plan: Plan, earlier: Path, run_folder: Path) -> Continuation | None:
        """Copy what a run of the same plan saved into the folder of a new one.

        Returns:
            How the new one goes on; None when nothing usable was saved.
        """


@runtime_checkable
class LimitsCaptions(Protocol):
    """A trainer that may hand its text encoders fewer or more tokens than is usual."""

    def caption_reach(self, request: TrainingRequest, plan: Plan) -> int | None:
        """Return how many tokens of a caption the leading encoder reads; None is the usual number.

        Marks of start and end are not counted. Read from the plan itself, so that an option
        of the user's own file counts.
        """


Registry = Mapping[str, Trainer]
