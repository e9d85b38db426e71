"""Conditions about measured values: what an evaluation stores counts, what it lacks is unproven."""

from __future__ import annotations

from lora_pipeline.evaluation.records import Evaluation, EvaluationMetrics
from lora_pipeline.releases.decision import Condition
from lora_pipeline.releases.facts import ReleaseEvidence
from lora_pipeline.releases.records import GatePolicy, MetricRule

# The highest similarity of a rendered image to an image that was trained on.
COPY_SIMILARITY = "copySimilarityMax"
# Above this a copy is worth a look, also where it is allowed.
_WORTH_A_LOOK = 0.5


def copy_checked(
    _: ReleaseEvidence, evaluation: Evaluation, policy: GatePolicy
) -> Condition | None:
    """No cell is nearly a training image; None when the policy does not ask."""
    limit = policy.max_copy_similarity
    if not limit:
        return None
    measured = measured_value(evaluation.metrics, COPY_SIMILARITY)
    if measured is None:
        return Condition(
            "copy",
            "copy check",
            "not_proven",
            "nobody compared the cells with the training images",
            None,
            limit,
        )
    words = f"{measured:.2f} is the highest similarity to a training image, at most {limit:.2f}"
    if measured > limit:
        return Condition("copy", "copy check", "fail", words, measured, limit)
    note = ", worth a look" if measured >= _WORTH_A_LOOK else ""
    return Condition("copy", "copy check", "pass", words + note, measured, limit)


def metrics_within(
    _: ReleaseEvidence, evaluation: Evaluation, policy: GatePolicy
) -> list[Condition]:
    """Every value that the policy names is there and within its limits."""
    return [
        _metric(name, rule, measured_value(evaluation.metrics, name))
        for name, rule in sorted(policy.metrics.items())
    ]


def measured_value(metrics: EvaluationMetrics | None, name: str) -> float | None:
    """Return a measured value by the name that the record stores it under, dots between.

    What is absent, no number, or a truth value was not measured.
    """
    found: object = metrics.to_dict() if metrics else None
    for part in name.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None
    return float(found)


def _metric(name: str, rule: MetricRule, measured: float | None) -> Condition:
    limits = [
        f"{words} {value:g}"
        for words, value in (("at least", rule.min), ("at most", rule.max))
        if value is not None
    ]
    asked = " and ".join(limits)
    threshold = rule.min if rule.min is not None else rule.max
    condition_id, title = f"metric:{name}", f"metric {name}"
    if measured is None:
        return Condition(
            condition_id, title, "not_proven", f"not measured, must be {asked}", None, threshold
        )
    low = rule.min is not None and measured < rule.min
    high = rule.max is not None and measured > rule.max
    if high and not low:
        threshold = rule.max
    words = f"{measured:g}, must be {asked}"
    return Condition(
        condition_id, title, "fail" if low or high else "pass", words, measured, threshold
    )
