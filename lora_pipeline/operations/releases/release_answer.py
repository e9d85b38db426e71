"""Answer for a release whose images were withdrawn: stop it, retrain it, or keep it."""

from __future__ import annotations

from typing import Any, Literal

from msgspec.structs import replace

from lora_pipeline.catalog.rights.training import days_after
from lora_pipeline.foundation.errors import ArgumentInvalidError, StateError
from lora_pipeline.foundation.ids import new_ulid
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.releases.release import deprecate_release
from lora_pipeline.releases.answers import sealed
from lora_pipeline.releases.evidence.facts import (
    GivenAnswer,
    ReleaseEvidence,
    Unproven,
    WithdrawnImage,
)
from lora_pipeline.releases.evidence.gathering import EvidenceReader
from lora_pipeline.releases.gate.policies import policy_for
from lora_pipeline.releases.gate.rights import JudgedImage, judge_withdrawals, term_of
from lora_pipeline.releases.lookup import ScopeName, find_lora, require_release
from lora_pipeline.releases.records import (
    AnsweredImage,
    GatePolicy,
    Release,
    WithdrawalAnswer,
)
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.root import Workspace

Answer = Literal["stop", "retrain", "keep"]


def answer_withdrawal(
    workspace: Workspace,
    lora: str,
    release: str,
    answer: Answer,
    *,
    reason: str,
    days: int | None = None,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Record what becomes of a release whose images were withdrawn.

    ``stop`` deprecates it, and nothing of the LoRA is active then. ``retrain`` lets the active
    release stay in use for some days, ``keep`` for good; both only where the project of every
    withdrawn image allows it, and both are judged as the gate judges them from then on.

    Args:
        workspace: Where it is.
        lora: Id of the LoRA.
        release: Id of the release.
        answer: ``stop``, ``retrain`` or ``keep``.
        reason: Why; it is kept with the answer.
        days: For ``retrain``: how many days from now; else as long as the project allows.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When LoRA or release do not exist.
        ArgumentInvalidError: When the reason is missing, or the days are none.
        StateError: When no image of the release was withdrawn, or nobody knows its images.
        SettingsError: When nobody is known to act.
    """
    if not reason.strip():
        raise ArgumentInvalidError("why?", hint='--reason "what was agreed, and with whom"')
    if days is not None and (answer != "retrain" or days < 1):
        raise ArgumentInvalidError(
            "days are for retrain, and at least 1", hint="leave --days out for the longest term"
        )
    loaded = find_lora(workspace, lora, project=project, scope=scope)
    chosen = require_release(loaded.record, release)
    reader = EvidenceReader(workspace, workspace.records)
    evidence, images = _asked(reader.gather_rights(loaded, chosen))
    if answer == "stop":
        return _stopped(workspace, lora, release, reason, images, project, scope)
    policy = policy_for(workspace, workspace.records, loaded.scope, loaded.record).policy
    record = _record(workspace, evidence, answer, reason.strip(), days)
    refusing = _refusing(evidence, policy, record)
    if refusing:
        return _refused(workspace, record, refusing, _hint(evidence, record, refusing))
    same = _same_already(evidence, policy, record)
    if same is not None:
        return Result(
            data=same.to_dict(),
            reasoning=f"{same.answered_by} answered so already",
            suggestions=("lora validate",),
            dry_run=workspace.dry_run,
        )
    changes = Changes(workspace)
    changes.create(record, loaded.scope, record.id)
    written = changes.apply()
    return Result(
        data=record.to_dict(),
        reasoning=_sentence(record, len(images)),
        warnings=_warnings(policy, record),
        suggestions=_next(chosen, record),
        written=written,
        dry_run=workspace.dry_run,
    )


def _asked(evidence: ReleaseEvidence) -> tuple[ReleaseEvidence, tuple[WithdrawnImage, ...]]:
    """Return the evidence with what is asked about: also licences that end within weeks."""
    release, facts = evidence.release, evidence.rights
    if isinstance(facts, Unproven):
        raise StateError(
            f"nobody knows which images {release.id} was trained on: {facts.reason}",
            hint=f"lora release deprecate {evidence.lora.id} {release.id} --reason …",
        )
    images = (*facts.withdrawn, *facts.ending)
    if not images:
        raise StateError(
            f"no image of {release.id} was withdrawn, there is nothing to answer for",
            hint="lora dataset impact --withdrawn",
        )
    if release.weights is None or len(release.weights.sha256) != 64:
        raise StateError(
            f"{release.id} names no weights by a whole SHA-256, so no answer can be bound to it",
            hint=f"lora release show {evidence.lora.id} {release.id}",
        )
    return replace(evidence, rights=replace(facts, withdrawn=images)), images


def _record(
    workspace: Workspace,
    evidence: ReleaseEvidence,
    answer: Literal["retrain", "keep"],
    reason: str,
    days: int | None,
) -> WithdrawalAnswer:
    release, facts = evidence.release, evidence.rights
    assert release.weights is not None  # noqa: S101 - asked before
    assert not isinstance(facts, Unproven)  # noqa: S101 - asked before
    now = workspace.now()
    until = ""
    if answer == "retrain":
        until = term_of(facts.withdrawn)
        if days is not None:
            until = _until(now, days, until)
    return sealed(
        WithdrawalAnswer(
            id=new_ulid(),
            lora_id=evidence.lora.id,
            release_id=release.id,
            answer=answer,
            reason=reason,
            answered_by=workspace.require_actor(),
            created_at=now,
            weights_sha256=release.weights.sha256,
            manifest_hash=str(release.training.get("manifestHash", "")),
            images=tuple(
                AnsweredImage(asset_id=one.asset_id, since=one.since) for one in facts.withdrawn
            ),
            until=until,
            digest="",
        )
    )


def _until(now: str, days: int, longest: str) -> str:
    until = days_after(now, days)
    if until > longest:
        raise ArgumentInvalidError(
            f"{days} days end on {until[:10]}, the project's term on {longest[:10]}",
            hint="leave --days out for the longest term",
        )
    return until


def _refusing(
    evidence: ReleaseEvidence, policy: GatePolicy, record: WithdrawalAnswer
) -> list[JudgedImage]:
    """Return the images for which the answer would not count, judged as the gate will."""
    given = GivenAnswer(record, committed_by=record.answered_by, signed_by=record.answered_by)
    alone = replace(evidence, answers=(given,))
    return [one for one in judge_withdrawals(alone, policy) if one.answer is None]


def _same_already(
    evidence: ReleaseEvidence, policy: GatePolicy, record: WithdrawalAnswer
) -> WithdrawalAnswer | None:
    judged = judge_withdrawals(evidence, policy)
    answers = [one.answer for one in judged if one.answer is not None]
    if len(answers) < len(judged):
        return None
    same = all((one.answer, one.until) == (record.answer, record.until) for one in answers)
    return answers[-1] if same else None


def _stopped(
    workspace: Workspace,
    lora: str,
    release: str,
    reason: str,
    images: tuple[WithdrawnImage, ...],
    project: str | None,
    scope: ScopeName,
) -> Result:
    done = deprecate_release(
        workspace, lora, release, reason=reason, deactivate=True, project=project, scope=scope
    )
    facts: dict[str, Any] = {
        "answer": "stop",
        "images": [{"assetId": one.asset_id, "since": one.since} for one in images],
    }
    return replace(done, data={**done.data, **facts}, suggestions=(*done.suggestions,))


def _refused(
    workspace: Workspace, record: WithdrawalAnswer, refusing: list[JudgedImage], hint: str
) -> Result:
    first = refusing[0]
    return Result(
        data={
            "loraId": record.lora_id,
            "releaseId": record.release_id,
            "answer": record.answer,
            "refused": [{"assetId": one.image.asset_id, "reason": one.doubt} for one in refusing],
        },
        reasoning=f"{record.answer} is no answer for {record.release_id} of {record.lora_id}",
        suggestions=(hint,),
        dry_run=workspace.dry_run,
        refusal=Refusal("answer_refused", f"{first.image.asset_id}: {first.doubt}", hint),
    )


def _hint(evidence: ReleaseEvidence, record: WithdrawalAnswer, refusing: list[JudgedImage]) -> str:
    command = f"lora release answer {record.lora_id} {record.release_id}"
    allowed = {one.image.on_withdrawal for one in refusing}
    if record.answer == "keep" and "keep" not in allowed:
        milder = "stop" if "stop" in allowed else "retrain"
        return f"{command} {milder} --reason …"
    if evidence.person(record.answered_by) in evidence.trainers and "stop" not in allowed:
        return f"{command} {record.answer} --reason … --as SOMEONE_ELSE"
    return f"{command} stop --reason …"


def _warnings(policy: GatePolicy, record: WithdrawalAnswer) -> tuple[str, ...]:
    if not policy.reviews_committed_by_reviewer:
        return ()
    who = record.answered_by
    return (f"policy {policy.id} counts an answer once {who} has committed it (--commit)",)


def _next(release: Release, record: WithdrawalAnswer) -> tuple[str, ...]:
    dataset = str(release.training.get("datasetId") or "ID")
    if record.answer == "keep":
        return ("lora validate",)
    return (
        f"lora dataset build {dataset}",
        f"lora train --lora {record.lora_id} --dataset {dataset}",
        "lora validate",
    )


def _sentence(record: WithdrawalAnswer, count: int) -> str:
    images = f"{count} withdrawn image{'' if count == 1 else 's'}"
    name = f"{record.release_id} of {record.lora_id}"
    if record.answer == "keep":
        return f"Kept {name} with {images}"
    return f"{name} stays in use until {record.until[:10]}, with {images}"
