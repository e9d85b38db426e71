"""Show and set what a project asks of its art: licences, provenance, consent, withdrawals."""

from __future__ import annotations

from typing import Any, Literal

from msgspec.structs import replace

from lora_pipeline.catalog.assets.reading import ProjectAssets, read_assets
from lora_pipeline.catalog.records import Project, ProjectRights
from lora_pipeline.catalog.rights.license import require_license
from lora_pipeline.catalog.rights.policy import PolicyChange, Verdicts, changed_policy, verdicts
from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.foundation.result import Result
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.root import Workspace


def set_rights(
    workspace: Workspace,
    project_id: str | None = None,
    *,
    allow_licenses: tuple[str, ...] = (),
    forbid_licenses: tuple[str, ...] = (),
    any_license: bool = False,
    provenance_required: bool | None = None,
    consent_required: bool | None = None,
    unknown_rights: Literal["allow", "exclude"] | None = None,
    on_withdrawal: Literal["stop", "retrain", "keep"] | None = None,
    retrain_days: int | None = None,
) -> Result:
    """Set what a project asks of its art, or show it when nothing is to change.

    What is not named stays as it was. Says how much of the approved art may be trained on, and
    what a change would take away; releases are judged by the new policy from then on.

    Args:
        workspace: Where it is.
        project_id: The project; the one in use when left out.
        allow_licenses: Licences that may be trained on: SPDX ids, or names of one's own.
        forbid_licenses: Licences that are taken from the list.
        any_license: Whether any licence may be trained on.
        provenance_required: Whether source, author and licence must be known.
        consent_required: Whether a consent must be recorded.
        unknown_rights: What happens to art whose training right nobody stated.
        on_withdrawal: The mildest answer to a withdrawal: ``stop``, ``retrain`` or ``keep``.
        retrain_days: How many days after it a release may stay in use to be trained anew.

    Raises:
        RecordNotFoundError: When the project does not exist.
        ArgumentInvalidError: When a licence looks misspelt, is not in the list that it is taken
            from, or when nothing would be left of the list; when the days are none.
    """
    scope = workspace.scope(project_id)
    loaded = workspace.records.read(Project, scope, "project")
    before = loaded.record.rights
    if retrain_days is not None and not 1 <= retrain_days <= 365:
        raise ArgumentInvalidError(f"retrain-days must be 1 to 365, got {retrain_days}")
    change = PolicyChange(
        allow=tuple(require_license(one, before.allowed_licenses) for one in allow_licenses),
        forbid=tuple(_listed(one, before) for one in forbid_licenses),
        any_license=any_license,
        provenance_required=provenance_required,
        consent_required=consent_required,
        unknown_training=unknown_rights,
        on_withdrawal=on_withdrawal,
        retrain_within_days=retrain_days,
    )
    after = changed_policy(before, change)
    if before.allowed_licenses and not after.allowed_licenses and not any_license:
        raise ArgumentInvalidError(
            "nothing would be left of the list, and no list means any licence",
            hint="--any-license says that; else allow another one with --allow-license",
        )
    assets = read_assets(workspace, scope)
    changes = Changes(workspace)
    if after != before:
        changes.update(loaded, replace(loaded.record, rights=after, updated_at=workspace.now()))
    return _result(workspace, assets, before, after, changes)


def _result(
    workspace: Workspace,
    assets: ProjectAssets,
    before: ProjectRights,
    after: ProjectRights,
    changes: Changes,
) -> Result:
    project_id = assets.project.id
    changed = after != before
    then = verdicts(assets.each(), before)
    now = verdicts(assets.each(), after) if changed else then
    fewer = then.allowed - now.allowed
    return Result(
        data={
            "project": project_id,
            "changed": changed,
            "rights": _facts(after),
            "before": _facts(before),
            "approved": _counts(now),
            "approvedBefore": _counts(then),
        },
        reasoning=f"Set what {project_id} asks of its art"
        if changed
        else f"What {project_id} asks of its art",
        warnings=(_fewer(fewer, then.allowed),) if fewer > 0 else (),
        suggestions=("lora validate", "lora dataset list") if changed and fewer > 0 else (),
        written=changes.apply(),
        dry_run=workspace.dry_run,
    )


def _fewer(fewer: int, of: int) -> str:
    return (
        f"{fewer} of {of} approved assets may no longer be trained on; releases that hold them "
        "do not pass the gate any more"
    )


def _listed(text: str, rights: ProjectRights) -> str:
    for one in rights.allowed_licenses:
        if one.casefold() == text.strip().casefold():
            return one
    near = did_you_mean(text, rights.allowed_licenses)
    listed = ", ".join(rights.allowed_licenses) or "none: any licence may be trained on"
    raise ArgumentInvalidError(
        f"licence {text!r} is not in the list",
        hint=f"did you mean {near}?" if near else f"there are: {listed}",
    )


def _facts(rights: ProjectRights) -> dict[str, Any]:
    return {
        "allowedLicenses": list(rights.allowed_licenses),
        "provenanceRequired": rights.provenance_required,
        "consentRequired": rights.consent_required,
        "unknownTraining": rights.unknown_training,
        "onWithdrawal": rights.on_withdrawal,
        "retrainWithinDays": rights.retrain_within_days,
    }


def _counts(found: Verdicts) -> dict[str, Any]:
    return {"mayTrain": found.allowed, "barred": found.barred}
