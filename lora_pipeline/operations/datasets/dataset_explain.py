"""Why an asset is in a manifest or not, and where each word of its caption comes from."""

from __future__ import annotations

from typing import Any

from lora_pipeline.catalog.records import Asset, Spec
from lora_pipeline.catalog.rights.training import license_of
from lora_pipeline.datasets.build import draft_dataset
from lora_pipeline.datasets.captions.prompt_tokens import Words
from lora_pipeline.datasets.captions.wording import Caption, caption_of
from lora_pipeline.datasets.picks import Candidate, pick_of
from lora_pipeline.datasets.records import Item, Manifest
from lora_pipeline.datasets.rules import stored_rule
from lora_pipeline.datasets.sources import source_projects
from lora_pipeline.foundation.errors import RecordNotFoundError
from lora_pipeline.operations.catalog.asset_ids import full_ids
from lora_pipeline.operations.datasets.dataset_outcome import trace
from lora_pipeline.operations.datasets.dataset_place import with_place
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace


def explain_asset(workspace: Workspace, loaded: Loaded[Manifest], given: str) -> dict[str, Any]:
    """Return why an asset is in a manifest, word by word, or why it is not.

    Args:
        workspace: The workspace.
        loaded: The manifest.
        given: The asset's id, or the end of one that no other asset of its projects has.

    Raises:
        RecordNotFoundError: When there is no such asset.
    """
    manifest = loaded.record
    projects = source_projects(workspace, loaded.scope, stored_rule(manifest).selection)
    items = {item.asset_id: item for item in manifest.items}
    asset_id = given if given in items else full_ids(workspace, projects, [given])[0]
    item = items.get(asset_id)
    if item is None:
        return {"assetId": asset_id, "included": False, **_why_not(workspace, loaded, asset_id)}
    caption = _caption_now(workspace, projects, loaded, item)
    return {
        "assetId": asset_id,
        "included": True,
        "caption": item.caption,
        "captionNow": caption.text if caption else None,
        "words": trace(caption) if caption else [],
        "item": item.to_dict(),
    }


def _caption_now(
    workspace: Workspace, projects: list[str], loaded: Loaded[Manifest], item: Item
) -> Caption | None:
    rule = stored_rule(loaded.record)
    for project_id in projects:
        place = Scope(project_id)
        if not workspace.records.exists(Asset, place, item.asset_id):
            continue
        asset = workspace.records.read(Asset, place, item.asset_id).record
        spec = workspace.records.read(Spec, place, asset.spec_id).record
        pick = pick_of(Candidate(asset, spec, license=license_of(asset)), rule.selection)
        if pick is None:
            return None
        checkpoint = rule.captions.checkpoint_id or spec.checkpoint_id
        tokens = Words(workspace).tokens(project_id, checkpoint)
        return caption_of(pick, rule.captions, tokens)
    return None


def _why_not(workspace: Workspace, loaded: Loaded[Manifest], asset_id: str) -> dict[str, Any]:
    # Only the whole draft knows of repeated files and of the limits; it writes nothing.
    draft = draft_dataset(workspace, loaded.scope, stored_rule(loaded.record))
    for one in draft.left_out:
        if one.asset_id == asset_id:
            return {"title": one.title, "code": one.reason.code, "reason": one.reason.text}
    if any(item.asset_id == asset_id for item in draft.items):
        again = with_place(workspace, loaded.scope, f"lora dataset build {loaded.record_id}")
        return {"title": "", "code": "not_built", "reason": f"it comes in with the next {again}"}
    raise RecordNotFoundError(f"no asset {asset_id!r} in {loaded.scope}", hint="lora asset list")
