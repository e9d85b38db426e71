"""The files of a staging: linked where an image needs no change, brought to one form otherwise."""

from __future__ import annotations

import hashlib
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from lora_pipeline.datasets.image_files import image_files
from lora_pipeline.datasets.proving import index_path, prove_each, require_image
from lora_pipeline.datasets.records import Item, Manifest
from lora_pipeline.datasets.staging.marker import MASKS, StagedImage, caption_name, mask_name
from lora_pipeline.datasets.staging.pool import NAME_DIGITS, Kept, StagingPool
from lora_pipeline.engine.many_files import place_each
from lora_pipeline.foundation.errors import (
    CaptionInvalidError,
    PipelineError,
)
from lora_pipeline.foundation.events import Event
from lora_pipeline.foundation.placing import Placement
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.stat_index import StatIndex, stamp_of

_TELL_EVERY = 100  # images; a bar needs no more


class _Ready(msgspec.Struct, frozen=True):
    """A file that can be linked into the staging."""

    name: str
    item: Item
    file: str
    sha256: str
    mask: Kept | None = None


def has_masks(manifest: Manifest) -> bool:
    """Return whether every image of a manifest is staged with a mask."""
    return manifest.normalization.alpha == "mask"


def named_items(manifest: Manifest) -> list[tuple[str, Item]]:
    """Return the images that are trained on, each with its name in the staging, sorted by it."""
    trained_on = sorted(
        (item for item in manifest.items if item.split == "train"),
        key=lambda item: (item.sha256, item.caption),
    )
    seen: Counter[str] = Counter()
    named = []
    for item in trained_on:
        stem = item.sha256[:NAME_DIGITS]
        seen[stem] += 1
        # Only manifests of other tools hold an image twice, with two captions.
        named.append((f"{stem}-{seen[stem]}.png" if seen[stem] > 1 else f"{stem}.png", item))
    return named


def fill_staging(workspace: Workspace, manifest: Manifest, folder: Path) -> tuple[StagedImage, ...]:
    """Put every image of the training split, and its caption, into an empty folder.

    Raises:
        DigestMismatchError: When an image is not what the manifest says.
        FileMissingError: When an image is not there.
        ImageRefusedError: When an image cannot be read safely.
        CaptionInvalidError: When a caption is not one line.
    """
    index = StatIndex.load(index_path(workspace))
    if has_masks(manifest):
        (folder / MASKS).mkdir()
    try:
        ready = _ready(workspace, manifest, index)
        staged = _placed(workspace, ready, folder, len(manifest.items))
    except PipelineError as error:
        if error.hint is None:
            error.hint = f"lora dataset verify {manifest.id}"
        raise
    _restamp(index, [one.file for one, _ in staged])
    index.save()
    return tuple(sorted((image for _, image in staged), key=lambda image: image.name))


def _ready(workspace: Workspace, manifest: Manifest, index: StatIndex) -> Iterator[_Ready]:
    """Yield every image as a file that can be linked."""
    finder = image_files(workspace)
    pool = StagingPool(workspace, finder, manifest.normalization)
    masked = has_masks(manifest)
    others: list[tuple[str, Item]] = []
    work = (((name, item), item.path) for name, item in named_items(manifest))
    for (name, item), found in prove_each(finder, work, index):
        proof = require_image(item, found)
        _require_one_line(item)
        if proof.plain_png:
            # sd-scripts stops at an image without a mask, so an opaque one has a white one.
            mask = pool.white(proof.file) if masked else None
            yield _Ready(name, item, proof.file, item.sha256, mask)
        else:
            others.append((name, item))
    for (name, item), image, mask in pool.normalised(others):
        yield _Ready(name, item, image.file, image.sha256, mask)


def _require_one_line(item: Item) -> None:
    # The schema forbids both; a trainer that meets them would train on something else.
    if not item.caption.strip() or len(item.caption.splitlines()) != 1:
        raise CaptionInvalidError(f"the caption of asset {item.asset_id} must be one line")


def _placed(
    workspace: Workspace, ready: Iterable[_Ready], folder: Path, total: int
) -> list[tuple[_Ready, StagedImage]]:
    place = str(folder)
    work = (
        (
            one,
            Placement(
                one.file,
                f"{place}/{one.name}",
                f"{place}/{caption_name(one.name)}",
                one.item.caption,
                *((one.mask.file, f"{place}/{mask_name(one.name)}") if one.mask else ()),
            ),
        )
        for one in ready
    )
    staged = []
    for done, (one, error) in enumerate(place_each(work), start=1):
        if error is not None:
            raise error
        staged.append((one, _staged_image(one)))
        if done % _TELL_EVERY == 1:
            workspace.events(Event("progress", "stage", step=done, total=total, unit="images"))
    return staged


def _staged_image(one: _Ready) -> StagedImage:
    item = one.item
    return StagedImage(
        name=one.name,
        caption=item.caption,
        repeats=item.repeats,
        width=item.width,
        height=item.height,
        source_sha256=item.sha256,
        image_sha256=one.sha256,
        caption_sha256=hashlib.sha256(item.caption.encode()).hexdigest(),
        mask_sha256=one.mask.sha256 if one.mask else "",
    )


def _restamp(index: StatIndex, linked: Sequence[str]) -> None:
    # A new link changes a file's change time; that was us, and nothing else of it changed.
    for file in linked:
        try:
            index.restamp(file, stamp_of(os.lstat(file)), now_ns=time.time_ns())
        except OSError:
            index.forget(file)
