"""Policies compared: their digest, the strictest of several, and what one asks less for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.releases.records import BlindRule, GatePolicy, MetricRule


def policy_digest(policy: GatePolicy) -> str:
    """Return the digest of what a policy asks for; its words may change freely."""
    document = policy.to_dict()
    return digest_of({k: v for k, v in document.items() if k not in ("summary", "reasons")})


def strictest(policies: Sequence[GatePolicy]) -> GatePolicy:
    """Return one policy that asks for everything that any of ``policies`` asks for."""
    if len(policies) == 1:
        return policies[0]
    ages = [policy.max_age_days for policy in policies if policy.max_age_days]
    copies = [one.max_copy_similarity for one in policies if one.max_copy_similarity]
    waivable = set.intersection(*(set(policy.waivable) for policy in policies))
    return GatePolicy(
        id="+".join(sorted({policy.id for policy in policies})),
        summary="Several policies joined: the strictest of each",
        approvals=max(policy.approvals for policy in policies),
        reviewer_is_not_trainer=any(policy.reviewer_is_not_trainer for policy in policies),
        reviews_committed_by_reviewer=any(
            policy.reviews_committed_by_reviewer for policy in policies
        ),
        min_effect=max(policy.min_effect for policy in policies),
        all_cells_seen=any(policy.all_cells_seen for policy in policies),
        rights_known=any(policy.rights_known for policy in policies),
        max_age_days=min(ages, default=0),
        reviews_signed=any(policy.reviews_signed for policy in policies),
        blind=_strictest_blind([policy.blind for policy in policies if policy.blind]),
        max_copy_similarity=min(copies, default=0.0),
        metrics=_strictest_metrics(policies),
        waivable=tuple(sorted(waivable)),
        max_waiver_days=min(policy.max_waiver_days for policy in policies),
        emergency_days=min(policy.emergency_days for policy in policies),
    )


def weaker_in(policy: GatePolicy, reference: GatePolicy) -> list[str]:
    """Return what ``policy`` asks less for than ``reference``, in words."""
    return [
        *_weaker_numbers(policy, reference),
        *_weaker_switches(policy, reference),
        *_weaker_blind(policy.blind, reference.blind),
        *_weaker_metrics(policy, reference),
        *(
            f"{condition} may be waived"
            for condition in policy.waivable
            if condition not in reference.waivable
        ),
    ]


def _weaker_numbers(policy: GatePolicy, reference: GatePolicy) -> Iterator[str]:
    age, reference_age = policy.max_age_days or 10**6, reference.max_age_days or 10**6
    copy, reference_copy = policy.max_copy_similarity or 2, reference.max_copy_similarity or 2
    numbers = (
        (policy.approvals < reference.approvals, "approvals", policy.approvals,
         reference.approvals),
        (policy.min_effect < reference.min_effect, "minEffect", policy.min_effect,
         reference.min_effect),
        (age > reference_age, "maxAgeDays", policy.max_age_days, reference.max_age_days),
        (copy > reference_copy, "maxCopySimilarity", policy.max_copy_similarity,
         reference.max_copy_similarity),
        (policy.emergency_days > reference.emergency_days, "emergencyDays",
         policy.emergency_days, reference.emergency_days),
        (bool(policy.waivable) and policy.max_waiver_days > reference.max_waiver_days,
         "maxWaiverDays", policy.max_waiver_days, reference.max_waiver_days),
    )  # fmt: skip
    for weaker, name, mine, theirs in numbers:
        if weaker:
            yield f"{name} {mine} instead of {theirs}"


def _weaker_switches(policy: GatePolicy, reference: GatePolicy) -> Iterator[str]:
    switches = (
        ("reviewerIsNotTrainer", policy.reviewer_is_not_trainer, reference.reviewer_is_not_trainer),
        (
            "reviewsCommittedByReviewer",
            policy.reviews_committed_by_reviewer,
            reference.reviews_committed_by_reviewer,
        ),
        ("reviewsSigned", policy.reviews_signed, reference.reviews_signed),
        ("allCellsSeen", policy.all_cells_seen, reference.all_cells_seen),
        ("rightsKnown", policy.rights_known, reference.rights_known),
    )
    for name, mine, theirs in switches:
        if theirs and not mine:
            yield f"{name} off"


def _weaker_blind(mine: BlindRule | None, theirs: BlindRule | None) -> Iterator[str]:
    if theirs is None:
        return
    if mine is None:
        yield "blind left out"
        return
    for name, value, reference in (
        ("reviewers", mine.reviewers, theirs.reviewers),
        ("pairs", mine.pairs, theirs.pairs),
        ("above", mine.above, theirs.above),
        ("constancy", mine.constancy, theirs.constancy),
    ):
        if value < reference:
            yield f"blind.{name} {value} instead of {reference}"
    if (mine.against, theirs.against) == ("base", "active"):
        yield "blind.against base instead of active"


def _weaker_metrics(policy: GatePolicy, reference: GatePolicy) -> Iterator[str]:
    for name, theirs in reference.metrics.items():
        mine = policy.metrics.get(name)
        if mine is None:
            yield f"metrics.{name} left out"
        elif _joined([mine, theirs]) != mine:
            yield f"metrics.{name} with wider limits"


def _strictest_blind(rules: Sequence[BlindRule]) -> BlindRule | None:
    if not rules:
        return None
    return BlindRule(
        against="active" if any(rule.against == "active" for rule in rules) else "base",
        reviewers=max(rule.reviewers for rule in rules),
        pairs=max(rule.pairs for rule in rules),
        above=max(rule.above for rule in rules),
        constancy=max(rule.constancy for rule in rules),
    )


def _strictest_metrics(policies: Iterable[GatePolicy]) -> dict[str, MetricRule]:
    found: dict[str, list[MetricRule]] = {}
    for policy in policies:
        for name, rule in policy.metrics.items():
            found.setdefault(name, []).append(rule)
    return {name: _joined(rules) for name, rules in sorted(found.items())}


def _joined(rules: Sequence[MetricRule]) -> MetricRule:
    return MetricRule(
        min=max((rule.min for rule in rules if rule.min is not None), default=None),
        max=min((rule.max for rule in rules if rule.max is not None), default=None),
    )
