"""What an import came to, for people and programs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from lora_pipeline.catalog.imports.captions import WordReader
from lora_pipeline.catalog.imports.folder import BadFile
from lora_pipeline.catalog.imports.images import InspectedImage
from lora_pipeline.catalog.imports.layout import LayoutName, looks_like_kohya
from lora_pipeline.catalog.imports.plan import PlannedAsset, Words
from lora_pipeline.catalog.imports.source import ImportSource
from lora_pipeline.catalog.records import AssetType
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace

_SHOWN = 4
_SKIP = "mend them, or add --skip-bad to import the others"
_AGAIN = "import the folder again"
_SMALLEST_SIDE = 16  # pixels; what trainers read at least
_LONGEST_SHAPE = 8  # sides of 8 to 1 and more are cut to pieces by every bucket


_GREY = frozenset({"1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N"})
# Worth knowing for programs, and no reason to stop for a person.
_FACTS = frozenset({"has_alpha", "greyscale", "text_data", "turned_by_exif"})


class ImportedAsset(msgspec.Struct, frozen=True):
    """An image that became an asset."""

    asset_id: str
    spec_id: str
    image: InspectedImage


@dataclass
class Import:
    """An import on its way: what was found and what becomes of it.

    Attributes:
        source: The folder and what describes it.
        words: Turns words into tags.
        layout: How the folder is read.
        planned: Images with what they become.
        good: Images that are imported.
        there: Images that the project has.
        duplicates: Second copies in the folder.
        same_pictures: Images of which the project or the folder has other bytes.
        aside: Images that the layout passes over.
        bad: What keeps the import out, or is skipped.
        late: Files that changed after they were looked at.
        undescribed: Images that no metadata file describes, though there is one.
        assets: What was imported.
        written: Paths that were written.
        whole_folder: Whether a folder was given, and not one image.
    """

    source: ImportSource
    words: WordReader
    layout: LayoutName = "plain"
    planned: list[PlannedAsset] = field(default_factory=list)
    good: list[InspectedImage] = field(default_factory=list)
    there: list[dict[str, str]] = field(default_factory=list)
    duplicates: list[dict[str, str]] = field(default_factory=list)
    same_pictures: list[dict[str, str]] = field(default_factory=list)
    aside: list[dict[str, str]] = field(default_factory=list)
    bad: list[BadFile] = field(default_factory=list)
    late: list[BadFile] = field(default_factory=list)
    undescribed: list[str] = field(default_factory=list)
    assets: list[ImportedAsset] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    whole_folder: bool = True
    _pixels: dict[str, str] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Number of files that were meant."""
        return len(self.source.contents.images) + len(self.source.contents.bad)

    def note_same_picture(self, image: InspectedImage, known: Mapping[str, str]) -> None:
        """Remember an image that shows what another one shows, in other bytes."""
        pixels, name = image.known_facts.pixel_sha256, image.planned.name
        if pixels in known:
            self.same_pictures.append({"file": name, "assetId": known[pixels]})
        elif self._pixels.setdefault(pixels, name) != name:
            self.same_pictures.append({"file": name, "sameAs": self._pixels[pixels]})


def refused(found: Import, workspace: Workspace, scope: Scope) -> Result:
    """Return that bad files kept an import out."""
    files = "file" if len(found.bad) == 1 else "files"
    return Result(
        data=_data(found, scope),
        reasoning=f"{len(found.bad)} bad {files} kept the import out",
        suggestions=[_SKIP],
        dry_run=workspace.dry_run,
        refusal=Refusal(
            "import_incomplete",
            f"{len(found.bad)} of {found.total} {files if found.total == 1 else 'files'} cannot "
            "be imported; nothing was written",
            _SKIP,
        ),
    )


def done(
    found: Import, workspace: Workspace, scope: Scope, words: Words, *, added: bool, skip_bad: bool
) -> Result:
    """Return what an import brought."""
    count = len(found.assets)
    nouns = "asset" if count == 1 else "assets"
    there = ": every image is there already" if found.there and not found.bad else ""
    reasoning = (
        f"Imported {count} {nouns} into {scope.project_id} for review"
        if count
        else f"Imported nothing into {scope.project_id}{there}"
    )
    suggestions = (
        ["lora asset list --status review", "lora asset approve --status review"] if count else []
    )
    return Result(
        data=_data(found, scope)
        | {("addedWords" if added else "unknownWords"): _words_data(words)},
        reasoning=reasoning,
        warnings=list(_warnings(found, words, added=added, skip_bad=skip_bad)),
        suggestions=suggestions,
        written=found.written,
        dry_run=workspace.dry_run,
        refusal=_late(found),
    )


def some(names: Iterable[str], *, most: int = _SHOWN) -> str:
    """Return the first of several names, and how many more there are."""
    every = list(names)
    if len(every) <= most:
        return ", ".join(every)
    return f"{', '.join(every[: most - 1])} and {len(every) - most + 1} more"


def _late(found: Import) -> Refusal | None:
    if not found.late:
        return None
    files = "file" if len(found.late) == 1 else "files"
    return Refusal(
        "import_incomplete",
        f"{len(found.late)} {files} changed during the import and stayed out: "
        f"{some(bad.file for bad in found.late)}",
        _AGAIN,
    )


def _data(found: Import, scope: Scope) -> dict[str, Any]:
    source = found.source
    return {
        "project": scope.project_id,
        "found": found.total,
        "imported": len(found.assets),
        "assets": [
            {
                "id": one.asset_id,
                "specId": one.spec_id,
                "title": one.image.planned.title,
                "file": one.image.planned.name,
                "tags": list(one.image.planned.tags),
            }
            for one in found.assets
        ],
        "alreadyThere": found.there,
        "duplicates": found.duplicates,
        "samePictures": found.same_pictures,
        "leftAside": found.aside,
        "renamed": [
            {"file": image.planned.name, "as": image.right_name}
            for image in found.good
            if image.right_name
        ],
        "refused": [bad.to_dict() for bad in (*found.bad, *found.late)],
        "notImages": source.contents.others,
        "metadata": source.metadata.name,
        "unusedColumns": source.columns.unused,
        "unusedWords": found.words.unusable,
        "findings": [
            {"code": code, "message": text, "files": names}
            for (code, text), names in _findings(found).items()
        ],
    }


def _words_data(words: Words) -> dict[str, list[str]]:
    return {
        "tags": list(words.tags),
        "styles": list(words.styles),
        "scenarios": list(words.scenarios),
    }


def _warnings(found: Import, words: Words, *, added: bool, skip_bad: bool) -> Iterator[str]:
    yield from _word_warnings(found, words, added=added)
    for (code, text), names in _findings(found).items():
        if code not in _FACTS:
            yield f"{some(names)}: {text}"
    yield from _picture_warnings(found.same_pictures)
    source = found.source
    if found.undescribed:
        yield f"{some(found.undescribed)}: not described in {source.metadata.name}"
    if source.columns.unused:
        one = len(source.columns.unused) == 1
        unused, verb = some(source.columns.unused, most=8), "means" if one else "mean"
        yield (
            f"{'column' if one else 'columns'} {unused} {verb} nothing here "
            "(--map title=NAME takes one)"
        )
    if found.layout == "plain" and looks_like_kohya(
        source.contents.images, source.contents.folder.name
    ):
        yield "the folders look like kohya's (10_words); --layout kohya reads what they say"
    if source.contents.others:
        yield f"{some(source.contents.others)}: not imported, no image"
    if skip_bad:
        yield from (bad.reason for bad in found.bad)


def _word_warnings(found: Import, words: Words, *, added: bool) -> Iterator[str]:
    vocabulary = found.words.vocabulary
    if words and not added:
        shown = [str(unknown) for unknown in vocabulary.unknown_tags(words.tags)]
        shown += [f"style {word}" for word in words.styles]
        shown += [f"scenario {word}" for word in words.scenarios]
        verb = "is" if len(shown) == 1 else "are"
        yield f"{some(shown, most=8)} {verb} in no catalog; --add-tags puts new words there"
    if found.words.unusable:
        unusable = [f"{word} ({count})" for word, count in found.words.unusable.items()]
        yield f"no tag can be made of {some(unusable, most=8)}; letters a-z and digits make one"


def _picture_warnings(pictures: Sequence[Mapping[str, str]]) -> Iterator[str]:
    in_folder = [one for one in pictures if "sameAs" in one]
    if in_folder:
        pairs = some(f"{one['sameAs']} and {one['file']}" for one in in_folder)
        yield f"{pairs}: one picture in different bytes"
    known = [one for one in pictures if "assetId" in one]
    if known:
        pairs = some(f"{one['file']} is asset {one['assetId']}" for one in known)
        yield f"{pairs}, in different bytes"


def _findings(found: Import) -> dict[tuple[str, str], list[str]]:
    findings: dict[tuple[str, str], list[str]] = defaultdict(list)
    for image in found.good:
        for finding in _of_image(image, found.words.vocabulary.asset_types):
            findings[finding].append(image.planned.name)
    return findings


def _of_image(image: InspectedImage, types: Mapping[str, AssetType]) -> Iterator[tuple[str, str]]:
    facts, asset_type = image.known_facts, types[image.planned.asset_type]
    short, long = sorted((facts.width, facts.height))
    if facts.alpha_used:
        yield "has_alpha", "transparent pixels, which staging lays on the dataset's background"
    elif asset_type.requires_alpha:
        yield "alpha_missing", f"no transparent background, which {asset_type.id} asks for"
    if facts.mode in _GREY:
        yield "greyscale", "shades of grey only"
    if short < _SMALLEST_SIDE:
        yield "tiny", f"smaller than {_SMALLEST_SIDE} pixels on a side"
    if long >= _LONGEST_SHAPE * short:
        yield "extreme_shape", f"one side is {_LONGEST_SHAPE} times the other, or more"
    if facts.has_location:
        yield "location_data", "EXIF data says where it was taken, and the copy keeps that"
    if facts.has_text:
        yield "text_data", "texts inside (comments, prompts, workflows), which the copy keeps"
    if facts.exif_orientation != 1:
        yield "turned_by_exif", "EXIF data turns it; staging makes it upright"
    for note in facts.notes:
        yield "image_note", note
