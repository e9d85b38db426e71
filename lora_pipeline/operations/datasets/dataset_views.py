"""Look at manifests: list them, and show one."""

from __future__ import annotations

from typing import Any, Literal

from lora_pipeline.datasets.lookup import find_manifest
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.datasets.dataset_place import with_place
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

ScopeName = Literal["project", "baseline"]


def list_datasets(
    workspace: Workspace, *, project: str | None = None, scope: ScopeName | None = None
) -> Result:
    """List the manifests of a project and the shared ones, or all there are."""
    places = _places(workspace, project, scope)
    rows = [
        dataset_row(loaded) for place in places for loaded in workspace.records.all(Manifest, place)
    ]
    return Result(
        data={"datasets": rows},
        reasoning=f"{len(rows)} datasets in {', '.join(map(str, places))}",
        suggestions=() if rows else ("lora dataset build --asset-type TYPE --tag GROUP:VALUE",),
    )


def show_dataset(
    workspace: Workspace,
    dataset_id: str,
    *,
    project: str | None = None,
    scope: ScopeName = "project",
    explain: str | None = None,
) -> Result:
    """Show a manifest: its rule, its images and its digest; or why an asset is in it or not.

    Args:
        workspace: The workspace.
        dataset_id: Id or path of the manifest.
        project: Project to look in.
        scope: ``baseline`` for a shared manifest.
        explain: Id of an asset, or its end: its caption word by word, or why it is left out.

    Raises:
        RecordNotFoundError: When there is no such manifest or asset.
    """
    loaded = find_dataset(workspace, dataset_id, project=project, scope=scope)
    manifest = loaded.record
    data: dict[str, Any] = dataset_row(loaded) | {
        "path": workspace.relative(loaded.path),
        "createdAt": manifest.created_at,
        "selection": manifest.selection.to_dict(),
        "captionRule": manifest.caption_rule.to_dict(),
        "normalization": manifest.normalization.to_dict(),
        "splitRule": manifest.split_rule.to_dict(),
        "provenance": manifest.provenance.to_dict(),
        "provenanceSummary": manifest.provenance_summary.to_dict(),
        "items": [item.to_dict() for item in manifest.items],
    }
    reasoning = f"{manifest.id} holds {len(manifest.items)} images"
    if explain:
        # Late: whoever explains builds, and the whole of that comes with it.
        from lora_pipeline.operations.datasets.dataset_explain import explain_asset

        data["explained"] = explain_asset(workspace, loaded, explain)
        reasoning = f"{data['explained']['assetId']} in {manifest.id}"
    return Result(
        data=data,
        reasoning=reasoning,
        suggestions=(
            with_place(workspace, loaded.scope, f"lora dataset stats {manifest.id}"),
            with_place(workspace, loaded.scope, f"lora dataset verify {manifest.id}"),
        ),
    )


def find_dataset(
    workspace: Workspace, dataset_id: str, *, project: str | None, scope: ScopeName
) -> Loaded[Manifest]:
    """Return the manifest that an argument names.

    Raises:
        RecordNotFoundError: When there is none.
    """
    place = workspace.scope(project) if scope == "project" else SHARED
    return find_manifest(workspace, place, dataset_id)


def _places(workspace: Workspace, project: str | None, scope: ScopeName | None) -> list[Scope]:
    if scope == "baseline":
        return [SHARED]
    if scope == "project" or project or workspace.project or workspace.settings.text("project"):
        place = workspace.scope(project)
        return [place] if scope == "project" else workspace.visible(place)
    return workspace.records.scopes()


def dataset_row(loaded: Loaded[Manifest]) -> dict[str, Any]:
    """Return what every list and answer says of a manifest."""
    manifest = loaded.record
    return {
        "datasetId": manifest.id,
        "scope": manifest.scope,
        "projectId": manifest.project_id or None,
        "images": len(manifest.items),
        "heldOut": sum(1 for item in manifest.items if item.split == "held_out"),
        "assetTypes": list(manifest.selection.asset_types),
        "tags": list(manifest.selection.tags),
        "triggerWord": manifest.caption_rule.trigger_word,
        "contentHash": manifest.content_hash,
        "updatedAt": manifest.updated_at,
    }
