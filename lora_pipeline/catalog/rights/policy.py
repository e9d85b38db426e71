"""What a project asks of its art, and what a change of it comes to. Decides only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

import msgspec
from msgspec.structs import replace

from lora_pipeline.catalog.assets.filter import AssetEntry
from lora_pipeline.catalog.records import OnWithdrawal, ProjectRights
from lora_pipeline.catalog.rights.training import may_train


class PolicyChange(msgspec.Struct, frozen=True):
    """What is to be changed of a project's policy; None leaves a rule as it is.

    Attributes:
        allow: Licences that may be trained on from now on.
        forbid: Licences that may no longer be trained on.
        any_license: Whether any licence may be trained on, from now on.
        provenance_required: Whether source, author and licence must be known.
        consent_required: Whether a consent must be recorded.
        unknown_training: What happens to art whose training right nobody stated.
        on_withdrawal: The mildest answer to a withdrawal.
        retrain_within_days: How long a release may stay in use after one.
    """

    allow: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    any_license: bool = False
    provenance_required: bool | None = None
    consent_required: bool | None = None
    unknown_training: Literal["allow", "exclude"] | None = None
    on_withdrawal: OnWithdrawal | None = None
    retrain_within_days: int | None = None


class Verdicts(msgspec.Struct, frozen=True):
    """How many assets may be trained on, and why others may not, by the reason's summary."""

    allowed: int
    barred: dict[str, int]


def changed_policy(before: ProjectRights, change: PolicyChange) -> ProjectRights:
    """Return a project's policy after a change."""
    named = {
        "provenance_required": change.provenance_required,
        "consent_required": change.consent_required,
        "unknown_training": change.unknown_training,
        "on_withdrawal": change.on_withdrawal,
        "retrain_within_days": change.retrain_within_days,
    }
    stated = {name: value for name, value in named.items() if value is not None}
    return replace(before, allowed_licenses=_licenses(before, change), **stated)


def verdicts(entries: Iterable[AssetEntry], rights: ProjectRights) -> Verdicts:
    """Return how many assets a policy lets be trained on; only approved ones are counted."""
    barred: Counter[str] = Counter()
    allowed = 0
    for entry in entries:
        if entry.version.status != "approved":
            continue
        objection = may_train(entry.asset, rights)
        if objection is None:
            allowed += 1
        else:
            barred[objection.summary] += 1
    return Verdicts(allowed, dict(sorted(barred.items())))


def _licenses(before: ProjectRights, change: PolicyChange) -> tuple[str, ...]:
    kept = () if change.any_license else before.allowed_licenses
    gone = {one.casefold() for one in change.forbid}
    found = {one.casefold(): one for one in (*kept, *change.allow) if one.casefold() not in gone}
    return tuple(found.values())
