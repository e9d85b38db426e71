"""From planned images to records: what each file is, and what is written for it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection
from pathlib import Path

import msgspec

from lora_pipeline.catalog.imports.cache import FactsCache
from lora_pipeline.catalog.imports.folder import BadFile
from lora_pipeline.catalog.imports.leftovers import Leftovers
from lora_pipeline.catalog.imports.plan import PlannedAsset
from lora_pipeline.catalog.records import Asset, ImageIdentity, Prompt, Spec, Variant, Version
from lora_pipeline.foundation.digests import FileDigest, digest_file
from lora_pipeline.foundation.errors import IntegrityError
from lora_pipeline.foundation.ids import new_ulid
from lora_pipeline.foundation.images.client import ImageFacts, ImageWorker, require_image_file
from lora_pipeline.foundation.images.sniff import EXTENSION_OF, format_by_name
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope, files_folder
from lora_pipeline.workspace.root import Workspace

ASSETS_ROOT = "assetsRoot:"


class InspectedImage(msgspec.Struct, frozen=True):
    """A planned image whose bytes were looked at.

    Attributes:
        planned: What it becomes.
        digest: Digests of its bytes.
        facts: What it is; None when its bytes are in the project already and were not decoded.
        decoded: Whether it was decoded now, and not known from an earlier time.
    """

    planned: PlannedAsset
    digest: FileDigest
    facts: ImageFacts | None
    decoded: bool = False

    @property
    def known_facts(self) -> ImageFacts:
        """What it is, of an image that was decoded."""
        assert self.facts is not None  # noqa: S101 - only decoded images become records
        return self.facts

    @property
    def identity(self) -> ImageIdentity:
        """What records say of the file."""
        facts = self.known_facts
        return ImageIdentity(
            sha256=self.digest.sha256,
            xxh3=self.digest.xxh3,
            bytes=self.digest.bytes,
            width=facts.width,
            height=facts.height,
            format=facts.format,
            has_alpha=facts.alpha_used,
            pixel_sha256=facts.pixel_sha256,
        )

    @property
    def right_name(self) -> str:
        """The name with the extension of its format, when it has another one; else empty."""
        promised = format_by_name(self.planned.name)
        if not self.facts or not promised or promised == self.facts.format:
            return ""
        return Path(self.planned.name).with_suffix(EXTENSION_OF[self.facts.format]).as_posix()


def inspect_image(
    worker: ImageWorker,
    planned: PlannedAsset,
    known: Collection[str],
    cache: FactsCache,
    *,
    any_extension: bool = False,
) -> InspectedImage | BadFile:
    """Return what an image is, or why it cannot be imported.

    Args:
        worker: Decodes it.
        planned: The image.
        known: Digests of images that need not be decoded, because the project has them.
        cache: What was decoded at an earlier time.
        any_extension: Whether its name may promise another format than it has.
    """
    try:
        require_image_file(
            planned.path, name=planned.name, limits=worker.limits, any_extension=any_extension
        )
        before = _state(planned.path)
        digest = digest_file(planned.path)
        if planned.sha256 and digest.sha256 != planned.sha256:
            return _another_one(planned, digest)
        if digest.sha256 in known:
            return InspectedImage(planned, digest, None)
        facts, decoded = cache.get(digest.sha256), False
        if facts is None:
            facts = worker.inspect(planned.path, name=planned.name, any_extension=any_extension)
            decoded = True
        # What was decoded must be what the digest was taken of.
        if _state(planned.path) != before:
            return changed_file(planned.name)
        return InspectedImage(planned, digest, facts, decoded)
    except IntegrityError as error:
        return BadFile(planned.name, error.code, error.message, error.hint or "")
    except OSError as error:
        reason = f"{planned.name} cannot be read: {error.strerror}"
        return BadFile(planned.name, "file_missing", reason)


def changed_file(name: str) -> BadFile:
    """Return that a file was written to while it was imported."""
    return BadFile(
        name,
        "digest_mismatch",
        f"{name} changed while it was read",
        "wait until whatever writes it is done, then import again",
    )


class NewAsset(msgspec.Struct, frozen=True):
    """What is written for one image.

    Attributes:
        image: The image.
        asset: Its record.
        spec: The record of its spec, or None when that is there already.
        copy: Where its copy goes, or None when it stays where it is.
    """

    image: InspectedImage
    asset: Asset
    spec: Spec | None
    copy: Path | None

    def add_to(self, changes: Changes, scope: Scope) -> None:
        """Add the copy, the spec and the asset to a set of changes."""
        if self.copy is not None:
            source, sha256 = self.image.planned.path, self.image.digest.sha256
            changes.copy_file(source, self.copy, sha256=sha256)
        if self.spec is not None:
            changes.create(self.spec, scope, self.spec.id)
        changes.create(self.asset, scope, self.asset.id)

    def forget(self) -> None:
        """Remove the folder that was made for a copy which then could not be written."""
        if self.copy is not None:
            with contextlib.suppress(OSError):  # not empty: it is somebody's
                self.copy.parent.rmdir()
                self.copy.parent.parent.rmdir()


def new_asset(
    workspace: Workspace,
    image: InspectedImage,
    scope: Scope,
    leftovers: Leftovers,
    *,
    place: Callable[[Path], str] | None,
) -> NewAsset:
    """Return what is to be written for one image.

    Args:
        workspace: Where it goes.
        image: A decoded image.
        scope: The project.
        leftovers: What an interrupted import left for it.
        place: Gives the path that records hold for an image that stays where it is; None
            when it is copied into the workspace.
    """
    identity, copy = image.identity, None
    if place is not None:
        asset_id, path = new_ulid(), place(image.planned.path)
    else:
        asset_id = leftovers.asset_id(identity.sha256)
        copy = _target(workspace, scope, asset_id, identity)
        path = copy.relative_to(workspace.data_root).as_posix()
    spec = _spec(image.planned, scope, workspace.now())
    waiting = leftovers.spec_id(spec)
    asset = _asset(image, spec, waiting or spec.id, asset_id, path)
    return NewAsset(image, asset, None if waiting else spec, copy)


def _state(path: Path) -> tuple[int, int, int]:
    status = os.stat(path)  # noqa: PTH116 - three numbers of it, for every image
    return status.st_ino, status.st_size, status.st_mtime_ns


def _another_one(planned: PlannedAsset, digest: FileDigest) -> BadFile:
    return BadFile(
        planned.name,
        "digest_mismatch",
        f"{planned.name} is not the image that is described: sha256 {digest.sha256[:12]}…, "
        f"described {planned.sha256[:12]}…",
        "describe it anew, or leave the column sha256 out",
    )


def _target(workspace: Workspace, scope: Scope, asset_id: str, identity: ImageIdentity) -> Path:
    name = f"{identity.sha256[:12]}{EXTENSION_OF[identity.format]}"
    return files_folder(workspace.data_root, scope, asset_id) / "original" / name


def _spec(planned: PlannedAsset, scope: Scope, now: str) -> Spec:
    return Spec(
        id=new_ulid(),
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


def _asset(image: InspectedImage, spec: Spec, spec_id: str, asset_id: str, path: str) -> Asset:
    identity, variant_id = image.identity, new_ulid()
    alpha = identity if identity.has_alpha else None
    variant = Variant(
        id=variant_id,
        original_path=path,
        alpha_path=path if alpha else "",
        original=identity,
        alpha=alpha,
        tags=image.planned.tags,
        rating=image.planned.rating,
    )
    origin = dict(image.planned.origin) or {"source": "import", "file": image.planned.name}
    version = Version(
        id=new_ulid(),
        created_at=spec.created_at,
        status="review",
        variants=(variant,),
        generation=origin,
        primary_variant_id=variant_id,
    )
    return Asset(
        id=asset_id,
        project_id=spec.project_id,
        spec_id=spec_id,
        created_at=spec.created_at,
        updated_at=spec.created_at,
        versions=(version,),
        provenance=image.planned.provenance,
        rights=image.planned.rights,
    )
