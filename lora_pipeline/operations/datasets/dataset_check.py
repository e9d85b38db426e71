"""Check images before training: what is wrong with them, and what somebody accepted of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from msgspec.structs import replace

from lora_pipeline.catalog.assets.filter import AssetFilter
from lora_pipeline.datasets.checks.acknowledging import acknowledged, with_acknowledgements
from lora_pipeline.datasets.checks.checking import Checked, check_pictures
from lora_pipeline.datasets.checks.findings import RULES, CheckFinding
from lora_pipeline.datasets.checks.records import Acknowledgement
from lora_pipeline.datasets.checks.thresholds import thresholds_of
from lora_pipeline.foundation.errors import ArgumentInvalidError, RecordNotFoundError
from lora_pipeline.foundation.findings import Severity
from lora_pipeline.foundation.ids import did_you_mean, new_ulid
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.datasets.dataset_check_set import CheckSet, chosen_set
from lora_pipeline.operations.datasets.dataset_place import with_place
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import SHARED
from lora_pipeline.workspace.root import Workspace

ScopeName = Literal["project", "baseline"]
_COUNTED: tuple[Severity, ...] = ("error", "not_proven", "warning", "info")

_NAMES: dict[Severity, tuple[str, str]] = {
    "error": ("error", "errors"),
    "not_proven": ("not proven", "not proven"),
    "warning": ("warning", "warnings"),
    "info": ("note", "notes"),
}


def check_dataset(
    workspace: Workspace,
    dataset_id: str | None = None,
    *,
    project: str | None = None,
    scope: ScopeName = "project",
    checkpoint: str | None = None,
    tags: tuple[str, ...] = (),
    asset_types: tuple[str, ...] = (),
    statuses: tuple[str, ...] = (),
    strict: bool = False,
) -> Result:
    """Check the images of a manifest, or assets that are in none yet.

    Looks for images that are too small, blurred, enlarged, compressed, framed, empty or of an
    extreme shape; for the same image twice, in other bytes or as a near-duplicate; for marks in
    a corner; for imbalance, too few images and bad captions. What somebody acknowledged is
    listed and not counted.

    Args:
        workspace: The workspace.
        dataset_id: Id or path of a manifest; the project's assets when left out.
        project: Project to look in.
        scope: ``baseline`` for a shared manifest.
        checkpoint: Checkpoint whose resolution counts, instead of the manifest's.
        tags: Without a manifest: only assets with all these tags.
        asset_types: Without a manifest: only assets of these types.
        statuses: Without a manifest: only assets of these statuses; draft, review and approved
            when left out.
        strict: Whether a warning is a no, too.

    Raises:
        RecordNotFoundError: When there is no such manifest or checkpoint.
        SelectionEmptyError: When no asset is left to check.
        ArgumentInvalidError: When assets are chosen although a manifest is named.
    """
    wanted = AssetFilter(tags=tags, asset_types=asset_types, statuses=statuses)
    chosen = chosen_set(workspace, dataset_id, project, scope, checkpoint, wanted)
    checked, findings = _check(workspace, chosen)
    open_ones = [one for one in findings if one.acknowledged is None]
    counts = Counter(one.severity for one in open_ones)
    return Result(
        data=_data(chosen, checked, findings, counts),
        reasoning=f"Checked {len(chosen.pictures)} images of {chosen.name}: {_words(counts)}",
        warnings=_warnings(chosen),
        suggestions=_suggestions(workspace, chosen, open_ones),
        refusal=_refusal(chosen.name, counts, open_ones, strict=strict),
    )


def acknowledge_findings(
    workspace: Workspace,
    findings: tuple[str, ...],
    dataset_id: str | None = None,
    *,
    reason: str,
    project: str | None = None,
    scope: ScopeName = "project",
    checkpoint: str | None = None,
    tags: tuple[str, ...] = (),
    asset_types: tuple[str, ...] = (),
    statuses: tuple[str, ...] = (),
) -> Result:
    """Accept findings of a check, with the reason; they are listed and not counted from then on.

    An acknowledgement is bound to the bytes of the images: a changed image is looked at again,
    and so is what has become worse.

    Args:
        workspace: The workspace.
        findings: ``CODE`` for all findings of a rule, ``CODE:ASSET`` for those of an asset (its
            id, or the end of it), ``CODE:SUBJECT`` for those of a tag group or a corner.
        dataset_id: Id or path of the manifest that was checked, if one was.
        reason: Why they are accepted.
        project: Project to look in.
        scope: ``baseline`` for a shared manifest.
        checkpoint: As in the check.
        tags: As in the check.
        asset_types: As in the check.
        statuses: As in the check.

    Raises:
        ArgumentInvalidError: When no reason is given, or nothing is to be acknowledged.
        RecordNotFoundError: When no finding is meant by one of ``findings``.
        SettingsError: When nobody is known to act.
    """
    if not reason.strip():
        raise ArgumentInvalidError("why is it accepted?", hint='--reason "…"')
    if not findings:
        raise ArgumentInvalidError("which finding is accepted?", hint="CODE:ASSET, as check says")
    actor = workspace.require_actor()
    wanted = AssetFilter(tags=tags, asset_types=asset_types, statuses=statuses)
    chosen = chosen_set(workspace, dataset_id, project, scope, checkpoint, wanted)
    _, found = _check(workspace, chosen)
    open_ones = [one for one in found if one.acknowledged is None]
    accepted: list[CheckFinding] = []
    for said in findings:
        accepted += [one for one in _meant(said, found, open_ones) if one not in accepted]
    record = Acknowledgement(
        id=new_ulid(),
        scope="project" if chosen.scope.project_id else "baseline",
        project_id=chosen.scope.project_id or "",
        dataset_id=chosen.dataset_id,
        created_at=workspace.now(),
        acknowledged_by=actor,
        reason=reason.strip(),
        findings=tuple(acknowledged(one) for one in accepted),
    )
    changes = Changes(workspace)
    if accepted:
        changes.create(record, chosen.scope, record.id)
    command = f"lora dataset check {chosen.dataset_id}".rstrip()
    counted = f"{len(accepted)} finding{'' if len(accepted) == 1 else 's'}"
    return Result(
        data={
            "datasetId": chosen.dataset_id or None,
            "acknowledgementId": record.id if accepted else None,
            "acknowledged": [one.to_dict() for one in accepted],
            "reason": record.reason,
            "by": actor,
        },
        reasoning=f"Acknowledged {counted} of {chosen.name}: {record.reason}",
        suggestions=(with_place(workspace, chosen.scope, command),),
        written=tuple(changes.apply()),
        dry_run=workspace.dry_run,
    )


def _check(workspace: Workspace, chosen: CheckSet) -> tuple[Checked, list[CheckFinding]]:
    limits = thresholds_of(workspace.settings)
    checked = check_pictures(
        workspace, chosen.pictures, chosen.profile, limits, trained_on=chosen.trained_on
    )
    places = dict.fromkeys((chosen.scope, SHARED))
    records = [
        one.record for place in places for one in workspace.records.all(Acknowledgement, place)
    ]
    findings = [_at_home(workspace, chosen, one) for one in checked.findings]
    return checked, with_acknowledgements(findings, records, chosen.dataset_id)


def _at_home(workspace: Workspace, chosen: CheckSet, finding: CheckFinding) -> CheckFinding:
    """Return a finding whose fix names the dataset and the project that it is about."""
    fix = finding.fix
    if not fix.startswith("lora "):
        return finding
    if chosen.dataset_id:
        fix = fix.replace("lora dataset build", f"lora dataset build {chosen.dataset_id}")
    if chosen.scope.project_id or fix.startswith("lora dataset"):
        fix = with_place(workspace, chosen.scope, fix)
    return replace(finding, fix=fix)


def _meant(
    said: str, found: Sequence[CheckFinding], open_ones: Sequence[CheckFinding]
) -> list[CheckFinding]:
    code, _, about = said.partition(":")
    of_code = [one for one in open_ones if one.code == code]
    meant = [one for one in of_code if not about or _is_about(one, about)]
    if meant:
        return meant
    before = [one for one in found if one.code == code and (not about or _is_about(one, about))]
    if before:
        return []  # it is acknowledged already
    codes = sorted({one.code for one in open_ones})
    if code not in codes:
        near = did_you_mean(code, [*codes, *RULES])
        raise RecordNotFoundError(
            f"nothing was found of the rule {code!r}",
            hint=f"did you mean {near}?" if near else "found: " + (", ".join(codes) or "nothing"),
        )
    raise RecordNotFoundError(
        f"no finding {code} is about {about!r}",
        hint="it is about " + ", ".join(dict.fromkeys(_about(one) for one in of_code[:4])),
    )


def _is_about(finding: CheckFinding, about: str) -> bool:
    if about == finding.subject:
        return True
    ending = about.upper()
    return any(
        one.asset_id == about or (len(ending) >= 6 and one.asset_id.endswith(ending))
        for one in finding.pictures
    )


def _about(finding: CheckFinding) -> str:
    return finding.subject or finding.pictures[0].asset_id


def _data(
    chosen: CheckSet, checked: Checked, findings: Sequence[CheckFinding], counts: Counter[Severity]
) -> dict[str, Any]:
    return {
        "datasetId": chosen.dataset_id or None,
        "name": chosen.name,
        "projectId": chosen.scope.project_id,
        "images": len(chosen.pictures),
        "measuredNow": checked.decoded,
        "checkpointId": chosen.profile.checkpoint_id or None,
        "nativeResolution": chosen.profile.native or None,
        "counts": {
            **{severity: counts[severity] for severity in _COUNTED},
            "acknowledged": sum(1 for one in findings if one.acknowledged),
        },
        "findings": [one.to_dict() for one in findings],
    }


def _words(counts: Counter[Severity]) -> str:
    found = [f"{counts[one]} {_NAMES[one][counts[one] != 1]}" for one in _COUNTED if counts[one]]
    return ", ".join(found) or "nothing found"


def _warnings(chosen: CheckSet) -> tuple[str, ...]:
    if chosen.profile.native:
        return ()
    return ("sizes are not compared: no checkpoint with a resolution is named; --checkpoint ID",)


def _suggestions(
    workspace: Workspace, chosen: CheckSet, open_ones: Sequence[CheckFinding]
) -> tuple[str, ...]:
    name = chosen.dataset_id
    if all(one.severity == "info" for one in open_ones):
        command = (
            f"lora train --lora LORA --dataset {name}"
            if name
            else "lora dataset build --status approved"
        )
        return (with_place(workspace, chosen.scope, command),)
    worst = open_ones[0]
    accept = f"lora dataset check {name} --acknowledge {worst.code}:{_about(worst)}".replace(
        "  ", " "
    ).removesuffix(":")
    rebuild = (with_place(workspace, chosen.scope, f"lora dataset build {name}"),) if name else ()
    return (*rebuild, with_place(workspace, chosen.scope, f'{accept} --reason "…"'))


def _refusal(
    name: str, counts: Counter[Severity], open_ones: Sequence[CheckFinding], *, strict: bool
) -> Refusal | None:
    bad = counts["error"] + (counts["warning"] if strict else 0)
    if not bad and not counts["not_proven"]:
        return None
    code = "check_failed" if bad else "check_unproven"
    first = open_ones[0]
    message = f"{name}: {_words(counts)}; first {first.title}, {first.message}"
    return Refusal(code, message, first.fix or None)
