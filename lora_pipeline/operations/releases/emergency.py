"""Break-glass: a release made active without verdicts, loudly, and for a few days.

There is no hidden switch. The entry in the history says who, why, what did not pass and until
when; ``lora validate`` fails from that moment until the gate passes, and after the term
``lora resolve`` refuses as well.
"""

from __future__ import annotations

from lora_pipeline.foundation.errors import ArgumentInvalidError, StateError
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.releases.promote import moved, refused, require_chain
from lora_pipeline.releases.evidence.gathering import EvidenceReader
from lora_pipeline.releases.evidence.people import is_no_person
from lora_pipeline.releases.gate.emergencies import term_of
from lora_pipeline.releases.gate.judge import firm_refusals
from lora_pipeline.releases.history import emergency_since
from lora_pipeline.releases.judging import Judged, judge
from lora_pipeline.releases.lookup import ScopeName, find_lora, require_release
from lora_pipeline.releases.records import HistoryEntry, Release
from lora_pipeline.workspace.root import Workspace


def break_glass(
    workspace: Workspace,
    lora: str,
    release: str,
    *,
    reason: str,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Make a release active in an emergency, although the gate does not pass.

    What is skipped is judgement: grid, reviews, measured values. What is not skipped: the
    weights are those on record, of the run on record, and no right in an image is violated.

    Args:
        workspace: The workspace.
        lora: Id of the LoRA.
        release: Id of the release.
        reason: What the emergency is; everybody will read it.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When LoRA, release or policy do not exist.
        ArgumentInvalidError: When no reason is given, or it is active already.
        StateError: When the history of the LoRA was changed by hand, or the gate passes.
        SettingsError: When nobody is known to act.
    """
    if not reason.strip():
        raise ArgumentInvalidError(
            "an emergency needs its reason", hint='--reason "what is broken, and who agreed"'
        )
    loaded = find_lora(workspace, lora, project=project, scope=scope)
    chosen = require_release(loaded.record, release)
    actor = workspace.require_actor()
    require_chain(loaded.record)
    if loaded.record.active_release_id == chosen.id:
        raise ArgumentInvalidError(f"{release} is active already")
    judged = judge(EvidenceReader(workspace, workspace.records), loaded, chosen)
    decision = judged.decision
    if decision.passed:
        raise StateError(
            f"{release} passes the gate: this is no emergency",
            hint=f"lora promote {lora} {release}",
        )
    if firm_refusals(decision):
        return refused(workspace, loaded, chosen, judged.evidence, decision)
    now = workspace.now()
    since = emergency_since(loaded.record.history) or now
    until = term_of(since, judged.force.policy)
    objection = _objection(judged, actor, now, until)
    if objection:
        return _not_allowed(workspace, judged, chosen, objection)
    before = loaded.record.active_release_id
    entry = HistoryEntry(
        event="emergency",
        at=now,
        by=actor,
        release_id=chosen.id,
        from_release_id=before,
        reason=reason.strip(),
        weights_sha256=chosen.weights.sha256 if chosen.weights else "",
        skipped=tuple(one.id for one in decision.refusing),
        until=until,
    )
    return moved(workspace, loaded, chosen, decision, entry)


def _objection(judged: Judged, actor: str, now: str, until: str) -> str:
    policy = judged.force.policy
    if is_no_person(actor):
        return f"{actor} is no person"
    if not policy.emergency_days:
        return f"policy {policy.id} allows no emergency (emergencyDays 0)"
    if until <= now:
        return f"the term of the emergency that is open ended on {until[:10]}"
    return ""


def _not_allowed(workspace: Workspace, judged: Judged, release: Release, why: str) -> Result:
    name = f"{judged.evidence.lora.id} {release.id}"
    return Result(
        data=judged.decision.to_dict()
        | {
            "status": release.status,
            "scope": judged.evidence.lora.scope,
            "activeReleaseId": judged.evidence.lora.active_release_id,
        },
        reasoning=f"{name} is not made active: {why}",
        suggestions=(f"lora promote {name} --dry-run",),
        dry_run=workspace.dry_run,
        refusal=Refusal("emergency_refused", why, f"lora promote {name} --dry-run"),
    )
