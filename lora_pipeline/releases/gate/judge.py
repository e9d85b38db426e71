"""The gate: a pure function from evidence and policy to a decision with its reasons.

It reads no file, no clock and no environment; whoever calls it gathered the evidence before.
What could not be checked refuses like what was checked and is wrong.
"""

from __future__ import annotations

from msgspec.structs import replace

from lora_pipeline.foundation.canonical import short
from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.releases.evidence.facts import PolicyBefore, ReleaseEvidence
from lora_pipeline.releases.gate import blind as conditions_blind
from lora_pipeline.releases.gate import grid as conditions_grid
from lora_pipeline.releases.gate import measured as conditions_measured
from lora_pipeline.releases.gate import origin as conditions_origin
from lora_pipeline.releases.gate import rights as conditions_rights
from lora_pipeline.releases.gate import verdicts as conditions_verdicts
from lora_pipeline.releases.gate.decision import Condition, Decision
from lora_pipeline.releases.gate.policy_strength import policy_digest
from lora_pipeline.releases.gate.sources import sources_of
from lora_pipeline.releases.gate.waivers import counted_waivers, with_waivers
from lora_pipeline.releases.records import Evidence, GatePolicy

_ORIGIN = (
    conditions_origin.release_usable,
    conditions_origin.weights_intact,
    conditions_origin.bound_to_run,
    conditions_origin.manifest_present,
    conditions_origin.base_model_same,
)


# What no person can set aside and no emergency skips: bytes that are not what was recorded, and
# rights that are not ours to give.
_FIRM = frozenset(
    {"release", "weights", "training", "manifest", "base_model", "reviews", "rights", "withdrawals"}
)


def decide(
    evidence: ReleaseEvidence, policy: GatePolicy, before: PolicyBefore | None = None
) -> Decision:
    """Return whether a release may be active under a policy, and why.

    Every condition is computed, also when an earlier one refuses, so that a person sees all
    that is to be done at once.

    Args:
        evidence: All that may be looked at.
        policy: What is asked for.
        before: What was asked for before the change that the promotion came with: a policy does
            not pass what it was relaxed for in the same change.
    """
    conditions = with_waivers(_conditions(evidence, policy), evidence, policy)
    waivers = counted_waivers(conditions, evidence, policy)
    if before is not None and policy_digest(before.policy) != policy_digest(policy):
        conditions.append(_not_smuggled(evidence, before))
    if before is not None and evidence.evaluation is not None:
        suite = conditions_grid.suite_not_smuggled(evidence, evidence.evaluation, before)
        conditions += [suite] if suite is not None else []
    approvals = conditions_verdicts.counted_approvals(evidence, policy).counted
    blinds = conditions_blind.counted_blinds(evidence, policy).reviews
    return Decision(
        lora_id=evidence.lora.id,
        release_id=evidence.release.id,
        policy_id=policy.id,
        policy_digest=policy_digest(policy),
        evaluation_id=evidence.evaluation.id if evidence.evaluation else "",
        conditions=tuple(replace(one, evidence=sources_of(one.id, evidence)) for one in conditions),
        review_digests=tuple(sorted(review.digest for review in approvals)),
        blind_digests=tuple(sorted(review.digest for review in blinds)),
        waiver_digests=tuple(sorted(waiver.digest for waiver in waivers)),
    )


def firm_refusals(decision: Decision) -> tuple[Condition, ...]:
    """Return the refusing conditions that not even an emergency skips."""
    return tuple(one for one in decision.refusing if one.id in _FIRM)


def _conditions(evidence: ReleaseEvidence, policy: GatePolicy) -> list[Condition]:
    conditions = [
        *(condition(evidence, policy) for condition in _ORIGIN),
        *_grid(evidence, policy),
        conditions_verdicts.reviews_intact(evidence, policy),
        conditions_verdicts.approvals_enough(evidence, policy),
        conditions_verdicts.objections_answered(evidence, policy),
        conditions_origin.rights_hold(evidence, policy),
    ]
    optional = (
        conditions_blind.preference_shown(evidence, policy),
        conditions_rights.withdrawals_answered(evidence, policy),
    )
    return conditions + [one for one in optional if one is not None]


def _not_smuggled(evidence: ReleaseEvidence, before: PolicyBefore) -> Condition:
    """Judge by the policy of before as well: one change does not relax it and use that."""
    asked = f"{before.policy.id} {short(policy_digest(before.policy))} of {before.where}"
    refusing = [
        one
        for one in with_waivers(_conditions(evidence, before.policy), evidence, before.policy)
        if not one.passed
    ]
    if not refusing:
        return Condition("policy", "policy", "pass", f"changed, and it passes {asked} as well")
    found = "; ".join(f"{one.title}: {one.reason}" for one in refusing)
    return Condition(
        "policy",
        "policy",
        "fail",
        f"changed together with the promotion; by {asked} it does not pass: {found}",
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
        blind_digests=decision.blind_digests,
        waiver_digests=decision.waiver_digests,
    )


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
        conditions_measured.copy_checked(evidence, evaluation, policy),
        *conditions_measured.metrics_within(evidence, evaluation, policy),
    ]
    return [condition for condition in found if condition is not None]
