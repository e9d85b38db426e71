"""What the catalog says today about the images of a manifest."""

from __future__ import annotations

import functools
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field

from lora_pipeline.catalog.records import ANSWERS, Asset, Project, ProjectRights
from lora_pipeline.catalog.rights.training import ends_soon, may_train, taken_back, taken_back_since
from lora_pipeline.releases.evidence.facts import (
    ManifestLost,
    RightsFacts,
    TrainedManifest,
    Unproven,
    WithdrawnImage,
)
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import RecordStore


def rights_facts(
    records: RecordStore,
    manifest: TrainedManifest | ManifestLost | Unproven,
    today: str,
    *,
    only: Container[str] | None = None,
) -> RightsFacts | Unproven:
    """Return what the catalog says about the images that a release was trained on.

    Images that were held out count as well: they were chosen for training.

    Args:
        records: The catalog.
        manifest: What was trained on.
        today: The present time, which ends licences.
        only: The assets that are asked about, for who does not ask about all.

    Raises:
        RecordError: When an asset or a project is not a valid record.
    """
    if not isinstance(manifest, TrainedManifest):
        return Unproven("without the manifest nobody knows which images were used")
    home = manifest.manifest.project_id
    policies = functools.cache(functools.partial(_rights, records))
    gathered = _Gathered(today, policies(Scope(home)) if home else None)
    for asset_id in dict.fromkeys(item.asset_id for item in manifest.manifest.items):
        if only is not None and asset_id not in only:
            continue
        known = _asset(records, policies, asset_id, home)
        if known is None:
            gathered.unknown.append(asset_id)
        else:
            gathered.look_at(*known)
    return gathered.facts()


@dataclass
class _Gathered:
    today: str
    home: ProjectRights | None
    refused: list[str] = field(default_factory=list)
    unstated: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    withdrawn: list[WithdrawnImage] = field(default_factory=list)
    ending: list[WithdrawnImage] = field(default_factory=list)

    def look_at(self, asset: Asset, rights: ProjectRights) -> None:
        back = taken_back(asset, self.today)
        if back:
            self.withdrawn.append(self._withdrawn(asset, rights, back.text))
            return
        if ends_soon(asset, self.today):
            text = f"its licence ends on {asset.rights.expires_on}"
            self.ending.append(self._withdrawn(asset, rights, text))
        objection = may_train(asset, rights)
        if objection:
            self.refused.append(f"{asset.id} {objection.text}")
        elif asset.rights.training == "unknown":
            self.unstated.append(asset.id)

    def facts(self) -> RightsFacts:
        return RightsFacts(
            refused=tuple(self.refused),
            unstated=tuple(self.unstated),
            unknown=tuple(self.unknown),
            withdrawn=tuple(self.withdrawn),
            ending=tuple(self.ending),
        )

    def _withdrawn(self, asset: Asset, rights: ProjectRights, text: str) -> WithdrawnImage:
        # An asset that was moved to another project does not find a milder policy there.
        asked = [rights, self.home] if self.home else [rights]
        return WithdrawnImage(
            asset_id=asset.id,
            since=taken_back_since(asset),
            text=text,
            on_withdrawal=min((one.on_withdrawal for one in asked), key=ANSWERS.index),
            retrain_within_days=min(one.retrain_within_days for one in asked),
            expired=not asset.rights.withdrawn_at,
        )


def _asset(
    records: RecordStore, policies: Callable[[Scope], ProjectRights], asset_id: str, project_id: str
) -> tuple[Asset, ProjectRights] | None:
    for scope in _scopes(records, project_id):
        if records.exists(Asset, scope, asset_id):
            asset = records.read(Asset, scope, asset_id).record
            return asset, policies(scope)
    return None


def _scopes(records: RecordStore, project_id: str) -> Iterator[Scope]:
    if project_id:
        yield Scope(project_id)
    yield from (scope for scope in records.scopes() if scope.project_id != project_id)


def _rights(records: RecordStore, scope: Scope) -> ProjectRights:
    if records.exists(Project, scope, "project"):
        return records.read(Project, scope, "project").record.rights
    return ProjectRights()
