"""The images of the assets: are they there, and are they what was imported."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lora_pipeline.catalog.records import Asset, ImageIdentity
from lora_pipeline.datasets.image_files import Proof, image_files
from lora_pipeline.datasets.proving import prove_each
from lora_pipeline.foundation.errors import PipelineError, SettingsError, UnsafePathError
from lora_pipeline.foundation.events import Event
from lora_pipeline.foundation.findings import Finding
from lora_pipeline.operations.workspace.validation.at_record import finding_at
from lora_pipeline.operations.workspace.validation.collected import CollectedRecords
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

MAX_NAMED = 3
_TELL_EVERY = 100  # images; a bar needs no more


def image_findings(
    workspace: Workspace, records: CollectedRecords, *, required: bool
) -> Iterator[Finding]:
    """Yield images that are missing or unsafe; when they are required, also changed ones.

    Without being required, an image that is not here is said to be not proven: a build machine
    has the records and not always the art. Then nothing is read but the folders.

    Args:
        workspace: Where the images are looked for.
        records: All records.
        required: Whether every image must be here and is hashed.
    """
    if required:
        yield from _proven(workspace, records)
    else:
        yield from _present(workspace, records)


def _present(workspace: Workspace, records: CollectedRecords) -> Iterator[Finding]:
    finder = image_files(workspace)
    missing: list[str] = []
    for loaded in records.everywhere(Asset):
        for path, _ in _images(loaded.record):
            try:
                if not finder.locate(path).is_file():
                    missing.append(path)
            except SettingsError:
                missing.append(path)
            except UnsafePathError as error:
                yield _error(workspace, loaded, "path_unsafe", error.message)
    if missing:
        shown = ", ".join(missing[:MAX_NAMED])
        more = f" and {len(missing) - MAX_NAMED} more" if len(missing) > MAX_NAMED else ""
        count = "1 image is" if len(missing) == 1 else f"{len(missing)} images are"
        yield Finding(
            "images_missing",
            "not_proven",
            workspace.relative(workspace.data_root),
            f"{count} not on this machine: {shown}{more}",
            "git lfs pull, or set assetsRoot; lora validate --require-images makes it an error",
        )


def _proven(workspace: Workspace, records: CollectedRecords) -> Iterator[Finding]:
    finder = image_files(workspace)
    work = (
        ((loaded, path, identity), path)
        for loaded in records.everywhere(Asset)
        for path, identity in _images(loaded.record)
    )
    for done, ((loaded, path, identity), proof) in enumerate(prove_each(finder, work), start=1):
        if done % _TELL_EVERY == 0:
            workspace.events(Event("progress", "hash", step=done, unit="images"))
        if isinstance(proof, PipelineError):
            yield _error(workspace, loaded, proof.code, f"{Path(path).name}: {proof.message}")
        elif identity and not _agrees(proof, identity):
            yield _error(
                workspace, loaded, "image_changed", f"{path} is not the file that was imported"
            )


def _images(asset: Asset) -> Iterator[tuple[str, ImageIdentity | None]]:
    for version in asset.versions:
        for variant in version.variants:
            yield variant.original_path, variant.original
            if variant.alpha_path and variant.alpha_path != variant.original_path:
                yield variant.alpha_path, variant.alpha


def _agrees(proof: Proof, identity: ImageIdentity) -> bool:
    return proof.agrees(sha256=identity.sha256, xxh3=identity.xxh3, size=identity.bytes)


def _error(workspace: Workspace, loaded: Loaded[Asset], code: str, message: str) -> Finding:
    return finding_at(workspace, loaded, code, message, "restore the image from Git")
