"""Candidates, items and manifests for the tests of datasets, in memory and in workspaces."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lora_pipeline.catalog.records import (
    Asset,
    ImageIdentity,
    Prompt,
    Provenance,
    Rights,
    Spec,
    Variant,
    Version,
)
from lora_pipeline.datasets.manifest import content_hash
from lora_pipeline.datasets.picks import Candidate, Pick, Reason, pick_of
from lora_pipeline.datasets.records import Item, Manifest, Normalization, Selection, SplitRule
from lora_pipeline.workspace.root import Workspace
from tests.support.catalog_builders import add_asset, add_catalogs, draw_icons
from tests.support.workspace_builders import commit_all, make_workspace

TIME = "2026-03-01T12:00:00Z"
PROJECT = "neon_city"


def variant(variant_id: str = "v1", **fields: Any) -> Variant:
    """Return a variant whose image is ``<id>.png``."""
    return Variant(id=variant_id, **{"original_path": f"{variant_id}.png", **fields})


def version(*variants: Variant, status: str = "approved", **fields: Any) -> Version:
    """Return a version; with one variant of its own when none is given."""
    return Version(
        **{
            "id": f"version-{status}",
            "created_at": TIME,
            "status": status,
            "variants": variants or (variant(),),
            **fields,
        }
    )


def candidate(
    asset_id: str = "A1",
    *,
    versions: Sequence[Version] = (),
    tags: Sequence[str] = (),
    spec_tags: Sequence[str] = (),
    barred: Reason | None = None,
    license_: str = "",
    **spec_fields: Any,
) -> Candidate:
    """Return a candidate; ``tags`` are the variant's, and further fields are the spec's."""
    spec = Spec(
        **{
            "id": f"spec-{asset_id}",
            "project_id": PROJECT,
            "created_at": TIME,
            "updated_at": TIME,
            "title": f"Title of {asset_id}",
            "asset_type": "ui_icon",
            "style": "flat",
            "scenario": "plain",
            "prompt": Prompt(positive="x"),
            "tags": tuple(spec_tags),
            **spec_fields,
        }
    )
    asset = Asset(
        id=asset_id,
        project_id=PROJECT,
        spec_id=spec.id,
        created_at=TIME,
        updated_at=TIME,
        versions=tuple(versions) or (version(variant(tags=tuple(tags))),),
        provenance=Provenance(author="ana", source="drawn", license=license_),
        rights=Rights(training="allowed"),
    )
    return Candidate(asset, spec, barred, license_)


def pick(asset_id: str = "A1", *, rule: Selection | None = None, **fields: Any) -> Pick:
    """Return the pick of a candidate with those fields."""
    found = pick_of(candidate(asset_id, **fields), rule or Selection())
    assert found is not None
    return found


def identity(seed: str) -> ImageIdentity:
    """Return what an image could be."""
    digest = hashlib.sha256(seed.encode()).hexdigest()
    return ImageIdentity(
        sha256=digest, xxh3=digest[:32], bytes=100, width=64, height=64, format="PNG"
    )


def item(asset_id: str = "A1", **fields: Any) -> Item:
    """Return an item; its digest comes from its id when none is given."""
    digest = hashlib.sha256(asset_id.encode()).hexdigest()
    return Item(
        **{
            "asset_id": asset_id,
            "asset_version_id": "V",
            "variant_id": "v1",
            "path": f"projects/{PROJECT}/files/images/{asset_id}.png",
            "caption": "red, circle",
            "tags": ("color:red", "shape:circle"),
            "sha256": digest,
            "xxh3": digest[:32],
            "bytes": 100,
            "width": 64,
            "height": 64,
            **fields,
        }
    )


def manifest(*items: Item, **fields: Any) -> Manifest:
    """Return a manifest of those items with its true content hash."""
    found = items or (item(),)
    normalization = fields.get("normalization", Normalization())
    split = fields.get("split_rule", SplitRule())
    return Manifest(
        **{
            "id": "icons",
            "scope": "project",
            "project_id": PROJECT,
            "created_at": TIME,
            "updated_at": TIME,
            "items": found,
            "content_hash": content_hash(found, normalization, split),
            **fields,
        }
    )


def studio(folder: Path, *, icons: int = 6, git: bool = True) -> Workspace:
    """Return a workspace whose project has approved icons, tagged by style and colour."""
    workspace = make_workspace(folder, git=git, project=PROJECT)
    add_catalogs(workspace, PROJECT)
    colours = ("red", "blue", "green")
    for number, path in enumerate(draw_icons(folder.parent / f"{folder.name}-art", count=icons)):
        tags = ("style:flat", f"color:{colours[number % 3]}")
        add_asset(workspace, PROJECT, path, title=f"Icon {number}", tags=tags)
    if git:
        commit_all(folder, "Art")
    return workspace
