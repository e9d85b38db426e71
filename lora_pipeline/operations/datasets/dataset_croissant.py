"""Export a manifest in Croissant, with its images or without them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from lora_pipeline.catalog.records import Project
from lora_pipeline.catalog.rights.training import taken_back
from lora_pipeline.datasets.croissant import CroissantOptions, plan_croissant
from lora_pipeline.datasets.export.writing import Export, Exported
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.files import disk_refusals
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.datasets.dataset_export import (
    barred_images,
    described_items,
    export_folder,
    refused_export,
    require_true,
)
from lora_pipeline.operations.datasets.dataset_views import find_dataset
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace

_URL = re.compile(r"https?://[^\s/@]+(/\S*)?")


def export_croissant(
    workspace: Workspace,
    dataset_id: str,
    *,
    to: str,
    images: bool = False,
    url: str = "",
    project: str | None = None,
    scope: Literal["project", "baseline"] = "project",
) -> Result:
    """Describe a manifest in Croissant 1.1, in a folder that can be handed on.

    The description holds licences, captions, splits, digests, where the images come from and
    how they were chosen. Nothing is written over but what an earlier export of the same
    manifest wrote and nobody changed; exporting again writes what is new.

    Args:
        workspace: The workspace.
        dataset_id: The manifest.
        to: The folder; relative to the workspace.
        images: Whether the images go along, as they were imported.
        url: Page of the data set; the manifest's own provenance says it otherwise.
        project: The project.
        scope: ``baseline`` for a manifest that all projects share.

    Raises:
        RecordNotFoundError: When there is no such manifest.
        ArgumentInvalidError: When the folder is part of the data, or the address is none.
        DigestMismatchError: When the manifest or an image is not what its digest says.
        FileMissingError: When an image is not there.
    """
    if url and not _URL.fullmatch(url):
        raise ArgumentInvalidError(f"url must be http(s)://…, got {url!r}")
    loaded = find_dataset(workspace, dataset_id, project=project, scope=scope)
    manifest, folder = loaded.record, export_folder(workspace, to)
    require_true(manifest)
    described = list(described_items(workspace, loaded, manifest.items))
    barred = barred_images(workspace, described)
    if barred and images:
        return refused_export(manifest, folder, barred[0], dry_run=workspace.dry_run)
    publisher = _publisher(workspace, loaded.scope)
    now = workspace.now()
    withdrawn = frozenset(
        one.asset.id for one in described if one.asset and taken_back(one.asset, now)
    )
    options = CroissantOptions(images, url, publisher, withdrawn)
    plan = plan_croissant(manifest, described, options)
    export = Export(workspace, manifest, plan, folder, originals=True, link=False)
    obstacle = export.obstacle()
    if obstacle is not None:
        return refused_export(manifest, folder, obstacle, dry_run=workspace.dry_run)
    made = not export.up_to_date()
    exported = Exported((), (), 0)
    if made and not workspace.dry_run:
        with disk_refusals():
            exported = export.write()
    warnings = [*(one.message for one in barred), *_missing(manifest, url)]
    return Result(
        data={
            "datasetId": manifest.id,
            "contentHash": manifest.content_hash,
            "folder": str(folder),
            "images": len(manifest.items),
            "withImages": images,
            "made": made,
            "writtenFiles": list(exported.written),
            "removedFiles": list(exported.removed),
        },
        reasoning=_sentence(manifest.id, folder, made=made, dry_run=workspace.dry_run),
        warnings=warnings,
        suggestions=(f"mlcroissant validate --jsonld {folder / 'croissant.json'}",),
        dry_run=workspace.dry_run,
    )


def _publisher(workspace: Workspace, scope: Scope) -> str:
    if scope.project_id and workspace.records.exists(Project, scope, "project"):
        return workspace.records.read(Project, scope, "project").record.name
    return workspace.root.name


def _missing(manifest: Manifest, url: str) -> list[str]:
    missing = []
    if not url and not manifest.provenance.url:
        missing.append("Croissant asks for the page of a data set: --url https://…")
    count = sum(not item.license for item in manifest.items)
    if count:
        missing.append(f"{count} image{' has' if count == 1 else 's have'} no licence on record")
    return missing


def _sentence(dataset_id: str, folder: Path, *, made: bool, dry_run: bool) -> str:
    if not made:
        return f"{folder} describes {dataset_id} already; nothing changed"
    return f"{'Would describe' if dry_run else 'Described'} {dataset_id} in Croissant"
