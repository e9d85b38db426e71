"""Import art: a folder of images becomes specs and assets that wait for review."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from lora_pipeline.catalog.catalogs import read_vocabulary
from lora_pipeline.catalog.image_index import known_images
from lora_pipeline.catalog.import_facts import FileFacts
from lora_pipeline.catalog.import_folder import BadFile, FolderContents, read_folder
from lora_pipeline.catalog.import_images import ASSETS_ROOT, InspectedImage, add_to, inspect_image
from lora_pipeline.catalog.import_metadata import (
    Metadata,
    find_metadata,
    read_metadata,
    read_side_cars,
)
from lora_pipeline.catalog.import_plan import (
    PlannedAsset,
    WordProblem,
    Words,
    plan_asset,
    unknown_words,
)
from lora_pipeline.catalog.new_words import add_words
from lora_pipeline.catalog.records import Asset, Project
from lora_pipeline.catalog.vocabulary import Vocabulary
from lora_pipeline.engine.images import map_images
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    ImportSourceError,
    RecordNotFoundError,
    SelectionEmptyError,
)
from lora_pipeline.foundation.events import Event
from lora_pipeline.foundation.ids import did_you_mean, require_tag
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace

_BATCH = 64
_SHOWN = 4
_SKIP = "mend them, or add --skip-bad to import the others"


@dataclass
class _Import:
    """An import on its way: what was found and what becomes of it."""

    contents: FolderContents
    metadata: Metadata
    planned: list[PlannedAsset] = field(default_factory=list)
    good: list[InspectedImage] = field(default_factory=list)
    there: list[dict[str, str]] = field(default_factory=list)
    duplicates: list[dict[str, str]] = field(default_factory=list)
    bad: list[BadFile] = field(default_factory=list)
    undescribed: list[str] = field(default_factory=list)
    assets: list[Asset] = field(default_factory=list)
    written: list[str] = field(default_factory=list)


def import_assets(
    workspace: Workspace,
    folder: str,
    *,
    asset_type: str,
    project: str | None = None,
    tags: tuple[str, ...] = (),
    style: str = "",
    scenario: str = "",
    source: str = "",
    author: str = "",
    license: str = "",  # noqa: A002 - the record's own word
    url: str = "",
    notes: str = "",
    rights: Literal["allowed", "denied", "unknown"] = "unknown",
    metadata: str = "",
    in_place: bool = False,
    add_tags: bool = False,
    skip_bad: bool = False,
) -> Result:
    """Import the images of a folder as assets that wait for review.

    Every image is decoded before anything is written. When one file is bad nothing is
    written, and the answer is no; with ``skip_bad`` the good ones are imported. Images whose
    bytes the project has already, and second copies in the folder, are left out.

    Args:
        workspace: Where the assets go.
        folder: The folder, or one image; relative to the workspace.
        asset_type: Asset type of images that are described with none.
        project: The project.
        tags: Tags of every image.
        style: Style of images that are described with none.
        scenario: Scenario of images that are described with none.
        source: Where images were taken from.
        author: Who made them.
        license: Licence they stand under.
        url: Where they were published.
        notes: Anything else about their origin.
        rights: Whether they may be trained on.
        metadata: CSV, JSON or JSONL file that describes them; ``assets.csv`` and the like in
            the folder are found without it.
        in_place: Refer to the images below ``assetsRoot`` instead of copying them.
        add_tags: Put tags, styles and scenarios that no catalog has into the project's.
        skip_bad: Import the good files when others are bad.

    Raises:
        FileMissingError: When there is no such folder or metadata file.
        ImportSourceError: When the metadata file cannot be used.
        RecordNotFoundError: When the project or the asset type does not exist.
        SelectionEmptyError: When the folder holds no image.
        ArgumentInvalidError: When a tag is not one, or images stay outside ``assetsRoot``.
    """
    scope = workspace.scope(project)
    vocabulary = read_vocabulary(workspace, scope)
    _require_asset_type(asset_type, vocabulary)
    place = _place_in_assets_root(workspace, Path(folder)) if in_place else None
    from_options = FileFacts(
        tags=tuple(require_tag(vocabulary.tag(tag)) for tag in tags),
        asset_type=asset_type,
        style=style,
        scenario=scenario,
        source=source,
        author=author,
        license=license,
        url=url,
        notes=notes,
        training_rights=rights,
    )
    found = _read_source(workspace, folder, metadata)
    _plan(found, workspace, scope, vocabulary, from_options)
    _inspect(found, workspace, scope)
    words = unknown_words((image.planned for image in found.good), vocabulary)
    if found.bad and not skip_bad:
        return _refused(found, workspace, scope)
    _write(found, workspace, scope, words if add_tags else Words(), place)
    return _done(found, workspace, scope, vocabulary, words, added=add_tags)


def _require_asset_type(asset_type: str, vocabulary: Vocabulary) -> None:
    if asset_type in vocabulary.asset_types:
        return
    near = did_you_mean(asset_type, vocabulary.asset_types)
    known = ", ".join(vocabulary.asset_types) or "none yet"
    raise RecordNotFoundError(
        f"no asset type {asset_type!r}",
        hint=f"did you mean {near}?" if near else f"there are: {known}",
    )


def _place_in_assets_root(workspace: Workspace, folder: Path) -> Callable[[Path], str]:
    setting = workspace.settings.require_text("assetsRoot")
    root = (workspace.root / Path(setting).expanduser()).resolve()
    if not (workspace.root / folder).resolve().is_relative_to(root):
        raise ArgumentInvalidError(
            f"{folder} is not below assetsRoot ({root})",
            hint="leave --in-place out, and the images are copied into the workspace",
        )
    return lambda path: f"{ASSETS_ROOT}{path.resolve().relative_to(root).as_posix()}"


def _read_source(workspace: Workspace, folder: str, metadata: str) -> _Import:
    source = workspace.root / Path(folder).expanduser()
    contents = read_folder(source)
    if not contents.images and not contents.bad:
        aside = f"; it holds {_some(contents.others)}" if contents.others else ""
        raise SelectionEmptyError(
            f"no image in {folder}{aside}", hint="PNG, JPEG and WebP files are imported"
        )
    path = workspace.root / metadata if metadata else find_metadata(contents.folder)
    found = _Import(contents, read_metadata(path) if path else Metadata())
    found.bad += contents.bad
    if source.is_dir():
        here = {image.name for image in contents.images} | {bad.file for bad in contents.bad}
        for name, described in found.metadata.images.items():
            if name not in here:
                reason = f"{described.where} names {name}, which is not in the folder"
                found.bad.append(BadFile(name, "file_missing", reason))
    return found


def _plan(
    found: _Import,
    workspace: Workspace,
    scope: Scope,
    vocabulary: Vocabulary,
    from_options: FileFacts,
) -> None:
    defaults = workspace.records.read(Project, scope, "project").record.defaults
    for image in found.contents.images:
        described = found.metadata.images.get(image.name)
        try:
            beside = read_side_cars(image.path)
            if found.metadata.images and described is None and beside == FileFacts():
                found.undescribed.append(image.name)
            facts = beside.over(from_options)
            facts = described.facts.over(facts) if described else facts
            found.planned.append(plan_asset(image, facts, vocabulary, defaults))
        except WordProblem as problem:
            reason = f"{image.name} {problem.reason}"
            found.bad.append(BadFile(image.name, problem.code, reason, problem.hint or ""))
        except ImportSourceError as error:
            found.bad.append(BadFile(image.name, error.code, error.message, error.hint or ""))


def _inspect(found: _Import, workspace: Workspace, scope: Scope) -> None:
    known = known_images(workspace, scope)
    first: dict[str, str] = {}
    for looked_at in map_images(
        workspace,
        lambda worker, planned: inspect_image(worker, planned, known),
        found.planned,
        topic="images",
    ):
        if isinstance(looked_at, BadFile):
            found.bad.append(looked_at)
            continue
        name, sha256 = looked_at.planned.name, looked_at.digest.sha256
        if sha256 in known:
            found.there.append({"file": name, "assetId": known[sha256]})
        elif first.setdefault(sha256, name) != name:
            found.duplicates.append({"file": name, "sameAs": first[sha256]})
        else:
            found.good.append(looked_at)
    found.bad.sort(key=lambda bad: bad.file)


def _write(
    found: _Import,
    workspace: Workspace,
    scope: Scope,
    words: Words,
    place: Callable[[Path], str] | None,
) -> None:
    changes = Changes(workspace)
    add_words(changes, scope, words)
    found.written += changes.apply()
    for start in range(0, len(found.good), _BATCH):
        changes = Changes(workspace)
        batch = found.good[start : start + _BATCH]
        found.assets += [add_to(changes, image, scope, place=place) for image in batch]
        found.written += changes.apply()
        done = start + len(batch)
        workspace.events(
            Event("progress", "records", step=done, total=len(found.good), unit="assets")
        )


def _refused(found: _Import, workspace: Workspace, scope: Scope) -> Result:
    total = len(found.contents.images) + len(found.contents.bad)
    files = "file" if len(found.bad) == 1 else "files"
    return Result(
        data=_data(found, scope),
        reasoning=f"{len(found.bad)} bad {files} kept the import out",
        suggestions=[_SKIP],
        dry_run=workspace.dry_run,
        refusal=Refusal(
            "import_incomplete",
            f"{len(found.bad)} of {total} {files if total == 1 else 'files'} cannot be imported; "
            "nothing was written",
            _SKIP,
        ),
    )


def _done(
    found: _Import,
    workspace: Workspace,
    scope: Scope,
    vocabulary: Vocabulary,
    words: Words,
    *,
    added: bool,
) -> Result:
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
        warnings=[
            *_word_warnings(words, vocabulary, added=added),
            *_image_warnings(found, vocabulary),
        ],
        suggestions=suggestions,
        written=found.written,
        dry_run=workspace.dry_run,
    )


def _data(found: _Import, scope: Scope) -> dict[str, Any]:
    return {
        "project": scope.project_id,
        "found": len(found.contents.images) + len(found.contents.bad),
        "imported": len(found.assets),
        "assets": [
            {
                "id": asset.id,
                "specId": asset.spec_id,
                "title": image.planned.title,
                "file": image.planned.name,
                "tags": list(image.planned.tags),
            }
            for asset, image in zip(found.assets, found.good, strict=False)
        ],
        "alreadyThere": found.there,
        "duplicates": found.duplicates,
        "refused": [bad.to_dict() for bad in found.bad],
        "notImages": found.contents.others,
        "metadata": found.metadata.name,
    }


def _words_data(words: Words) -> dict[str, list[str]]:
    return {
        "tags": list(words.tags),
        "styles": list(words.styles),
        "scenarios": list(words.scenarios),
    }


def _word_warnings(words: Words, vocabulary: Vocabulary, *, added: bool) -> list[str]:
    if not words or added:
        return []
    shown = [str(unknown) for unknown in vocabulary.unknown_tags(words.tags)]
    shown += [f"style {word}" for word in words.styles]
    shown += [f"scenario {word}" for word in words.scenarios]
    verb = "is" if len(shown) == 1 else "are"
    return [f"{_some(shown, most=8)} {verb} in no catalog; --add-tags puts new words there"]


def _image_warnings(found: _Import, vocabulary: Vocabulary) -> list[str]:
    notes: dict[str, list[str]] = defaultdict(list)
    for image in found.good:
        planned, facts = image.planned, image.facts
        assert facts is not None  # noqa: S101 - good images were decoded
        if vocabulary.asset_types[planned.asset_type].requires_alpha and not facts.alpha_used:
            notes[f"no transparent background, which {planned.asset_type} asks for"].append(
                planned.name
            )
        if facts.has_location:
            notes["EXIF data says where it was taken, and the copy keeps that"].append(planned.name)
        for note in facts.notes:
            notes[note].append(planned.name)
    warnings = [f"{_some(names)}: {note}" for note, names in notes.items()]
    warnings += [f"{_some(names)}: one picture in different bytes" for names in _twins(found.good)]
    if found.undescribed:
        warnings.append(f"{_some(found.undescribed)}: not described in {found.metadata.name}")
    if found.contents.others:
        warnings.append(f"{_some(found.contents.others)}: not imported, no image")
    warnings += [bad.reason for bad in found.bad]
    return warnings


def _twins(images: Iterable[InspectedImage]) -> list[list[str]]:
    by_pixels: dict[str, list[str]] = defaultdict(list)
    for image in images:
        assert image.facts is not None  # noqa: S101 - good images were decoded
        by_pixels[image.facts.pixel_sha256].append(image.planned.name)
    return [names for names in by_pixels.values() if len(names) > 1]


def _some(names: Sequence[str] | Iterable[str], *, most: int = _SHOWN) -> str:
    every = list(names)
    if len(every) <= most:
        return ", ".join(every)
    return f"{', '.join(every[: most - 1])} and {len(every) - most + 1} more"
