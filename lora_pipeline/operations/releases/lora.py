"""LoRAs: create, list and show them, and switch them on and off for use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from msgspec.structs import replace

from lora_pipeline.catalog.catalogs import read_vocabulary
from lora_pipeline.catalog.records import Checkpoint
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.evaluation.records import Evaluation, Review
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.releases.release_hooks import telling_of_change
from lora_pipeline.releases.history import extended
from lora_pipeline.releases.image_volume import volume_of
from lora_pipeline.releases.lookup import ScopeName, find_lora, scope_of
from lora_pipeline.releases.new_lora import (
    meeting_scopes,
    require_asset_types,
    require_strength,
    require_texts,
    require_unused,
)
from lora_pipeline.releases.records import HistoryEntry, Lora, Release
from lora_pipeline.releases.standing import LoraState, next_for_lora, state_of
from lora_pipeline.training.records import Run
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace


def create_lora(
    workspace: Workspace,
    lora: str,
    *,
    checkpoint: str,
    asset_types: tuple[str, ...],
    name: str = "",
    description: str = "",
    trigger: str = "",
    strength: float | None = None,
    recommended: bool = False,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Create a LoRA: what it is for, on which base model, and the word that calls it.

    Args:
        workspace: Where it goes.
        lora: Its id, a slug.
        checkpoint: The base model that it is trained on and used with.
        asset_types: Asset types that it is for.
        name: Its name for people; made from the id when left out.
        description: What it is for.
        trigger: The word that calls it, unique among the LoRAs that it meets.
        strength: Strength that production uses; else that of the scope.
        recommended: Whether it is chosen before others.
        project: Its project; else the one in use.
        scope: ``baseline`` when every project may use it.

    Raises:
        RecordExistsError: When id, name or trigger word are taken.
        RecordNotFoundError: When the checkpoint does not exist.
        ArgumentInvalidError: When an argument breaks its rule.
    """
    shown = name.strip() or lora.replace("_", " ").replace("-", " ").capitalize()
    require_texts(lora, shown, description, trigger)
    if strength is not None:
        require_strength(strength)
    place = scope_of(workspace, project, scope)
    base = workspace.records.find(Checkpoint, workspace.visible(place), checkpoint).record
    require_asset_types(workspace, place, asset_types)
    met = [
        (other, loaded.record)
        for other in meeting_scopes(workspace, place)
        for loaded in workspace.records.all(Lora, other)
    ]
    require_unused(met, lora, shown, trigger)
    now = workspace.now()
    record = Lora(
        id=lora,
        name=shown,
        description=description,
        created_at=now,
        updated_at=now,
        scope="baseline" if place == SHARED else "project",
        checkpoint_id=checkpoint,
        asset_types=tuple(dict.fromkeys(asset_types)),
        trigger_word=trigger,
        strength=strength,
        recommended=recommended,
    )
    volume = volume_of(0, record.asset_types, read_vocabulary(workspace, place).asset_types)
    changes = Changes(workspace)
    changes.create(record, place, lora)
    return Result(
        data={"lora": record.to_dict(), "status": "created", **volume.to_dict()},
        reasoning=f"Created LoRA {lora}",
        warnings=[*_doubts(record, base), *_rivals(record, met)],
        suggestions=(
            f"lora add-images {lora} DIR",
            f"lora train --lora {lora} --dataset ID --plan",
        ),
        written=changes.apply(),
        dry_run=workspace.dry_run,
    )


def list_loras(
    workspace: Workspace,
    *,
    project: str | None = None,
    scope: Literal["all", "project", "baseline"] = "all",
    asset_type: str = "",
    checkpoint: str = "",
    active: bool | None = None,
    status: LoraState | None = None,
) -> Result:
    """List the LoRAs that a project sees: its own and the shared ones.

    Args:
        workspace: Where they are.
        project: The project; else the one in use.
        scope: ``project`` or ``baseline`` to see only those.
        asset_type: Only those for this asset type.
        checkpoint: Only those for this base model.
        active: Only those that have, or have not, an active release.
        status: Only those that stand there: ``created``, ``queued``, ``training``, ``ready``
            or ``failed``.

    Raises:
        RecordNotFoundError, ArgumentInvalidError: When the project does not exist, or none was
            named and there are several.
        RecordError: When a LoRA is not a valid record.
    """
    places = [SHARED]
    if scope != "baseline" and (project or workspace.records.project_ids()):
        places = workspace.visible(workspace.scope(project))
    if scope == "project":
        places = places[:1]
    loras = [
        (loaded.record, state)
        for place in places
        for loaded, state in _with_states(workspace, place)
        if asset_type in ("", *loaded.record.asset_types)
        and checkpoint in ("", loaded.record.checkpoint_id)
        and active in (None, bool(loaded.record.active_release_id))
        and status in (None, state)
    ]
    return Result(
        data={"loras": [_row(record) | {"status": state} for record, state in loras]},
        reasoning=f"{len(loras)} LoRAs",
        suggestions=() if loras else ("lora create ID --checkpoint ID --asset-type TYPE",),
    )


def _with_states(workspace: Workspace, place: Scope) -> list[tuple[Loaded[Lora], LoraState]]:
    runs = [loaded.record for loaded in workspace.records.all(Run, place)]
    return [
        (loaded, state_of(loaded.record, runs)) for loaded in workspace.records.all(Lora, place)
    ]


def show_lora(
    workspace: Workspace, lora: str, *, project: str | None = None, scope: ScopeName = "project"
) -> Result:
    """Show a LoRA with its releases, evaluations, verdicts and history.

    Args:
        workspace: Where it is.
        lora: Its id.
        project: Its project; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When it does not exist.
        RecordError: When it, an evaluation or a review is not a valid record.
    """
    loaded = find_lora(workspace, lora, project=project, scope=scope)
    record = loaded.record
    evaluations = [one.record for one in workspace.records.all(Evaluation, loaded.scope)]
    reviews = [one.record for one in workspace.records.all(Review, loaded.scope)]
    judged = _judgements(record, evaluations, reviews)
    step = next_for_lora(
        record, evaluations, reviews, workspace.records.ids(Manifest, loaded.scope)
    )
    releases = [
        _release_row(record, release) | judged.get(release.id, {"evaluations": [], "reviews": []})
        for release in record.releases
    ]
    return Result(
        data={
            "lora": record.to_dict(),
            "strengthInUse": record.strength_in_use,
            "releases": releases,
        },
        reasoning=f"{len(releases)} releases, {record.active_release_id or 'none'} active",
        suggestions=(step or f"lora resolve {lora}",),
    )


def activate_lora(
    workspace: Workspace,
    lora: str,
    *,
    strength: float | None = None,
    project: str | None = None,
    scope: ScopeName = "project",
    reason: str = "",
) -> Result:
    """Switch a LoRA on for use, with a strength.

    Which of its releases is used is another question: only promote and rollback move that.

    Args:
        workspace: Where it is.
        lora: Its id.
        strength: Strength that production uses from now on; else as before.
        project: Its project; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.
        reason: Why, for the history.

    Raises:
        RecordNotFoundError: When it does not exist.
        ArgumentInvalidError: When the strength is out of range.
        SettingsError: When nobody is known to act.
    """
    if strength is not None:
        require_strength(strength)
    loaded = find_lora(workspace, lora, project=project, scope=scope)
    record = loaded.record
    if not record.active_release_id:
        return Result(
            data={"lora": record.to_dict()},
            reasoning=f"{lora} has no active release",
            suggestions=(f"lora show {lora}",),
            dry_run=workspace.dry_run,
            refusal=Refusal(
                "lora_not_ready",
                f"{lora} has no active release: there is nothing to use yet",
                f"lora show {lora}",
            ),
        )
    changed = replace(
        record, enabled=True, strength=record.strength if strength is None else strength
    )
    words = f"strength {changed.strength_in_use:g}"
    return _switched(workspace, loaded, changed, f"{words}; {reason}" if reason else words)


def deactivate_lora(
    workspace: Workspace,
    lora: str,
    *,
    project: str | None = None,
    scope: ScopeName = "project",
    reason: str = "",
) -> Result:
    """Switch a LoRA off for use; its active release stays what it is.

    Args:
        workspace: Where it is.
        lora: Its id.
        project: Its project; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.
        reason: Why, for the history.

    Raises:
        RecordNotFoundError: When it does not exist.
        SettingsError: When nobody is known to act.
    """
    loaded = find_lora(workspace, lora, project=project, scope=scope)
    return _switched(workspace, loaded, replace(loaded.record, enabled=False), reason)


def _switched(workspace: Workspace, loaded: Loaded[Lora], changed: Lora, reason: str) -> Result:
    before, lora_id = loaded.record, loaded.record_id
    state = "on" if changed.enabled else "off"
    facts = {
        "loraId": lora_id,
        "enabled": changed.enabled,
        "strength": changed.strength_in_use,
        "activeReleaseId": changed.active_release_id,
    }
    if changed == before:
        return Result(
            data=facts,
            reasoning=f"{lora_id} is switched {state} already",
            dry_run=workspace.dry_run,
        )
    entry = HistoryEntry(
        event="activated" if changed.enabled else "deactivated",
        at=workspace.now(),
        by=workspace.require_actor(),
        release_id=changed.active_release_id,
        reason=reason,
    )
    record = replace(changed, updated_at=entry.at, history=extended(before.history, entry))
    changes = Changes(workspace)
    changes.update(loaded, record)
    written = changes.apply()
    at = f" at strength {changed.strength_in_use:g}" if changed.enabled else ""
    return Result(
        data=facts,
        reasoning=f"Switched {lora_id} {state}{at}",
        suggestions=(f"lora resolve {lora_id}",),
        written=written,
        dry_run=workspace.dry_run,
        afterwards=telling_of_change(workspace, loaded, record),
    )


def _doubts(lora: Lora, checkpoint: Checkpoint) -> list[str]:
    doubts = []
    foreign = [one for one in lora.asset_types if one not in checkpoint.supported_asset_types]
    if foreign:
        doubts.append(f"checkpoint {checkpoint.id} is not listed for {', '.join(foreign)}")
    if checkpoint.license and checkpoint.license.commercial_loras == "no":
        doubts.append(
            f"LoRAs of {checkpoint.id} may not be used commercially ({checkpoint.license.id})"
        )
    if not lora.trigger_word:
        doubts.append(
            "it has no trigger word, so no prompt can call it: --trigger WORD gives it one "
            f"(lora delete {lora.id}, and create it again)"
        )
    return doubts


def _rivals(lora: Lora, met: Sequence[tuple[Scope, Lora]]) -> list[str]:
    """Say which other LoRA is for the same: one for each asset type is easiest to tell apart."""
    return [
        f"{other.id} in {scope} is for {kind} on {lora.checkpoint_id} too: a new release of it may "
        "be what is meant"
        for scope, other in met
        for kind in lora.asset_types
        if other.checkpoint_id == lora.checkpoint_id and kind in other.asset_types
    ]


def _row(lora: Lora) -> dict[str, Any]:
    return {
        "id": lora.id,
        "name": lora.name,
        "scope": lora.scope,
        "checkpointId": lora.checkpoint_id,
        "assetTypes": list(lora.asset_types),
        "triggerWord": lora.trigger_word,
        "releases": len(lora.releases),
        "candidates": sum(release.status == "candidate" for release in lora.releases),
        "activeReleaseId": lora.active_release_id,
        "enabled": lora.enabled,
        "strength": lora.strength_in_use,
        "recommended": lora.recommended,
    }


def _release_row(lora: Lora, release: Release) -> dict[str, Any]:
    return {
        "id": release.id,
        "status": release.status,
        "active": release.id == lora.active_release_id,
        "createdAt": release.created_at,
        "createdBy": release.created_by,
        "trainer": release.training.get("trainer", ""),
        "datasetId": release.training.get("datasetId", ""),
        "manifestHash": release.training.get("manifestHash", ""),
        "runId": release.training.get("runId", ""),
        "sha256": release.weights.sha256 if release.weights else "",
        "notes": release.notes,
    }


def _judgements(
    lora: Lora, evaluations: Sequence[Evaluation], reviews: Sequence[Review]
) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {
        release.id: {"evaluations": [], "reviews": []} for release in lora.releases
    }
    for one in evaluations:
        if one.lora_id == lora.id and one.release_id in found:
            effect = one.metrics.effect_mean if one.metrics else None
            found[one.release_id]["evaluations"].append(
                {"id": one.id, "status": one.status, "suiteId": one.suite_id, "effect": effect}
            )
    for review in reviews:
        if review.lora_id == lora.id and review.release_id in found:
            found[review.release_id]["reviews"].append(
                {"reviewer": review.reviewer, "verdict": review.verdict, "comment": review.comment}
            )
    return found
