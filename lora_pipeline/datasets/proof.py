"""Whether the images of a selection are the files that were imported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import structs
from msgspec.structs import replace

from lora_pipeline.datasets.described import Described
from lora_pipeline.datasets.image_files import ImageFiles, Proof, image_files
from lora_pipeline.datasets.picks import Reason
from lora_pipeline.datasets.proving import prove_each
from lora_pipeline.datasets.records import Item
from lora_pipeline.datasets.selection import LeftOut
from lora_pipeline.engine.images import map_images
from lora_pipeline.foundation.errors import (
    FileMissingError,
    ImageRefusedError,
    PipelineError,
    SettingsError,
)
from lora_pipeline.foundation.events import Event
from lora_pipeline.foundation.findings import Finding, Severity
from lora_pipeline.foundation.images.client import ImageWorker
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.stat_index import StatIndex

_TELL_EVERY = 100  # images; a bar needs no more


class Proven(msgspec.Struct, frozen=True):
    """What looking at the files came to.

    Attributes:
        images: The images that are what they were.
        left_out: Those that are not, with the reason.
        findings: The same for people who mend it.
    """

    images: tuple[Described, ...]
    left_out: tuple[LeftOut, ...]
    findings: tuple[Finding, ...]


def prove_images(workspace: Workspace, images: Iterable[Described], index: StatIndex) -> Proven:
    """Compare the file of every image with what its asset's record says of it.

    A file that is as it was when it was read last is not read again. Art whose record holds no
    identity (another tool wrote it) is decoded to know its size.
    """
    finder = image_files(workspace)
    proven: list[Described] = []
    unmeasured: list[tuple[Described, Proof]] = []
    refused: list[tuple[Described, Reason]] = []
    work = ((one, one.item.path) for one in images)
    for done, (one, proof) in enumerate(prove_each(finder, work, index), start=1):
        if done % _TELL_EVERY == 1:
            workspace.events(Event("progress", "hash", step=done, unit="images"))
        reason = _objection(one.item, proof)
        if reason is not None:
            refused.append((one, reason))
        elif one.item.sha256:
            proven.append(one)
        elif isinstance(proof, Proof):
            unmeasured.append((one, proof))
    for (one, _), measured in zip(unmeasured, _measure(workspace, finder, unmeasured), strict=True):
        if isinstance(measured, Reason):
            refused.append((one, measured))
        else:
            proven.append(replace(one, item=measured))
    refused.sort(key=lambda pair: pair[0].item.asset_id)
    return Proven(
        images=tuple(proven),
        left_out=tuple(
            LeftOut(one.item.asset_id, one.title, reason, matches=True) for one, reason in refused
        ),
        findings=tuple(_finding(one, reason) for one, reason in refused),
    )


def _objection(item: Item, proof: Proof | PipelineError) -> Reason | None:
    if isinstance(proof, PipelineError):
        return _unreadable(item, proof)
    if not item.sha256:
        if not proof.pointer:
            return None
        text = f"a Git LFS pointer stands in the place of {item.path}"
        return Reason("file_is_pointer", text, "not fetched from Git LFS")
    if proof.agrees(sha256=item.sha256, xxh3=item.xxh3, size=item.bytes):
        return None
    return Reason(
        "file_changed", f"file changed since import: {item.path}", "file changed since import"
    )


def _unreadable(item: Item, error: PipelineError) -> Reason:
    if isinstance(error, FileMissingError):
        return Reason("file_missing", f"file missing: {item.path}", "file missing")
    if isinstance(error, SettingsError):
        return Reason("root_missing", f"{error.message}: {item.path}", "assetsRoot not set here")
    return Reason("path_unsafe", error.message, "path not safe")


def _measure(
    workspace: Workspace, finder: ImageFiles, unmeasured: Sequence[tuple[Described, Proof]]
) -> Iterable[Item | Reason]:
    def measure(worker: ImageWorker, work: tuple[Described, Proof]) -> Item | Reason:
        item, proof = work[0].item, work[1]
        try:
            facts = worker.inspect(finder.locate(item.path), name=item.path)
        except (ImageRefusedError, FileMissingError) as error:
            return Reason("image_refused", error.message, "image refused")
        return structs.replace(
            item,
            sha256=proof.sha256,
            xxh3=proof.xxh3,
            bytes=proof.bytes,
            width=facts.width,
            height=facts.height,
        )

    return map_images(workspace, measure, unmeasured, topic="measure") if unmeasured else ()


# code -> how bad it is, and what mends it
_MENDING: dict[str, tuple[Severity, str]] = {
    "file_changed": ("error", "restore the file, or import the changed one as a new asset"),
    "file_missing": ("warning", "restore the file, or lora asset deprecate the asset"),
    "file_is_pointer": ("warning", "git lfs pull"),
    "root_missing": ("warning", "set assetsRoot in config/local.json"),
    "path_unsafe": ("error", "correct the path in the asset's record"),
    "image_refused": ("error", "export the image again, or lora asset reject the asset"),
}


def _finding(one: Described, reason: Reason) -> Finding:
    severity, fix = _MENDING[reason.code]
    where = f"asset {one.item.asset_id}"
    return Finding(reason.code, severity, where, f"{one.title}: {reason.text}", fix)
