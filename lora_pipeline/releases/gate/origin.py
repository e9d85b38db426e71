"""Conditions about where a release comes from: weights, run, manifest, base model, rights."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lora_pipeline.foundation.canonical import short
from lora_pipeline.releases.evidence.facts import (
    ManifestLost,
    ReleaseEvidence,
    TrainedManifest,
    Unproven,
)
from lora_pipeline.releases.gate.decision import Condition, ConditionStatus
from lora_pipeline.releases.records import GatePolicy
from lora_pipeline.training.records import Run

MAX_NAMED = 3
_SHA256 = re.compile(r"[0-9a-f]{64}")


def release_usable(evidence: ReleaseEvidence, _: GatePolicy) -> Condition:
    """A deprecated release never becomes active again."""
    release = evidence.release
    if release.status == "deprecated":
        return _condition("release", "fail", f"{release.id} is deprecated")
    made = f", made by {release.created_by}" if release.created_by else ""
    return _condition("release", "pass", f"{release.status}{made}")


def weights_intact(evidence: ReleaseEvidence, _: GatePolicy) -> Condition:
    """The bytes on disk are the bytes that the release names."""
    weights, found = evidence.release.weights, evidence.weights_sha256
    if weights is None or not _SHA256.fullmatch(weights.sha256):
        return _condition(
            "weights", "fail", f"{evidence.release.id} names no weights by a whole SHA-256"
        )
    if isinstance(found, Unproven):
        return _condition("weights", "not_proven", found.reason)
    if found != weights.sha256:
        return _condition(
            "weights",
            "fail",
            f"the file is sha256 {found[:12]}, {evidence.release.id} recorded "
            f"{weights.sha256[:12]}",
        )
    return _condition("weights", "pass", f"sha256 {found[:12]}, read from disk")


def bound_to_run(evidence: ReleaseEvidence, _: GatePolicy) -> Condition:
    """The weights are the output of the run that the release names."""
    release, run = evidence.release, evidence.run
    run_id = str(release.training.get("runId", ""))
    if not run_id:
        if release.training.get("trainer") == "manual":
            who = f" by {release.created_by}" if release.created_by else ""
            return _condition("training", "pass", f"registered{who}, trained elsewhere")
        return _condition("training", "fail", f"{release.id} names no run and was not registered")
    if run is None:
        return _condition("training", "fail", f"run {run_id} has no record")
    wrong = _disagreements(evidence, run)
    if wrong:
        return _condition("training", "fail", f"run {run_id} {wrong[0]}")
    return _condition("training", "pass", f"run {run_id} by {run.requested_by or 'nobody named'}")


def manifest_present(evidence: ReleaseEvidence, _: GatePolicy) -> Condition:
    """The manifest that was trained on is there, and its content hash was computed anew."""
    found = evidence.manifest
    if isinstance(found, ManifestLost):
        return _condition("manifest", "fail", found.reason)
    if isinstance(found, Unproven):
        return _condition("manifest", "not_proven", found.reason)
    manifest = found.manifest
    where = f", from {found.where}" if found.where else ""
    images = "1 image" if len(manifest.items) == 1 else f"{len(manifest.items)} images"
    trained_on = str(evidence.release.training.get("manifestHash", ""))
    return _condition("manifest", "pass", f"{manifest.id}, {images}, {short(trained_on)}{where}")


def base_model_same(evidence: ReleaseEvidence, _: GatePolicy) -> Condition:
    """Training, grid and record of the base model name the same bytes."""
    now, name = evidence.checkpoint_digest, evidence.lora.checkpoint_id
    if isinstance(now, Unproven):
        return _condition("base_model", "not_proven", now.reason)
    stated = {"trained on": str(evidence.release.training.get("checkpointDigest", ""))}
    if evidence.evaluation:
        if evidence.evaluation.checkpoint_id != name:
            other = evidence.evaluation.checkpoint_id or "no checkpoint"
            return _condition("base_model", "fail", f"the grid was rendered on {other}, not {name}")
        stated["rendered on"] = evidence.evaluation.checkpoint_digest
    for what, digest in stated.items():
        if not digest:
            return _condition(
                "base_model", "not_proven", f"nobody recorded which bytes it was {what}"
            )
        if digest != now:
            return _condition(
                "base_model",
                "fail",
                f"{name} is {short(now)} now, it was {what} {short(digest)}",
            )
    return _condition("base_model", "pass", f"{name}, {short(now)}")


def rights_hold(evidence: ReleaseEvidence, policy: GatePolicy) -> Condition:
    """No image of the manifest is denied or against the project's rules, and none is unknown.

    Withdrawn images are ``gate.rights.withdrawals_answered``.
    """
    facts = evidence.rights
    if isinstance(facts, Unproven):
        return _condition("rights", "not_proven", facts.reason)
    if facts.refused:
        return _condition("rights", "fail", _named(facts.refused, "may not be trained on"))
    if facts.unknown:
        return _condition("rights", "not_proven", _named(facts.unknown, "not in the catalog"))
    if policy.rights_known and facts.unstated:
        return _condition("rights", "fail", _named(facts.unstated, "training right not stated"))
    trained = evidence.manifest
    count = len(trained.manifest.items) if isinstance(trained, TrainedManifest) else 0
    note = f", {len(facts.unstated)} not stated" if facts.unstated else ""
    nothing = "nothing denied" if facts.withdrawn else "nothing withdrawn or denied"
    return _condition("rights", "pass", f"{nothing} of {count}{note}")


def _disagreements(evidence: ReleaseEvidence, run: Run) -> list[str]:
    release = evidence.release
    sha256 = release.weights.sha256 if release.weights else ""
    outputs = {output.sha256 for output in run.outputs}
    checks = (
        (run.lora_id == evidence.lora.id, f"trained {run.lora_id}"),
        (run.release_id == release.id, f"brought release {run.release_id}"),
        (run.state == "ready", f"is {run.state}"),
        (sha256 in outputs, f"did not bring these weights ({sha256[:12] or 'none named'})"),
        (
            run.manifest_hash == release.training.get("manifestHash"),
            f"was trained on manifest {short(run.manifest_hash)}, the release says otherwise",
        ),
        (
            run.checkpoint_digest == release.training.get("checkpointDigest"),
            f"was trained on base {short(run.checkpoint_digest)}, the release says otherwise",
        ),
    )
    return [words for holds, words in checks if not holds]


def _named(things: Sequence[str], what: str) -> str:
    shown = ", ".join(things[:MAX_NAMED])
    more = f" and {len(things) - MAX_NAMED} more" if len(things) > MAX_NAMED else ""
    return f"{len(things)} {what}: {shown}{more}"


_TITLES = {
    "release": "release",
    "weights": "weights",
    "training": "training",
    "manifest": "manifest",
    "base_model": "base model",
    "rights": "rights",
}


def _condition(condition_id: str, status: ConditionStatus, reason: str) -> Condition:
    return Condition(condition_id, _TITLES[condition_id], status, reason)
