"""Conditions about measured values: what an evaluation stores counts, what it lacks is unproven."""

from __future__ import annotations

from lora_pipeline.evaluation.records import Evaluation, EvaluationMetrics
from lora_pipeline.foundation.canonical import short
from lora_pipeline.releases.evidence.facts import ReleaseEvidence
from lora_pipeline.releases.gate.decision import Condition, ConditionStatus
from lora_pipeline.releases.records import GatePolicy, MetricRule

# The highest similarity of a rendered image to an image that was trained on.
COPY_SIMILARITY = "copySimilarityMax"
_COPIES = "copies"
# Above this a copy is worth a look, also where it is allowed.
_WORTH_A_LOOK = 0.5


def copy_checked(
    evidence: ReleaseEvidence, evaluation: Evaluation, policy: GatePolicy
) -> Condition | None:
    """No cell is nearly a training image; None when the policy does not ask."""
    limit = policy.max_copy_similarity
    if not limit:
        return None
    measured = measured_value(evaluation.metrics, COPY_SIMILARITY)
    lack = _lack_of_copies(evidence, evaluation)
    if measured is None or lack:
        return _copy("not_proven", lack, None, limit)
    words = f"{measured:.2f} is the highest similarity to a training image, at most {limit:.2f}"
    if measured > limit:
        return _copy("fail", words, measured, limit)
    note = ", worth a look" if measured >= _WORTH_A_LOOK else ""
    return _copy("pass", words + note, measured, limit)


def _lack_of_copies(evidence: ReleaseEvidence, evaluation: Evaluation) -> str:
    """Return why a copy check is none of this grid with all that was trained on, or empty."""
    metrics = evaluation.metrics
    copies = metrics.copies if metrics else None
    if metrics is None or copies is None or metrics.copy_similarity_max is None:
        reason = _why_absent(metrics, _COPIES)
        return reason or "nobody compared the cells with the training images"
    drawn = {cell.id for cell in evaluation.cells if cell.status == "done" and cell.strength > 0}
    if copies.cells != len(drawn) or copies.cell_id not in drawn:
        return "it was not made of every cell of this grid"
    trained = str(evidence.release.training.get("manifestHash", ""))
    if metrics.manifest_hash != trained:
        made = short(metrics.manifest_hash) if metrics.manifest_hash else "no manifest on record"
        return f"it was made with the images of another manifest: {made}"
    if copies.similarity != metrics.copy_similarity_max:
        return "it states two values, and one of them was not measured"
    return ""


def metrics_within(
    _: ReleaseEvidence, evaluation: Evaluation, policy: GatePolicy
) -> list[Condition]:
    """Every value that the policy names is there and within its limits."""
    return [
        _metric(name, rule, measured_value(evaluation.metrics, name), evaluation.metrics)
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


def _copy(status: ConditionStatus, reason: str, measured: float | None, limit: float) -> Condition:
    return Condition("copy", "copy check", status, reason, measured, limit)


def _why_absent(metrics: EvaluationMetrics | None, name: str) -> str:
    return metrics.not_proven.get(name, "") if metrics else ""


def _metric(
    name: str, rule: MetricRule, measured: float | None, metrics: EvaluationMetrics | None
) -> Condition:
    limits = [
        f"{words} {value:g}"
        for words, value in (("at least", rule.min), ("at most", rule.max))
        if value is not None
    ]
    asked = " and ".join(limits)
    threshold = rule.min if rule.min is not None else rule.max
    condition_id, title = f"metric:{name}", f"metric {name}"
    if measured is None:
        why = _why_absent(metrics, name.partition(".")[0]) or "not measured"
        return Condition(
            condition_id, title, "not_proven", f"{why}, must be {asked}", None, threshold
        )
    low = rule.min is not None and measured < rule.min
    high = rule.max is not None and measured > rule.max
    if high and not low:
        threshold = rule.max
    words = f"{measured:g}, must be {asked}"
    return Condition(
        condition_id, title, "fail" if low or high else "pass", words, measured, threshold
    )
