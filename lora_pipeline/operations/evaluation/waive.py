"""Set a condition of the gate aside, for a while and with a reason."""

from __future__ import annotations

from lora_pipeline.catalog.rights.training import days_after
from lora_pipeline.foundation.errors import ArgumentInvalidError, StateError
from lora_pipeline.foundation.ids import did_you_mean, new_ulid
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.evaluation.evaluation_subject import Target, find_target
from lora_pipeline.operations.evaluation.review import binding_of
from lora_pipeline.releases.evidence.facts import GivenWaiver, Unproven
from lora_pipeline.releases.evidence.gathering import EvidenceReader
from lora_pipeline.releases.gate.decision import Condition
from lora_pipeline.releases.gate.waivers import doubt_about, may_be_waived, sealed
from lora_pipeline.releases.judging import Judged, judge
from lora_pipeline.releases.lookup import ScopeName
from lora_pipeline.releases.records import Waiver
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.root import Workspace


def waive_condition(
    workspace: Workspace,
    lora: str,
    release: str,
    condition: str,
    *,
    reason: str,
    days: int | None = None,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Set one condition of the gate aside for a release, for some days and with a reason.

    Only what the policy lets a person waive, and only what does not pass now. It is bound to
    the grid that was judged, and ends by itself: then the condition counts again.

    Args:
        workspace: The workspace.
        lora: Id of the LoRA.
        release: Id of the release.
        condition: Id of the condition, such as ``copy`` or ``metric:clipT``.
        reason: Why; everybody who promotes or validates will read it.
        days: For how many days; else as long as the policy allows.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When LoRA or release do not exist.
        ArgumentInvalidError: When the reason is missing, there is no such condition, or the days
            are more than the policy allows.
        StateError: When the condition passes, or there is no grid that it could be about.
        SettingsError: When nobody is known to act.
    """
    if not reason.strip():
        raise ArgumentInvalidError("why?", hint='--reason "what was looked at, and by whom"')
    target = find_target(workspace, lora, release, project=project, scope=scope)
    judged = judge(EvidenceReader(workspace, workspace.records), target.lora, target.release)
    found = _condition(judged, condition)
    record = _record(workspace, target, judged, found, reason.strip(), days)
    given = GivenWaiver(record, committed_by=record.waived_by, signed_by=record.waived_by)
    doubt = doubt_about(given, judged.evidence, judged.force.policy)
    if doubt is not None:
        return _refused(workspace, judged, record, doubt)
    changes = Changes(workspace)
    changes.create(record, target.lora.scope, record.id)
    policy = judged.force.policy
    warning = f"policy {policy.id} counts it once {record.waived_by} has committed it (--commit)"
    asked = policy.reviews_committed_by_reviewer or policy.reviews_signed
    return Result(
        data=record.to_dict() | {"title": found.title, "found": found.reason},
        reasoning=f"Waived {condition} of {target.words} until {record.until[:10]}",
        warnings=(warning,) if asked else (),
        suggestions=(f"lora promote {target.words} --dry-run",),
        written=tuple(changes.apply()),
        dry_run=workspace.dry_run,
    )


def _condition(judged: Judged, condition_id: str) -> Condition:
    decision, policy = judged.decision, judged.force.policy
    found = next((one for one in decision.conditions if one.id == condition_id), None)
    open_ones = [one.id for one in decision.refusing if may_be_waived(one.id, policy)]
    if found is None:
        near = did_you_mean(condition_id, [one.id for one in decision.conditions])
        raise ArgumentInvalidError(
            f"the gate asks for no {condition_id!r}",
            hint=f"did you mean {near}?" if near else "to be waived are: " + ", ".join(open_ones),
        )
    if found.passed:
        raise StateError(
            f"{found.title} {'passes' if found.status == 'pass' else 'is waived already'}: "
            f"{found.reason}"
        )
    return found


def _record(
    workspace: Workspace,
    target: Target,
    judged: Judged,
    condition: Condition,
    reason: str,
    days: int | None,
) -> Waiver:
    evaluation, longest = judged.evidence.evaluation, judged.force.policy.max_waiver_days
    if evaluation is None:
        raise StateError(
            f"{target.words} has no grid, and a waiver is about one",
            hint=f"lora eval grid {target.words}",
        )
    if days is not None and not 1 <= days <= longest:
        raise ArgumentInvalidError(
            f"a waiver holds 1 to {longest} days by policy {judged.force.policy.id}, got {days}"
        )
    now = workspace.now()
    return sealed(
        Waiver(
            id=new_ulid(),
            lora_id=target.lora.record_id,
            release_id=target.release.id,
            condition=condition.id,
            reason=reason,
            waived_by=workspace.require_actor(),
            created_at=now,
            until=days_after(now, days or longest),
            binding=binding_of(target, evaluation),
            measured=condition.measured,
            digest="",
        )
    )


def _refused(workspace: Workspace, judged: Judged, record: Waiver, doubt: str | Unproven) -> Result:
    why = doubt.reason if isinstance(doubt, Unproven) else doubt
    waivable = ", ".join(judged.force.policy.waivable) or "nothing"
    hint = f"it lets be waived: {waivable}"
    return Result(
        data={
            "loraId": record.lora_id,
            "releaseId": record.release_id,
            "condition": record.condition,
        },
        reasoning=f"{record.condition} of {record.lora_id} {record.release_id} is not waived",
        suggestions=(f"lora promote {record.lora_id} {record.release_id} --dry-run",),
        dry_run=workspace.dry_run,
        refusal=Refusal("waiver_refused", why, hint),
    )
