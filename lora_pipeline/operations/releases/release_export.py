"""Hand a release over: a copy of its weights with a passport in its header and beside it.

The stored object is never touched. The copy follows from the records and the object alone, so
that the same release, exported again, is the same file byte for byte.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from lora_pipeline.catalog.records import Checkpoint
from lora_pipeline.catalog.weight_files import weights_path
from lora_pipeline.foundation import files, strict_json
from lora_pipeline.foundation.digests import sha256_of_file
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    DigestMismatchError,
    FileMissingError,
    IntegrityError,
)
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.foundation.schemas import require_valid
from lora_pipeline.releases.evidence.facts import TrainedManifest, Unproven
from lora_pipeline.releases.evidence.gathering import EvidenceReader
from lora_pipeline.releases.evidence.rights import rights_facts
from lora_pipeline.releases.lookup import ScopeName, find_lora, require_release
from lora_pipeline.releases.passport import (
    Passport,
    PassportFile,
    header_texts,
    license_words,
    passport_of,
)
from lora_pipeline.releases.records import Lora, Release
from lora_pipeline.training.weights.file import (
    WeightsHeader,
    copy_with_metadata,
    encode_header,
    read_header,
    tensor_blocks,
    tensor_sha256,
)
from lora_pipeline.training.weights.metadata import kept_texts
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

_ENDING = ".safetensors"


class _Copy(msgspec.Struct, frozen=True):
    """A file that is to be: everything about it is known before a byte is written."""

    source: Path
    target: Path
    header: WeightsHeader
    texts: dict[str, str]
    passport: Passport
    beside: bytes

    @property
    def side_car(self) -> Path:
        return self.target.with_name(self.target.name.removesuffix(_ENDING) + ".passport.json")


def export_release(
    workspace: Workspace,
    lora: str,
    release: str,
    *,
    output: str = "",
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Write a copy of a release's weights with its passport, for use elsewhere.

    The header tells trigger word, strength, base model, manifest hash and licences in the fields
    of ModelSpec and in one of ours; texts of the trainer that leak, or that nobody needs, are left
    out. Beside it stands the same as ``NAME.passport.json``, with the digest of the file. The
    tensors are proven to be those of the stored object, which is not touched.

    Args:
        workspace: Where the release is.
        lora: Id of its LoRA.
        release: Its id.
        output: The copy; else ``<lora>-<release>.safetensors`` in the current folder. Nothing is
            written over, unless it is the very same file.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When LoRA, release or checkpoint do not exist.
        FileMissingError: When the weights are not on this machine.
        DigestMismatchError: When they are not what was recorded.
        ArgumentInvalidError: When something else stands where the copy would be.
        StorageError: When the disk refuses.
    """
    loaded = find_lora(workspace, lora, project=project, scope=scope)
    chosen = require_release(loaded.record, release)
    target = Path(output or f"{lora}-{release}{_ENDING}").expanduser().absolute()
    if target.suffix != _ENDING:
        raise ArgumentInvalidError(
            f"{output!r} must end with {_ENDING}", hint=f"--output {lora}-{release}{_ENDING}"
        )
    if chosen.status == "deprecated":
        return _refused(lora, release)
    warnings = _state_warnings(loaded.record, chosen)
    licenses, told = _image_licenses(workspace, loaded, chosen)
    copy = _planned(workspace, loaded, chosen, target, licenses)
    there = _require_free(copy)
    if not workspace.dry_run and not there:
        _write(copy)
    removed = sorted(set(copy.header.metadata) - set(copy.texts))
    verb = "Would export" if workspace.dry_run else "Exported"
    return Result(
        data=_facts(copy, removed) | {"loraId": lora, "releaseId": release, "unchanged": there},
        reasoning=f"{target.name} is there already, the same"
        if there
        else f"{verb} {release} of {lora} as {target.name}",
        warnings=[*warnings, *told],
        suggestions=(f"lora weights inspect {target}",) if not workspace.dry_run else (),
        dry_run=workspace.dry_run,
    )


def _planned(
    workspace: Workspace,
    loaded: Loaded[Lora],
    release: Release,
    target: Path,
    licenses: tuple[str, ...],
) -> _Copy:
    if release.weights is None:
        raise FileMissingError(f"{release.id} names no weights", hint="lora release list")
    source = weights_path(workspace, release.weights, name=release.id)
    header = read_header(source)
    tensors, recorded = tensor_sha256(source, header), release.weights.tensor_sha256
    if recorded and recorded != tensors:
        raise DigestMismatchError(
            f"{release.id}: its tensors are {tensors[:12]}…, recorded {recorded[:12]}…",
            hint=f"lora release verify {loaded.record.id} {release.id}",
        )
    checkpoint = workspace.records.find(
        Checkpoint, workspace.visible(loaded.scope), loaded.record.checkpoint_id
    ).record
    passport = passport_of(
        loaded.record, release, checkpoint, tensor_sha256=tensors, image_licenses=licenses
    )
    if not passport.sha256:
        passport = replace(passport, sha256=sha256_of_file(source))
    texts = header_texts(passport, kept_texts(header.metadata, strict=True))
    size, digest = _digest_to_be(source, header, texts)
    beside = replace(passport, file=PassportFile(name=target.name, bytes=size, sha256=digest))
    document = beside.to_dict()
    require_valid(document, Passport.schema_name(), "the passport")
    return _Copy(source, target, header, texts, beside, strict_json.dumps(document))


def _digest_to_be(source: Path, header: WeightsHeader, texts: dict[str, str]) -> tuple[int, str]:
    """Return length and digest of a file that is not written yet."""
    first = encode_header(header.tensors, texts)
    digest, size = hashlib.sha256(first), len(first)
    for _, block in tensor_blocks(source, header):
        digest.update(block)
        size += len(block)
    return size, digest.hexdigest()


def _require_free(copy: _Copy) -> bool:
    """Return whether both files are there already, and refuse to write over anything else.

    Raises:
        ArgumentInvalidError: When something else is there.
    """
    file = copy.passport.file
    assert file is not None  # noqa: S101 - it was put there
    same = [
        not copy.target.exists()
        or (copy.target.is_file() and sha256_of_file(copy.target) == file.sha256),
        not copy.side_car.exists()
        or (copy.side_car.is_file() and copy.side_car.read_bytes() == copy.beside),
    ]
    for path, fits in zip((copy.target, copy.side_car), same, strict=True):
        if not fits:
            raise ArgumentInvalidError(
                f"{path} is there and something else", hint="--output ANOTHER"
            )
    return copy.target.exists() and copy.side_car.exists()


def _write(copy: _Copy) -> None:
    """Write the weights, prove them, and then what speaks of them."""
    file = copy.passport.file
    assert file is not None  # noqa: S101 - it was put there
    if not copy.target.exists():
        copy_with_metadata(copy.source, copy.target, copy.texts)
        if sha256_of_file(copy.target) != file.sha256:
            copy.target.unlink()
            raise IntegrityError(f"{copy.target.name} is not what was planned; it was removed")
    with files.disk_refusals():
        files.write_atomic(copy.side_car, copy.beside)


def _image_licenses(
    workspace: Workspace, loaded: Loaded[Lora], release: Release
) -> tuple[tuple[str, ...], list[str]]:
    """Return the licences of what a release was trained on, and what is to be said of them."""
    reader = EvidenceReader(workspace, workspace.records)
    found = reader.manifests.trained(loaded.scope, release)
    if not isinstance(found, TrainedManifest):
        return (), ["the manifest that it was trained on is not here: no licences of its images"]
    licenses = {item.license for item in found.manifest.items}
    told = []
    if "" in licenses:
        unknown = sum(not item.license for item in found.manifest.items)
        told.append(f"{unknown} of {len(found.manifest.items)} images have no recorded licence")
    rights = rights_facts(workspace.records, found, workspace.now())
    if not isinstance(rights, Unproven) and rights.barred:
        told.append(f"images may not be used any more: {rights.barred[0]}; lora resolve decides")
    return tuple(sorted(licenses - {""})), told


def _state_warnings(lora: Lora, release: Release) -> list[str]:
    told = []
    if release.status != "approved":
        told.append(f"{release.id} is a candidate: the gate has not passed it")
    if not lora.trigger_word:
        told.append(f"{lora.id} has no trigger word")
    return told


def _refused(lora: str, release: str) -> Result:
    words = f"{release} of {lora} is deprecated: it must no longer be used"
    return Result(
        data={"loraId": lora, "releaseId": release},
        reasoning=words,
        refusal=Refusal("release_deprecated", words, f"lora release list {lora}"),
    )


def _facts(copy: _Copy, removed: list[str]) -> dict[str, Any]:
    file = copy.passport.file
    assert file is not None  # noqa: S101 - it was put there
    return {
        "output": str(copy.target),
        "passportFile": str(copy.side_car),
        "bytes": file.bytes,
        "sha256": file.sha256,
        "storedSha256": copy.passport.sha256,
        "tensorSha256": copy.passport.tensor_sha256,
        "license": license_words(copy.passport),
        "passport": copy.passport.to_dict(),
        "removed": removed,
    }
