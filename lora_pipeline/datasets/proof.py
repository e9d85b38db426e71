"""Whether the images of a selection are the files that were imported: every one is read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lora_pipeline.catalog.records import ImageIdentity
from lora_pipeline.datasets.image_files import ImageFiles, Proof, image_files, prove_or_explain
from lora_pipeline.datasets.picks import Pick, Reason
from lora_pipeline.datasets.selection import LeftOut
from lora_pipeline.engine.images import map_images
from lora_pipeline.engine.pool import map_ordered
from lora_pipeline.foundation.errors import (
    FileMissingError,
    ImageRefusedError,
    PipelineError,
    SettingsError,
)
from lora_pipeline.foundation.findings import Finding, Severity
from lora_pipeline.foundation.images import ImageWorker
from lora_pipeline.workspace.root import Workspace


@dataclass(frozen=True)
class ProvenPick:
    """An image whose bytes were read and are what its record says."""

    pick: Pick
    identity: ImageIdentity


@dataclass(frozen=True)
class Proven:
    """What reading the files came to.

    Attributes:
        picks: The images that are what they were.
        left_out: Those that are not, with the reason.
        findings: The same for people who mend it.
    """

    picks: tuple[ProvenPick, ...]
    left_out: tuple[LeftOut, ...]
    findings: tuple[Finding, ...]


def prove_picks(workspace: Workspace, picks: Sequence[Pick]) -> Proven:
    """Read and hash the file of every pick, once, and compare it with the asset's record.

    Art whose record holds no identity (another tool wrote it) is decoded to know its size.
    """
    finder = image_files(workspace)
    proofs = list(
        map_ordered(
            lambda pick: prove_or_explain(finder, pick.path),
            picks,
            events=workspace.events,
            topic="hash",
            unit="images",
        )
    )
    unmeasured = [
        (pick, proof)
        for pick, proof in zip(picks, proofs, strict=True)
        if pick.identity is None and isinstance(proof, Proof) and not proof.pointer
    ]
    measured = _measure(workspace, finder, unmeasured)
    proven: list[ProvenPick] = []
    left: list[LeftOut] = []
    findings: list[Finding] = []
    for pick, proof in zip(picks, proofs, strict=True):
        judged = measured.get(pick.asset.id) or _judge(pick, proof)
        if isinstance(judged, ImageIdentity):
            proven.append(ProvenPick(pick, judged))
        else:
            left.append(LeftOut(pick.asset.id, pick.spec.title, judged, matches=True))
            findings.append(_finding(pick, judged))
    return Proven(tuple(proven), tuple(left), tuple(findings))


def _judge(pick: Pick, proof: Proof | PipelineError) -> ImageIdentity | Reason:
    if isinstance(proof, PipelineError):
        return _unreadable(pick, proof)
    identity = pick.identity
    if identity is None:
        return Reason(
            "file_is_pointer",
            f"a Git LFS pointer stands in the place of {pick.path}",
            "not fetched from Git LFS",
        )
    if proof.agrees(sha256=identity.sha256, xxh3=identity.xxh3, size=identity.bytes):
        return identity
    return Reason(
        "file_changed", f"file changed since import: {pick.path}", "file changed since import"
    )


def _unreadable(pick: Pick, error: PipelineError) -> Reason:
    if isinstance(error, FileMissingError):
        return Reason("file_missing", f"file missing: {pick.path}", "file missing")
    if isinstance(error, SettingsError):
        return Reason("root_missing", f"{error.message}: {pick.path}", "assetsRoot not set here")
    return Reason("path_unsafe", error.message, "path not safe")


def _measure(
    workspace: Workspace, finder: ImageFiles, unmeasured: Sequence[tuple[Pick, Proof]]
) -> dict[str, ImageIdentity | Reason]:
    if not unmeasured:
        return {}

    def measure(worker: ImageWorker, work: tuple[Pick, Proof]) -> ImageIdentity | Reason:
        pick, proof = work
        try:
            facts = worker.inspect(finder.locate(pick.path), name=pick.path)
        except (ImageRefusedError, FileMissingError) as error:
            return Reason("image_refused", error.message, "image refused")
        return ImageIdentity(
            sha256=proof.sha256,
            xxh3=proof.xxh3,
            bytes=proof.bytes,
            width=facts.width,
            height=facts.height,
            format=facts.format,
            has_alpha=facts.has_alpha,
        )

    results = map_images(workspace, measure, unmeasured, topic="measure")
    return {pick.asset.id: result for (pick, _), result in zip(unmeasured, results, strict=True)}


# code -> how bad it is, and what mends it
_MENDING: dict[str, tuple[Severity, str]] = {
    "file_changed": ("error", "restore the file, or import the changed one as a new asset"),
    "file_missing": ("warning", "restore the file, or lora asset deprecate the asset"),
    "file_is_pointer": ("warning", "git lfs pull"),
    "root_missing": ("warning", "set assetsRoot in config/local.json"),
    "path_unsafe": ("error", "correct the path in the asset's record"),
    "image_refused": ("error", "export the image again, or lora asset reject the asset"),
}


def _finding(pick: Pick, reason: Reason) -> Finding:
    severity, fix = _MENDING[reason.code]
    where = f"asset {pick.asset.id}"
    return Finding(reason.code, severity, where, f"{pick.spec.title}: {reason.text}", fix)
