"""The folders that other tools read: which file goes where, and what is written beside it.

Decides only; ``docs/export.md`` shows each layout.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Literal

import msgspec

from lora_pipeline.catalog.imports.folder import MASK_ENDING
from lora_pipeline.catalog.records import Asset, Spec
from lora_pipeline.datasets.picks import pick_variant
from lora_pipeline.datasets.records import Item
from lora_pipeline.foundation.errors import ArgumentInvalidError, CaptionInvalidError

LayoutName = Literal["kohya", "imagefolder", "taggui", "ai-toolkit", "onetrainer", "csv"]
SplitChoice = Literal["train", "held-out", "all"]
_DIGITS = 12
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NOT_A_NAME = re.compile(r'[<>:"/|?*\\\x00-\x1f\x7f]+')
_EXTENSIONS = (".png", ".jpg", ".jpeg", ".webp")
# Layouts that have a place for images which must not be trained on. The others are read with
# every folder below them.
_KEEPS_APART = ("kohya", "imagefolder", "csv")
_HELD_OUT = "held_out"
_MASKS = "masks"
KOHYA_CONFIG = "dataset.toml"
# TagGUI would show masks as images to be captioned.
KNOWS_MASKS = ("kohya", "imagefolder", "ai-toolkit", "onetrainer", "csv")


class Described(msgspec.Struct, frozen=True):
    """An item of a manifest with the records that say more about it, where they are there."""

    item: Item
    asset: Asset | None = None
    spec: Spec | None = None


class PlacedImage(msgspec.Struct, frozen=True):
    """An image of an export.

    Attributes:
        name: Its POSIX path below the folder.
        item: What the manifest says of it.
        mask: Path of its mask, white where the loss counts; empty without one.
    """

    name: str
    item: Item
    mask: str = ""


class ExportPlan(msgspec.Struct, frozen=True):
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
    texts: Mapping[str, bytes] = msgspec.field(default_factory=dict)
    described: tuple[dict[str, Any], ...] = ()


class ExportOptions(msgspec.Struct, frozen=True):
    """What a person asked for.

    Attributes:
        layout: Whose layout.
        originals: Whether images stay as they are, instead of being normalised.
        split: Which side of the split.
        repeats: How often kohya's scripts are to show an image, times its own repeats.
        words: Instance and class words of kohya's folders.
        masks: Whether every image gets a mask, white where the loss counts.
    """

    layout: LayoutName
    originals: bool
    split: SplitChoice = "train"
    repeats: int = 1
    words: str = ""
    masks: bool = False


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
    images = tuple(
        PlacedImage(name, placed[name].item, _mask_of(name, options)) for name in sorted(placed)
    )
    texts, rows = _WRITERS[options.layout](placed, options)
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
    # ai-toolkit trains on every image below its folder, so masks stand beside that.
    return "images/" if options.layout == "ai-toolkit" and options.masks else ""


def _mask_of(name: str, options: ExportOptions) -> str:
    """Return where an image's mask stands, as its readers look for it; empty without masks."""
    if not options.masks:
        return ""
    path = PurePosixPath(name)
    match options.layout:
        case "onetrainer":
            return path.with_name(f"{path.stem}{MASK_ENDING}").as_posix()
        case "imagefolder":  # below the metadata file that names it
            return (path.parent / _MASKS / path.name).as_posix()
        case "ai-toolkit":
            return f"{_MASKS}/{path.name}"
        case _:
            return f"{_MASKS}/{name}"


def _require_caption(item: Item) -> None:
    if not item.caption or len(item.caption.splitlines()) != 1:
        raise CaptionInvalidError(f"the caption of asset {item.asset_id} must be one line")


_Files = tuple[dict[str, bytes], tuple[dict[str, Any], ...]]


def _side_cars(placed: Mapping[str, Described], _: ExportOptions) -> _Files:
    texts = {
        PurePosixPath(name).with_suffix(".txt").as_posix(): one.item.caption.encode()
        for name, one in placed.items()
    }
    rows = tuple({"file": name, **_row(placed[name])} for name in sorted(placed))
    return texts, rows


def _kohya(placed: Mapping[str, Described], options: ExportOptions) -> _Files:
    texts, rows = _side_cars(placed, options)
    return (texts | _kohya_config(placed) if options.masks else texts), rows


def _kohya_config(placed: Mapping[str, Described]) -> dict[str, bytes]:
    """Return what tells sd-scripts of masks: its folders of images cannot.

    Paths start from the folder that training is started in, so that the export may move.
    """
    folders = sorted({PurePosixPath(name).parent.name for name in placed})
    lines = ["[general]", 'caption_extension = ".txt"', "", "[[datasets]]"]
    for folder in folders:
        if folder != _HELD_OUT:
            words = {"image_dir": folder, "conditioning_data_dir": f"{_MASKS}/{folder}"}
            lines += ["", "[[datasets.subsets]]"]
            # A JSON string is a TOML string: a folder's name holds no control character.
            lines += [
                f"{key} = {json.dumps(word, ensure_ascii=False)}" for key, word in words.items()
            ]
            lines += [f"num_repeats = {folder.partition('_')[0]}"]
    return {KOHYA_CONFIG: ("\n".join(lines) + "\n").encode()}


def _metadata(placed: Mapping[str, Described], options: ExportOptions) -> _Files:
    lines: dict[str, list[str]] = {}
    for name in sorted(placed):
        path = PurePosixPath(name)
        said = _row(placed[name])
        # Every line has every column, and no lists: the library takes types from the first lines,
        # and an empty list has none, so that train and test would not be of one kind.
        row = {column: said.get(column, 0 if column == "rating" else "") for column in _COLUMNS}
        row |= {column: ";".join(said.get(column, [])) for column in ("tags", "specTags")}
        mask = _mask_of(path.name, options)
        named = {"file_name": path.name} | ({"mask_file_name": mask} if mask else {})
        row = {**named, "text": placed[name].item.caption, **row}
        lines.setdefault(path.parent.as_posix(), []).append(json.dumps(row, ensure_ascii=False))
    files = {
        PurePosixPath(folder, "metadata.jsonl").as_posix(): ("\n".join(every) + "\n").encode()
        for folder, every in lines.items()
    }
    return files, ()


def _table(placed: Mapping[str, Described], options: ExportOptions) -> _Files:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    masks = ["mask"] if options.masks else []
    writer.writerow(["file", *masks, "caption", *_COLUMNS])
    for name in sorted(placed):
        row = _row(placed[name])
        first = [name, _mask_of(name, options)][: 1 + len(masks)]
        cells = [*first, placed[name].item.caption, *(row.get(column, "") for column in _COLUMNS)]
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


_WRITERS: dict[str, Callable[[Mapping[str, Described], ExportOptions], _Files]] = {
    "kohya": _kohya,
    "taggui": _side_cars,
    "ai-toolkit": _side_cars,
    "onetrainer": _side_cars,
    "imagefolder": _metadata,
    "csv": _table,
}
