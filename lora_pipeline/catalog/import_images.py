"""From planned images to records: what each file is, and what is written for it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from lora_pipeline.catalog.import_folder import BadFile
from lora_pipeline.catalog.import_plan import PlannedAsset
from lora_pipeline.catalog.records import Asset, ImageIdentity, Prompt, Spec, Variant, Version
from lora_pipeline.foundation.digests import FileDigest, digest_file
from lora_pipeline.foundation.errors import IntegrityError
from lora_pipeline.foundation.ids import new_ulid
from lora_pipeline.foundation.image_sniff import EXTENSION_OF
from lora_pipeline.foundation.images import ImageFacts, ImageWorker, require_image_file
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope, files_folder
from lora_pipeline.workspace.root import Workspace

ASSETS_ROOT = "assetsRoot:"


@dataclass(frozen=True)
class InspectedImage:
    """A planned image whose bytes were looked at.

    Attributes:
        planned: What it becomes.
        digest: Digests of its bytes.
        facts: What it is; None when its bytes are in the project already and were not decoded.
    """

    planned: PlannedAsset
    digest: FileDigest
    facts: ImageFacts | None

    @property
    def identity(self) -> ImageIdentity:
        """What records say of the file."""
        assert self.facts is not None  # noqa: S101 - only decoded images become records
        return ImageIdentity(
            sha256=self.digest.sha256,
            xxh3=self.digest.xxh3,
            bytes=self.digest.bytes,
            width=self.facts.width,
            height=self.facts.height,
            format=self.facts.format,
            has_alpha=self.facts.alpha_used,
        )


def inspect_image(
    worker: ImageWorker, planned: PlannedAsset, known: Collection[str]
) -> InspectedImage | BadFile:
    """Return what an image is, or why it cannot be imported.

    Args:
        worker: Decodes it.
        planned: The image.
        known: Digests of images that need not be decoded, because the project has them.
    """
    try:
        require_image_file(planned.path, name=planned.name, limits=worker.limits)
        digest = digest_file(planned.path)
        if digest.sha256 in known:
            return InspectedImage(planned, digest, None)
        return InspectedImage(planned, digest, worker.inspect(planned.path, name=planned.name))
    except IntegrityError as error:
        return BadFile(planned.name, error.code, error.message, error.hint or "")


def add_to(
    changes: Changes, image: InspectedImage, scope: Scope, *, place: Callable[[Path], str] | None
) -> Asset:
    """Add the copy, the spec and the asset of one image to a set of changes.

    Args:
        changes: Where they are added.
        image: A decoded image.
        scope: The project.
        place: Gives the path that records hold for an image that stays where it is; None
            when it is copied into the workspace.
    """
    workspace, identity = changes.workspace, image.identity
    asset_id, spec_id = new_ulid(), new_ulid()
    if place is not None:
        path = place(image.planned.path)
    else:
        target = _target(workspace, scope, asset_id, identity)
        changes.copy_file(image.planned.path, target, sha256=identity.sha256)
        path = target.relative_to(workspace.data_root).as_posix()
    spec = _spec(image.planned, scope, spec_id, workspace.now())
    asset = _asset(image, spec, asset_id, path)
    changes.create(spec, scope, spec_id)
    changes.create(asset, scope, asset_id)
    return asset


def _target(workspace: Workspace, scope: Scope, asset_id: str, identity: ImageIdentity) -> Path:
    name = f"{identity.sha256[:12]}{EXTENSION_OF[identity.format]}"
    return files_folder(workspace.data_root, scope, asset_id) / "original" / name


def _spec(planned: PlannedAsset, scope: Scope, spec_id: str, now: str) -> Spec:
    return Spec(
        id=spec_id,
        project_id=scope.project_id or "",
        created_at=now,
        updated_at=now,
        title=planned.title,
        asset_type=planned.asset_type,
        style=planned.style,
        scenario=planned.scenario,
        prompt=Prompt(positive=planned.prompt),
        tags=planned.spec_tags,
        status="ready",
    )


def _asset(image: InspectedImage, spec: Spec, asset_id: str, path: str) -> Asset:
    identity, variant_id = image.identity, new_ulid()
    alpha = identity if identity.has_alpha else None
    variant = Variant(
        id=variant_id,
        original_path=path,
        alpha_path=path if alpha else "",
        original=identity,
        alpha=alpha,
        tags=image.planned.tags,
    )
    version = Version(
        id=new_ulid(),
        created_at=spec.created_at,
        status="review",
        variants=(variant,),
        generation={"source": "import", "file": image.planned.name},
        primary_variant_id=variant_id,
    )
    return Asset(
        id=asset_id,
        project_id=spec.project_id,
        spec_id=spec.id,
        created_at=spec.created_at,
        updated_at=spec.created_at,
        versions=(version,),
        provenance=image.planned.provenance,
        rights=image.planned.rights,
    )
