"""The manifest turned into the folder that a trainer reads.

The folder's name is a digest of what is in it, so nothing in it can be stale, and any trainer's
cache beside the images belongs to these images. It is made under another name and put in its
place with one rename: it is complete, or it is not there. ``staging.json`` in it holds the
digest of every file; a staging that was changed since is made anew.

An image is named by its own digest, so it keeps its name, and a trainer its cache, whatever
else comes or goes.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from lora_pipeline.datasets.manifest import hash_of_manifest
from lora_pipeline.datasets.records import Manifest, Normalization
from lora_pipeline.datasets.staging.files import fill_staging, has_masks, named_items
from lora_pipeline.datasets.staging.marker import (
    FORM,
    MASKS,
    Marker,
    StagedImage,
    read_marker,
    write_marker,
)
from lora_pipeline.engine.many_files import read_each
from lora_pipeline.foundation import files
from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.foundation.errors import (
    DigestMismatchError,
    FileMissingError,
    LockedError,
    SelectionEmptyError,
)
from lora_pipeline.workspace.lock import workspace_lock
from lora_pipeline.workspace.root import Workspace

UNFINISHED = ".unfinished-"
_TRAINED_ON = (".png", ".jpg", ".jpeg", ".webp", ".txt", ".caption")


class Staging(msgspec.Struct, frozen=True):
    """A staged manifest.

    Attributes:
        dataset_id: Id of the manifest.
        manifest_hash: Its ``contentHash``.
        folder: Flat folder of images, each with a text file of the same name beside it.
        images: What is in it, training split only, in file name order.
        masked: Whether each image has a mask, below ``masks``, that weighs the loss.
        made: False when the folder was there already and is what it should be.
    """

    dataset_id: str
    manifest_hash: str
    folder: Path
    images: tuple[StagedImage, ...]
    masked: bool
    made: bool


def staging_folder(workspace: Workspace, manifest: Manifest) -> Path:
    """Return where the staging of a manifest stands, whether it is there or not."""
    key = staging_key(manifest.content_hash, manifest.normalization)
    return stagings_root(workspace) / key


def staging_key(content_hash: str, normalization: Normalization) -> str:
    """Return the name of the staging of a manifest: a digest of all that decides what is in it."""
    named = {
        "contentHash": content_hash,
        "form": FORM,
        "normalization": normalization.to_dict(),
    }
    return digest_of(named).removeprefix("sha256:")[:32]


def stagings_root(workspace: Workspace) -> Path:
    """Return the folder of all stagings."""
    return workspace.runtime / "staging"


def lock_folder(workspace: Workspace, key: str) -> Path:
    """Return where the lock stands that whoever makes a staging holds."""
    return stagings_root(workspace) / ".locks" / key


def stage_manifest(workspace: Workspace, manifest: Manifest) -> Staging:
    """Return the staging of a manifest, made unless it is there and whole.

    Raises:
        DigestMismatchError: When the manifest, or an image, is not what its digest says.
        FileMissingError: When an image is not there.
        ImageRefusedError: When an image cannot be read safely.
        SelectionEmptyError: When every image is held out.
        LockedError: When another process makes the same staging for too long.
    """
    _require_true(manifest)
    folder = staging_folder(workspace, manifest)
    marker = read_marker(folder)
    made = marker is None or bool(verify_staging(folder))
    if made:
        _remove_leftovers(workspace)
        locks = lock_folder(workspace, folder.name)
        with workspace_lock(locks, timeout_s=workspace.settings.number("lock.timeoutSeconds")):
            # Somebody else may have made it while we waited.
            if verify_staging(folder):
                _make(workspace, manifest, folder)
        marker = read_marker(folder)
    if marker is None:
        raise FileMissingError(f"staging {folder} went away while it was made")
    masked = has_masks(manifest)
    return Staging(manifest.id, manifest.content_hash, folder, marker.images, masked, made)


def plan_staging(workspace: Workspace, manifest: Manifest) -> Staging:
    """Return what the staging of a manifest will be; reads no image and writes nothing.

    Raises:
        DigestMismatchError: When the manifest is not what its digest says.
        SelectionEmptyError: When every image is held out.
    """
    _require_true(manifest)
    images = tuple(
        StagedImage(
            name=name,
            caption=item.caption,
            repeats=item.repeats,
            width=item.width,
            height=item.height,
        )
        for name, item in named_items(manifest)
    )
    folder = staging_folder(workspace, manifest)
    return Staging(
        manifest.id, manifest.content_hash, folder, images, has_masks(manifest), made=False
    )


def verify_staging(folder: Path) -> list[str]:
    """Return what is wrong with a staging: missing, changed and added files; empty when whole.

    Every file is read. What trainers leave beside the images (caches) is no fault.
    """
    marker = read_marker(folder)
    if marker is None:
        return [f"no complete staging at {folder}"]
    expected = marker.digests()
    work = (((name, sha256), f"{folder}/{name}") for name, sha256 in expected.items())
    problems = []
    for (name, sha256), facts in read_each(work):
        if isinstance(facts, OSError):
            problems.append(f"{name} is missing")
        elif facts.sha256 != sha256:
            problems.append(f"{name} was changed")
    problems += [
        f"{name} does not belong there"
        for name in sorted(_names(folder))
        if name not in expected and name.lower().endswith(_TRAINED_ON)
    ]
    return problems


def _names(folder: Path) -> Iterator[str]:
    yield from os.listdir(folder)  # noqa: PTH208 - names are all that is needed
    with contextlib.suppress(OSError):
        # A mask without an image stops sd-scripts.
        yield from (f"{MASKS}/{name}" for name in os.listdir(folder / MASKS))  # noqa: PTH208


def unfinished_stagings(workspace: Workspace) -> list[Path]:
    """Return what interrupted stagings left behind; the next staging removes it."""
    return sorted(stagings_root(workspace).glob(f"{UNFINISHED}*"))


def _require_true(manifest: Manifest) -> None:
    expected = hash_of_manifest(manifest)
    if manifest.content_hash != expected:
        raise DigestMismatchError(
            f"dataset {manifest.id} was changed by hand: its content is {expected[:19]}…, "
            f"it states {manifest.content_hash[:19] or 'no contentHash'}…",
            hint=f"lora dataset build {manifest.id}",
        )
    if all(item.split == "held_out" for item in manifest.items):
        raise SelectionEmptyError(
            f"dataset {manifest.id} holds every image out of training",
            hint=f"lora dataset build {manifest.id} --held-out 0.1",
        )


def _make(workspace: Workspace, manifest: Manifest, folder: Path) -> None:
    building = folder.parent / f"{UNFINISHED}{folder.name}-{secrets.token_hex(4)}"
    building.mkdir(parents=True)
    try:
        staged = fill_staging(workspace, manifest, building)
        write_marker(building, Marker(FORM, manifest.content_hash, staged))
        _put_in_place(building, folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _remove_leftovers(workspace: Workspace) -> None:
    for leftover in unfinished_stagings(workspace):
        key = leftover.name.removeprefix(UNFINISHED).rpartition("-")[0]
        # Whoever makes it at this moment holds its lock.
        with (
            contextlib.suppress(LockedError),
            workspace_lock(lock_folder(workspace, key), timeout_s=0),
        ):
            shutil.rmtree(leftover, ignore_errors=True)


def _put_in_place(building: Path, folder: Path) -> None:
    files.fsync_folder(building)
    broken = folder.parent / f"{UNFINISHED}{folder.name}-{secrets.token_hex(4)}"
    if folder.exists():
        folder.rename(broken)
    building.rename(folder)
    files.fsync_folder(folder.parent)
    shutil.rmtree(broken, ignore_errors=True)
