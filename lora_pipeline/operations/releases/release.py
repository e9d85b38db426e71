"""Releases: list, show, verify and deprecate them."""

from __future__ import annotations

from typing import Any, Literal

from msgspec.structs import replace

from lora_pipeline.catalog.records import Checkpoint
from lora_pipeline.catalog.weight_files import weights_path
from lora_pipeline.foundation.errors import PipelineError, WeightsRefusedError
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.releases.release_hooks import telling_of_change
from lora_pipeline.operations.workspace.store_targets import steps_to_fetch
from lora_pipeline.releases.evidence.gathering import EvidenceReader
from lora_pipeline.releases.history import evidence_of, extended
from lora_pipeline.releases.judging import judge
from lora_pipeline.releases.lookup import ScopeName, find_lora, require_release
from lora_pipeline.releases.records import HistoryEntry, Lora, Release
from lora_pipeline.training.plan import CheckpointOnDisk
from lora_pipeline.training.weights.inspection import WeightsReport, inspect_weights, require_usable
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import SHARED
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace


def list_releases(
    workspace: Workspace,
    *,
    lora: str = "",
    status: Literal["", "candidate", "approved", "deprecated"] = "",
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """List releases, newest first.

    Args:
        workspace: Where they are.
        lora: Only those of this LoRA.
        status: Only those of this status.
        project: The project; else the one in use.
        scope: ``baseline`` to see only shared LoRAs.

    Raises:
        RecordNotFoundError: When the LoRA or the project does not exist.
        RecordError: When a LoRA is not a valid record.
    """
    if lora:
        loras = [find_lora(workspace, lora, project=project, scope=scope).record]
    else:
        places = [SHARED]
        if scope == "project" and (project or workspace.records.project_ids()):
            places = workspace.visible(workspace.scope(project))
        loras = [one.record for place in places for one in workspace.records.all(Lora, place)]
    rows = [
        _row(record, release)
        for record in loras
        for release in record.releases
        if status in ("", release.status)
    ]
    rows.sort(key=lambda row: (row["createdAt"], row["releaseId"]), reverse=True)
    return Result(
        data={"releases": rows},
        reasoning=f"{len(rows)} releases",
        suggestions=() if rows else ("lora train --lora ID --dataset ID --plan",),
    )


def show_release(
    workspace: Workspace,
    lora: str,
    release: str,
    *,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Show a release: how it was made, and what the gate says of it now.

    Args:
        workspace: Where it is.
        lora: Id of its LoRA.
        release: Its id.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When LoRA or release do not exist.
        RecordError: When a record that belongs to it is not valid.
    """
    loaded = find_lora(workspace, lora, project=project, scope=scope)
    chosen = require_release(loaded.record, release)
    bound = evidence_of(loaded.record.history, release)
    judged = judge(EvidenceReader(workspace, workspace.records), loaded, chosen, entry=bound)
    active = chosen.id == loaded.record.active_release_id
    return Result(
        data={
            "loraId": lora,
            "release": chosen.to_dict(),
            "active": active,
            "decision": judged.decision.to_dict(),
            "policySource": judged.force.source,
        },
        reasoning=f"{release} is {chosen.status}{', active' if active else ''}",
        suggestions=()
        if active
        else (f"lora promote {lora} {release} --dry-run", f"lora release verify {lora} {release}"),
    )


def verify_release(
    workspace: Workspace,
    lora: str,
    release: str,
    *,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Check the weights of a release against its digests, and against the base model.

    Reads the whole file: both digests, every value, every module; the base model is compared
    where it is on this machine.

    Args:
        workspace: Where it is.
        lora: Id of its LoRA.
        release: Its id.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When LoRA or release do not exist.
    """
    loaded = find_lora(workspace, lora, project=project, scope=scope)
    chosen = require_release(loaded.record, release)
    base = _base(workspace, loaded)
    checks = _checks(workspace, base, chosen)
    fetch = steps_to_fetch(workspace, loaded.record, release)
    failed = [check for check in checks if check["status"] != "pass"]
    words = "; ".join(f"{check['title']}: {check['reason']}" for check in failed)
    return Result(
        data={"loraId": lora, "releaseId": release, "checks": checks},
        reasoning=f"The weights of {release} are what was recorded"
        if not failed
        else f"The weights of {release} could not be verified",
        warnings=()
        if base
        else (f"not compared with {loaded.record.checkpoint_id}: it is not on this machine",),
        suggestions=fetch,
        refusal=Refusal(
            "release_differs", words, fetch[0] if fetch else f"lora release show {lora} {release}"
        )
        if failed
        else None,
    )


def deprecate_release(
    workspace: Workspace,
    lora: str,
    release: str,
    *,
    reason: str,
    deactivate: bool = False,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Say that a release must no longer be used; nothing of it is deleted.

    Args:
        workspace: Where it is.
        lora: Id of its LoRA.
        release: Its id.
        reason: Why, for the history.
        deactivate: Whether to deprecate it even when it is active, which leaves none active.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When LoRA or release do not exist.
        SettingsError: When nobody is known to act.
    """
    loaded = find_lora(workspace, lora, project=project, scope=scope)
    chosen = require_release(loaded.record, release)
    active = loaded.record.active_release_id == release
    facts = {"loraId": lora, "releaseId": release, "active": active, "status": chosen.status}
    if chosen.status == "deprecated" and not active:
        return Result(
            data=facts,
            reasoning=f"{release} of {lora} is deprecated already",
            dry_run=workspace.dry_run,
        )
    if active and not deactivate:
        return Result(
            data=facts,
            reasoning=f"{release} is active",
            suggestions=(f"lora rollback {lora}",),
            dry_run=workspace.dry_run,
            refusal=Refusal(
                "release_active",
                f"{release} of {lora} is active: production would be left without one",
                f"lora rollback {lora}, or --deactivate to leave none active",
            ),
        )
    entry = HistoryEntry(
        event="deprecated",
        at=workspace.now(),
        by=workspace.require_actor(),
        release_id=release,
        from_release_id=release if active else "",
        reason=reason,
    )
    gone = _deprecated(loaded.record, chosen, entry)
    changes = Changes(workspace)
    changes.update(loaded, gone)
    written = changes.apply()
    return Result(
        data=facts | {"status": "deprecated", "active": False},
        reasoning=f"Deprecated {release} of {lora}",
        warnings=(f"nothing of {lora} is active now",) if active else (),
        suggestions=(f"lora show {lora}",),
        written=written,
        dry_run=workspace.dry_run,
        afterwards=telling_of_change(workspace, loaded, gone),
    )


def _deprecated(lora: Lora, release: Release, entry: HistoryEntry) -> Lora:
    gone = replace(release, status="deprecated")
    return replace(
        lora,
        updated_at=entry.at,
        active_release_id="" if lora.active_release_id == release.id else lora.active_release_id,
        recommended=lora.recommended and lora.active_release_id not in ("", release.id),
        releases=tuple(gone if one.id == release.id else one for one in lora.releases),
        history=extended(lora.history, entry),
    )


def _checks(
    workspace: Workspace, base: CheckpointOnDisk | None, release: Release
) -> list[dict[str, Any]]:
    weights = release.weights
    if weights is None:
        return [_check("weights", "fail", f"{release.id} names no weights")]
    try:
        path = weights_path(workspace, weights, name=release.id, check_digest=False)
        report = inspect_weights(path)
    except WeightsRefusedError as error:
        return [_check("weights", "fail", error.message)]
    except PipelineError as error:
        return [_check("weights", "not_proven", error.message)]
    return [
        _digest_check("whole file", report.sha256, weights.sha256),
        _digest_check("tensors", report.tensor_sha256, weights.tensor_sha256),
        _value_check(report),
        *_fit_checks(report, base),
    ]


def _value_check(report: WeightsReport) -> dict[str, Any]:
    try:
        require_usable(report)
    except WeightsRefusedError as error:
        return _check("values", "fail", error.message)
    words = f"{len(report.modules)} modules of rank {report.rank}, all finite"
    return _check("values", "pass", words)


def _fit_checks(report: WeightsReport, base: CheckpointOnDisk | None) -> list[dict[str, Any]]:
    if base is None or report.problems:
        return []
    try:
        fit = require_usable(report, base)
    except WeightsRefusedError as error:
        return [_check("base model", "fail", error.message)]
    words = f"{fit.matched} modules fit" if fit else f"architecture {base.architecture}"
    return [_check("base model", "pass", f"{base.checkpoint_id}, {words}")]


def _base(workspace: Workspace, loaded: Loaded[Lora]) -> CheckpointOnDisk | None:
    try:
        base = workspace.records.find(
            Checkpoint, workspace.visible(loaded.scope), loaded.record.checkpoint_id
        ).record
        if base.weights is None:
            return None
        path = weights_path(workspace, base.weights, name=base.id, check_digest=False)
    except PipelineError:
        return None
    return CheckpointOnDisk(base.id, base.architecture, path, base.digest)


def _digest_check(title: str, found: str, recorded: str) -> dict[str, Any]:
    if not recorded:
        return _check(title, "not_proven", "no digest was recorded")
    if found != recorded.lower():
        return _check(title, "fail", f"sha256 {found[:12]}, recorded {recorded[:12]}: other bytes")
    return _check(title, "pass", f"sha256 {found[:12]}")


def _check(title: str, status: str, reason: str) -> dict[str, Any]:
    return {"title": title, "status": status, "reason": reason}


def _row(lora: Lora, release: Release) -> dict[str, Any]:
    return {
        "loraId": lora.id,
        "releaseId": release.id,
        "scope": lora.scope,
        "status": release.status,
        "active": release.id == lora.active_release_id,
        "createdAt": release.created_at,
        "createdBy": release.created_by,
        "trainer": release.training.get("trainer", ""),
        "datasetId": release.training.get("datasetId", ""),
        "bytes": release.weights.bytes if release.weights else 0,
        "sha256": release.weights.sha256 if release.weights else "",
    }
