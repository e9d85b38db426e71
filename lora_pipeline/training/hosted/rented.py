"""Machines that are paid by the hour: what they cost, and that none is left behind.

Where a service rents a whole machine for one job, the machine goes on costing money when the
job has ended, when it never came to be sent, and when we were killed. ``Renting`` is what a
service implements then; ``follow.py`` and the operations see to it that it is used.
"""

from __future__ import annotations

from datetime import datetime
from typing import Protocol, runtime_checkable

import msgspec

from lora_pipeline.training.hosted.interface import JobEstimate, Spent
from lora_pipeline.workspace.settings import PIPELINE_FILE, Settings

_HOUR_S = 3600.0


class Kept(msgspec.Struct, frozen=True):
    """A machine that is rented now.

    Attributes:
        id: Its id at the service.
        name: The name of the job that it was rented for.
        cost_per_hour: What it costs, or 0.0 when the service does not say.
        since: When it was rented, as the service tells it.
    """

    id: str
    name: str
    cost_per_hour: float = 0.0
    since: str = ""


@runtime_checkable
class Renting(Protocol):
    """A service that keeps something for a job that costs money for as long as it is kept."""

    def holds_job(self, job_id: str) -> bool:
        """Return whether the machine of this id holds a job, or nothing that was sent whole.

        Raises:
            ServiceUnreachableError: When nobody can say.
        """

    def let_go(self, name: str) -> None:
        """Give back what is kept for the job of a name; does nothing when nothing is.

        Raises:
            ServiceError: When it is not known to be given back.
        """

    def kept(self, prefix: str) -> list[Kept]:
        """Return what is kept for jobs whose names begin like this."""


def estimate_rented(settings: Settings, key: str, steps: int, *, currency: str) -> JobEstimate:
    """Return what a machine that is rented for one job is expected to cost.

    Args:
        settings: ``<key>.pricePerHour``, ``.secondsPerStep`` and ``.startMinutes`` are read.
        key: Where the settings of the trainer stand.
        steps: Optimiser steps.
        currency: ISO 4217.
    """
    price, each = settings.number(f"{key}.pricePerHour"), settings.number(f"{key}.secondsPerStep")
    start = settings.number(f"{key}.startMinutes")
    minutes = start + steps * each / 60
    if price <= 0:
        return JobEstimate(
            None, minutes, currency, f"set {key}.pricePerHour in {PIPELINE_FILE}; "
            f"lora setup {key.rpartition('.')[2]} asks where it can be asked",
        )  # fmt: skip
    basis = (
        f"up to {start:g} min to start and {steps} steps of {each:g} s "
        f"at {price:g} {currency} an hour, as {key} says"
    )
    return JobEstimate(round(price * minutes / 60, 4), minutes, currency, basis)


def spent_on(price: float, since: str, until: str, currency: str = "USD") -> Spent | None:
    """Return what a machine has cost from one moment to another, or None when nobody can say."""
    try:
        seconds = (datetime.fromisoformat(until) - datetime.fromisoformat(since)).total_seconds()
    except (TypeError, ValueError):
        return None
    if price <= 0:
        return None
    seconds = max(0.0, seconds)  # two clocks never agree
    minutes = seconds / 60
    basis = f"{minutes:.1f} min at {price:g} {currency} an hour, disks not counted"
    return Spent(round(price * seconds / _HOUR_S, 4), currency, basis)
