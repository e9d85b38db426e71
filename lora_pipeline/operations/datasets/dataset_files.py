"""The files behind a manifest: prove them, and make the folder that a trainer reads."""

from __future__ import annotations

from typing import Literal

from lora_pipeline.datasets.staging.folder import stage_manifest, staging_folder
from lora_pipeline.datasets.verify import verify_manifest
from lora_pipeline.foundation.findings import Finding
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.datasets.dataset_place import with_place
from lora_pipeline.operations.datasets.dataset_views import find_dataset
from lora_pipeline.workspace.root import Workspace

ScopeName = Literal["project", "baseline"]


def verify_dataset(
    workspace: Workspace,
    dataset_id: str,
    *,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Read every image of a manifest anew and compare it and the content hash.

    Raises:
        RecordNotFoundError: When there is no such manifest.
    """
    loaded = find_dataset(workspace, dataset_id, project=project, scope=scope)
    manifest = loaded.record
    found = verify_manifest(workspace, manifest, workspace.relative(loaded.path))
    errors = [one for one in found.findings if one.severity == "error"]
    unproven = [one for one in found.findings if one.severity == "not_proven"]
    return Result(
        data={
            "datasetId": manifest.id,
            "images": found.images,
            "provenByPointer": found.by_pointer,
            "contentHash": manifest.content_hash,
            "contentHashExpected": found.content_hash,
            "findings": [one.to_dict() for one in found.findings],
        },
        reasoning=f"Read {found.images} images of {manifest.id}: "
        f"{len(errors)} differ, {len(unproven)} not proven",
        suggestions=()
        if errors or unproven
        else (with_place(workspace, loaded.scope, f"lora dataset stage {manifest.id}"),),
        refusal=_refusal(manifest.id, errors, unproven),
    )


def _refusal(dataset_id: str, errors: list[Finding], unproven: list[Finding]) -> Refusal | None:
    if errors:
        first = errors[0]
        message = f"{dataset_id} is not what it says: {first.where}: {first.message}"
        return Refusal("verification_differs", message, first.fix or None)
    if unproven:
        first = unproven[0]
        message = f"{dataset_id} could not be proven: {first.where}: {first.message}"
        return Refusal("verification_unproven", message, first.fix or None)
    return None


def stage_dataset(
    workspace: Workspace,
    dataset_id: str,
    *,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Make the folder of images and captions that trainers read from a manifest.

    Training stages by itself; this shows the folder beforehand. Held-out images are not in it.

    Raises:
        RecordNotFoundError: When there is no such manifest.
        DigestMismatchError: When the manifest or an image is not what its digest says.
        FileMissingError: When an image is not there.
    """
    loaded = find_dataset(workspace, dataset_id, project=project, scope=scope)
    manifest = loaded.record
    folder = workspace.relative(staging_folder(workspace, manifest))
    trained_on = sum(1 for item in manifest.items if item.split == "train")
    made = not workspace.dry_run and stage_manifest(workspace, manifest).made
    return Result(
        data={
            "datasetId": manifest.id,
            "contentHash": manifest.content_hash,
            "folder": folder,
            "images": trained_on,
            "heldOut": len(manifest.items) - trained_on,
            "made": made,
        },
        reasoning=f"Staged {trained_on} images of {manifest.id}",
        written=(folder,) if made or workspace.dry_run else (),
        dry_run=workspace.dry_run,
    )
