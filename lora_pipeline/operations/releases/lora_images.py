"""Add images to a LoRA: import them, approve them when a person says so, build its dataset."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any, Literal

import msgspec
from msgspec import UNSET, structs
from msgspec.structs import replace

from lora_pipeline.catalog.assets.filter import AssetEntry, AssetFilter
from lora_pipeline.catalog.assets.reading import read_assets
from lora_pipeline.catalog.catalogs import read_vocabulary
from lora_pipeline.catalog.imports.captions import CaptionKind
from lora_pipeline.catalog.records import Asset
from lora_pipeline.datasets.records import Manifest, Selection
from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.ids import require_slug
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.catalog.asset import approve_assets
from lora_pipeline.operations.catalog.asset_import import import_assets
from lora_pipeline.operations.datasets.dataset import build_dataset
from lora_pipeline.releases.image_volume import Volume, volume_of
from lora_pipeline.releases.lookup import ScopeName, find_lora
from lora_pipeline.releases.records import Lora
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

SHORTEST_CAPTION, LONGEST_CAPTION = 10, 500
_WAITING = ("draft", "review")
_WORD_FOR_WORD = "[{trigger}, ]{prompt}"


class _Added(msgspec.Struct, frozen=True):
    """What became of images that were added.

    Attributes:
        imported: What importing them came to.
        approved: Ids that were approved by this very command.
        waiting: Ids that wait for somebody's yes.
        entries: The assets that may be trained on.
        written: What was written.
    """

    imported: Result
    approved: tuple[str, ...]
    waiting: tuple[str, ...]
    entries: tuple[AssetEntry, ...]
    written: tuple[str, ...]


def add_images(
    workspace: Workspace,
    lora: str,
    folder: str,
    *,
    asset_type: str = "",
    dataset: str = "",
    tags: tuple[str, ...] = (),
    style: str = "",
    scenario: str = "",
    source: str = "",
    author: str = "",
    license: str = "",  # noqa: A002 - the record's own word
    url: str = "",
    rights: Literal["allowed", "denied", "unknown"] = "unknown",
    metadata: str = "",
    captions: CaptionKind = "auto",
    add_tags: bool = False,
    skip_bad: bool = False,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Add the images of a folder to a LoRA's dataset; they wait for a person's approval.

    They are imported, and those that are approved already join the dataset. Once a person has
    approved the others, the same command takes them in. Images that the project has are not
    imported twice.

    Args:
        workspace: Where the LoRA is.
        lora: Its id.
        folder: The folder, or one image; relative to the workspace.
        asset_type: One of the LoRA's asset types, where it has several.
        dataset: Id of the dataset; empty for the one of the LoRA's own name.
        tags: Tags of every image.
        style: Style of images that are described with none.
        scenario: Scenario of images that are described with none.
        source: Where images were taken from.
        author: Who made them.
        license: Licence they stand under.
        url: Where they were published.
        rights: Whether they may be trained on.
        metadata: File that describes them, such as ``captions.json``.
        captions: What captions become: see ``asset.import``.
        add_tags: Put words that no catalog has into the project's.
        skip_bad: Add the good files when others are bad.
        project: Project of the LoRA, and of the images; else the one in use.
        scope: ``baseline`` for the shared LoRA.

    Raises:
        RecordNotFoundError: When the LoRA does not exist.
        ArgumentInvalidError: When the asset type is none of the LoRA's.
        PipelineError: As ``asset.import`` and ``dataset.build``.
    """
    return _add(
        workspace, lora, folder, asset_type, dataset, project, scope, approve=False, note="",
        facts={
            "tags": tags, "style": style, "scenario": scenario, "source": source,
            "author": author, "license": license, "url": url, "rights": rights,
            "metadata": metadata, "captions": captions, "add_tags": add_tags,
            "skip_bad": skip_bad,
        },
    )  # fmt: skip


def add_approved_images(
    workspace: Workspace,
    lora: str,
    folder: str,
    *,
    asset_type: str = "",
    dataset: str = "",
    tags: tuple[str, ...] = (),
    style: str = "",
    scenario: str = "",
    source: str = "",
    author: str = "",
    license: str = "",  # noqa: A002 - the record's own word
    url: str = "",
    rights: Literal["allowed", "denied", "unknown"] = "unknown",
    metadata: str = "",
    captions: CaptionKind = "auto",
    add_tags: bool = False,
    skip_bad: bool = False,
    note: str = "",
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Add the images of a folder to a LoRA's dataset, and approve them: they were hand-picked.

    Args:
        workspace: Where the LoRA is.
        lora: Its id.
        folder: The folder, or one image; relative to the workspace.
        asset_type: One of the LoRA's asset types, where it has several.
        dataset: Id of the dataset; empty for the one of the LoRA's own name.
        tags: Tags of every image.
        style: Style of images that are described with none.
        scenario: Scenario of images that are described with none.
        source: Where images were taken from.
        author: Who made them.
        license: Licence they stand under.
        url: Where they were published.
        rights: Whether they may be trained on.
        metadata: File that describes them, such as ``captions.json``.
        captions: What captions become: see ``asset.import``.
        add_tags: Put words that no catalog has into the project's.
        skip_bad: Add the good files when others are bad.
        note: What the reviewer says about them.
        project: Project of the LoRA, and of the images; else the one in use.
        scope: ``baseline`` for the shared LoRA.

    Raises:
        RecordNotFoundError: When the LoRA does not exist.
        ArgumentInvalidError: When the asset type is none of the LoRA's.
        SettingsError: When nobody is known to act.
        PipelineError: As ``asset.import``, ``asset.approve`` and ``dataset.build``.
    """
    workspace.require_actor()
    return _add(
        workspace, lora, folder, asset_type, dataset, project, scope, approve=True, note=note,
        facts={
            "tags": tags, "style": style, "scenario": scenario, "source": source,
            "author": author, "license": license, "url": url, "rights": rights,
            "metadata": metadata, "captions": captions, "add_tags": add_tags,
            "skip_bad": skip_bad,
        },
    )  # fmt: skip


def _add(
    workspace: Workspace,
    lora: str,
    folder: str,
    asset_type: str,
    dataset: str,
    project: str | None,
    scope: ScopeName,
    *,
    approve: bool,
    note: str,
    facts: dict[str, Any],
) -> Result:
    found = find_lora(workspace, lora, project=project, scope=scope)
    target = require_slug(dataset, "dataset") if dataset else lora
    imported = import_assets(
        workspace, folder, asset_type=_asset_type(found.record, asset_type), project=project,
        **facts,
    )  # fmt: skip
    about = {"loraId": lora, "datasetId": target, "imported": dict(imported.data)}
    if imported.refusal is not None:
        return replace(imported, data=about)
    if workspace.dry_run:
        return replace(
            imported,
            data=about | _no_dataset(workspace, found, target),
            reasoning=f"Would add {imported.data['imported']} images to {lora}",
            suggestions=(),
        )
    added = _approved(workspace, imported, project, approve=approve, note=note)
    if isinstance(added, Result):
        return replace(added, data=about | dict(added.data), written=imported.written)
    return _built(workspace, found, target, added, about | {"folder": folder}, project)


def _asset_type(lora: Lora, wanted: str) -> str:
    kinds = ", ".join(lora.asset_types)
    if not wanted and len(lora.asset_types) == 1:
        return lora.asset_types[0]
    if not wanted:
        raise ArgumentInvalidError(
            f"{lora.id} is for {kinds}: which of them are these?", hint="--asset-type TYPE"
        )
    if wanted not in lora.asset_types:
        raise ArgumentInvalidError(
            f"{lora.id} is for {kinds}, not for {wanted}",
            hint=f"--asset-type {lora.asset_types[0]}, or lora create another LoRA",
        )
    return wanted


def _approved(
    workspace: Workspace, imported: Result, project: str | None, *, approve: bool, note: str
) -> _Added | Result:
    """Return the images with what was decided about them, or why they cannot be approved."""
    ids = _ids(imported)
    written = list(imported.written)
    before = _entries(workspace, project, ids)
    undecided = tuple(one.asset.id for one in before if one.version.status in _WAITING)
    if approve and undecided:
        approval = approve_assets(workspace, ids=undecided, project=project, note=note)
        if approval.refusal is not None:
            why = approval.refusal.message.removesuffix("; nothing was written")
            waits = f"{why}; the images were imported and wait"
            return replace(approval, refusal=replace(approval.refusal, message=waits))
        written += approval.written
    entries = _entries(workspace, project, ids)
    return _Added(
        imported=imported,
        approved=undecided if approve else (),
        waiting=tuple(one.asset.id for one in entries if one.version.status in _WAITING),
        entries=tuple(one for one in entries if one.version.status == "approved"),
        written=tuple(written),
    )


def _ids(imported: Result) -> list[str]:
    data = imported.data
    new = [one["id"] for one in data["assets"]]
    return list(dict.fromkeys([*new, *(one["assetId"] for one in data["alreadyThere"])]))


def _entries(workspace: Workspace, project: str | None, ids: Sequence[str]) -> list[AssetEntry]:
    scope = workspace.scope(project)
    there = sorted({*ids} & {*workspace.records.ids(Asset, scope)})
    if not there:
        return []
    chosen = read_assets(workspace, scope).meant(AssetFilter(ids=tuple(there)))
    return [entry for _, entry in chosen]


def _built(
    workspace: Workspace,
    lora: Loaded[Lora],
    target: str,
    added: _Added,
    about: dict[str, Any],
    project: str | None,
) -> Result:
    written, warnings = list(added.written), [*added.imported.warnings]
    if added.entries:
        built = _rebuild(workspace, lora, target, added.entries, project)
        written += built.written
        warnings += built.warnings
        missing = _left_out(workspace, lora, target, added.entries)
        if missing:
            warnings.append(
                f"{len(missing)} of them are not in {target}: its rule leaves them out "
                f"(lora dataset build {target} --explain)"
            )
    volume = _volume(workspace, lora, target)
    warnings += _doubts(added, volume)
    count = len(added.imported.data["assets"])
    return Result(
        data=about
        | {
            "added": count,
            "alreadyThere": len(added.imported.data["alreadyThere"]),
            "approved": list(added.approved),
            "waiting": list(added.waiting),
            "manifestHash": _hash(workspace, lora, target),
            **volume.to_dict(),
        },
        reasoning=f"Added {count} images to {lora.record_id}: {volume.words()}",
        warnings=warnings,
        suggestions=_next(lora.record_id, target, added, about["folder"]),
        written=list(dict.fromkeys(written)),
    )


def _rebuild(
    workspace: Workspace,
    lora: Loaded[Lora],
    target: str,
    entries: Sequence[AssetEntry],
    project: str | None,
) -> Result:
    place: ScopeName = "project" if lora.scope.project_id else "baseline"
    new = [one.asset.id for one in entries]
    if not workspace.records.exists(Manifest, lora.scope, target):
        described = all(one.spec is not None and one.spec.prompt.positive for one in entries)
        return build_dataset(
            workspace, target, project=project, scope=place, asset_ids=tuple(new),
            asset_types=lora.record.asset_types, trigger_word=lora.record.trigger_word or None,
            caption=None if described else "tags+spec+title",
            template=_WORD_FOR_WORD if described else None,
        )  # fmt: skip
    stored = workspace.records.read(Manifest, lora.scope, target).record.selection
    if stored.asset_ids is UNSET or not _lists_alone(stored):
        return build_dataset(workspace, target, project=project, scope=place)
    return build_dataset(
        workspace, target, project=project, scope=place,
        asset_ids=tuple(dict.fromkeys([*stored.asset_ids, *new])), asset_types=stored.asset_types,
    )  # fmt: skip


def _lists_alone(selection: Selection) -> bool:
    """Return whether a selection is a list of assets, and filters nothing besides."""
    bare = structs.replace(selection, asset_ids=UNSET, asset_types=(), projects=UNSET)
    return bare == Selection()


def _left_out(
    workspace: Workspace, lora: Loaded[Lora], target: str, entries: Sequence[AssetEntry]
) -> list[str]:
    manifest = workspace.records.read(Manifest, lora.scope, target).record
    there = {item.asset_id for item in manifest.items}
    return [one.asset.id for one in entries if one.asset.id not in there]


def _volume(workspace: Workspace, lora: Loaded[Lora], target: str) -> Volume:
    count = 0
    if workspace.records.exists(Manifest, lora.scope, target):
        count = len(workspace.records.read(Manifest, lora.scope, target).record.items)
    known = read_vocabulary(workspace, lora.scope).asset_types
    return volume_of(count, lora.record.asset_types, known)


def _no_dataset(workspace: Workspace, lora: Loaded[Lora], target: str) -> dict[str, Any]:
    return _volume(workspace, lora, target).to_dict()


def _hash(workspace: Workspace, lora: Loaded[Lora], target: str) -> str | None:
    if not workspace.records.exists(Manifest, lora.scope, target):
        return None
    return workspace.records.read(Manifest, lora.scope, target).record.content_hash


def _doubts(added: _Added, volume: Volume) -> list[str]:
    doubts = []
    texts = [one.spec.prompt.positive for one in added.entries if one.spec is not None]
    odd = sum(bool(one) and not SHORTEST_CAPTION <= len(one) <= LONGEST_CAPTION for one in texts)
    if odd:
        doubts.append(
            f"{odd} descriptions have fewer than {SHORTEST_CAPTION} or more than "
            f"{LONGEST_CAPTION} characters: say what is in the image, and nothing else"
        )
    if added.waiting:
        doubts.append(f"{len(added.waiting)} wait for approval and are not trained on before")
    if volume.missing:
        doubts.append(f"{volume.missing} more images would make what is recommended")
    return doubts


def _next(lora: str, target: str, added: _Added, folder: str) -> list[str]:
    if added.waiting:
        ids = " ".join(added.waiting) if len(added.waiting) <= 3 else "--status review"
        return [f"lora asset approve {ids}", f"lora add-images {lora} {shlex.quote(folder)}"]
    return [f"lora dataset check {target}", f"lora train --lora {lora} --plan"]
