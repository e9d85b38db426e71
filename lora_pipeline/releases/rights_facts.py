"""What the catalog says today about the images of a manifest."""

from __future__ import annotations

from collections.abc import Iterator

from lora_pipeline.catalog.records import Asset, Project, ProjectRights
from lora_pipeline.catalog.rights import may_train
from lora_pipeline.releases.facts import ManifestLost, RightsFacts, TrainedManifest, Unproven
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import RecordStore


def rights_facts(
    records: RecordStore, manifest: TrainedManifest | ManifestLost | Unproven
) -> RightsFacts | Unproven:
    """Return what the catalog says about the images that a release was trained on.

    Images that were held out count as well: they were chosen for training.

    Raises:
        RecordError: When an asset or a project is not a valid record.
    """
    if not isinstance(manifest, TrainedManifest):
        return Unproven("without the manifest nobody knows which images were used")
    refused: list[str] = []
    unstated: list[str] = []
    unknown: list[str] = []
    for asset_id in dict.fromkeys(item.asset_id for item in manifest.manifest.items):
        found = _asset(records, asset_id, manifest.manifest.project_id)
        if found is None:
            unknown.append(asset_id)
            continue
        asset, rights = found
        objection = may_train(asset, rights)
        if objection:
            refused.append(f"{asset_id} {objection.text}")
        elif asset.rights.training == "unknown":
            unstated.append(asset_id)
    return RightsFacts(tuple(refused), tuple(unstated), tuple(unknown))


def _asset(
    records: RecordStore, asset_id: str, project_id: str
) -> tuple[Asset, ProjectRights] | None:
    for scope in _scopes(records, project_id):
        if records.exists(Asset, scope, asset_id):
            asset = records.read(Asset, scope, asset_id).record
            return asset, _rights(records, scope)
    return None


def _scopes(records: RecordStore, project_id: str) -> Iterator[Scope]:
    if project_id:
        yield Scope(project_id)
    yield from (scope for scope in records.scopes() if scope.project_id != project_id)


def _rights(records: RecordStore, scope: Scope) -> ProjectRights:
    if records.exists(Project, scope, "project"):
        return records.read(Project, scope, "project").record.rights
    return ProjectRights()
