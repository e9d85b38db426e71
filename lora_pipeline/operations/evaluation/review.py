"""Give a verdict on an evaluation."""

from __future__ import annotations

from collections.abc import Mapping

from lora_pipeline.evaluation.metrics.words import measured_facts
from lora_pipeline.evaluation.records import Evaluation, Review, ReviewBinding, Verdict
from lora_pipeline.evaluation.reviews import SIGNS, require_complete, sealed
from lora_pipeline.evaluation.suites import rules_of
from lora_pipeline.foundation.errors import ArgumentInvalidError, StateError
from lora_pipeline.foundation.ids import did_you_mean, new_ulid
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.evaluation.evaluation_subject import (
    Target,
    find_evaluation,
    find_target,
)
from lora_pipeline.releases.lookup import ScopeName
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.root import Workspace

_WORDS = {"approved": "Approved", "rejected": "Rejected", "needs_work": "Sent back"}


def review_evaluation(
    workspace: Workspace,
    lora: str,
    release: str = "",
    *,
    verdict: Verdict,
    comment: str = "",
    signs: tuple[str, ...] = (),
    broken: tuple[str, ...] = (),
    cells_seen: int | None = None,
    evaluation: str = "",
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Record one person's verdict on the grid of a release, once and for good.

    Args:
        workspace: The workspace.
        lora: Id of the LoRA.
        release: Id of the release; else the newest.
        verdict: ``approved``, ``rejected`` or ``needs_work``.
        comment: Why; required unless approved.
        signs: Signs of over-training that were seen.
        broken: Prompts of the suite whose rule, what they must or must never show, is broken;
            the rules of all others are then said to hold.
        cells_seen: How many cells the reviewer looked at; else all of them.
        evaluation: Id of the evaluation; else the newest complete one.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When there is nothing to judge.
        EvaluationIncompleteError: When the grid has holes; names them.
        StateError: When the release has other weights than were rendered.
        ArgumentInvalidError: When a comment is missing, a sign or rule is unknown, or what
            breaks a rule is approved.
        SettingsError: When nobody is known to act.
    """
    target = find_target(workspace, lora, release, project=project, scope=scope)
    loaded = find_evaluation(workspace, target, evaluation)
    record = loaded.record
    require_complete(record, command=f"lora eval grid {target.words}")
    require_same_weights(target, record)
    _require_reasons(verdict, comment, signs)
    rules = rules_of(record.suite) if record.suite else {}
    _require_rules(verdict, rules, broken)
    total = len(record.cells)
    seen = total if cells_seen is None else cells_seen
    if not 0 <= seen <= total:
        raise ArgumentInvalidError(f"the grid has {total} cells, {seen} cannot have been seen")
    review = sealed(
        Review(
            id=new_ulid(),
            evaluation_id=record.id,
            lora_id=record.lora_id,
            release_id=record.release_id,
            reviewer=workspace.require_actor(),
            verdict=verdict,
            created_at=workspace.now(),
            binding=binding_of(target, record),
            cells_seen=seen,
            cells_total=total,
            comment=comment.strip(),
            signs=signs,
            broken=broken,
        )
    )
    changes = Changes(workspace)
    changes.create(review, loaded.scope, review.id)
    return Result(
        # What was measured is told after the verdict: before, it would be half of it.
        data=review.to_dict() | {"rules": rules} | measured_facts(record.metrics, record.cells),
        reasoning=f"{_WORDS[verdict]} {target.words}, {seen} of {total} cells seen",
        suggestions=_next(target, verdict),
        written=tuple(changes.apply()),
        dry_run=workspace.dry_run,
    )


def binding_of(target: Target, record: Evaluation) -> ReviewBinding:
    """Return the digests of what a verdict on a grid is about."""
    weights = target.release.weights
    return ReviewBinding(
        weights_sha256=record.weights_sha256,
        tensor_sha256=weights.tensor_sha256 if weights else "",
        manifest_hash=str(target.release.training.get("manifestHash", "")),
        suite_digest=record.suite_digest,
        result_digest=record.result_digest,
    )


def require_same_weights(target: Target, record: Evaluation) -> None:
    """Check that a grid shows the weights that the release has now.

    Raises:
        StateError: When it has other ones.
    """
    weights = target.release.weights
    present = (weights.sha256 if weights else "") or target.release.sha256
    if present != record.weights_sha256:
        raise StateError(
            f"{target.words} has other weights now than evaluation {record.id} shows",
            hint=f"lora eval grid {target.words}",
        )


def _require_reasons(verdict: Verdict, comment: str, signs: tuple[str, ...]) -> None:
    if verdict != "approved" and not comment.strip():
        raise ArgumentInvalidError(
            f"a verdict of {verdict} needs a comment: whoever trains next must know why",
            hint='--comment "what is wrong, and in which cells"',
        )
    _require_known("sign", signs, SIGNS)


def _require_rules(verdict: Verdict, rules: Mapping[str, str], broken: tuple[str, ...]) -> None:
    _require_known("rule", broken, rules)
    if verdict == "approved" and broken:
        name = broken[0]
        raise ArgumentInvalidError(
            f"{name} {rules[name]}: what breaks a rule of its suite is not approved",
            hint="lora eval reject, or --verdict needs_work",
        )


def _require_known(what: str, given: tuple[str, ...], known: Mapping[str, str]) -> None:
    for one in given:
        if one not in known:
            near = did_you_mean(one, known)
            there = "there are: " + ", ".join(known) if known else f"the suite has no {what}"
            raise ArgumentInvalidError(
                f"no {what} {one!r}", hint=f"did you mean {near}?" if near else there
            )
    if len(set(given)) != len(given):
        raise ArgumentInvalidError(f"a {what} was given twice")


def _next(target: Target, verdict: Verdict) -> tuple[str, ...]:
    if verdict == "approved":
        return (f"lora promote {target.words}",)
    dataset = str(target.release.training.get("datasetId") or "ID")
    return (f"lora train --lora {target.lora.record_id} --dataset {dataset}",)
