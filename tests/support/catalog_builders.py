"""Projects with catalogs, real images and assets in temporary workspaces.

``draw_icons`` makes a folder of PNGs with transparency, as a studio has them before any import;
``add_asset`` writes what an import and a review would have left behind.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw

from lora_pipeline.catalog.records import (
    Asset,
    AssetType,
    AssetTypes,
    CatalogWord,
    ImageCounts,
    ImageIdentity,
    Prompt,
    Provenance,
    Rights,
    Scenarios,
    Spec,
    Styles,
    Tag,
    TagGroup,
    Tags,
    Variant,
    Version,
    VersionStatus,
)
from lora_pipeline.foundation.digests import digest_file
from lora_pipeline.foundation.ids import new_ulid
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope, files_folder
from lora_pipeline.workspace.root import Workspace

_SHAPES = ("ellipse", "rectangle", "diamond", "triangle")
_COLOURS = ("#D83A3A", "#3A6FD8", "#2FA35B", "#E0A020", "#8A4FD0", "#20A0A8")


def draw_icon(path: Path, *, seed: int = 0, size: int = 64) -> Path:
    """Write one RGBA icon with a transparent background; each seed gives another picture."""
    chance = random.Random(seed)
    image = Image.new("RGBA", (size, size), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    colour = _COLOURS[seed % len(_COLOURS)]
    low, high = size * (0.1 + 0.1 * chance.random()), size * (0.8 + 0.1 * chance.random())
    middle = size / 2
    shape = _SHAPES[seed // len(_COLOURS) % len(_SHAPES)]
    if shape == "ellipse":
        draw.ellipse((low, low, high, high), fill=colour)
    elif shape == "rectangle":
        draw.rectangle((low, low, high, high), fill=colour)
    elif shape == "diamond":
        draw.polygon([(middle, low), (high, middle), (middle, high), (low, middle)], fill=colour)
    else:
        draw.polygon([(middle, low), (high, high), (low, high)], fill=colour)
    for _ in range(6):
        x, y = chance.uniform(low, high), chance.uniform(low, high)
        draw.ellipse((x, y, x + size * 0.08, y + size * 0.08), fill=(255, 255, 255, 160))
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
    return path


def draw_icons(folder: Path, count: int = 12, *, size: int = 64, first_seed: int = 0) -> list[Path]:
    """Write ``count`` different icons ``icon-000.png`` … and return their paths."""
    return [
        draw_icon(folder / f"icon-{number:03}.png", seed=first_seed + number, size=size)
        for number in range(count)
    ]


def add_catalogs(workspace: Workspace, project_id: str) -> None:
    """Write small catalogs: one asset type, two styles, one scenario, four tag groups."""
    now = workspace.now()
    changes, scope = Changes(workspace), Scope(project_id)
    times = {"created_at": now, "updated_at": now}
    counts = ImageCounts(minimum=10, recommended_from=20, recommended_to=80)
    icon = AssetType(
        id="ui_icon", label="UI icon", requires_alpha=True, image_counts=counts, suite_id="ui_icon"
    )
    changes.create(AssetTypes(id="asset-types", asset_types=(icon,), **times), scope, "asset-types")
    styles = (
        CatalogWord(
            id="flat", label="Flat", prompt_tokens=("flat style",), aliases=("plain flat",)
        ),
        CatalogWord(id="neon", label="Neon", prompt_tokens=("neon style", "glowing outline")),
    )
    changes.create(Styles(id="styles", styles=styles, **times), scope, "styles")
    scenarios = (
        CatalogWord(id="plain", label="Plain"),
        CatalogWord(id="hud", label="HUD", prompt_tokens=("game interface",)),
    )
    changes.create(Scenarios(id="scenarios", scenarios=scenarios, **times), scope, "scenarios")
    groups = (
        _group("style", "flat", "neon", exclusive=True),
        _group("shape", "circle", "square", "star", exclusive=True),
        _group("color", "red", "blue", "green", exclusive=False),
        _group("issue", "watermark", "artefact", exclusive=False),
    )
    changes.create(Tags(id="tags", groups=groups, **times), scope, "tags")
    changes.apply()


def add_asset(
    workspace: Workspace,
    project_id: str,
    image: Path,
    *,
    title: str = "",
    asset_type: str = "ui_icon",
    style: str = "flat",
    scenario: str = "plain",
    prompt: str = "",
    tags: Sequence[str] = ("style:flat",),
    spec_tags: Sequence[str] = (),
    status: VersionStatus = "approved",
    training: Literal["allowed", "denied", "unknown"] = "allowed",
    withdrawn_at: str = "",
    license: str = "CC0-1.0",  # noqa: A002 - the record's own word
    author: str = "ana",
    checkpoint_id: str = "",
    rating: int = 0,
    in_place: bool = False,
) -> Asset:
    """Write one asset with its spec and a copy of ``image``, and return it.

    With ``in_place`` nothing is copied: ``image`` must stand below ``assetsRoot``.
    """
    now, scope = workspace.now(), Scope(project_id)
    asset_id, spec_id, variant_id = new_ulid(), new_ulid(), new_ulid()
    title = title or image.stem
    spec = Spec(
        id=spec_id,
        project_id=project_id,
        created_at=now,
        updated_at=now,
        title=title,
        asset_type=asset_type,
        style=style,
        scenario=scenario,
        prompt=Prompt(positive=prompt),
        tags=tuple(spec_tags),
        checkpoint_id=checkpoint_id,
        status="ready",
    )
    changes = Changes(workspace)
    path = _image_path(workspace, changes, scope, asset_id, image, in_place=in_place)
    identity = identify(image)
    variant = Variant(
        id=variant_id,
        original_path=path,
        alpha_path=path if identity.has_alpha else "",
        original=identity,
        alpha=identity if identity.has_alpha else None,
        tags=tuple(tags),
        rating=rating,
    )
    reviewed = status in ("approved", "rejected", "deprecated")
    version = Version(
        id=new_ulid(),
        created_at=now,
        status=status,
        variants=(variant,),
        generation={"source": "import"},
        primary_variant_id=variant_id,
        reviewed_by=workspace.actor or "ana@studio.example" if reviewed else "",
        reviewed_at=now if reviewed else "",
    )
    asset = Asset(
        id=asset_id,
        project_id=project_id,
        spec_id=spec_id,
        created_at=now,
        updated_at=now,
        versions=(version,),
        provenance=Provenance(source="drawn for a test", author=author, license=license),
        rights=Rights(training=training, withdrawn_at=withdrawn_at),
    )
    changes.create(spec, scope, spec_id)
    changes.create(asset, scope, asset_id)
    changes.apply()
    return asset


def identify(image: Path) -> ImageIdentity:
    """Return what an image file is."""
    digest = digest_file(image)
    with Image.open(image) as opened:
        alpha = opened.has_transparency_data
        used = alpha and opened.convert("RGBA").getchannel("A").getextrema()[0] != 255
        return ImageIdentity(
            sha256=digest.sha256,
            xxh3=digest.xxh3,
            bytes=digest.bytes,
            width=opened.width,
            height=opened.height,
            format=opened.format or "",
            has_alpha=used,
        )


def _image_path(
    workspace: Workspace,
    changes: Changes,
    scope: Scope,
    asset_id: str,
    image: Path,
    *,
    in_place: bool,
) -> str:
    if in_place:
        root = Path(workspace.settings.require_text("assetsRoot"))
        return f"assetsRoot:{image.relative_to(root).as_posix()}"
    folder = files_folder(workspace.data_root, scope, asset_id) / "original"
    target = folder / f"{digest_file(image).sha256[:12]}{image.suffix}"
    changes.copy_file(image, target)
    return target.relative_to(workspace.data_root).as_posix()


def _group(group_id: str, *values: str, exclusive: bool) -> TagGroup:
    return TagGroup(
        id=group_id,
        label=group_id.title(),
        exclusive=exclusive,
        tags=tuple(
            Tag(id=f"{group_id}:{value}", label=value.title(), prompt_token=value)
            for value in values
        ),
    )
