"""Weight files: look into one, and take out of its header what should not leave the studio."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from lora_pipeline.catalog.records import Checkpoint
from lora_pipeline.foundation.errors import ArgumentInvalidError, WeightsRefusedError
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.train_request import base_model
from lora_pipeline.training.weights import WeightsReport, inspect_weights, require_usable
from lora_pipeline.training.weights_metadata import scrub
from lora_pipeline.workspace.root import Workspace


def inspect_weights_file(
    workspace: Workspace, path: str, *, checkpoint: str = "", project: str | None = None
) -> Result:
    """Look into a LoRA's weights: what they are, what they fit, and what their header tells.

    Reads the whole file; nothing in it is trusted, and nothing of torch is needed.

    Args:
        workspace: Where the checkpoint's record is.
        path: The safetensors file.
        checkpoint: A base model that the weights should fit.
        project: Project of the checkpoint; else the one in use.

    Raises:
        FileMissingError: When the file cannot be read.
        WeightsRefusedError: When it is no sound safetensors file.
        RecordNotFoundError: When the checkpoint does not exist.
    """
    report = inspect_weights(Path(path).expanduser())
    fit, refusal = _fit(workspace, report, checkpoint, project)
    return Result(
        data={**_facts(report), "fit": fit},
        reasoning=f"{report.path.name}: {_words(report)}",
        warnings=report.notes,
        suggestions=(f"lora weights scrub {path}",) if report.leaks else (),
        refusal=refusal,
    )


def scrub_weights(workspace: Workspace, path: str, *, output: str = "") -> Result:
    """Write a copy of a weights file without the metadata that leaks.

    Captions, folders, comments and pictures of the studio go; the tensors stay the same, which
    is proven by reading both files. The original is not touched.

    Args:
        workspace: Only tells whether this is a dry run.
        path: The safetensors file.
        output: The copy; else ``<name>-scrubbed.safetensors`` beside it.

    Raises:
        FileMissingError: When the file cannot be read.
        WeightsRefusedError: When it is no sound safetensors file.
        ArgumentInvalidError: When the copy would be written over something.
        IntegrityError: When the copy is not the same; it is removed then.
    """
    source = Path(path).expanduser()
    target = Path(output).expanduser() if output else source.with_stem(f"{source.stem}-scrubbed")
    if target.exists():
        raise ArgumentInvalidError(
            f"{target} exists already", hint="--output ANOTHER; nothing is written over"
        )
    report = inspect_weights(source)
    data: dict[str, Any] = {
        "path": str(source),
        "output": str(target),
        "removed": list(report.leaks),
        "tensorSha256": report.tensor_sha256,
        "sha256Before": report.sha256,
    }
    if not report.leaks:
        return Result(
            data={**data, "output": None, "sha256": report.sha256},
            reasoning=f"{source.name} tells nothing that leaks; no copy was made",
            dry_run=workspace.dry_run,
        )
    if workspace.dry_run:
        return Result(
            data=data,
            reasoning=f"Would leave {len(report.leaks)} texts out of a copy of {source.name}",
            dry_run=True,
        )
    scrub(source, target)
    after = inspect_weights(target)
    return Result(
        data={**data, "sha256": after.sha256},
        reasoning=f"Left {len(report.leaks)} texts out of {target.name}; the same tensors",
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
        "autoV2": report.sha256[:10].upper(),
        "autoV3": report.tensor_sha256[:12].upper(),
        "family": report.family,
        "algorithm": report.algorithm,
        "architecture": report.architecture or None,
        "architectures": list(report.architectures),
        "rank": report.rank,
        "ranks": {str(rank): count for rank, count in report.ranks.items()},
        "alphas": list(report.alphas),
        "modules": len(report.modules),
        "components": report.components,
        "types": dict(report.types),
        "values": report.values,
        "largest": report.largest,
        "metadata": dict(sorted(report.metadata.items())),
        "leaks": list(report.leaks),
        "problems": [{"rule": one.rule, "message": one.message} for one in report.problems],
    }


def _words(report: WeightsReport) -> str:
    if not report.modules:
        return "no LoRA"
    kind = " or ".join(report.architectures) or "an unknown architecture"
    return f"{report.algorithm} of rank {report.rank or '?'} for {kind}"
