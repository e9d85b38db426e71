"""Whether a manifest is true: every image is read anew, and the content hash computed anew."""

from __future__ import annotations

from collections import Counter

import msgspec

from lora_pipeline.datasets.image_files import Proof, image_files
from lora_pipeline.datasets.manifest import hash_of_manifest
from lora_pipeline.datasets.proving import prove_each
from lora_pipeline.datasets.records import Item, Manifest
from lora_pipeline.datasets.split import split_findings
from lora_pipeline.foundation.errors import PipelineError, RecordInvalidError, SettingsError
from lora_pipeline.foundation.events import Event
from lora_pipeline.foundation.findings import Finding, has_errors
from lora_pipeline.workspace.root import Workspace

_TELL_EVERY = 100  # images; a bar needs no more


class Verification(msgspec.Struct, frozen=True):
    """What reading everything anew came to.

    Attributes:
        images: Number of images that were looked at.
        by_pointer: How many of them are proven by a Git LFS pointer alone.
        content_hash: The hash that the manifest should state, or empty without digests.
        findings: What differs, or could not be proven.
    """

    images: int
    by_pointer: int
    content_hash: str
    findings: tuple[Finding, ...]

    @property
    def holds(self) -> bool:
        """Whether nothing differs."""
        return not has_errors(list(self.findings))


def verify_manifest(workspace: Workspace, manifest: Manifest, where: str) -> Verification:
    """Return whether a manifest is true.

    Args:
        workspace: Where its images are looked for.
        manifest: The manifest.
        where: Its file, for findings.
    """
    finder = image_files(workspace)
    expected, findings = content_findings(manifest, where)
    findings += _repeated(manifest, where)
    pointers, differing = 0, []
    work = ((item, item.path) for item in manifest.items)
    # No index: what it remembers is not what this command is asked for.
    for done, (item, proof) in enumerate(prove_each(finder, work), start=1):
        pointers += isinstance(proof, Proof) and proof.pointer
        finding = _judge(item, proof)
        if finding is not None:
            differing.append((item.asset_id, finding))
        if done % _TELL_EVERY == 0 or done == len(manifest.items):
            total = len(manifest.items)
            workspace.events(Event("progress", "verify", step=done, total=total, unit="images"))
    findings += [finding for _, finding in sorted(differing, key=lambda pair: pair[0])]
    return Verification(len(manifest.items), pointers, expected, tuple(findings))


def content_findings(manifest: Manifest, where: str) -> tuple[str, list[Finding]]:
    """Return the hash that a manifest should state, and what is wrong with the one it states.

    Needs no image: a build machine can tell a manifest that was edited by hand.
    """
    rebuild = f"lora dataset build {manifest.id}"
    try:
        expected = hash_of_manifest(manifest)
    except RecordInvalidError as error:
        return "", [Finding("content_unproven", "not_proven", where, error.message, rebuild)]
    if not manifest.content_hash:
        message = "the manifest states no contentHash"
        return expected, [Finding("content_unproven", "not_proven", where, message, rebuild)]
    if manifest.content_hash != expected:
        message = f"contentHash should be {expected}; the manifest was changed by hand"
        return expected, [Finding("content_differs", "error", where, message, rebuild)]
    return expected, split_findings(manifest, where, rebuild)


def _repeated(manifest: Manifest, where: str) -> list[Finding]:
    counts = Counter(item.asset_id for item in manifest.items)
    return [
        Finding("item_repeated", "error", where, f"asset {asset_id} stands in it {count} times")
        for asset_id, count in counts.items()
        if count > 1
    ]


def _judge(item: Item, proof: Proof | PipelineError) -> Finding | None:
    if isinstance(proof, SettingsError):
        return Finding("image_unproven", "not_proven", item.path, proof.message, proof.hint or "")
    if isinstance(proof, PipelineError):
        return Finding(proof.code, "error", item.path, proof.message, "restore the file")
    if len(item.sha256) != 64:
        message = "the manifest states no SHA-256 of it"
        return Finding("image_unproven", "not_proven", item.path, message)
    if proof.agrees(sha256=item.sha256, xxh3=item.xxh3, size=item.bytes):
        return None
    return Finding(
        "image_differs", "error", item.path, _difference(item, proof), "restore the file"
    )


def _difference(item: Item, proof: Proof) -> str:
    if proof.sha256 != item.sha256:
        return f"sha256 is {proof.sha256[:12]}…, the manifest says {item.sha256[:12]}…"
    if item.bytes and proof.bytes != item.bytes:
        return f"it has {proof.bytes} bytes, the manifest says {item.bytes}"
    return f"xxh3 is {proof.xxh3[:12]}…, the manifest says {item.xxh3[:12]}…"
