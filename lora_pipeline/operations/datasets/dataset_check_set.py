"""Which images a check is about, and what they are for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import msgspec
from msgspec.structs import replace

from lora_pipeline.catalog.assets.filter import AssetEntry, AssetFilter
from lora_pipeline.catalog.assets.reading import read_assets
from lora_pipeline.catalog.catalogs import read_vocabulary
from lora_pipeline.catalog.records import Checkpoint, ImageCounts
from lora_pipeline.catalog.vocabulary import Vocabulary
from lora_pipeline.datasets.checks.findings import Picture
from lora_pipeline.datasets.checks.thresholds import Profile
from lora_pipeline.datasets.filters import ISSUE_PREFIX
from lora_pipeline.datasets.image_files import ImageFiles, image_files
from lora_pipeline.datasets.records import Manifest, Normalization
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    FileMissingError,
    SelectionEmptyError,
    SettingsError,
    UnsafePathError,
)
from lora_pipeline.operations.datasets.caption_target import checkpoint_of
from lora_pipeline.operations.datasets.dataset_views import find_dataset
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace

ScopeName = Literal["project", "baseline"]
_NAME = 40  # characters of a caption that stands in for a name


class CheckSet(msgspec.Struct, frozen=True):
    """Images to check, and what they are for.

    Attributes:
        name: What people call the set.
        dataset_id: The manifest, or empty when there is none.
        scope: Where it stands.
        pictures: The images.
        trained_on: How many of them training will see.
        profile: What they are for.
    """

    name: str
    dataset_id: str
    scope: Scope
    pictures: tuple[Picture, ...]
    trained_on: int
    profile: Profile


def chosen_set(
    workspace: Workspace,
    dataset_id: str | None,
    project: str | None,
    scope: ScopeName,
    checkpoint: str | None,
    wanted: AssetFilter,
) -> CheckSet:
    """Return the images of a manifest, or those of the assets that are meant.

    Raises:
        RecordNotFoundError: When there is no such manifest, checkpoint or project.
        SelectionEmptyError: When no asset is left to check.
        ArgumentInvalidError: When assets are chosen although a manifest is named.
    """
    if dataset_id is None:
        return _of_assets(workspace, workspace.scope(project), checkpoint, wanted)
    if wanted:
        raise ArgumentInvalidError(
            "a manifest says itself which images are in it",
            hint="leave the manifest out to check assets by tag, type or status",
        )
    loaded = find_dataset(workspace, dataset_id, project=project, scope=scope)
    return _of_manifest(workspace, loaded.scope, loaded.record, checkpoint)


def _of_manifest(
    workspace: Workspace, scope: Scope, manifest: Manifest, checkpoint: str | None
) -> CheckSet:
    named = checkpoint or checkpoint_of(manifest)
    profile = _profile(
        workspace, scope, named, manifest.selection.asset_types, said=bool(checkpoint)
    )
    pictures = tuple(
        Picture(
            item.asset_id, _short(item.caption), item.path, item.sha256, item.tags, item.caption
        )
        for item in manifest.items
    )
    if any(len(one.sha256) != 64 for one in pictures):
        raise ArgumentInvalidError(
            f"{manifest.id} states no SHA-256 of its images",
            hint=f"lora dataset build {manifest.id} makes the manifest anew",
        )
    return CheckSet(
        name=manifest.id,
        dataset_id=manifest.id,
        scope=scope,
        pictures=pictures,
        trained_on=sum(1 for item in manifest.items if item.split == "train"),
        profile=replace(
            profile,
            background=manifest.normalization.background,
            trigger_word=manifest.caption_rule.trigger_word,
        ),
    )


def _of_assets(
    workspace: Workspace, scope: Scope, checkpoint: str | None, wanted: AssetFilter
) -> CheckSet:
    if not wanted.statuses:
        wanted = replace(wanted, statuses=("draft", "review", "approved"))
    entries = read_assets(workspace, scope).choose(wanted)
    types = {entry.spec.asset_type for entry in entries if entry.spec}
    pictures = tuple(_pictures(workspace, entries))
    if not pictures:
        raise SelectionEmptyError("no image of these assets is here", hint="lora validate")
    profile = _profile(workspace, scope, checkpoint or "", sorted(types), said=bool(checkpoint))
    return CheckSet(
        name=str(scope),
        dataset_id="",
        scope=scope,
        pictures=pictures,
        trained_on=len(pictures),
        # How many are enough is asked of a manifest, not of all that there is.
        profile=replace(profile, background=Normalization().background, counts={}),
    )


def _pictures(workspace: Workspace, entries: Sequence[AssetEntry]) -> Iterator[Picture]:
    finder = image_files(workspace)
    for entry in entries:
        variant = entry.variant
        path = variant.alpha_path or variant.original_path
        identity = variant.alpha if variant.alpha_path else variant.original
        sha256 = identity.sha256 if identity else _digest_of(finder, path)
        if sha256:
            yield Picture(entry.asset.id, entry.title, path, sha256, entry.tags)


def _digest_of(finder: ImageFiles, path: str) -> str:
    # Another tool wrote the record: the file itself says what it is.
    try:
        return finder.prove(path).sha256
    except (FileMissingError, SettingsError, UnsafePathError):
        return ""


def _profile(
    workspace: Workspace, scope: Scope, checkpoint: str, types: Sequence[str], *, said: bool
) -> Profile:
    visible = workspace.visible(scope)
    known = {one for place in visible for one in workspace.records.ids(Checkpoint, place)}
    if not checkpoint and len(known) == 1:
        checkpoint = next(iter(known))
    native = 0
    if checkpoint in known or said:
        record = workspace.records.find(Checkpoint, visible, checkpoint).record
        native = record.native_resolution
    vocabulary = read_vocabulary(workspace, scope)
    return Profile(
        checkpoint_id=checkpoint if native else "",
        native=native,
        counts=_counts(vocabulary, types),
        groups=frozenset(vocabulary.groups) - {ISSUE_PREFIX.rstrip(":")},
    )


def _counts(vocabulary: Vocabulary, types: Sequence[str]) -> dict[str, ImageCounts]:
    wanted = {one: vocabulary.asset_types.get(one) for one in types}
    return {
        one: found.image_counts for one, found in wanted.items() if found and found.image_counts
    }


def _short(caption: str) -> str:
    return caption if len(caption) <= _NAME else caption[: _NAME - 1].rstrip(", ") + "…"
