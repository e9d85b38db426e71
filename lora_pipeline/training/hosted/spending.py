"""What hosted training may cost: caps, and what runs count for; pure.

A cap is compared with what was spent and with what may still come: a run whose cost is not known
yet counts with its estimate, and one of which nobody can say whether it has a job counts too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from lora_pipeline.catalog.records import ProjectSpending
from lora_pipeline.foundation.result import Refusal
from lora_pipeline.training.hosted.interface import JobEstimate
from lora_pipeline.training.records import Run
from lora_pipeline.workspace.settings import Settings

UNDER_WAY = frozenset({"created", "queued", "training"})
# Failures after which a job may be there although no record names it.
JOB_IN_DOUBT = frozenset({"service_unreachable", "interrupted", "job_in_doubt"})
_PENNY = 0.005


@dataclass(frozen=True)
class Cap:
    """One limit.

    Attributes:
        amount: Money.
        source: Where it is set, for messages.
    """

    amount: float
    source: str


@dataclass(frozen=True)
class Caps:
    """The limits in force.

    Attributes:
        per_run: For the estimate of one run.
        per_project: For all runs of a project together.
        currency: ISO 4217.
    """

    per_run: Cap
    per_project: Cap
    currency: str


@dataclass(frozen=True)
class Account:
    """What the runs of a project come to.

    Attributes:
        paid: What is known to have been paid.
        open: Estimates of runs whose cost is not known, under way or not.
        runs: How many of those there are.
        other: Currencies in which there is something that cannot be compared.
    """

    paid: float = 0.0
    open: float = 0.0
    runs: int = 0
    other: tuple[str, ...] = ()

    @property
    def total(self) -> float:
        """What counts against a cap."""
        return self.paid + self.open


def caps_of(settings: Settings, project: ProjectSpending | None) -> Caps:
    """Return the limits in force: the lower of the settings' and the project's own."""
    ours = project or ProjectSpending()
    return Caps(
        per_run=_lower(settings, "spending.maxPerRun", ours.max_per_run),
        per_project=_lower(settings, "spending.maxPerProject", ours.max_per_project),
        currency=settings.require_text("spending.currency"),
    )


def counts_for(run: Run) -> tuple[float, bool]:
    """Return what a run counts for, and whether that is known to be what was paid."""
    cost = run.cost
    if cost.actual is not None and run.state not in UNDER_WAY:
        return cost.actual, True
    code = run.error.code if run.error is not None else ""
    if run.state in UNDER_WAY or run.external_job_id or code in JOB_IN_DOUBT:
        return max(cost.estimate, cost.actual or 0.0), False
    return 0.0, True  # it ended before a job of it existed


def account_of(runs: Iterable[Run], currency: str) -> Account:
    """Return what runs come to in one currency."""
    paid = open_ = 0.0
    count, other = 0, set[str]()
    for run in runs:
        amount, known = counts_for(run)
        if not amount:
            continue
        if run.cost.currency != currency:
            other.add(run.cost.currency)
        elif known:
            paid += amount
        else:
            open_ += amount
            count += 1
    return Account(paid, open_, count, tuple(sorted(other)))


def spending_refusal(estimate: JobEstimate, caps: Caps, account: Account) -> Refusal | None:
    """Return why a job may not be sent for its cost, or None."""
    if estimate.cost == 0:
        return None
    unit = caps.currency
    if estimate.cost is None or estimate.currency != unit or account.other:
        why = (
            "nobody can say what it would cost"
            if estimate.cost is None
            else f"its cost is in {estimate.currency}, the caps are in {unit}"
            if estimate.currency != unit
            else f"runs of the project are in {', '.join(account.other)}, the caps in {unit}"
        )
        return Refusal(
            "cost_unknown",
            f"{why}, so it cannot be held against the caps",
            estimate.basis or "set the trainer's price, in the currency of spending.currency",
        )
    if estimate.cost > caps.per_run.amount:
        return Refusal(
            "spending_cap",
            f"it is estimated at {money(estimate.cost, unit)}, and a run may cost "
            f"{money(caps.per_run.amount, unit)}",
            f"fewer steps, or raise {caps.per_run.source}",
        )
    if account.total + estimate.cost > caps.per_project.amount:
        open_ = (
            f", {money(account.open, unit)} of it estimates of {account.runs} "
            f"run{'s' * (account.runs != 1)} whose cost is not known yet"
            if account.runs
            else ""
        )
        return Refusal(
            "spending_cap",
            f"it is estimated at {money(estimate.cost, unit)}, the project has spent "
            f"{money(account.total, unit)}{open_}, and may spend "
            f"{money(caps.per_project.amount, unit)}",
            f"lora run list shows them; raise {caps.per_project.source} for more",
        )
    return None


def money(amount: float, currency: str) -> str:
    """Return an amount as people read it; what rounds to nothing is said to be less than that."""
    if 0 < amount < _PENNY:
        return f"less than 0.01 {currency}"
    return f"{amount:.2f} {currency}"


def _lower(settings: Settings, key: str, ours: float | None) -> Cap:
    value = settings.values[key]
    amount = settings.number(key)
    if ours is not None and ours < amount:
        return Cap(ours, f"spending.{key.rpartition('.')[2]} of the project's record")
    where = "config/pipeline.yaml" if value.source == "default" else value.source
    return Cap(amount, f"{key} in {where}")
