"""Say which weights production uses, and why: nothing is chosen that the gate refuses today."""

from __future__ import annotations

from typing import Any, Literal

from lora_pipeline.catalog.records import Project
from lora_pipeline.catalog.weight_files import place_of_weights
from lora_pipeline.foundation.errors import ArgumentInvalidError, PipelineError
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.workspace.store_targets import steps_to_fetch
from lora_pipeline.releases.evidence.gathering import EvidenceReader
from lora_pipeline.releases.lookup import ScopeName, find_lora
from lora_pipeline.releases.records import Lora
from lora_pipeline.releases.resolution import Resolution, resolve_release
from lora_pipeline.releases.selection import (
    layer_caps,
    order_candidates,
    selection_policy,
)
from lora_pipeline.releases.usage import BY_NAME, Program, Use, usage_of
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace


def resolve_lora(
    workspace: Workspace,
    lora: str,
    *,
    release: str = "",
    program: Literal["", Program] = "",
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Say which release of a LoRA production uses: file, digest, trigger word and strength.

    The active release is taken when its evidence holds now; with the project's policy
    ``active_or_latest_approved``, else the newest approved one whose evidence holds.

    Args:
        workspace: Where it is.
        lora: Its id.
        release: A release to use instead; it must have been promoted.
        program: Also say how this program is told to use it.
        project: Its project; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When the LoRA does not exist.
        RecordInvalidError: When the project's policies cannot be read.
    """
    loaded = find_lora(workspace, lora, project=project, scope=scope)
    policy = selection_policy(_policies(workspace, loaded.scope))
    reader = EvidenceReader(workspace, workspace.records)
    found = resolve_release(reader, loaded, explicit=release, policy=policy.release_policy)
    if found.release is None:
        return _nothing(workspace, loaded, found, release)
    if not loaded.record.enabled and not release:
        return Result(
            data=_unresolved(loaded, found),
            reasoning=f"{lora} is switched off",
            suggestions=(f"lora activate {lora}",),
            refusal=Refusal(
                "lora_switched_off", f"{lora} is switched off", f"lora activate {lora}"
            ),
        )
    facts = _resolved(workspace, loaded, found)
    return Result(
        data=facts | _usage(program, [facts]),
        reasoning=f"{lora} resolves to {found.release.id}, {found.reason}",
        warnings=_emergencies([facts]),
        suggestions=_by_name(program, [facts]),
    )


def resolve_stack(
    workspace: Workspace,
    *,
    asset_type: str,
    checkpoint: str = "",
    loras: tuple[str, ...] = (),
    program: Literal["", Program] = "",
    project: str | None = None,
) -> Result:
    """Say which LoRAs go together for an asset type, in order, with their weights.

    The project's policies (``loraSelection``, ``modelStackPolicy``) give order and number; LoRAs
    that are named come first, and one of them that cannot be used is a refusal.

    Args:
        workspace: Where they are.
        asset_type: What is to be made.
        checkpoint: Base model that is used; else any.
        loras: LoRAs that must be in it.
        program: Also say how this program is told to use them.
        project: The project; else the one in use.

    Raises:
        ArgumentInvalidError: When a LoRA is named that does not exist.
        RecordInvalidError: When the project's policies cannot be read.
    """
    scope = SHARED
    if project or workspace.records.project_ids():
        scope = workspace.scope(project)
    policies = _policies(workspace, scope)
    policy, caps = selection_policy(policies), layer_caps(policies)
    seen = {
        loaded.record_id: loaded
        for place in reversed(workspace.visible(scope))
        for loaded in workspace.records.all(Lora, place)
    }
    for named in loras:
        if named not in seen:
            raise ArgumentInvalidError(f"no LoRA {named!r}", hint="lora list")
    tried = order_candidates(
        [loaded.record for loaded in seen.values()],
        policy,
        asset_type=asset_type,
        checkpoint_id=checkpoint,
        explicit=loras,
    )
    skipped = [{"loraId": lora_id, "reason": reason} for lora_id, reason in tried.skipped]
    reader = EvidenceReader(workspace, workspace.records)
    chosen: list[dict[str, Any]] = []
    for record in tried.ordered:
        full = _full(record, chosen, policy.max_active_loras, caps)
        found = (
            None if full else resolve_release(reader, seen[record.id], policy=policy.release_policy)
        )
        if found is None or found.release is None:
            skipped.append({"loraId": record.id, "reason": full or _why_not(found)})
        else:
            chosen.append(_resolved(workspace, seen[record.id], found))
    return _stack(asset_type, loras, chosen, skipped, program)


def _stack(
    asset_type: str,
    loras: tuple[str, ...],
    chosen: list[dict[str, Any]],
    skipped: list[dict[str, str]],
    program: Literal["", Program],
) -> Result:
    names = [one["loraId"] for one in chosen]
    facts = {"assetType": asset_type, "loras": chosen, "skipped": skipped}
    unmet = [one for one in skipped if one["loraId"] in loras]
    if unmet:
        words = "; ".join(f"{one['loraId']} {one['reason']}" for one in unmet)
        return Result(
            data=facts,
            reasoning="A LoRA that was named cannot be used",
            refusal=Refusal("lora_unresolved", words, f"lora show {unmet[0]['loraId']}"),
        )
    if not chosen:
        return Result(
            data=facts,
            reasoning=f"No LoRA for {asset_type} can be used",
            suggestions=("lora list",),
            refusal=Refusal("nothing_active", f"no LoRA for {asset_type} can be used", "lora list"),
        )
    return Result(
        data=facts | _usage(program, chosen),
        reasoning=f"{', '.join(names)} for {asset_type}",
        warnings=_emergencies(chosen),
        suggestions=_by_name(program, chosen),
    )


def _emergencies(chosen: list[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(
        f"EMERGENCY: {one['loraId']} {one['explanation']['emergency']}"
        for one in chosen
        if one["explanation"]["emergency"]
    )


def _usage(program: Literal["", Program], chosen: list[dict[str, Any]]) -> dict[str, str]:
    if not program:
        return {}
    return {"program": program, "usage": usage_of(program, [Use.of(one) for one in chosen])}


def _by_name(program: Literal["", Program], chosen: list[dict[str, Any]]) -> tuple[str, ...]:
    """Return the commands that write the files which a program finds by name."""
    if not program or program not in BY_NAME:
        return ()
    return tuple(f"lora release export {one['loraId']} {one['releaseId']}" for one in chosen)


def _full(lora: Lora, chosen: list[dict[str, Any]], most: int, caps: dict[str, int]) -> str:
    if len(chosen) >= most:
        return f"the project uses at most {most} together"
    of_scope = sum(one["scope"] == lora.scope for one in chosen)
    if lora.scope in caps and of_scope >= caps[lora.scope]:
        return f"the project uses at most {caps[lora.scope]} of scope {lora.scope}"
    return ""


def _why_not(found: Resolution | None) -> str:
    if found is None or not found.skipped:
        return "has no active release"
    first = found.skipped[0]
    return f"{first.release_id}: {first.reason}"


def _nothing(
    workspace: Workspace, loaded: Loaded[Lora], found: Resolution, explicit: str
) -> Result:
    lora = loaded.record
    steps: tuple[str, ...] = (f"lora show {lora.id}",)
    code, words = "nothing_active", f"nothing of {lora.id} is active"
    if not lora.releases:
        words = f"{lora.id} has no release"
    elif explicit or lora.active_release_id:
        first = found.skipped[0]
        code = "release_not_usable" if explicit else "active_release_unproven"
        words = f"{lora.id} {first.release_id} cannot be used: {first.reason}"
        steps = steps if explicit else ("lora validate", f"lora rollback {lora.id}")
        steps = (*steps_to_fetch(workspace, lora, first.release_id), *steps)
    return Result(
        data=_unresolved(loaded, found),
        reasoning=words,
        suggestions=steps,
        dry_run=workspace.dry_run,
        refusal=Refusal(code, words, steps[0]),
    )


def _resolved(workspace: Workspace, loaded: Loaded[Lora], found: Resolution) -> dict[str, Any]:
    lora, release, entry = loaded.record, found.release, found.entry
    assert release is not None  # noqa: S101 - asked by the caller
    assert release.weights is not None  # noqa: S101 - the gate passed
    try:
        path = str(place_of_weights(workspace, release.weights))
    except PipelineError:  # the gate read them a moment ago
        path = ""
    return {
        "loraId": lora.id,
        "releaseId": release.id,
        "path": path,
        "sha256": release.weights.sha256,
        "tensorSha256": release.weights.tensor_sha256,
        "triggerWord": lora.trigger_word,
        "strength": lora.strength_in_use,
        "checkpointId": lora.checkpoint_id,
        "scope": lora.scope,
        "explanation": {
            "chosen": found.reason,
            "since": entry.at if entry else "",
            "by": entry.by if entry else "",
            "emergency": found.emergency,
            "skipped": [one.to_dict() for one in found.skipped],
        },
    }


def _unresolved(loaded: Loaded[Lora], found: Resolution) -> dict[str, Any]:
    return {
        "loraId": loaded.record.id,
        "releaseId": "",
        "explanation": {"chosen": "", "skipped": [one.to_dict() for one in found.skipped]},
    }


def _policies(workspace: Workspace, scope: Scope) -> dict[str, Any]:
    if scope.project_id and workspace.records.exists(Project, scope, "project"):
        return workspace.records.read(Project, scope, "project").record.policies
    return {}
