"""The files of a staging: linked where an image needs no change, brought to one form otherwise.

What was brought to the one form is kept under a name that says what it was made from and what
came out, so the next staging links it too instead of decoding the image once more.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lora_pipeline.datasets.image_files import ImageFiles, Proof, image_files
from lora_pipeline.datasets.proving import index_path, prove_each
from lora_pipeline.datasets.records import Item, Manifest, Normalization
from lora_pipeline.datasets.staging_marker import StagedImage, caption_name
from lora_pipeline.engine.images import map_images
from lora_pipeline.engine.many_files import place_each, read_each
from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.foundation.digests import sha256_of_file
from lora_pipeline.foundation.errors import (
    CaptionInvalidError,
    DigestMismatchError,
    FileMissingError,
    PipelineError,
)
from lora_pipeline.foundation.events import Event
from lora_pipeline.foundation.images import ImageWorker
from lora_pipeline.foundation.placing import Placement
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.stat_index import StatIndex, stamp_of

NORMALISED = ".normalised"
_NAME_DIGITS = 32
_TELL_EVERY = 100  # images; a bar needs no more


@dataclass(frozen=True, slots=True)
class _Ready:
    """A file that can be linked into the staging."""

    name: str
    item: Item
    file: str
    sha256: str


def named_items(manifest: Manifest) -> list[tuple[str, Item]]:
    """Return the images that are trained on, each with its name in the staging, sorted by it."""
    trained_on = sorted(
        (item for item in manifest.items if item.split == "train"),
        key=lambda item: (item.sha256, item.caption),
    )
    seen: Counter[str] = Counter()
    named = []
    for item in trained_on:
        stem = item.sha256[:_NAME_DIGITS]
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
    others: list[tuple[str, Item]] = []
    work = (((name, item), item.path) for name, item in named_items(manifest))
    for (name, item), proof in prove_each(finder, work, index):
        _require_source(item, proof)
        assert isinstance(proof, Proof)  # noqa: S101 - anything else was refused
        if proof.plain_png:
            yield _Ready(name, item, proof.file, item.sha256)
        else:
            others.append((name, item))
    yield from _normalised(workspace, finder, others, manifest.normalization)


def _require_source(item: Item, proof: Proof | PipelineError) -> None:
    if isinstance(proof, PipelineError):
        raise proof
    if proof.pointer:
        raise FileMissingError(
            f"{item.path} is a Git LFS pointer; the image itself is not here", hint="git lfs pull"
        )
    if not proof.agrees(sha256=item.sha256, xxh3=item.xxh3, size=item.bytes):
        raise DigestMismatchError(
            f"{item.path} is not the image of the manifest: sha256 {proof.sha256[:12]}…, "
            f"recorded {item.sha256[:12]}…"
        )
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
    )


def _restamp(index: StatIndex, linked: Sequence[str]) -> None:
    # A new link changes a file's change time; that was us, and nothing else of it changed.
    for file in linked:
        try:
            index.restamp(file, stamp_of(os.lstat(file)), now_ns=time.time_ns())
        except OSError:
            index.forget(file)


def _normalised(
    workspace: Workspace,
    finder: ImageFiles,
    named: Sequence[tuple[str, Item]],
    rule: Normalization,
) -> Iterator[_Ready]:
    if not named:
        return
    pool = workspace.runtime / "staging" / NORMALISED
    pool.mkdir(parents=True, exist_ok=True)
    kept = _kept(pool)
    keyed = [(name, item, _key(item, rule)) for name, item in named]
    there = [one for one in keyed if one[2] in kept]
    made = [one for one in keyed if one[2] not in kept]
    for (name, item, key), facts in read_each(
        (one, f"{pool}/{one[2]}.{kept[one[2]]}.png") for one in there
    ):
        # Whoever changed a staged image changed this one too: it is the same file.
        if isinstance(facts, OSError) or facts.sha256 != kept[key]:
            made.append((name, item, key))
        else:
            yield _Ready(name, item, f"{pool}/{key}.{kept[key]}.png", facts.sha256)

    def normalise(worker: ImageWorker, work: tuple[str, Item, str]) -> _Ready:
        name, item, key = work
        unfinished = pool / f".{key}-{secrets.token_hex(4)}.png"
        source = finder.locate(item.path)
        worker.normalise(source, unfinished, background=rule.background, name=item.path)
        sha256 = sha256_of_file(unfinished)
        finished = pool / f"{key}.{sha256}.png"
        unfinished.replace(finished)
        return _Ready(name, item, str(finished), sha256)

    yield from map_images(workspace, normalise, made, topic="normalise")


def _kept(pool: Path) -> dict[str, str]:
    """Return what was made before: its key to the digest that it had then."""
    parts = (name.split(".") for name in os.listdir(pool))  # noqa: PTH208 - names are enough
    return {one[0]: one[1] for one in parts if len(one) == 3 and one[0]}


def _key(item: Item, rule: Normalization) -> str:
    named = {"normalization": rule.to_dict(), "sha256": item.sha256}
    return digest_of(named).removeprefix("sha256:")[:_NAME_DIGITS]
