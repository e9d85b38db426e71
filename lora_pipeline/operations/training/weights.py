"""Weight files: look into one, and take out of its header what should not leave the studio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lora_pipeline.catalog.records import Checkpoint, Weights
from lora_pipeline.foundation.errors import ArgumentInvalidError, RecordError, WeightsRefusedError
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.training.train_request import base_model
from lora_pipeline.releases.passport import Passport, passport_in
from lora_pipeline.releases.records import Lora, Release
from lora_pipeline.training.weights.inspection import WeightsReport, inspect_weights, require_usable
from lora_pipeline.training.weights.metadata import kept_texts, scrub
from lora_pipeline.training.weights.norms import block_norms, module_norms
from lora_pipeline.workspace.layout import SHARED
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace


def inspect_weights_file(
    workspace: Workspace, path: str, *, checkpoint: str = "", project: str | None = None
) -> Result:
    """Look into a LoRA's weights: what they are, what they fit, and what their header tells.

    Reads the whole file; nothing in it is trusted, and nothing of torch is needed.

    Args:
        workspace: Where the checkpoint's record is, and the releases that it may be.
        path: The safetensors file.
        checkpoint: A base model that the weights should fit.
        project: Project of the checkpoint; else the one in use.

    Raises:
        FileMissingError: When the file cannot be read.
        WeightsRefusedError: When it is no sound safetensors file; ``rule`` says why.
        RecordNotFoundError: When the checkpoint does not exist.
    """
    report = inspect_weights(Path(path).expanduser())
    fit, refusal = _fit(workspace, report, checkpoint, project)
    passport = passport_in(report.metadata)
    differs = passport is not None and passport.tensor_sha256 != report.tensor_sha256
    releases, warnings = _same_releases(workspace, report)
    return Result(
        data={
            **_facts(report),
            "norms": _norms(report),
            "passport": passport.to_dict() if passport else None,
            "releases": releases,
            "fit": fit,
        },
        reasoning=f"{report.path.name}: {_words(report)}",
        warnings=[*warnings, *([_other_passport(passport)] if passport and differs else [])],
        suggestions=(f"lora weights scrub {path}",) if report.leaks else (),
        refusal=refusal,
    )


def scrub_weights(
    workspace: Workspace, path: str, *, output: str = "", strict: bool = False
) -> Result:
    """Write a copy of a weights file without the metadata that leaks.

    Captions, prompts, folders, comments, tokens and pictures of the studio go; the tensors stay
    the same, which is proven by reading both files. The original is not touched.

    Args:
        workspace: Only tells whether this is a dry run.
        path: The safetensors file.
        output: The copy; else ``<name>-scrubbed.safetensors`` beside it.
        strict: Keep only the texts that programs need to use the file.

    Raises:
        FileMissingError: When the file cannot be read.
        WeightsRefusedError: When it is no sound safetensors file.
        ArgumentInvalidError: When the copy would be written over something.
        IntegrityError: When the copy is not the same; it is removed then.
        StorageError: When the disk refuses.
    """
    source = Path(path).expanduser()
    # Beside it; what has no name is no file, and reading it says so.
    beside = source.parent / f"{source.stem}-scrubbed{source.suffix}"
    target = Path(output).expanduser() if output else beside
    if target.exists() or target.is_symlink():
        raise ArgumentInvalidError(
            f"{target} exists already", hint="--output ANOTHER; nothing is written over"
        )
    report = inspect_weights(source)
    removed = sorted(set(report.metadata) - set(kept_texts(report.metadata, strict=strict)))
    data: dict[str, Any] = {
        "path": str(source),
        "output": str(target),
        "removed": removed,
        "kept": sorted(set(report.metadata) - set(removed)),
        "tensorSha256": report.tensor_sha256,
        "sha256Before": report.sha256,
    }
    if not removed:
        return Result(
            data={**data, "output": None, "sha256": report.sha256},
            reasoning=f"{source.name} tells nothing that leaks; no copy was made",
            dry_run=workspace.dry_run,
        )
    if workspace.dry_run:
        return Result(
            data=data,
            reasoning=f"Would leave {len(removed)} texts out of a copy of {source.name}",
            dry_run=True,
        )
    scrub(source, target, strict=strict)
    after = inspect_weights(target)
    return Result(
        data={**data, "sha256": after.sha256},
        reasoning=f"Left {len(removed)} texts out of {target.name}; the same tensors",
        suggestions=(f"lora weights inspect {target}",),
    )


def _fit(
    workspace: Workspace, report: WeightsReport, checkpoint: str, project: str | None
) -> tuple[dict[str, Any] | None, Refusal | None]:
    """Return how the weights fit a checkpoint, and the refusal when they cannot be used."""
    try:
        if not checkpoint:
            require_usable(report)
            return None, None
        scope = workspace.scope(project)
        record = workspace.records.find(Checkpoint, workspace.visible(scope), checkpoint).record
        base = base_model(workspace, record, prove=False)
        found = require_usable(report, base)
    except WeightsRefusedError as error:
        return None, Refusal(error.code, error.message, error.hint)
    if found is None:
        return {"checkpointId": checkpoint, "proven": False, "compared": "architecture"}, None
    return {
        "checkpointId": checkpoint,
        "proven": found.proven,
        "compared": "modules",
        "matched": found.matched,
        "unread": found.unread,
    }, None


def _facts(report: WeightsReport) -> dict[str, Any]:
    return {
        "path": str(report.path),
        "bytes": report.bytes,
        "sha256": report.sha256,
        "tensorSha256": report.tensor_sha256,
        "autoV1": report.legacy_hash.upper(),
        "autoV2": report.sha256[:10].upper(),
        "autoV3": report.tensor_sha256[:12].upper(),
        "family": report.family,
        "algorithm": report.algorithm,
        "algorithms": dict(report.algorithms),
        "architecture": report.architecture or None,
        "architectures": list(report.architectures),
        "rank": report.rank,
        "ranks": {str(rank): count for rank, count in report.ranks.items()},
        "alphas": list(report.alphas),
        "modules": len(report.modules),
        "components": report.components,
        "kinds": report.kinds,
        "types": dict(report.types),
        "values": report.values,
        "largest": report.largest,
        "declared": report.declared.to_dict(),
        "metadata": dict(sorted(report.metadata.items())),
        "leaks": list(report.leaks),
        "findings": [one.to_dict() for one in report.findings],
    }


def _norms(report: WeightsReport) -> dict[str, Any]:
    if any(one.code in ("not_finite", "alpha_invalid") for one in report.findings):
        return {"measured": 0, "blocks": []}
    alpha = report.alphas[0] if len(report.alphas) == 1 else None
    norms = module_norms(report.path, report.header, report.modules, alpha)
    return {
        "measured": len(norms),
        "blocks": [
            {
                "part": one.block.part,
                "series": one.block.series,
                "measure": one.measure,
                "number": one.block.number,
                "modules": one.modules,
                "norm": round(one.norm, 6),
            }
            for one in block_norms(norms)
        ],
    }


def _same_releases(
    workspace: Workspace, report: WeightsReport
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the releases that the file is, by all its bytes or by its tensors, and warnings."""
    records, found, warnings = workspace.records, [], []
    for place in [SHARED, *(workspace.scope(one) for one in records.project_ids())]:
        try:
            found += [
                _same_release(lora, release, report)
                for lora in records.all(Lora, place)
                for release in lora.record.releases
                if _is_same(release.weights, report)
            ]
        except RecordError as error:  # a broken record elsewhere says nothing about this file
            warnings.append(f"not compared with every release: {error.message}")
    return found, warnings


def _is_same(weights: Weights | None, report: WeightsReport) -> bool:
    return weights is not None and (
        weights.sha256 == report.sha256 or weights.tensor_sha256 == report.tensor_sha256
    )


def _same_release(lora: Loaded[Lora], release: Release, report: WeightsReport) -> dict[str, Any]:
    whole = release.weights is not None and release.weights.sha256 == report.sha256
    return {
        "loraId": lora.record.id,
        "releaseId": release.id,
        "projectId": lora.scope.project_id,
        "same": "file" if whole else "tensors",
    }


def _other_passport(passport: Passport) -> str:
    named = f"{passport.lora.release_id} of {passport.lora.id}"
    return f"its passport is that of {named}, which had other tensors: it does not belong to it"


def _words(report: WeightsReport) -> str:
    if not report.modules:
        return "no LoRA"
    kind = " or ".join(report.architectures) or "an unknown architecture"
    return f"{report.algorithm} of rank {report.rank or '?'} for {kind}"
