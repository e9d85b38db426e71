"""What services may cost: caps, and what runs and pictures count for; pure.

A cap is compared with what was spent and with what may still come: a run whose cost is not known
yet counts with its estimate, and one of which nobody can say whether it has a job counts too.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from lora_pipeline.catalog.records import ProjectSpending
from lora_pipeline.foundation.result import Refusal
from lora_pipeline.training.hosted.interface import JobEstimate
from lora_pipeline.training.records import Expense, Run
from lora_pipeline.workspace.settings import Settings

UNDER_WAY = frozenset({"created", "queued", "training"})
# Failures after which a job may be there although no record names it.
JOB_IN_DOUBT = frozenset({"service_unreachable", "interrupted", "job_in_doubt"})
_PENNY = 0.005


class Cap(msgspec.Struct, frozen=True):
    """One limit.

    Attributes:
        amount: Money.
        source: Where it is set, for messages.
    """

    amount: float
    source: str


class Caps(msgspec.Struct, frozen=True):
    """The limits in force.

    Attributes:
        per_run: For the estimate of one run, or of the pictures of one command.
        per_project: For all that a project spends.
        currency: ISO 4217.
    """

    per_run: Cap
    per_project: Cap
    currency: str


class Account(msgspec.Struct, frozen=True):
    """What the runs and pictures of a project come to.

    Attributes:
        paid: What is known to have been paid.
        open: Estimates of what is not known to have been paid, under way or not.
        unsettled: How many of those there are.
        other: Currencies in which there is something that cannot be compared.
    """

    paid: float = 0.0
    open: float = 0.0
    unsettled: int = 0
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


def counts_for(one: Run | Expense) -> tuple[float, bool]:
    """Return what a run or pictures count for, and whether that is known to be what was paid."""
    if isinstance(one, Run):
        return _run_counts_for(one)
    cost = one.cost
    if one.ended_at and cost.actual is not None:
        return cost.actual, True
    return max(cost.estimate, cost.actual or 0.0), False


def _run_counts_for(run: Run) -> tuple[float, bool]:
    cost = run.cost
    if cost.actual is not None and run.state not in UNDER_WAY:
        return cost.actual, True
    code = run.error.code if run.error is not None else ""
    if run.state in UNDER_WAY or run.external_job_id or code in JOB_IN_DOUBT:
        return max(cost.estimate, cost.actual or 0.0), False
    return 0.0, True  # it ended before a job of it existed


def account_of(spent: Iterable[Run | Expense], currency: str) -> Account:
    """Return what runs and pictures come to in one currency."""
    paid = open_ = 0.0
    count, other = 0, set[str]()
    for one in spent:
        amount, known = counts_for(one)
        if not amount:
            continue
        if one.cost.currency != currency:
            other.add(one.cost.currency)
        elif known:
            paid += amount
        else:
            open_ += amount
            count += 1
    return Account(paid, open_, count, tuple(sorted(other)))


def spending_refusal(
    estimate: JobEstimate, caps: Caps, account: Account, *, less: str = "fewer steps"
) -> Refusal | None:
    """Return why a job may not be sent for its cost, or None.

    Args:
        estimate: What it is expected to cost.
        caps: The limits.
        account: What was spent.
        less: What makes it cheaper, for the hint.
    """
    if estimate.cost == 0:
        return None
    unit = caps.currency
    if estimate.cost is None or estimate.currency != unit or account.other:
        why = (
            "nobody can say what it would cost"
            if estimate.cost is None
            else f"its cost is in {estimate.currency}, the caps are in {unit}"
            if estimate.currency != unit
            else f"what the project spent is in {', '.join(account.other)}, the caps in {unit}"
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
            f"{less}, or raise {caps.per_run.source}",
        )
    if account.total + estimate.cost > caps.per_project.amount:
        open_ = (
            f", {money(account.open, unit)} of it estimates of {account.unsettled} "
            f"job{'s' * (account.unsettled != 1)} whose cost is not known yet"
            if account.unsettled
            else ""
        )
        return Refusal(
            "spending_cap",
            f"it is estimated at {money(estimate.cost, unit)}, the project has spent "
            f"{money(account.total, unit)}{open_}, and may spend "
            f"{money(caps.per_project.amount, unit)}",
            f"lora run list shows it; raise {caps.per_project.source} for more",
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
