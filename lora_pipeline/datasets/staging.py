"""The manifest turned into the folder that a trainer reads.

The folder's name is a digest of what is in it, so nothing in it can be stale, and any trainer's
cache beside the images belongs to these images. It is made under another name and put in its
place with one rename: it is complete, or it is not there. ``staging.json`` in it holds the
digest of every file; a staging that was changed since is made anew.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from lora_pipeline.datasets.image_files import ImageFiles, image_files
from lora_pipeline.datasets.manifest import hash_of_manifest
from lora_pipeline.datasets.png import is_plain_rgb_png
from lora_pipeline.datasets.records import Item, Manifest
from lora_pipeline.engine.images import map_images
from lora_pipeline.foundation import files, strict_json
from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.foundation.digests import sha256_of_file
from lora_pipeline.foundation.errors import (
    CaptionInvalidError,
    DigestMismatchError,
    FileMissingError,
    LockedError,
    PipelineError,
    SelectionEmptyError,
)
from lora_pipeline.foundation.images import ImageWorker
from lora_pipeline.workspace.lock import workspace_lock
from lora_pipeline.workspace.root import Workspace

FORM = 1  # of the staging folder; a new one when names or contents of its files change
MARKER = "staging.json"
_UNFINISHED = ".unfinished-"
_TRAINED_ON = (".png", ".jpg", ".jpeg", ".webp", ".txt", ".caption")


@dataclass(frozen=True)
class StagedImage:
    """One image of a staging; its caption stands beside it as ``<stem>.txt``."""

    name: str
    caption: str
    repeats: int
    width: int
    height: int


@dataclass(frozen=True)
class Staging:
    """A staged manifest.

    Attributes:
        dataset_id: Id of the manifest.
        manifest_hash: Its ``contentHash``.
        folder: Flat folder of ``000001.png`` … with ``000001.txt`` beside it.
        images: What is in it, training split only, in file name order.
        made: False when the folder was there already and is what it should be.
    """

    dataset_id: str
    manifest_hash: str
    folder: Path
    images: tuple[StagedImage, ...]
    made: bool


class _StagedFile(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What the marker says of one image."""

    name: str
    caption: str
    repeats: int
    width: int
    height: int
    source_sha256: str
    image_sha256: str
    caption_sha256: str


class _Marker(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    form: int
    content_hash: str
    images: tuple[_StagedFile, ...]


def staging_folder(workspace: Workspace, manifest: Manifest) -> Path:
    """Return where the staging of a manifest stands, whether it is there or not."""
    named = {
        "contentHash": manifest.content_hash,
        "form": FORM,
        "normalization": manifest.normalization.to_dict(),
    }
    return stagings_root(workspace) / digest_of(named).removeprefix("sha256:")[:32]


def stagings_root(workspace: Workspace) -> Path:
    """Return the folder of all stagings."""
    return workspace.runtime / "staging"


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
    marker = _read_marker(folder)
    made = marker is None or bool(verify_staging(folder))
    if made:
        _remove_leftovers(workspace)
        locks = _lock_folder(workspace, folder.name)
        with workspace_lock(locks, timeout_s=workspace.settings.number("lock.timeoutSeconds")):
            # Somebody else may have made it while we waited.
            if verify_staging(folder):
                _make(workspace, manifest, folder)
        marker = _read_marker(folder)
    if marker is None:
        raise FileMissingError(f"staging {folder} went away while it was made")
    images = tuple(
        StagedImage(one.name, one.caption, one.repeats, one.width, one.height)
        for one in marker.images
    )
    return Staging(manifest.id, manifest.content_hash, folder, images, made)


def plan_staging(workspace: Workspace, manifest: Manifest) -> Staging:
    """Return what the staging of a manifest will be; reads no image and writes nothing.

    Raises:
        DigestMismatchError: When the manifest is not what its digest says.
        SelectionEmptyError: When every image is held out.
    """
    _require_true(manifest)
    images = tuple(
        StagedImage(name, item.caption, item.repeats, item.width, item.height)
        for name, item in _numbered(manifest)
    )
    folder = staging_folder(workspace, manifest)
    return Staging(manifest.id, manifest.content_hash, folder, images, made=False)


def verify_staging(folder: Path) -> list[str]:
    """Return what is wrong with a staging: missing, changed and added files; empty when whole.

    What trainers leave beside the images (caches) is no fault.
    """
    marker = _read_marker(folder)
    if marker is None:
        return [f"no complete staging at {folder}"]
    expected = {one.name: one.image_sha256 for one in marker.images}
    expected |= {_caption_name(one.name): one.caption_sha256 for one in marker.images}
    problems = []
    for name, sha256 in expected.items():
        try:
            if sha256_of_file(folder / name) != sha256:
                problems.append(f"{name} was changed")
        except FileMissingError:
            problems.append(f"{name} is missing")
    problems += [
        f"{name} does not belong there"
        for name in sorted(os.listdir(folder))  # noqa: PTH208 - names are all that is needed
        if name not in expected and name.lower().endswith(_TRAINED_ON)
    ]
    return problems


def unfinished_stagings(workspace: Workspace) -> list[Path]:
    """Return what interrupted stagings left behind; the next staging removes it."""
    return sorted(stagings_root(workspace).glob(f"{_UNFINISHED}*"))


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
    building = folder.parent / f"{_UNFINISHED}{folder.name}-{secrets.token_hex(4)}"
    building.mkdir(parents=True)
    try:
        staged = tuple(_stage_images(workspace, manifest, building))
        _write_marker(
            building, _Marker(form=FORM, content_hash=manifest.content_hash, images=staged)
        )
        _put_in_place(building, folder)
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _remove_leftovers(workspace: Workspace) -> None:
    for leftover in unfinished_stagings(workspace):
        key = leftover.name.removeprefix(_UNFINISHED).rpartition("-")[0]
        # Whoever makes it at this moment holds its lock.
        with (
            contextlib.suppress(LockedError),
            workspace_lock(_lock_folder(workspace, key), timeout_s=0),
        ):
            shutil.rmtree(leftover, ignore_errors=True)


def _lock_folder(workspace: Workspace, key: str) -> Path:
    return stagings_root(workspace) / ".locks" / key


def _put_in_place(building: Path, folder: Path) -> None:
    files.fsync_folder(building)
    broken = folder.parent / f"{_UNFINISHED}{folder.name}-{secrets.token_hex(4)}"
    if folder.exists():
        folder.rename(broken)
    building.rename(folder)
    files.fsync_folder(folder.parent)
    shutil.rmtree(broken, ignore_errors=True)


def _stage_images(
    workspace: Workspace, manifest: Manifest, building: Path
) -> Iterator[_StagedFile]:
    finder = image_files(workspace)
    numbered = _numbered(manifest)

    def stage(worker: ImageWorker, work: tuple[str, Item]) -> _StagedFile:
        name, item = work
        try:
            return _stage_one(worker, finder, manifest, item, building / name)
        except PipelineError as error:
            if error.hint is None:
                error.hint = f"lora dataset verify {manifest.id}"
            raise

    return map_images(workspace, stage, numbered, topic="stage")


def _numbered(manifest: Manifest) -> list[tuple[str, Item]]:
    # The order must not depend on ids: the folder's name does not either.
    trained_on = sorted(
        (item for item in manifest.items if item.split == "train"),
        key=lambda item: (item.sha256, item.caption),
    )
    return [(f"{number:06}.png", item) for number, item in enumerate(trained_on, start=1)]


def _stage_one(
    worker: ImageWorker, finder: ImageFiles, manifest: Manifest, item: Item, target: Path
) -> _StagedFile:
    source = finder.locate(item.path)
    _require_source(finder, item)
    if is_plain_rgb_png(source):
        files.link_or_copy(source, target)
        width, height = item.width, item.height
    else:
        image = worker.normalise(
            source, target, background=manifest.normalization.background, name=item.path
        )
        width, height = image.width, image.height
    caption = _caption_bytes(item)
    target.with_suffix(".txt").write_bytes(caption)
    return _StagedFile(
        name=target.name,
        caption=item.caption,
        repeats=item.repeats,
        width=width,
        height=height,
        source_sha256=item.sha256,
        image_sha256=sha256_of_file(target),
        caption_sha256=hashlib.sha256(caption).hexdigest(),
    )


def _require_source(finder: ImageFiles, item: Item) -> None:
    proof = finder.prove(item.path)
    if proof.pointer:
        raise FileMissingError(
            f"{item.path} is a Git LFS pointer; the image itself is not here", hint="git lfs pull"
        )
    if not proof.agrees(sha256=item.sha256, xxh3=item.xxh3, size=item.bytes):
        raise DigestMismatchError(
            f"{item.path} is not the image of the manifest: sha256 {proof.sha256[:12]}…, "
            f"recorded {item.sha256[:12]}…"
        )


def _caption_bytes(item: Item) -> bytes:
    # The schema forbids both; a trainer that meets them would train on something else.
    if not item.caption.strip() or len(item.caption.splitlines()) != 1:
        raise CaptionInvalidError(f"the caption of asset {item.asset_id} must be one line")
    return item.caption.encode()


def _caption_name(image_name: str) -> str:
    return f"{Path(image_name).stem}.txt"


def _write_marker(folder: Path, marker: _Marker) -> None:
    document: dict[str, Any] = msgspec.to_builtins(marker)
    files.write_atomic(folder / MARKER, strict_json.dumps(document, one_line_each=("images",)))


def _read_marker(folder: Path) -> _Marker | None:
    try:
        marker = msgspec.convert(strict_json.load(folder / MARKER), _Marker)
    except (PipelineError, msgspec.ValidationError):
        return None
    return marker if marker.form == FORM else None
