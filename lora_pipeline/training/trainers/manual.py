"""No trainer at all: weights that were made elsewhere are registered, after the same checks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lora_pipeline.foundation.errors import RecipeInvalidError
from lora_pipeline.foundation.process import OutputLine
from lora_pipeline.training.failure import explain_failure
from lora_pipeline.training.plan import Plan, TrainingRequest
from lora_pipeline.training.records import RunError
from lora_pipeline.training.steps import total_steps
from lora_pipeline.training.trainers.interface import Collected, Problem, TrainingProgress
from lora_pipeline.workspace.settings import Settings


class ManualTrainer:
    """The adapter to people and services that bring a finished file."""

    name = "manual"
    summary = "nothing is run: registers weights made elsewhere, after the same checks"
    architectures: tuple[str, ...] = ()
    starts_program = False
    loads_adapters = False

    def health(self, settings: Settings) -> Problem | None:  # noqa: ARG002
        """Return None: there is nothing to install."""
        return None

    def version(self, settings: Settings) -> str:  # noqa: ARG002
        """Return ``unknown``: nobody says what made the weights."""
        return "unknown"

    def prepare(self, request: TrainingRequest, settings: Settings, version: str) -> Plan:  # noqa: ARG002
        """Return a plan that runs nothing: it says which weights are expected.

        Raises:
            RecipeInvalidError: When arguments for a program are given.
        """
        if request.extra_arguments or request.config_file is not None:
            raise RecipeInvalidError(
                "manual runs no program that could take arguments",
                hint="leave --trainer-args and --trainer-config out",
            )
        return Plan(
            trainer=self.name,
            trainer_version=version,
            files=(),
            argv=(),
            cwd=request.run_folder,
            environment={},
            expected_output=f"{request.output_name}.safetensors",
            total_steps=total_steps(request.recipe, request.data.images_per_epoch),
            warnings=("nothing is run: train elsewhere, then register with --weights FILE",),
        )

    def read_line(self, line: OutputLine) -> TrainingProgress | None:  # noqa: ARG002
        """Return None: there is no program."""
        return None

    def collect(self, plan: Plan, run_folder: Path) -> Collected:  # noqa: ARG002
        """Return nothing: the weights are named on the command line."""
        return Collected(final=None)

    def explain(self, lines: Sequence[OutputLine], status: int) -> RunError:
        """Return why a program failed, for completeness: none is run."""
        return explain_failure(lines, status)


MANUAL = ManualTrainer()
