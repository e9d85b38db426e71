"""The gate: a pure function from evidence and policy to a decision with its reasons.

It reads no file, no clock and no environment; whoever calls it gathered the evidence before.
What could not be checked refuses like what was checked and is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence

from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.releases import (
    conditions_grid,
    conditions_origin,
    conditions_rights,
    conditions_verdicts,
)
from lora_pipeline.releases.decision import Condition, Decision
from lora_pipeline.releases.facts import ReleaseEvidence
from lora_pipeline.releases.records import Evidence, GatePolicy

_ORIGIN = (
    conditions_origin.release_usable,
    conditions_origin.weights_intact,
    conditions_origin.bound_to_run,
    conditions_origin.manifest_present,
    conditions_origin.base_model_same,
)


def decide(evidence: ReleaseEvidence, policy: GatePolicy) -> Decision:
    """Return whether a release may be active under a policy, and why.

    Every condition is computed, also when an earlier one refuses, so that a person sees all
    that is to be done at once.
    """
    conditions = [
        *(condition(evidence, policy) for condition in _ORIGIN),
        *_grid(evidence, policy),
        conditions_verdicts.reviews_intact(evidence, policy),
        conditions_verdicts.approvals_enough(evidence, policy),
        conditions_verdicts.objections_answered(evidence, policy),
        conditions_origin.rights_hold(evidence, policy),
    ]
    withdrawals = conditions_rights.withdrawals_answered(evidence, policy)
    conditions += [withdrawals] if withdrawals else []
    approvals = conditions_verdicts.counted_approvals(evidence, policy).counted
    return Decision(
        lora_id=evidence.lora.id,
        release_id=evidence.release.id,
        policy_id=policy.id,
        policy_digest=policy_digest(policy),
        evaluation_id=evidence.evaluation.id if evidence.evaluation else "",
        conditions=tuple(conditions),
        review_digests=tuple(sorted(review.digest for review in approvals)),
    )


def bound_evidence(evidence: ReleaseEvidence, decision: Decision) -> Evidence:
    """Return the digests that a decision rested on, as the history keeps them.

    Raises:
        ArgumentInvalidError: When the decision did not pass: there is nothing to rest on.
    """
    evaluation, weights = evidence.evaluation, evidence.release.weights
    if not decision.passed or evaluation is None or weights is None:
        raise ArgumentInvalidError(f"{decision.release_id} did not pass the gate")
    return Evidence(
        evaluation_id=evaluation.id,
        result_digest=evaluation.result_digest,
        weights_sha256=weights.sha256,
        manifest_hash=str(evidence.release.training["manifestHash"]),
        suite_digest=evaluation.suite_digest,
        checkpoint_digest=evaluation.checkpoint_digest,
        policy_id=decision.policy_id,
        policy_digest=decision.policy_digest,
        review_digests=decision.review_digests,
    )


def policy_digest(policy: GatePolicy) -> str:
    """Return the digest of what a policy asks for; its words may change freely."""
    document = policy.to_dict()
    return digest_of({k: v for k, v in document.items() if k not in ("summary", "reasons")})


def strictest(policies: Sequence[GatePolicy]) -> GatePolicy:
    """Return one policy that asks for everything that any of ``policies`` asks for."""
    if len(policies) == 1:
        return policies[0]
    ages = [policy.max_age_days for policy in policies if policy.max_age_days]
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
    )


def weaker_in(policy: GatePolicy, reference: GatePolicy) -> list[str]:
    """Return what ``policy`` asks less for than ``reference``, in words."""
    age, reference_age = policy.max_age_days or 10**6, reference.max_age_days or 10**6
    numbers = (
        (policy.approvals < reference.approvals, "approvals", policy.approvals,
         reference.approvals),
        (policy.min_effect < reference.min_effect, "minEffect", policy.min_effect,
         reference.min_effect),
        (age > reference_age, "maxAgeDays", policy.max_age_days, reference.max_age_days),
    )  # fmt: skip
    found = [
        f"{name} {mine} instead of {theirs}" for weaker, name, mine, theirs in numbers if weaker
    ]
    switches = (
        ("reviewerIsNotTrainer", policy.reviewer_is_not_trainer, reference.reviewer_is_not_trainer),
        (
            "reviewsCommittedByReviewer",
            policy.reviews_committed_by_reviewer,
            reference.reviews_committed_by_reviewer,
        ),
        ("allCellsSeen", policy.all_cells_seen, reference.all_cells_seen),
        ("rightsKnown", policy.rights_known, reference.rights_known),
    )
    return found + [f"{name} off" for name, mine, theirs in switches if theirs and not mine]


def _grid(evidence: ReleaseEvidence, policy: GatePolicy) -> list[Condition]:
    evaluation = evidence.evaluation
    if evaluation is None:
        return [conditions_grid.no_evaluation(evidence)]
    found = [
        conditions_grid.suite_unchanged(evidence, evaluation),
        conditions_grid.grid_complete(evidence, evaluation),
        conditions_grid.grid_unchanged(evidence, evaluation),
        conditions_grid.images_intact(evidence, evaluation),
        conditions_grid.effect_shown(evidence, evaluation, policy),
        conditions_grid.cells_sound(evidence, evaluation),
        conditions_grid.fresh_enough(evidence, evaluation, policy),
    ]
    return [condition for condition in found if condition is not None]
