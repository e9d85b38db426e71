"""Promotion and rollback: moving the pointer, which only the gate may do."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from lora_pipeline.evaluation.records import Evaluation
from lora_pipeline.foundation.errors import ArgumentInvalidError, StateError
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.releases.release_hooks import telling_of_change
from lora_pipeline.releases.evidence.facts import ReleaseEvidence
from lora_pipeline.releases.evidence.gathering import EvidenceReader
from lora_pipeline.releases.gate.decision import Decision
from lora_pipeline.releases.gate.judge import bound_evidence
from lora_pipeline.releases.gate.rights import answers_allowed
from lora_pipeline.releases.history import (
    broken_link,
    evidence_of,
    extended,
    last_activation,
    previously_active,
)
from lora_pipeline.releases.judging import judge
from lora_pipeline.releases.lookup import ScopeName, find_lora, require_release
from lora_pipeline.releases.next_steps import steps_after_refusal
from lora_pipeline.releases.records import HistoryEntry, HistoryEvent, Lora, Release
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace


def promote_release(
    workspace: Workspace,
    lora: str,
    release: str,
    *,
    project: str | None = None,
    scope: ScopeName = "project",
    evaluation: str = "",
    reason: str = "",
    recommended: bool | None = None,
) -> Result:
    """Make a release the active one, when the gate passes.

    The evidence is gathered and the gate computed now, from the bytes up; a dry run shows the
    decision and writes nothing.

    Args:
        workspace: The workspace.
        lora: Id of the LoRA.
        release: Id of the release.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.
        evaluation: The evaluation to judge; else the newest complete one.
        reason: Why, for the history.
        recommended: Whether the LoRA is chosen before others of its asset types from now on;
            None leaves it as it is.

    Raises:
        RecordNotFoundError: When LoRA, release, evaluation or policy do not exist.
        StateError: When the history of the LoRA was changed by hand.
        SettingsError: When nobody is known to act.
    """
    loaded = find_lora(workspace, lora, project=project, scope=scope)
    chosen = require_release(loaded.record, release)
    actor = workspace.require_actor()
    require_chain(loaded.record)
    if evaluation:  # one that is not there is a mistake of who asked, not of the release
        workspace.records.read(Evaluation, loaded.scope, evaluation)
    reader = EvidenceReader(workspace, workspace.records, measure_images=True)
    judged = judge(reader, loaded, chosen, evaluation_id=evaluation)
    decision = judged.decision
    if not decision.passed:
        return refused(workspace, loaded, chosen, judged.evidence, decision)
    entry = HistoryEntry(
        event="promoted",
        at=workspace.now(),
        by=actor,
        release_id=chosen.id,
        from_release_id=_other(loaded.record.active_release_id, chosen.id),
        evidence=bound_evidence(judged.evidence, decision),
        reason=reason,
    )
    present = last_activation(loaded.record)
    if present and present.evidence == entry.evidence and chosen.status == "approved":
        return _active_already(workspace, loaded, chosen, decision, recommended=recommended)
    return moved(workspace, loaded, chosen, decision, entry, recommended=recommended)


def rollback_release(
    workspace: Workspace,
    lora: str,
    *,
    to: str = "",
    project: str | None = None,
    scope: ScopeName = "project",
    reason: str = "",
) -> Result:
    """Go back to an earlier approved release whose evidence still holds.

    Nobody needs to approve again when every digest is what it was; the gate is computed anew
    all the same.

    Args:
        workspace: The workspace.
        lora: Id of the LoRA.
        to: Id of the release; else the one that was active before the present one.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.
        reason: Why, for the history.

    Raises:
        RecordNotFoundError: When LoRA or release do not exist.
        StateError: When there is nothing to go back to, or the history was changed by hand.
        SettingsError: When nobody is known to act.
    """
    loaded = find_lora(workspace, lora, project=project, scope=scope)
    require_chain(loaded.record)
    chosen = _earlier(loaded.record, to)
    actor = workspace.require_actor()
    bound = evidence_of(loaded.record.history, chosen.id)
    if bound is None or bound.evidence is None:
        raise StateError(
            f"{chosen.id} was never active, there is nothing to go back to",
            hint=f"lora promote {lora} {chosen.id}",
        )
    reader = EvidenceReader(workspace, workspace.records, measure_images=True)
    judged = judge(reader, loaded, chosen, entry=bound)
    decision = judged.decision
    if not decision.passed:
        return refused(workspace, loaded, chosen, judged.evidence, decision)
    entry = HistoryEntry(
        event="rolled_back",
        at=workspace.now(),
        by=actor,
        release_id=chosen.id,
        from_release_id=_other(loaded.record.active_release_id, chosen.id),
        evidence=bound_evidence(judged.evidence, decision),
        reason=reason,
    )
    return moved(workspace, loaded, chosen, decision, entry)


def _active_already(
    workspace: Workspace,
    loaded: Loaded[Lora],
    release: Release,
    decision: Decision,
    *,
    recommended: bool | None,
) -> Result:
    lora = loaded.record
    written: list[str] = []
    words = f"{release.id} of {lora.id} is active already, on the same evidence"
    if recommended is not None and recommended != lora.recommended:
        changes = Changes(workspace)
        changes.update(loaded, replace(lora, updated_at=workspace.now(), recommended=recommended))
        written = changes.apply()
        words = f"{lora.id} is {'now' if recommended else 'no longer'} recommended"
    return Result(
        data=_facts(loaded, release, decision)
        | {"recommended": lora.recommended if recommended is None else recommended},
        reasoning=words,
        suggestions=(f"lora resolve {lora.id}",),
        written=tuple(written),
        dry_run=workspace.dry_run,
    )


def moved(
    workspace: Workspace,
    loaded: Loaded[Lora],
    release: Release,
    decision: Decision,
    entry: HistoryEntry,
    *,
    recommended: bool | None = None,
) -> Result:
    """Write that a release is active, and return what came of it."""
    lora = loaded.record
    # Only the gate that has just passed makes a release approved; others stay what they were.
    approved = release if entry.event == "emergency" else replace(release, status="approved")
    changed = replace(
        lora,
        updated_at=entry.at,
        active_release_id=release.id,
        recommended=lora.recommended if recommended is None else recommended,
        releases=tuple(approved if one.id == release.id else one for one in lora.releases),
        history=extended(lora.history, entry),
    )
    changes = Changes(workspace)
    changes.update(loaded, changed)
    written = changes.apply()
    return Result(
        data=_facts(loaded, approved, decision)
        | {"fromReleaseId": entry.from_release_id, "recommended": changed.recommended}
        | ({"until": entry.until} if entry.until else {}),
        reasoning=_sentence(entry.event, lora.id, release.id, entry.from_release_id),
        suggestions=(f"lora resolve {lora.id}", "lora validate"),
        written=tuple(written),
        dry_run=workspace.dry_run,
        afterwards=telling_of_change(workspace, loaded, changed),
    )


def refused(
    workspace: Workspace,
    loaded: Loaded[Lora],
    release: Release,
    evidence: ReleaseEvidence,
    decision: Decision,
) -> Result:
    """Return the refusal of a release with all its reasons and the next commands."""
    refusing = decision.refusing
    reasons = "; ".join(f"{one.title}: {one.reason}" for one in refusing)
    steps = steps_after_refusal(loaded.record, release, decision, answers_allowed(evidence))
    return Result(
        data=_facts(loaded, release, decision),
        reasoning=f"{release.id} of {loaded.record.id} does not pass the gate",
        suggestions=steps,
        dry_run=workspace.dry_run,
        refusal=Refusal(
            "gate_refused",
            f"{release.id} of {loaded.record.id} refused: {reasons}",
            steps[0] if steps else None,
        ),
    )


def _facts(loaded: Loaded[Lora], release: Release, decision: Decision) -> dict[str, Any]:
    return decision.to_dict() | {
        "status": release.status,
        "scope": loaded.scope.name,
        "activeReleaseId": loaded.record.active_release_id,
    }


def require_chain(lora: Lora) -> None:
    """Check that nobody changed the history of a LoRA by hand.

    Raises:
        StateError: When somebody did.
    """
    broken = broken_link(lora.history)
    if broken:
        raise StateError(
            f"the history of {lora.id} was changed by hand: {broken}",
            hint="restore the record from Git, then lora validate",
        )


def _earlier(lora: Lora, to: str) -> Release:
    if to:
        release = require_release(lora, to)
        if release.id == lora.active_release_id:
            raise ArgumentInvalidError(f"{to} is active already")
        return release
    before = previously_active(lora)
    if not before:
        raise StateError(
            f"no earlier release of {lora.id} was active and is still approved",
            hint=f"lora show {lora.id}",
        )
    return require_release(lora, before)


def _other(active: str, chosen: str) -> str:
    return "" if active == chosen else active


def _sentence(event: HistoryEvent, lora_id: str, release_id: str, before: str) -> str:
    if event == "emergency":
        instead = f", instead of {before}" if before else ""
        return f"EMERGENCY: made {release_id} of {lora_id} active without the gate{instead}"
    if event == "promoted":
        instead = f", instead of {before}" if before else ""
        return f"Promoted {release_id} of {lora_id}{instead}"
    came_from = f" from {before}" if before else ""
    return f"Rolled {lora_id} back to {release_id}{came_from}"
