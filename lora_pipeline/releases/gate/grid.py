"""Conditions about the grid: the right suite, whole, unchanged, with images and an effect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from lora_pipeline.evaluation.grid import BASE, plan_cells, problems_of_grid, result_digest
from lora_pipeline.evaluation.records import Cell, Evaluation, Suite
from lora_pipeline.evaluation.suites import suite_digest
from lora_pipeline.evaluation.training_captions import captions_wanted, training_captions
from lora_pipeline.foundation.canonical import short
from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.ids import time_of_ulid
from lora_pipeline.releases.evidence.facts import (
    PolicyBefore,
    ReleaseEvidence,
    TrainedManifest,
    Unproven,
)
from lora_pipeline.releases.gate.decision import Condition, ConditionStatus
from lora_pipeline.releases.records import GatePolicy

# Between drawing an id and writing the record.
_SLACK = timedelta(days=1)
_TITLES = {
    "suite": "suite",
    "suite_before": "suite of before",
    "grid": "grid complete",
    "result": "grid unchanged",
    "images": "images",
    "effect": "effect",
    "cells": "cells sound",
    "freshness": "freshness",
}


def no_evaluation(evidence: ReleaseEvidence) -> Condition:
    """Nothing was rendered: the one thing to say about the grid."""
    release_id = evidence.release.id
    return _condition("grid", "fail", f"no evaluation of {release_id}: nothing was rendered")


def suite_unchanged(evidence: ReleaseEvidence, evaluation: Evaluation) -> Condition:
    """The suite of today, for this kind of asset, is the one that was rendered."""
    now, name = evidence.suite_digest, evaluation.suite_id
    if isinstance(now, Unproven):
        return _condition("suite", "not_proven", now.reason)
    if not now:
        return _condition("suite", "fail", f"there is no suite {name!r} any more")
    if now != evaluation.suite_digest:
        return _condition(
            "suite",
            "fail",
            f"{name} was edited: it is {short(now)} now, rendered was "
            f"{short(evaluation.suite_digest)}",
        )
    types = evaluation.suite.asset_types if evaluation.suite else ()
    if not set(types) & set(evidence.lora.asset_types):
        return _condition(
            "suite", "fail", f"{name} is for {', '.join(types)}, not {_types(evidence)}"
        )
    if name not in evidence.suites:
        judging = " or ".join(evidence.suites) or "none"
        return _condition(
            "suite", "fail", f"{name} is for a look: {_types(evidence)} is judged by {judging}"
        )
    return _condition("suite", "pass", f"{name}, {short(now)}")


def suite_not_smuggled(
    evidence: ReleaseEvidence, evaluation: Evaluation, before: PolicyBefore
) -> Condition | None:
    """Everything that was asked before the change that the promotion came with is in the grid.

    None where the suite is the same. More may be asked together with a promotion, less may not:
    that takes a change of its own, as with policies.
    """
    asked = before.suite
    if asked is None or evaluation.suite_digest == suite_digest(asked):
        return None
    lacking = _lacking(evidence, evaluation, asked)
    name = f"{asked.id} of {before.where}"
    if lacking:
        words = f"{len(lacking)} cells that the grid lacks, first: {lacking[0]}"
        return _condition(
            "suite_before", "fail", f"changed together with the promotion; {name} asks for {words}"
        )
    return _condition(
        "suite_before", "pass", f"changed, and the grid holds every cell of {name} as well"
    )


def _lacking(evidence: ReleaseEvidence, evaluation: Evaluation, suite: Suite) -> list[str]:
    drawn, captions = {cell.id for cell in evaluation.cells}, _captions(evidence, suite)
    planned = plan_cells(
        suite,
        trigger_word=evidence.lora.trigger_word,
        weights_sha256=evaluation.weights_sha256,
        checkpoint_digest=evaluation.checkpoint_digest,
        captions=() if isinstance(captions, Unproven) else captions,
    )
    return [f"{one.prompt_id} seed {one.seed}" for one in planned if one.id not in drawn]


def grid_complete(evidence: ReleaseEvidence, evaluation: Evaluation) -> Condition:
    """Every cell of the suite was rendered, with these weights, in one session."""
    done = sum(cell.status == "done" for cell in evaluation.cells)
    total = len(evaluation.cells)
    reason = _mismatch(evidence, evaluation)
    if reason is None and done < total:
        failed = sum(cell.status == "failed" for cell in evaluation.cells)
        reason = f"{done} of {total} cells" + (f", {failed} failed" if failed else "")
    if reason is None and (evaluation.status != "complete" or not total):
        reason = f"{done} of {total} cells, marked {evaluation.status}"
    if reason is None and (evaluation.renderer is None or not evaluation.renderer.fingerprint):
        reason = f"{done} of {total} cells, and nobody recorded what drew them"
    if reason is not None:
        return _condition("grid", "fail", reason, done, total)
    unproven = evaluation.renderer.unproven if evaluation.renderer else ()
    if unproven:
        words = f"{done} of {total} cells, but the renderer could not prove {unproven[0]}"
        return _condition("grid", "not_proven", words, done, total)
    return _condition("grid", "pass", f"{done} of {total} cells, one render session", done, total)


def grid_unchanged(_: ReleaseEvidence, evaluation: Evaluation) -> Condition:
    """The record of the grid is what was written when its last cell was drawn."""
    problems = problems_of_grid(evaluation)
    if problems:
        return _condition("result", "fail", problems[0])
    if evaluation.result_digest != result_digest(evaluation):
        return _condition("result", "fail", "its result digest is not that of its cells")
    return _condition("result", "pass", short(evaluation.result_digest))


def images_intact(evidence: ReleaseEvidence, evaluation: Evaluation) -> Condition:
    """The images of the cells are there, and are the ones that were reviewed."""
    facts = evidence.images
    if isinstance(facts, Unproven):
        return _condition("images", "not_proven", facts.reason)
    total = len(evaluation.cells)
    for cells, what in (
        (facts.altered, "have other bytes than were recorded"),
        (facts.mismeasured, "measure otherwise than recorded"),
    ):
        if cells:
            return _condition("images", "fail", f"{len(cells)} of {total} {what}: {cells[0]}")
    if facts.missing:
        return _condition(
            "images", "not_proven", f"{len(facts.missing)} of {total} are not on this machine"
        )
    return _condition("images", "pass", f"{total} of {total} as recorded")


def effect_shown(_: ReleaseEvidence, evaluation: Evaluation, policy: GatePolicy) -> Condition:
    """The LoRA changes the image, and more of it changes more."""
    metrics = evaluation.metrics
    measured = metrics.effect_mean if metrics else None
    needed = policy.min_effect
    if metrics is None or measured is None:
        return _condition("effect", "not_proven", "not measured", None, needed)
    words = f"{measured:.3f} mean difference to base, needs {needed:.3f}"
    if measured < needed:
        return _condition("effect", "fail", words, measured, needed)
    if metrics.monotone is False:
        steps = ", ".join(
            f"{value:.3f} at {strength}"
            for strength, value in sorted(
                metrics.effect_by_strength.items(), key=lambda item: float(item[0])
            )
        )
        return _condition(
            "effect", "fail", f"more strength changes less: {steps}", measured, needed
        )
    return _condition("effect", "pass", words, measured, needed)


def cells_sound(_: ReleaseEvidence, evaluation: Evaluation) -> Condition:
    """No cell shows one colour only, and no two cells show the same image."""
    metrics = evaluation.metrics
    constant = metrics.constant_cells if metrics else 0
    duplicate = max(metrics.duplicate_cells if metrics else 0, _repeated(evaluation.cells))
    found = [
        f"{count} {what}"
        for count, what in (
            (constant, "of one colour only"),
            (duplicate, "the same as another with other settings"),
        )
        if count
    ]
    if found:
        return _condition("cells", "fail", ", ".join(found), constant + duplicate, 0)
    return _condition("cells", "pass", "none constant, none twice", 0, 0)


def fresh_enough(
    evidence: ReleaseEvidence, evaluation: Evaluation, policy: GatePolicy
) -> Condition | None:
    """The grid is not older than the policy allows; None when it allows any age."""
    if not policy.max_age_days:
        return None
    made = _made(evaluation)
    if made is not None and made < _time(evaluation.created_at) - _SLACK:
        return _condition(
            "freshness",
            "fail",
            f"it is older than its record says: its id is of {made:%Y-%m-%d}, and every verdict "
            "names that id",
        )
    age = (_time(evidence.now) - _time(evaluation.created_at)).days
    words = f"rendered {age} days ago, at most {policy.max_age_days}"
    status: ConditionStatus = "pass" if 0 <= age <= policy.max_age_days else "fail"
    return _condition("freshness", status, words, age, policy.max_age_days)


def _made(evaluation: Evaluation) -> datetime | None:
    """Return when the id of a grid was made; the date in its record is bound by nothing."""
    try:
        return time_of_ulid(evaluation.id)
    except ArgumentInvalidError:
        return None


def _mismatch(evidence: ReleaseEvidence, evaluation: Evaluation) -> str | None:
    release = evidence.release
    if (evaluation.lora_id, evaluation.release_id) != (evidence.lora.id, release.id):
        return f"it is a grid of {evaluation.lora_id} {evaluation.release_id}"
    weights = release.weights.sha256 if release.weights else ""
    if not evaluation.weights_sha256 or evaluation.weights_sha256 != weights:
        drawn = evaluation.weights_sha256[:12] or "unknown weights"
        return f"it was drawn with {drawn}, {release.id} is {weights[:12] or 'without weights'}"
    if evaluation.suite is None:
        return "it names no suite"
    return _other_cells(evidence, evaluation, evaluation.suite)


def _other_cells(evidence: ReleaseEvidence, evaluation: Evaluation, suite: Suite) -> str | None:
    """Return how the cells differ from those that are planned anew, or None."""
    captions = _captions(evidence, suite)
    if isinstance(captions, Unproven):
        return captions.reason
    planned = plan_cells(
        suite,
        trigger_word=evidence.lora.trigger_word,
        weights_sha256=evaluation.weights_sha256,
        checkpoint_digest=evaluation.checkpoint_digest,
        captions=captions,
    )
    if [cell.id for cell in planned] != [cell.id for cell in evaluation.cells]:
        also = " and the captions that were trained on" if captions else ""
        return f"its cells are not those of suite {suite.id} and this trigger word{also}"
    if not any(cell.strength > BASE for cell in planned):
        return "it holds no cell with the LoRA"
    return None


def _captions(evidence: ReleaseEvidence, suite: Suite) -> tuple[str, ...] | Unproven:
    """Return what the suite's training captions are, from the manifest whose hash was proven."""
    if not captions_wanted(suite):
        return ()
    found = evidence.manifest
    if isinstance(found, TrainedManifest):
        return training_captions(suite, found.manifest)
    return Unproven(f"its captions cannot be told: {found.reason}")


def _repeated(cells: Sequence[Cell]) -> int:
    counts = Counter(cell.image_sha256 for cell in cells if cell.image_sha256)
    return sum(count - 1 for count in counts.values())


def _types(evidence: ReleaseEvidence) -> str:
    return ", ".join(evidence.lora.asset_types)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _condition(
    condition_id: str,
    status: ConditionStatus,
    reason: str,
    measured: float | None = None,
    threshold: float | None = None,
) -> Condition:
    return Condition(condition_id, _TITLES[condition_id], status, reason, measured, threshold)
