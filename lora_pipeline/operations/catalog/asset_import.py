"""Import art: a folder of images becomes specs and assets that wait for review."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from lora_pipeline.catalog.catalogs import read_vocabulary
from lora_pipeline.catalog.image_index import ImageIndex, read_image_index
from lora_pipeline.catalog.imports.cache import FactsCache
from lora_pipeline.catalog.imports.captions import CaptionKind, WordReader, with_caption
from lora_pipeline.catalog.imports.columns import read_mapping
from lora_pipeline.catalog.imports.facts import FileFacts
from lora_pipeline.catalog.imports.folder import BadFile
from lora_pipeline.catalog.imports.images import (
    ASSETS_ROOT,
    InspectedImage,
    NewAsset,
    changed_file,
    inspect_image,
    new_asset,
)
from lora_pipeline.catalog.imports.layout import LayoutName, folder_words, read_groups
from lora_pipeline.catalog.imports.leftovers import Leftovers, read_leftovers, remove_temporaries
from lora_pipeline.catalog.imports.plan import WordProblem, Words, plan_asset, unknown_words
from lora_pipeline.catalog.imports.source import read_source
from lora_pipeline.catalog.imports.text import require_encoding
from lora_pipeline.catalog.new_words import add_words
from lora_pipeline.catalog.records import Project
from lora_pipeline.catalog.vocabulary import Vocabulary
from lora_pipeline.engine.images import image_limits, map_images
from lora_pipeline.foundation.digests import sha256_of_file
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    DigestMismatchError,
    FileMissingError,
    ImportSourceError,
    RecordNotFoundError,
    SelectionEmptyError,
    SettingsError,
    UnsafePathError,
)
from lora_pipeline.foundation.events import Event
from lora_pipeline.foundation.files import unsafe_reason
from lora_pipeline.foundation.ids import did_you_mean, require_tag
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.catalog.asset_import_outcome import (
    Import,
    ImportedAsset,
    done,
    refused,
    some,
)
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace

_BATCH = 256
_MASK = "a mask, which says where the loss of an image counts, and no art"
Place = Callable[[Path], str]


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
    columns: tuple[str, ...] = (),
    encoding: str = "",
    layout: LayoutName = "plain",
    folder_tags: tuple[str, ...] = (),
    captions: CaptionKind = "auto",
    tag_group: str = "",
    in_place: bool = False,
    add_tags: bool = False,
    fix_extension: bool = False,
    skip_bad: bool = False,
) -> Result:
    """Import the images of a folder as assets that wait for review.

    Every image is decoded before anything is written. When one file is bad nothing is
    written, and the answer is no; with ``skip_bad`` the good ones are imported. Images whose
    bytes the project has already, and second copies in the folder, are left out. An import
    that was interrupted is completed by the same command.

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
        columns: What columns of the metadata are called, each ``title=Name``.
        encoding: Encoding of text files that are not UTF-8 and have no mark.
        layout: ``kohya``: images stand in folders ``10_words``; nothing else is imported.
        folder_tags: Tag groups that the folder levels stand for; ``-`` passes one over.
        captions: What captions become: a description (``text``), tags (``tags`` by commas,
            ``booru`` by spaces), either (``auto``) or ``none``.
        tag_group: Group of words that are no tag of a catalog.
        in_place: Refer to the images below ``assetsRoot`` instead of copying them.
        add_tags: Put tags, styles and scenarios that no catalog has into the project's.
        fix_extension: Import images whose names promise another format, under the right one.
        skip_bad: Import the good files when others are bad.

    Raises:
        FileMissingError: When there is no such folder or metadata file.
        ImportSourceError: When the metadata file cannot be used.
        RecordNotFoundError: When the project or the asset type does not exist.
        SelectionEmptyError: When the folder holds no image.
        ArgumentInvalidError: When a tag is not one, or images stay outside ``assetsRoot``.
        SettingsError: When images are to stay in place and ``assetsRoot`` is not there.
    """
    scope = workspace.scope(project)
    vocabulary = read_vocabulary(workspace, scope)
    _require_asset_type(asset_type, vocabulary)
    if in_place and fix_extension:
        raise ArgumentInvalidError(
            "a file that stays in place keeps its name",
            hint="leave --fix-extension out and rename the files, or leave --in-place out",
        )
    place = _place_in_assets_root(workspace, Path(folder)) if in_place else None
    said = FileFacts(
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
    if tag_group:
        require_tag(f"{tag_group}:x")
    path = workspace.root / Path(folder).expanduser()
    found = Import(
        source=read_source(
            path,
            metadata=workspace.root / metadata if metadata else None,
            columns=read_mapping(columns),
            encoding=require_encoding(encoding),
        ),
        words=WordReader(vocabulary, tag_group),
        layout=layout,
        whole_folder=path.is_dir(),
    )
    _require_images(found, folder)
    _plan(found, workspace, scope, said, groups=read_groups(folder_tags), captions=captions)
    index = read_image_index(workspace, scope)
    _inspect(found, workspace, index, any_extension=fix_extension)
    words = unknown_words((image.planned for image in found.good), vocabulary)
    if found.bad and not skip_bad:
        return refused(found, workspace, scope)
    leftovers = _take_up(workspace, scope, index)
    _write(found, workspace, scope, words if add_tags else Words(), leftovers, place)
    return done(found, workspace, scope, words, added=add_tags, skip_bad=skip_bad)


def _require_asset_type(asset_type: str, vocabulary: Vocabulary) -> None:
    if asset_type in vocabulary.asset_types:
        return
    near = did_you_mean(asset_type, vocabulary.asset_types)
    known = ", ".join(vocabulary.asset_types) or "none yet"
    raise RecordNotFoundError(
        f"no asset type {asset_type!r}",
        hint=f"did you mean {near}?" if near else f"there are: {known}",
    )


def _place_in_assets_root(workspace: Workspace, folder: Path) -> Place:
    setting = workspace.settings.text("assetsRoot")
    copies = "leave --in-place out, and the images are copied into the workspace"
    if not setting:
        raise SettingsError(
            "setting assetsRoot is not set on this machine, so no image can stay in place",
            hint="set assetsRoot in config/local.json, or LORA_ASSETS_ROOT; or " + copies,
        )
    root = (workspace.root / Path(setting).expanduser()).resolve()
    if not root.is_dir():
        raise SettingsError(
            f"assetsRoot ({root}) is not there",
            hint="if it moved, set assetsRoot in config/local.json to where it is now",
        )
    if not (workspace.root / folder.expanduser()).resolve().is_relative_to(root):
        raise ArgumentInvalidError(f"{folder} is not below assetsRoot ({root})", hint=copies)

    def place(path: Path) -> str:
        relative = path.resolve().relative_to(root).as_posix()
        reason = unsafe_reason(relative)
        if reason:
            raise UnsafePathError(f"{relative} cannot stay in place: it {reason}", hint=copies)
        return f"{ASSETS_ROOT}{relative}"

    return place


def _require_images(found: Import, folder: str) -> None:
    contents = found.source.contents
    if not contents.images and not contents.bad:
        aside = f"; it holds {some(contents.others)}" if contents.others else ""
        raise SelectionEmptyError(
            f"no image in {folder}{aside}", hint="PNG, JPEG and WebP files are imported"
        )
    found.bad += contents.bad
    if not found.whole_folder:
        return
    here = {image.name for image in contents.images} | {bad.file for bad in contents.bad}
    for name, described in found.source.metadata.images.items():
        if name not in here:
            reason = f"{described.where} names {name}, which is not in the folder"
            found.bad.append(BadFile(name, "file_missing", reason))


def _plan(
    found: Import,
    workspace: Workspace,
    scope: Scope,
    said: FileFacts,
    *,
    groups: Sequence[str],
    captions: CaptionKind,
) -> None:
    defaults = workspace.records.read(Project, scope, "project").record.defaults
    source, vocabulary = found.source, found.words.vocabulary
    imported = source.contents.folder.name
    found.aside += [{"file": name, "reason": _MASK} for name in source.contents.masks]
    for image in source.contents.images:
        folders = folder_words(image, found.layout, groups, imported=imported)
        if folders.aside:
            found.aside.append({"file": image.name, "reason": folders.aside})
            continue
        try:
            facts = source.facts(image, captions)
            if source.metadata.images and facts == FileFacts():
                found.undescribed.append(image.name)
            facts = with_caption(facts, captions, found.words, stands_in=folders.words)
            facts = facts.over(said)
            found.planned.append(plan_asset(image, facts, vocabulary, defaults, folders))
        except WordProblem as problem:
            reason = f"{image.name} {problem.reason}"
            found.bad.append(BadFile(image.name, problem.code, reason, problem.hint or ""))
        except ImportSourceError as error:
            found.bad.append(BadFile(image.name, error.code, error.message, error.hint or ""))
    if not found.planned and not found.bad:
        first = found.aside[0]
        raise SelectionEmptyError(
            f"no image is left: {first['file']}: {first['reason']}",
            hint="without --layout kohya every image of the folder is imported",
        )


def _inspect(
    found: Import, workspace: Workspace, index: ImageIndex, *, any_extension: bool
) -> None:
    cache = FactsCache(workspace, image_limits(workspace.settings))
    first: dict[str, str] = {}
    fresh: list[InspectedImage] = []
    for looked_at in map_images(
        workspace,
        lambda worker, planned: inspect_image(
            worker, planned, index.assets, cache, any_extension=any_extension
        ),
        found.planned,
        topic="images",
    ):
        if isinstance(looked_at, BadFile):
            found.bad.append(looked_at)
            continue
        name, sha256 = looked_at.planned.name, looked_at.digest.sha256
        if looked_at.decoded:
            fresh.append(looked_at)
        if sha256 in index.assets:
            found.there.append({"file": name, "assetId": index.assets[sha256]})
        elif first.setdefault(sha256, name) != name:
            found.duplicates.append({"file": name, "sameAs": first[sha256]})
        else:
            found.note_same_picture(looked_at, index.pixels)
            found.good.append(looked_at)
        if len(fresh) >= _BATCH:
            _keep(cache, fresh)
    _keep(cache, fresh)
    found.bad.sort(key=lambda bad: bad.file)


def _keep(cache: FactsCache, fresh: list[InspectedImage]) -> None:
    cache.add((one.digest.sha256, one.known_facts) for one in fresh)
    fresh.clear()


def _take_up(workspace: Workspace, scope: Scope, index: ImageIndex) -> Leftovers:
    leftovers = read_leftovers(workspace, scope, index)
    if not workspace.dry_run:
        remove_temporaries(workspace, leftovers)
    return leftovers


def _write(
    found: Import,
    workspace: Workspace,
    scope: Scope,
    words: Words,
    leftovers: Leftovers,
    place: Place | None,
) -> None:
    changes = Changes(workspace)
    add_words(changes, scope, words)
    found.written += changes.apply()
    for start in range(0, len(found.good), _BATCH):
        batch = [
            new_asset(workspace, image, scope, leftovers, place=place)
            for image in found.good[start : start + _BATCH]
        ]
        try:
            found.written += _write_batch(workspace, scope, batch)
        except (DigestMismatchError, FileMissingError):
            gone = [one for one in batch if _changed(found, one)]
            batch = [one for one in batch if one not in gone]
            found.written += _write_batch(workspace, scope, batch)
            for one in gone:
                one.forget()
        found.assets += [ImportedAsset(one.asset.id, one.asset.spec_id, one.image) for one in batch]
        step = min(start + _BATCH, len(found.good))
        workspace.events(
            Event("progress", "records", step=step, total=len(found.good), unit="assets")
        )


def _write_batch(workspace: Workspace, scope: Scope, batch: Sequence[NewAsset]) -> list[str]:
    changes = Changes(workspace)
    for one in batch:
        one.add_to(changes, scope)
    return changes.apply()


def _changed(found: Import, one: NewAsset) -> bool:
    planned, digest = one.image.planned, one.image.digest
    try:
        changed = sha256_of_file(planned.path) != digest.sha256
    except FileMissingError:
        changed = True
    if changed:
        found.late.append(changed_file(planned.name))
    return changed
