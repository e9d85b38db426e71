"""Waivers: a condition set aside by a person, for a while, with a reason.

A waiver counts when a person gave it who may, when nobody changed it, when it is about exactly
what is judged, when the policy lets this condition be waived, and until its end. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from lora_pipeline.catalog.rights.training import days_after
from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.releases.evidence.facts import GivenWaiver, ReleaseEvidence, Unproven
from lora_pipeline.releases.evidence.people import is_no_person
from lora_pipeline.releases.gate.decision import Condition
from lora_pipeline.releases.gate.verdicts import (
    is_future,
    not_committed,
    other_binding,
    own_work,
)
from lora_pipeline.releases.records import GatePolicy, Waiver


def waiver_digest(waiver: Waiver) -> str:
    """Return the digest of a waiver: of all its fields but the digest itself."""
    return digest_of(replace(waiver, digest="").to_dict())


def sealed(waiver: Waiver) -> Waiver:
    """Return the waiver with its digest."""
    return replace(waiver, digest=waiver_digest(waiver))


def may_be_waived(condition_id: str, policy: GatePolicy) -> bool:
    """Return whether a policy lets a person set a condition aside."""
    family = "metrics" if condition_id.startswith("metric:") else condition_id
    return family in policy.waivable


def end_of(waiver: Waiver, policy: GatePolicy) -> str:
    """Return until when a waiver holds: its own end, or the policy's if that is earlier."""
    return min(waiver.until, days_after(waiver.created_at, policy.max_waiver_days))


def with_waivers(
    conditions: Sequence[Condition], evidence: ReleaseEvidence, policy: GatePolicy
) -> list[Condition]:
    """Return the conditions; those that refuse and were waived say so and by whom."""
    return [one if one.passed else _with_waiver(one, evidence, policy) for one in conditions]


def counted_waivers(
    conditions: Sequence[Condition], evidence: ReleaseEvidence, policy: GatePolicy
) -> tuple[Waiver, ...]:
    """Return the waivers that the conditions rest on."""
    waived = {one.id for one in conditions if one.status == "waived"}
    return tuple(
        given.waiver
        for given in evidence.waivers
        if given.waiver.condition in waived and doubt_about(given, evidence, policy) is None
    )


def doubt_about(
    given: GivenWaiver, evidence: ReleaseEvidence, policy: GatePolicy
) -> str | Unproven | None:
    """Return why a waiver does not count, or None when it does."""
    waiver, who = given.waiver, given.waiver.waived_by
    today = evidence.today or evidence.now
    end = end_of(waiver, policy)
    other = other_binding(evidence, waiver.binding)
    checks = (
        (is_no_person(who), f"{who} is no person"),
        (
            waiver_digest(waiver) != waiver.digest or given.rewritten,
            f"the waiver of {who} was edited",
        ),
        (
            not may_be_waived(waiver.condition, policy),
            f"policy {policy.id} does not let {waiver.condition} be waived",
        ),
        (bool(other), f"{who} waived it for {other}"),
        (is_future(waiver.created_at, today), f"the waiver of {who} is dated in the future"),
        (end <= today, f"the waiver of {who} ended on {end[:10]}"),
    )
    found = next((words for holds, words in checks if holds), None)
    return (
        found
        or own_work(evidence, policy, who, "waive it")
        or not_committed(evidence, policy, who, given, "waiver")
    )


def _with_waiver(condition: Condition, evidence: ReleaseEvidence, policy: GatePolicy) -> Condition:
    about = [one for one in evidence.waivers if one.waiver.condition == condition.id]
    about.sort(key=lambda one: (one.waiver.created_at, one.waiver.id), reverse=True)
    doubts: list[str] = []
    for given in about:
        found = doubt_about(given, evidence, policy)
        if found is None:
            waiver = given.waiver
            words = (
                f"{condition.reason}; waived by {waiver.waived_by} until "
                f"{end_of(waiver, policy)[:10]}: {waiver.reason}"
            )
            return replace(condition, status="waived", reason=words)
        doubts.append(found.reason if isinstance(found, Unproven) else found)
    if not doubts:
        return condition
    return replace(condition, reason=f"{condition.reason}; {doubts[0]}")
