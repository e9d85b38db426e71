"""Draw contact sheets of a manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from lora_pipeline.datasets.image_sources import image_sources
from lora_pipeline.datasets.records import Item, Manifest, Split
from lora_pipeline.datasets.sheet import Cell, SheetHeader, draw_page, is_enlarged
from lora_pipeline.datasets.thumbnails import thumbnails
from lora_pipeline.foundation.canonical import short
from lora_pipeline.foundation.drawing import encode_page, encode_png
from lora_pipeline.foundation.errors import ArgumentInvalidError, SelectionEmptyError
from lora_pipeline.foundation.files import disk_refusals, write_atomic
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.foundation.result import Result
from lora_pipeline.foundation.system_fonts import font_files
from lora_pipeline.foundation.typeface import Typeface, require_font
from lora_pipeline.operations.datasets.dataset_place import with_place
from lora_pipeline.operations.datasets.dataset_views import find_dataset
from lora_pipeline.operations.workspace.output_file import (
    PNG,
    WEBP,
    OutputKind,
    require_output,
    require_replaceable,
)
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

ScopeName = Literal["project", "baseline"]
PER_PAGE, MOST_PER_PAGE = 96, 200  # a WebP is at most 16,383 pixels high
_BUNDLED = "bundled"
_NAMED = 8  # letters or fonts that a warning names
_SPLIT_WORDS = {"train": "to train on", "held_out": "held out"}


def draw_dataset(
    workspace: Workspace,
    dataset_id: str,
    *,
    tags: tuple[str, ...] = (),
    split: Split | None = None,
    out: str = "",
    per_page: int = PER_PAGE,
    font: str = "",
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Draw contact sheets of a manifest: every image with its caption.

    Args:
        workspace: The workspace.
        dataset_id: Id or path of the manifest.
        tags: Only images with all of these tags.
        split: Only images of this side.
        out: The file, .webp or .png, in the workspace; several pages are numbered. Left out,
            they stand below ``.lora/sheets``.
        per_page: Images on a page.
        font: A font file for letters that the bundled font lacks, tried before those of this
            machine; ``bundled`` to use no other than the bundled one.
        project: Project to look in.
        scope: ``baseline`` for a shared manifest.

    Raises:
        RecordNotFoundError: When there is no such manifest.
        SelectionEmptyError: When no image has what was asked for.
        ArgumentInvalidError, UnsafePathError, StateError: When nothing may be written there.
    """
    if not 1 <= per_page <= MOST_PER_PAGE:
        raise ArgumentInvalidError(f"a page holds 1 to {MOST_PER_PAGE} images, got {per_page}")
    loaded = find_dataset(workspace, dataset_id, project=project, scope=scope)
    manifest = loaded.record
    items = chosen_items(manifest, tags, split)
    typeface = _typeface(workspace, font)
    target = out or f".lora/sheets/{loaded.scope.project_id or 'shared'}/{manifest.id}.webp"
    path, kind = require_output(workspace, target, (WEBP, PNG))
    pages = -(-len(items) // per_page)
    sheet = _Sheet(manifest, items, _Filter(tags, split), _page_paths(path, pages), kind, per_page)
    for page in sheet.paths:
        require_replaceable(page, workspace.relative(page), kind)
    missing = {} if workspace.dry_run else _draw(workspace, sheet, typeface)
    if not out and not workspace.dry_run:
        _remove_other_pages(path, sheet.paths)
    written = tuple(workspace.relative(page) for page in sheet.paths)
    return Result(
        data={
            "datasetId": manifest.id,
            "contentHash": manifest.content_hash,
            "images": len(manifest.items),
            "shown": len(items),
            "filter": sheet.filter.to_dict(),
            "pages": list(written),
            "perPage": per_page,
            "missing": [
                {"assetId": asset_id, "reason": reason} for asset_id, reason in missing.items()
            ],
            "missingLetters": list(typeface.missing),
            "fonts": [one.name for one in typeface.files_used],
        },
        reasoning=f"Drew {len(items)} images of {manifest.id} on {pages} "
        + ("page" if pages == 1 else "pages"),
        warnings=tuple(_warnings(missing, typeface)),
        suggestions=_suggestions(workspace, loaded.scope, manifest),
        written=written,
        dry_run=workspace.dry_run,
    )


def chosen_items(manifest: Manifest, tags: Sequence[str], split: Split | None) -> list[Item]:
    """Return the items of a manifest that carry every one of ``tags`` and are of that side.

    Raises:
        SelectionEmptyError: When none is left; the message names the filter that took the last.
    """
    items = list(manifest.items)
    if not items:
        raise SelectionEmptyError(f"{manifest.id} holds no images")
    for tag in tags:
        left = [item for item in items if tag in item.tags]
        if not left:
            known = sorted({one for item in items for one in item.tags})
            near = did_you_mean(tag, known)
            there = f"there are: {', '.join(known[:_NAMED])}" if known else "they have no tags"
            raise SelectionEmptyError(
                f"none of the {len(items)} images carries the tag {tag}",
                hint=f"did you mean {near}?" if near else there,
            )
        items = left
    if split is None:
        return items
    left = [item for item in items if item.split == split]
    if not left:
        raise SelectionEmptyError(f"none of the {len(items)} images is {_SPLIT_WORDS[split]}")
    return left


class _Filter(msgspec.Struct, frozen=True):
    tags: tuple[str, ...]
    split: Split | None

    def to_dict(self) -> dict[str, Any]:
        return {"tags": list(self.tags), "split": self.split}

    def __str__(self) -> str:
        return " · ".join([*self.tags, *([_SPLIT_WORDS[self.split]] if self.split else [])])


class _Sheet(msgspec.Struct, frozen=True):
    manifest: Manifest
    items: list[Item]
    filter: _Filter
    paths: list[Path]
    kind: OutputKind
    per_page: int

    def header(self, page: int) -> SheetHeader:
        """Return what stands above page ``page``, from 0."""
        manifest, count = self.manifest, len(self.manifest.items)
        held_out = sum(1 for item in manifest.items if item.split == "held_out")
        images = f"{count}, {held_out} of them held out" if held_out else str(count)
        facts = [("project", manifest.project_id or "shared by all"), ("images", images)]
        if str(self.filter):
            facts.append(("shown", f"{len(self.items)} · {self.filter}"))
        if manifest.content_hash:
            facts.append(("content", short(manifest.content_hash)))
        if len(self.paths) > 1:
            first = page * self.per_page + 1
            last = min(first + self.per_page - 1, len(self.items))
            facts.append(("page", f"{page + 1} of {len(self.paths)}, images {first} to {last}"))
        return SheetHeader(manifest.id, facts)


def _typeface(workspace: Workspace, font: str) -> Typeface:
    if font == _BUNDLED:
        return Typeface()
    own = (require_font(workspace.root / Path(font).expanduser()),) if font else ()
    return Typeface((*own, *font_files()))


def _page_paths(path: Path, pages: int) -> list[Path]:
    if pages == 1:
        return [path]
    digits = max(3, len(str(pages)))
    return [
        path.with_name(f"{path.stem}-{page:0{digits}}{path.suffix}") for page in range(1, pages + 1)
    ]


def _draw(workspace: Workspace, sheet: _Sheet, typeface: Typeface) -> dict[str, str]:
    """Draw and write page after page; return the images that could not be shown, with why."""
    manifest, missing = sheet.manifest, dict[str, str]()
    pictures = thumbnails(
        workspace,
        sheet.items,
        image_sources(workspace),
        background=manifest.normalization.background,
    )
    cells = (
        Cell(number, item, picture)
        for number, (item, picture) in enumerate(zip(sheet.items, pictures, strict=True), start=1)
    )
    # While one page is encoded and written, the pictures of the next one are made.
    with ThreadPoolExecutor(max_workers=1) as writer:
        writing: Future[None] | None = None
        for page, path in enumerate(sheet.paths):
            shown = list(islice(cells, sheet.per_page))
            missing |= {
                cell.item.asset_id: cell.thumbnail.missing
                for cell in shown
                if cell.thumbnail.missing
            }
            image = draw_page(sheet.header(page), shown, typeface)
            if writing is not None:
                writing.result()
            pixels = all(is_enlarged(cell.item) for cell in shown)
            writing = writer.submit(_write, path, image, sheet.kind, lossless=pixels)
        if writing is not None:
            writing.result()
    next(cells, None)  # lets the decoding children end, and the last event come
    return missing


def _write(path: Path, image: PILImage, kind: OutputKind, *, lossless: bool) -> None:
    with disk_refusals():
        if kind is PNG:
            write_atomic(path, encode_png(image, small=False))
        else:
            write_atomic(path, encode_page(image, lossless=lossless))


def _remove_other_pages(path: Path, paths: Iterable[Path]) -> None:
    """Remove the pages of an earlier, longer sheet from the folder that is ours."""
    earlier = {path, *path.parent.glob(f"{path.stem}-[0-9][0-9][0-9]*{path.suffix}")}
    for page in earlier - set(paths):
        if page.stem.removeprefix(f"{path.stem}-").isdigit() or page == path:
            page.unlink(missing_ok=True)


def _warnings(missing: dict[str, str], typeface: Typeface) -> list[str]:
    warnings = []
    if missing:
        reasons = " · ".join(f"{count} {why}" for why, count in Counter(missing.values()).items())
        noun = "1 image" if len(missing) == 1 else f"{len(missing)} images"
        warnings.append(f"{noun} could not be shown: {reasons}")
    if typeface.missing:
        letters = " ".join(f"U+{ord(one):04X}" for one in typeface.missing[:_NAMED])
        more = len(typeface.missing) - _NAMED
        others = f" and {more} others" if more > 0 else ""
        warnings.append(
            f"no font has {letters}{others}; boxes stand for them "
            "(--font FILE names one that has them)"
        )
    return warnings


def _suggestions(workspace: Workspace, scope: Scope, manifest: Manifest) -> tuple[str, ...]:
    stats = f"lora dataset stats {manifest.id}"
    return (with_place(workspace, scope, stats),)
