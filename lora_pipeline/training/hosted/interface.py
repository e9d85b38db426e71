"""What a hosted trainer is: the interface for every trainer that runs on somebody else's machine.

A hosted trainer (``ai_toolkit_server`` is the first) is a ``Trainer`` whose plan starts no
program here. It says what would leave this machine, and opens a ``HostedService``: the few
verbs that ``follow.py`` needs to run one job. Everything that must never go wrong is done there,
once, for all of them: nothing is sent without consent, the job's id stands in the run's record
before anybody waits for it, a job that was sent is taken up again and never sent twice, what
comes back is verified on disk.

To add one: derive from ``HostedTrainer``, write a ``HostedService``, add it to the registry and
to ``tests/contract/test_trainers.py``, and give it a local server that misbehaves, as
``tests/support/fake_ai_toolkit_server.py`` does for the first. Where training costs money, say in
``estimate`` what it is expected to cost and in ``spent`` what it did: caps are compared
(``spending.py``) before anything leaves, and the run's record keeps both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

import msgspec

from lora_pipeline.foundation.errors import TrainerUnavailableError
from lora_pipeline.foundation.extras import missing_modules
from lora_pipeline.foundation.process import OutputLine
from lora_pipeline.training.failure import explain_failure
from lora_pipeline.training.plan import Plan, TrainingRequest
from lora_pipeline.training.records import Cost, Recipe, RunError
from lora_pipeline.training.trainers.interface import (
    Collected,
    CollectedFile,
    Problem,
    TrainingProgress,
)
from lora_pipeline.workspace.settings import Settings

JobState = Literal["waiting", "running", "ended", "failed", "stopped"]
OUTPUT = "output"


class JobView(msgspec.Struct, frozen=True):
    """A job as its service tells it; a claim, not a proof.

    Attributes:
        state: ``waiting`` for a machine, ``running``, or how it ended.
        step: Optimiser steps done, or None when the service does not say.
        message: What the service says of it.
        lines: What the trainer printed since the last look.
    """

    state: JobState
    step: int | None = None
    message: str = ""
    lines: tuple[str, ...] = ()


class RemoteFile(msgspec.Struct, frozen=True):
    """Weights that a job left at its service.

    Attributes:
        where: Path or address, as the service names it.
        bytes: Its length, or None when the service does not say.
        step: Optimiser step it was saved at, or None for the final one.
        sha256: Its digest, or empty when the service tells none.
    """

    where: str
    bytes: int | None
    step: int | None = None
    sha256: str = ""


class JobEstimate(msgspec.Struct, frozen=True):
    """What a job is expected to take; no part of the plan, because prices change and jobs don't.

    Attributes:
        cost: Money, or None when nobody can say; then it is refused wherever there is a cap.
        minutes: Time, or None when nobody can say.
        currency: ISO 4217.
        basis: How the numbers were made, and of when the price is.
    """

    cost: float | None
    minutes: float | None
    currency: str = "USD"
    basis: str = ""

    def as_cost(self) -> Cost:
        """Return it as a run's record keeps it."""
        return Cost(
            estimate=self.cost or 0.0,
            currency=self.currency,
            minutes=self.minutes,
            estimate_basis=self.basis,
        )


class Spent(msgspec.Struct, frozen=True):
    """What a job has cost.

    Attributes:
        amount: Money, or None for what was estimated, where that is how it is billed.
        currency: ISO 4217.
        basis: How it is known: told by the service, or its billed time and a price.
    """

    amount: float | None
    currency: str = "USD"
    basis: str = ""


AS_ESTIMATED = Spent(None, basis="billed by the step, as estimated; no bill")
FREE = JobEstimate(0.0, None)


class HostedService(Protocol):
    """One connection to a service, used for one run and closed afterwards.

    Every method may raise ``ServiceUnreachableError`` (no answer, or a refusal that passes: worth
    another try) or ``ServiceRefusedError`` (it answered, and the answer is no).
    """

    def __enter__(self) -> Self:
        """Return the connection."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close it."""

    def check(self) -> None:
        """Check that the service is there and takes our token; changes nothing there."""

    def find(self, name: str) -> str | None:
        """Return the id of the job of a name, or None when there surely is none.

        Asked after a sending whose outcome is not known: it is what keeps one run from becoming
        two jobs. A service that cannot tell raises ``JobInDoubtError`` with a hint that says
        where a person can look; None would make a second job.
        """

    def send(self, plan: Plan, name: str, creating: Callable[[], None]) -> str:
        """Send what the plan uploads, create the job and return its id.

        ``creating`` is called once, directly before the request that creates the job: it notes
        durably that there may be one from now on. Until then nothing may cost money.

        It may be called again for the same name after it failed half-way. A service that can
        create a job without starting it does not start it here.
        """

    def start(self, job_id: str) -> None:
        """See to it that a job runs; does nothing for one that runs already, or ran."""

    def look(self, job_id: str) -> JobView:
        """Return how a job stands."""

    def stop(self, job_id: str) -> None:
        """Stop a job; does nothing for one that ended or is not there any more."""

    def outputs(self, job_id: str) -> Sequence[RemoteFile]:
        """Return the weights that a job left."""

    def fetch(self, file: RemoteFile, target: Path) -> None:
        """Write a file to ``target``, whole or not at all, its length and digest compared."""

    def spent(self, job_id: str) -> Spent | None:
        """Return what an ended job has cost, or None while nobody knows."""


class HostedTrainer(ABC):
    """Base of trainers whose jobs run elsewhere; a ``Trainer`` in every other respect.

    ``prepare`` is pure as for every trainer: it asks no service anything, leaves ``argv`` empty,
    and names in ``Plan.service`` and ``Plan.uploads`` where the work would go and what it is.

    Attributes:
        extra: The optional extra that it needs.
        modules: What that extra installs, as it is imported.
    """

    name: str
    summary: str
    extra: str
    modules: tuple[str, ...]
    architectures: tuple[str, ...]
    starts_program = False
    loads_adapters = False

    @abstractmethod
    def problems(self, settings: Settings) -> Iterator[Problem]:
        """Yield what is not set up here; the service itself is not asked."""

    @abstractmethod
    def version(self, settings: Settings) -> str:
        """Return the version of what trains, or ``unknown``; the service is not asked."""

    @abstractmethod
    def prepare(self, request: TrainingRequest, settings: Settings, version: str) -> Plan:
        """Return what would be sent; asks nobody and reads no file but ``config_file``."""

    @abstractmethod
    def service(self, settings: Settings) -> HostedService:
        """Open a connection; nothing is asked yet.

        Raises:
            TrainerUnavailableError: When something is not set up here.
        """

    @abstractmethod
    def address(self, settings: Settings) -> str:
        """Return where jobs go, for people and for comparison with where a job went."""

    def health(self, settings: Settings) -> Problem | None:
        """Return what is not set up here, or None; the service itself is not asked."""
        if missing_modules(self.modules):
            return Problem(
                f"the extra {self.extra} is not installed",
                f"pip install 'lora-pipeline[{self.extra}]'",
            )
        return next(self.problems(settings), None)

    def require_set_up(self, settings: Settings) -> None:
        """Check that everything is set up here; the service itself is not asked.

        Raises:
            TrainerUnavailableError: When something is not.
        """
        for problem in self.problems(settings):
            raise TrainerUnavailableError(f"{self.name}: {problem.message}", hint=problem.hint)

    def estimate(
        self,
        plan: Plan,  # noqa: ARG002
        recipe: Recipe,  # noqa: ARG002
        settings: Settings,  # noqa: ARG002
    ) -> JobEstimate:
        """Return what a plan is expected to cost; pure, and without asking the service."""
        return FREE

    def discover(self, settings: Settings) -> Mapping[str, str]:  # noqa: ARG002
        """Ask the service for settings that are not set yet, for ``lora setup`` to record.

        Raises:
            ServiceError: When it cannot be asked.
        """
        return {}

    def job_name(self, run_id: str) -> str:
        """Return the name of a run's job: the same whenever it is asked for."""
        return f"lora-{run_id.lower()}"

    def read_line(self, line: OutputLine) -> TrainingProgress | None:  # noqa: ARG002
        """Return None: the service says how many steps were done."""
        return None

    def collect(self, plan: Plan, run_folder: Path) -> Collected:
        """Return what was fetched into the run's folder, unverified."""
        final = run_folder / plan.expected_output
        kept = []
        for path in sorted(final.parent.glob(f"{final.stem}-step*.safetensors")):
            step = path.stem.removeprefix(f"{final.stem}-step")
            if step.isdigit():
                kept.append(CollectedFile(path, int(step)))
        return Collected(CollectedFile(final) if final.is_file() else None, tuple(kept))

    def explain(self, lines: Sequence[OutputLine], status: int) -> RunError:
        """Return why a job failed, from the last lines of its log."""
        return explain_failure(lines, status)


def expected_output(output_name: str) -> str:
    """Return where the final weights of a hosted run are put, below its folder."""
    return f"{OUTPUT}/{output_name}.safetensors"
