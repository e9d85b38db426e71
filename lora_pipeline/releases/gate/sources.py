"""What each condition rests on, as people look it up: records, with their digests. Pure."""

from __future__ import annotations

from collections.abc import Callable

from lora_pipeline.foundation.canonical import short
from lora_pipeline.releases.evidence.facts import ReleaseEvidence, TrainedManifest


def sources_of(condition_id: str, evidence: ReleaseEvidence) -> tuple[str, ...]:
    """Return the records that a condition looked at, each with its digest where it has one."""
    family = condition_id.partition(":")[0]
    find = _FINDERS.get(family)
    return find(evidence) if find else ()


def _release(evidence: ReleaseEvidence) -> tuple[str, ...]:
    return (f"lora {evidence.lora.id} {evidence.release.id}",)


def _weights(evidence: ReleaseEvidence) -> tuple[str, ...]:
    weights = evidence.release.weights
    return (f"weights sha256 {weights.sha256}",) if weights else ()


def _training(evidence: ReleaseEvidence) -> tuple[str, ...]:
    run = evidence.run
    return (f"run {run.id}, plan {run.plan_digest}",) if run else ()


def _manifest(evidence: ReleaseEvidence) -> tuple[str, ...]:
    found = evidence.manifest
    if not isinstance(found, TrainedManifest):
        return ()
    return (f"dataset {found.manifest.id}, {found.manifest.content_hash}",)


def _base_model(evidence: ReleaseEvidence) -> tuple[str, ...]:
    digest = evidence.checkpoint_digest
    named = digest if isinstance(digest, str) else "without a digest"
    return (f"checkpoint {evidence.lora.checkpoint_id}, {named}",)


def _suite(evidence: ReleaseEvidence) -> tuple[str, ...]:
    found = evidence.evaluation
    return (f"suite {found.suite_id}, {found.suite_digest}",) if found else ()


def _grid(evidence: ReleaseEvidence) -> tuple[str, ...]:
    found = evidence.evaluation
    return (f"evaluation {found.id}, {found.result_digest or 'not complete'}",) if found else ()


def _reviews(evidence: ReleaseEvidence) -> tuple[str, ...]:
    return tuple(
        f"review {one.review.id} by {one.review.reviewer}, {short(one.review.digest)}"
        for one in evidence.reviews
    )


def _blinds(evidence: ReleaseEvidence) -> tuple[str, ...]:
    return tuple(
        f"blind review {one.review.id} by {one.review.reviewer}, {short(one.review.digest)}"
        for one in evidence.blinds
    )


def _answers(evidence: ReleaseEvidence) -> tuple[str, ...]:
    return tuple(
        f"answer {one.answer.id} by {one.answer.answered_by}, {short(one.answer.digest)}"
        for one in evidence.answers
    )


_FINDERS: dict[str, Callable[[ReleaseEvidence], tuple[str, ...]]] = {
    "release": _release,
    "weights": _weights,
    "training": _training,
    "manifest": _manifest,
    "base_model": _base_model,
    "suite": _suite,
    "suite_before": _suite,
    "grid": _grid,
    "result": _grid,
    "images": _grid,
    "effect": _grid,
    "cells": _grid,
    "freshness": _grid,
    "copy": _grid,
    "metric": _grid,
    "reviews": _reviews,
    "approvals": _reviews,
    "objections": _reviews,
    "preference": _blinds,
    "rights": _manifest,
    "withdrawals": _answers,
}
