"""The folders that other tools read: which file goes where, and what is written beside it.

Decides only; ``docs/export.md`` shows each layout.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

from lora_pipeline.catalog.records import Asset, Spec
from lora_pipeline.datasets.picks import pick_variant
from lora_pipeline.datasets.records import Item
from lora_pipeline.foundation.errors import ArgumentInvalidError, CaptionInvalidError

LayoutName = Literal["kohya", "imagefolder", "taggui", "ai-toolkit", "csv"]
SplitChoice = Literal["train", "held-out", "all"]
_DIGITS = 12
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NOT_A_NAME = re.compile(r'[<>:"/|?*\\\x00-\x1f\x7f]+')
_EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp")
# Layouts that have a place for images which must not be trained on. The others are read with
# every folder below them.
_KEEPS_APART = ("kohya", "imagefolder", "csv")
_HELD_OUT = "held_out"


@dataclass(frozen=True)
class Described:
    """An item of a manifest with the records that say more about it, where they are there."""

    item: Item
    asset: Asset | None = None
    spec: Spec | None = None


@dataclass(frozen=True)
class PlacedImage:
    """An image of an export.

    Attributes:
        name: Its POSIX path below the folder.
        item: What the manifest says of it.
    """

    name: str
    item: Item


@dataclass(frozen=True)
class ExportPlan:
    """Every file of an export.

    Attributes:
        layout: Whose layout it is.
        images: The images, in the order of their names.
        texts: The other files, by their POSIX paths.
        described: What is said of each image, by columns of an import, where no file of the
            layout says it.
    """

    layout: str
    images: tuple[PlacedImage, ...]
    texts: Mapping[str, bytes] = field(default_factory=dict)
    described: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class ExportOptions:
    """What a person asked for.

    Attributes:
        layout: Whose layout.
        originals: Whether images stay as they are, instead of being normalised.
        split: Which side of the split.
        repeats: How often kohya's scripts are to show an image, times its own repeats.
        words: Instance and class words of kohya's folders.
    """

    layout: LayoutName
    originals: bool
    split: SplitChoice = "train"
    repeats: int = 1
    words: str = ""


def plan_export(described: Sequence[Described], options: ExportOptions) -> ExportPlan:
    """Return every file of an export.

    Raises:
        ArgumentInvalidError: When the layout cannot keep held-out images apart.
        CaptionInvalidError: When a caption is not one line.
    """
    if options.split == "all" and options.layout not in _KEEPS_APART:
        raise ArgumentInvalidError(
            f"what reads {options.layout} folders trains on every image below them",
            hint="export held-out images to a folder of their own: --split held-out",
        )
    for one in described:
        _require_caption(one.item)
    placed = _placed(described, options)
    images = tuple(PlacedImage(name, placed[name].item) for name in sorted(placed))
    texts, rows = _WRITERS[options.layout](placed)
    return ExportPlan(options.layout, images, texts, rows)


def chosen_items(items: Iterable[Item], split: SplitChoice) -> list[Item]:
    """Return the items of one side of the split, or all."""
    sides = {"train": ("train",), "held-out": ("held_out",), "all": ("train", "held_out")}[split]
    return [item for item in items if item.split in sides]


def folder_word(text: str) -> str:
    """Return words as a folder name may hold them on every system."""
    return " ".join(_NOT_A_NAME.sub(" ", text).split()).strip(". ") or "images"


def _placed(described: Sequence[Described], options: ExportOptions) -> dict[str, Described]:
    placed: dict[str, Described] = {}
    for one in sorted(described, key=lambda one: (one.item.sha256, one.item.caption)):
        folder = _folder(one.item, options)
        extension = PurePosixPath(one.item.path).suffix.lower()
        if not options.originals or extension not in _EXTENSIONS:
            extension = ".png"
        # The stem names the bytes, so that a file stays what it is when others come and go.
        # No word of a title gets into it: some tools take "train" or "test" in a name for a split.
        stem, number = one.item.sha256[:_DIGITS], 1
        while f"{folder}{stem}{extension}" in placed:
            number += 1
            stem = f"{one.item.sha256[:_DIGITS]}-{number}"
        placed[f"{folder}{stem}{extension}"] = one
    return placed


def _folder(item: Item, options: ExportOptions) -> str:
    held_out = item.split == "held_out" and options.split == "all"
    if options.layout == "kohya":
        # Folders without a number are passed over by kohya's scripts.
        words = folder_word(options.words)
        return f"{_HELD_OUT}/" if held_out else f"{item.repeats * options.repeats}_{words}/"
    if options.layout == "imagefolder" and options.split == "all":
        return "test/" if held_out else "train/"
    if options.layout == "csv":
        return f"{_HELD_OUT}/" if held_out else "images/"
    return ""


def _require_caption(item: Item) -> None:
    if not item.caption or len(item.caption.splitlines()) != 1:
        raise CaptionInvalidError(f"the caption of asset {item.asset_id} must be one line")


def _side_cars(
    placed: Mapping[str, Described],
) -> tuple[dict[str, bytes], tuple[dict[str, Any], ...]]:
    texts = {
        PurePosixPath(name).with_suffix(".txt").as_posix(): one.item.caption.encode()
        for name, one in placed.items()
    }
    rows = tuple({"file": name, **_row(placed[name])} for name in sorted(placed))
    return texts, rows


def _metadata(
    placed: Mapping[str, Described],
) -> tuple[dict[str, bytes], tuple[dict[str, Any], ...]]:
    lines: dict[str, list[str]] = {}
    for name in sorted(placed):
        path = PurePosixPath(name)
        said = {"tags": [], "specTags": []} | _row(placed[name])
        # Every line has every column: the library takes their types from the first lines.
        row = {column: said.get(column, 0 if column == "rating" else "") for column in _COLUMNS}
        row = {"file_name": path.name, "text": placed[name].item.caption, **row}
        lines.setdefault(path.parent.as_posix(), []).append(json.dumps(row, ensure_ascii=False))
    files = {
        PurePosixPath(folder, "metadata.jsonl").as_posix(): ("\n".join(every) + "\n").encode()
        for folder, every in lines.items()
    }
    return files, ()


def _table(placed: Mapping[str, Described]) -> tuple[dict[str, bytes], tuple[dict[str, Any], ...]]:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["file", "caption", *_COLUMNS])
    for name in sorted(placed):
        row = _row(placed[name])
        cells = [name, placed[name].item.caption, *(row.get(column, "") for column in _COLUMNS)]
        writer.writerow([_cell(value) for value in cells])
    return {"assets.csv": stream.getvalue().encode()}, ()


def _cell(value: Any) -> str:
    text = ";".join(value) if isinstance(value, list) else str(value)
    # A spreadsheet would take it for a formula; an import takes the apostrophe off again.
    return f"'{text}" if text.startswith(_FORMULA) else text


_COLUMNS = (
    "title", "tags", "specTags", "assetType", "style", "scenario", "prompt", "source", "author",
    "license", "url", "notes", "trainingRights", "consent", "rating",
)  # fmt: skip


def _row(one: Described) -> dict[str, Any]:
    """Return what is said of an image, by the columns of an import; what is empty is left out."""
    item, asset, spec = one.item, one.asset, one.spec
    own, of_spec = _tags(one)
    said: dict[str, Any] = {"tags": own, "specTags": of_spec, "license": item.license}
    if spec is not None:
        said |= {
            "title": spec.title,
            "assetType": spec.asset_type,
            "style": spec.style,
            "scenario": spec.scenario,
            "prompt": spec.prompt.positive,
        }
    if asset is not None:
        origin = asset.provenance
        said |= {
            "source": origin.source,
            "author": origin.author,
            "url": origin.url,
            "notes": origin.notes,
            "trainingRights": asset.rights.training,
            "consent": asset.rights.consent,
            "rating": _rating(one),
        }
    return {column: said[column] for column in _COLUMNS if said.get(column)}


def _tags(one: Described) -> tuple[list[str], list[str]]:
    # The manifest holds both kinds in one list; the records say which are whose.
    if one.spec is None or one.asset is None:
        return list(one.item.tags), []
    own = {
        tag
        for version in one.asset.versions
        if version.id == one.item.asset_version_id
        for variant in version.variants
        if variant.id == one.item.variant_id
        for tag in variant.tags
    }
    of_spec = [tag for tag in one.item.tags if tag in one.spec.tags and tag not in own]
    return [tag for tag in one.item.tags if tag not in of_spec], of_spec


def _rating(one: Described) -> int:
    assert one.asset is not None  # noqa: S101 - asked for where there is one
    found = [version for version in one.asset.versions if version.id == one.item.asset_version_id]
    return pick_variant(found[0]).rating if found else 0


_Files = tuple[dict[str, bytes], tuple[dict[str, Any], ...]]
_WRITERS: dict[str, Callable[[Mapping[str, Described]], _Files]] = {
    "kohya": _side_cars,
    "taggui": _side_cars,
    "ai-toolkit": _side_cars,
    "imagefolder": _metadata,
    "csv": _table,
}
