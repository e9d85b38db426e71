"""Export a manifest as a folder that another tool reads."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from lora_pipeline.catalog.records import Asset, Project, Spec
from lora_pipeline.catalog.rights.training import may_train, taken_back
from lora_pipeline.datasets.export.layouts import (
    KNOWS_MASKS,
    Described,
    ExportOptions,
    ExportPlan,
    LayoutName,
    SplitChoice,
    chosen_items,
    plan_export,
)
from lora_pipeline.datasets.export.writing import Export, Exported, Obstacle
from lora_pipeline.datasets.manifest import hash_of_manifest
from lora_pipeline.datasets.records import Item, Manifest
from lora_pipeline.datasets.staging.files import has_masks
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    DigestMismatchError,
    RecordError,
    SelectionEmptyError,
)
from lora_pipeline.foundation.files import disk_refusals
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.datasets.dataset_views import find_dataset
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import Loaded, R
from lora_pipeline.workspace.root import Workspace

ScopeName = Literal["project", "baseline"]
Images = Literal["normalised", "originals"]


def export_dataset(
    workspace: Workspace,
    dataset_id: str,
    *,
    layout: LayoutName,
    to: str,
    project: str | None = None,
    scope: ScopeName = "project",
    images: Images | None = None,
    split: SplitChoice = "train",
    repeats: int = 1,
    words: str = "",
    link: bool = False,
) -> Result:
    """Write the images and captions of a manifest as a folder that another tool reads.

    Every image is proven by its digest. Nothing is written over but what an earlier export of
    the same manifest wrote and nobody changed. Exporting again writes what is new, removes
    what is in the manifest no more, and otherwise nothing.

    Args:
        workspace: The workspace.
        dataset_id: The manifest.
        layout: ``kohya``, ``imagefolder`` (Hugging Face), ``taggui``, ``ai-toolkit``,
            ``onetrainer``, ``csv``.
        to: The folder; relative to the workspace.
        project: The project.
        scope: ``baseline`` for a manifest that all projects share.
        images: ``normalised`` as training sees them, or ``originals``; ``csv`` has originals
            when nothing is said, the others normalised ones.
        split: ``train``, ``held-out`` or ``all``; held-out images stand apart.
        repeats: For kohya: times that an image is shown, times its own repeats.
        words: For kohya: instance and class words; the trigger word when left out.
        link: Hard links to the workspace's images instead of copies, where the disk allows.

    Raises:
        RecordNotFoundError: When there is no such manifest.
        ArgumentInvalidError: When the folder is part of the data, or options do not fit.
        SelectionEmptyError: When no image is on that side of the split.
        DigestMismatchError: When the manifest or an image is not what its digest says.
        FileMissingError: When an image is not there.
    """
    loaded = find_dataset(workspace, dataset_id, project=project, scope=scope)
    manifest = loaded.record
    folder = export_folder(workspace, to)
    originals = images == "originals" or (images is None and layout == "csv")
    _require_options(layout, repeats, words, link=link, originals=originals)
    require_true(manifest)
    items = chosen_items(manifest.items, split)
    if not items:
        raise SelectionEmptyError(
            f"dataset {manifest.id} has no image on the side {split}",
            hint="--split all exports both sides",
        )
    described = list(described_items(workspace, loaded, items))
    barred = barred_images(workspace, described)
    if barred:
        return refused_export(manifest, folder, barred[0], dry_run=workspace.dry_run)
    own_words = words or manifest.caption_rule.trigger_word or manifest.id
    masks = has_masks(manifest) and not originals and layout in KNOWS_MASKS
    options = ExportOptions(layout, originals, split, repeats, own_words, masks)
    plan = plan_export(described, options)
    export = Export(workspace, manifest, plan, folder, originals=originals, link=link)
    obstacle = export.obstacle()
    if obstacle is not None:
        return refused_export(manifest, folder, obstacle, dry_run=workspace.dry_run)
    made = not export.up_to_date()
    exported = Exported((), (), 0)
    if made and not workspace.dry_run:
        with disk_refusals():
            exported = export.write()
    return _result(workspace, manifest, plan, folder, exported, options, made=made)


def export_folder(workspace: Workspace, to: str) -> Path:
    """Return the folder that an argument names.

    Raises:
        ArgumentInvalidError: When records are in it, or it is in them.
    """
    folder = Path(os.path.normpath(workspace.root / Path(to).expanduser()))
    resolved, data = folder.resolve(), workspace.data_root.resolve()
    if not to or resolved.is_relative_to(data) or data.is_relative_to(resolved):
        raise ArgumentInvalidError(
            f"{to or 'the folder'} is no place for an export: the records are there",
            hint="--to takes a folder of its own, outside the data",
        )
    return folder


def _require_options(layout: str, repeats: int, words: str, *, link: bool, originals: bool) -> None:
    if repeats < 1:
        raise ArgumentInvalidError(f"repeats must be at least 1, got {repeats}")
    if layout != "kohya" and (repeats > 1 or words):
        raise ArgumentInvalidError(
            f"{layout} folders cannot say repeats and class words",
            hint="--format kohya names its folders by them",
        )
    if link and not originals:
        raise ArgumentInvalidError(
            "only originals can be linked; normalised images are made anew", hint="--originals"
        )


def require_true(manifest: Manifest) -> None:
    """Check that a manifest is what its content hash says.

    Raises:
        DigestMismatchError: When it was changed by hand.
    """
    expected = hash_of_manifest(manifest)
    if manifest.content_hash != expected:
        raise DigestMismatchError(
            f"dataset {manifest.id} was changed by hand: its content is {expected[:19]}…, "
            f"it states {manifest.content_hash[:19] or 'no contentHash'}…",
            hint=f"lora dataset build {manifest.id}",
        )


def described_items(
    workspace: Workspace, loaded: Loaded[Manifest], items: Sequence[Item]
) -> Iterator[Described]:
    """Yield items with the records that say more about them."""
    known = workspace.records.project_ids()
    scopes = [loaded.scope] if loaded.scope.project_id else [Scope(one) for one in known]
    assets = _records(workspace, Asset, scopes, {item.asset_id for item in items})
    spec_ids = {asset.spec_id for asset in assets.values()}
    specs = _records(workspace, Spec, scopes, spec_ids)
    for item in items:
        asset = assets.get(item.asset_id)
        yield Described(item, asset, specs.get(asset.spec_id) if asset else None)


def _records(
    workspace: Workspace, kind: type[R], scopes: Sequence[Scope], ids: set[str]
) -> dict[str, R]:
    """Return records by id; those that are not there, or not valid, are left out."""
    found: dict[str, R] = {}
    for lookup in [workspace.records.lookup(kind, scope) for scope in scopes]:
        for record_id in ids - found.keys():
            # The manifest says all that training sees; records only say more.
            with contextlib.suppress(RecordError):
                record = lookup(record_id)
                if record is not None:
                    found[record_id] = record
    return found


def barred_images(workspace: Workspace, described: Sequence[Described]) -> list[Obstacle]:
    """Return why images may not be handed on: none, or one that stands for all."""
    projects: dict[str, Project] = {}
    barred: list[tuple[str, str]] = []
    for one in described:
        if one.asset is None:
            continue
        project_id = one.asset.project_id
        if project_id not in projects:
            loaded = workspace.records.read(Project, Scope(project_id), "project")
            projects[project_id] = loaded.record
        objection = taken_back(one.asset, workspace.now()) or may_train(
            one.asset, projects[project_id].rights
        )
        if objection is not None:
            title = one.spec.title if one.spec else one.asset.id
            barred.append((title, objection.text))
    if not barred:
        return []
    title, reason = barred[0]
    more = f" (and {len(barred) - 1} more)" if len(barred) > 1 else ""
    return [
        Obstacle(
            "rights_forbid",
            f"{title} may not be handed on: {reason}{more}",
            "lora dataset build ID leaves such images out; export what it writes",
        )
    ]


def refused_export(
    manifest: Manifest, folder: Path, obstacle: Obstacle, *, dry_run: bool
) -> Result:
    """Return the answer to an export that must not be."""
    return Result(
        data={
            "datasetId": manifest.id,
            "folder": str(folder),
            "files": list(obstacle.files),
        },
        reasoning=f"Nothing was exported: {obstacle.message}",
        suggestions=[obstacle.hint],
        dry_run=dry_run,
        refusal=Refusal(obstacle.code, f"{obstacle.message}; nothing was written", obstacle.hint),
    )


def _result(
    workspace: Workspace,
    manifest: Manifest,
    plan: ExportPlan,
    folder: Path,
    exported: Exported,
    options: ExportOptions,
    *,
    made: bool,
) -> Result:
    held_out = sum(image.item.split == "held_out" for image in plan.images)
    count = len(plan.images)
    images = f"{count} image{'' if count == 1 else 's'}"
    if not made:
        reasoning = f"{folder} holds {images} of {manifest.id} already; nothing changed"
    elif workspace.dry_run:
        reasoning = f"Would export {images} of {manifest.id} for {plan.layout}"
    else:
        reasoning = f"Exported {images} of {manifest.id} for {plan.layout}"
    return Result(
        data={
            "datasetId": manifest.id,
            "contentHash": manifest.content_hash,
            "layout": plan.layout,
            "folder": str(folder),
            "images": count,
            "heldOut": held_out,
            "pictures": "originals" if options.originals else "normalised",
            "background": "" if options.originals else manifest.normalization.background,
            "masks": count if options.masks else 0,
            "made": made,
            "writtenFiles": list(exported.written),
            "removedFiles": list(exported.removed),
            "kept": exported.kept,
        },
        reasoning=reasoning,
        warnings=list(_warnings(plan, manifest, options)),
        dry_run=workspace.dry_run,
    )


def _warnings(plan: ExportPlan, manifest: Manifest, options: ExportOptions) -> Iterator[str]:
    if has_masks(manifest) and not options.masks:
        yield (
            "the images are originals, with their transparency: masks come with --normalised"
            if options.originals
            else f"{plan.layout} folders know no masks: what is transparent will be learnt as "
            f"{manifest.normalization.background} (--format onetrainer has masks)"
        )
    repeated = sum(image.item.repeats > 1 for image in plan.images)
    if repeated and plan.layout != "kohya":
        images = "1 image is" if repeated == 1 else f"{repeated} images are"
        yield f"{images} repeated in the manifest, which {plan.layout} folders cannot say"
