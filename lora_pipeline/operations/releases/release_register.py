"""Releases come into being here: trained by us, or made elsewhere and registered.

Both ways the weights pass the same checks, and the bytes are in the store before a record
names them. A new release is a candidate; only the gate makes it more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from lora_pipeline.catalog.records import Checkpoint, Weights
from lora_pipeline.datasets.lookup import find_manifest
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    DigestMismatchError,
    FileMissingError,
    RecordConflictError,
    RecordInvalidError,
    SettingsError,
    WeightsRefusedError,
)
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.training.train_request import base_model, new_release_id
from lora_pipeline.releases.lookup import ScopeName, find_lora
from lora_pipeline.releases.records import Lora, Release
from lora_pipeline.training.plan import CheckpointOnDisk
from lora_pipeline.training.recipe import Layer, resolve_recipe
from lora_pipeline.training.records import Run
from lora_pipeline.training.weights.declared import declared_by
from lora_pipeline.training.weights.inspection import WeightsReport, inspect_weights, require_usable
from lora_pipeline.training.weights.metadata import kept_texts
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import open_store

_ATTEMPTS = 5
MANUAL = "manual"


class Registration(msgspec.Struct, frozen=True):
    """What is wanted of weights that were made elsewhere; as ``register_release`` takes it."""

    lora: str
    dataset: str = ""
    release: str = ""
    config: Mapping[str, Any] | None = None
    notes: str = ""
    sha256: str = ""
    source: str = ""
    project: str | None = None
    scope: ScopeName = "project"


def register_release(
    workspace: Workspace,
    lora: str,
    weights: str,
    *,
    dataset: str = "",
    release: str = "",
    config: dict[str, Any] | None = None,
    notes: str = "",
    sha256: str = "",
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Register weights that were made elsewhere as a new candidate release.

    The file is read whole: it must be a sound safetensors file, finite, not all zero, and fit
    the LoRA's base model. Its bytes go into the store; the file itself stays where it is.

    Args:
        workspace: Where the LoRA is.
        lora: Id of the LoRA.
        weights: The safetensors file.
        dataset: The manifest that it was trained on; without one the gate cannot pass.
        release: Id of the release; empty for the next one.
        config: The recipe that it was trained with, as far as it is known.
        notes: Anything worth keeping.
        sha256: The digest that the file must have, when its maker told it.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` for the shared LoRA.

    Raises:
        RecordNotFoundError: When LoRA, dataset or checkpoint do not exist.
        WeightsRefusedError: When the file is no LoRA that can be used, or fits another model.
        DigestMismatchError: When it has another digest than its maker told.
        ArgumentInvalidError: When the release id is taken, or an address is given.
        SettingsError: When nobody is known to act.
    """
    if "://" in weights:
        raise ArgumentInvalidError(
            "an address is no file, and what stands there is fetched only when a person says so",
            hint="lora release register LORA ADDRESS, or download it first",
        )
    wanted = Registration(lora, dataset, release, config, notes, sha256, "", project, scope)
    return register_file(workspace, Path(weights).expanduser(), wanted)


def register_file(workspace: Workspace, path: Path, wanted: Registration) -> Result:
    """Register a file of this machine; as ``register_release``.

    Raises:
        PipelineError: As ``register_release``.
    """
    loaded = find_lora(workspace, wanted.lora, project=wanted.project, scope=wanted.scope)
    lora = loaded.record
    release_id = new_release_id(lora, wanted.release)
    expected = wanted_digest(wanted.sha256)
    actor = workspace.require_actor()
    base, warnings = _base(workspace, loaded)
    report = checked_weights(path, base)
    _require_digest(report, expected)
    training: dict[str, Any] = {
        "trainer": MANUAL,
        "checkpointId": base.checkpoint_id,
        "checkpointDigest": base.digest,
        "inspection": _seen(report),
    }
    if wanted.source:
        training["source"] = wanted.source
    if wanted.config:
        training["recipe"] = _declared(wanted.config)
    if wanted.dataset:
        manifest = find_manifest(workspace, loaded.scope, wanted.dataset).record
        training |= {"datasetId": manifest.id, "manifestHash": manifest.content_hash}
    else:
        warnings.append("no dataset is named: the gate cannot tell what it was trained on")
    made = new_release(workspace, lora, report, release_id, training, actor, wanted.notes)
    if not workspace.dry_run:
        keep_bytes(workspace, report)
    changes = Changes(workspace)
    changes.update(loaded, with_release(lora, made))
    return Result(
        data={"loraId": lora.id, "releaseId": release_id, "release": made.to_dict(),
              **weights_facts(report)},
        reasoning=f"Registered {path.name} as {release_id} of {lora.id}",
        warnings=[*warnings, *_claims(lora, report), *_duplicates(lora, report), *_leaks(report)],
        suggestions=(
            f"lora eval grid {lora.id} {release_id}", f"lora release show {lora.id} {release_id}",
        ),
        written=changes.apply(),
        dry_run=workspace.dry_run,
    )  # fmt: skip


def wanted_digest(text: str) -> str:
    """Return the SHA-256 that somebody typed, or nothing.

    Raises:
        ArgumentInvalidError: When it is none.
    """
    digest = text.strip().lower().removeprefix("sha256:")
    if digest and not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise ArgumentInvalidError(
            f"{text!r} is no SHA-256: it has 64 hexadecimal digits",
            hint="AutoV2 and the like are shortened; ask for the whole digest",
        )
    return digest


def checked_weights(path: Path, base: CheckpointOnDisk) -> WeightsReport:
    """Return what weights are, after every check that a release must pass.

    Raises:
        FileMissingError: When the file cannot be read.
        WeightsRefusedError: When it cannot become a release of a LoRA of that base model.
    """
    if path.is_dir():
        raise FileMissingError(f"{path} is a folder", hint="name the safetensors file in it")
    require_name(path)
    report = inspect_weights(path)
    require_usable(report, base)
    return report


def require_name(path: Path) -> None:
    """Check that a file is not a pickle by its name.

    Raises:
        WeightsRefusedError: When it is; it is never opened.
    """
    if path.suffix.lower() in {".ckpt", ".pt", ".pth", ".bin", ".pkl"}:
        raise WeightsRefusedError(
            f"{path.name} is a pickle by its name, which can run code when it is read",
            rule="pickle",
            hint="convert it to safetensors",
        )


def keep_bytes(workspace: Workspace, report: WeightsReport) -> None:
    """Put verified weights into the store, before any record names them.

    Raises:
        DigestMismatchError: When the file changed since it was verified.
    """
    sha256 = open_store(workspace).put_file(report.path)
    if sha256 != report.sha256:
        raise WeightsRefusedError(
            f"{report.path.name} changed while it was registered", hint="register it again"
        )


def new_release(
    workspace: Workspace,
    lora: Lora,
    report: WeightsReport,
    release_id: str,
    training: Mapping[str, Any],
    actor: str,
    notes: str,
) -> Release:
    """Return the record of a new candidate."""
    return Release(
        id=release_id,
        created_at=workspace.now(),
        created_by=actor,
        status="candidate",
        weights=Weights(
            kind="store",
            sha256=report.sha256,
            tensor_sha256=report.tensor_sha256,
            bytes=report.bytes,
        ),
        training=dict(training),
        notes=notes,
        parent_release_id=lora.active_release_id or _newest(lora),
    )


def with_release(lora: Lora, release: Release) -> Lora:
    """Return a LoRA with one release more."""
    return replace(lora, releases=(*lora.releases, release), updated_at=release.created_at)


def add_trained_release(
    workspace: Workspace, run: Loaded[Run], ready: Run, release: Release
) -> tuple[list[str], str]:
    """Write a run that is ready and its release; the run first, the release that counts last.

    Others may have changed the LoRA while training went on for hours; its record is read anew,
    and a release id that was taken meanwhile is replaced by the next one.

    Returns:
        What was written, and the id that the release has.

    Raises:
        RecordConflictError: When the records keep changing.
        RecordNotFoundError: When the LoRA was deleted.
    """
    for attempt in range(_ATTEMPTS):
        lora = workspace.records.read(Lora, run.scope, ready.lora_id)
        release_id = release.id
        if lora.record.release(release_id) is not None:
            release_id = new_release_id(lora.record)
        changes = Changes(workspace)
        changes.update(run, replace(ready, release_id=release_id))
        changes.update(lora, with_release(lora.record, replace(release, id=release_id)))
        try:
            return changes.apply(), release_id
        except RecordConflictError:
            if attempt == _ATTEMPTS - 1:
                raise
    raise AssertionError("unreachable")


def weights_facts(report: WeightsReport) -> dict[str, Any]:
    """Return what a result says of weights."""
    return {
        "weights": {
            "sha256": report.sha256,
            "tensorSha256": report.tensor_sha256,
            "bytes": report.bytes,
            "rank": report.rank,
            "modules": len(report.modules),
        }
    }


def _base(workspace: Workspace, lora: Loaded[Lora]) -> tuple[CheckpointOnDisk, list[str]]:
    checkpoint = workspace.records.find(
        Checkpoint, workspace.visible(lora.scope), lora.record.checkpoint_id
    ).record
    # Distilled models are no obstacle here: the weights were trained elsewhere.
    checkpoint = replace(checkpoint, training_adapter=None)
    try:
        base = base_model(workspace, checkpoint, prove=False)
    except (FileMissingError, SettingsError, RecordInvalidError):
        nowhere = workspace.runtime / "nowhere"
        base = CheckpointOnDisk(checkpoint.id, checkpoint.architecture, nowhere, checkpoint.digest)
    if base.path.exists():
        return base, []
    words = f"{checkpoint.id} is not on this machine: only its architecture was compared"
    return base, [words]


def _declared(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the recipe that somebody says the weights were made with, checked."""
    known = {"steps": 1} if not {"steps", "epochs"} & set(config) else {}
    document = resolve_recipe([Layer("--config", {**known, **config})])
    return {name: value for name, value in document.recipe.to_dict().items()
            if document.sources[name] != "default" and name not in known}  # fmt: skip


def _require_digest(report: WeightsReport, expected: str) -> None:
    if expected and report.sha256 != expected:
        same = report.tensor_sha256 == expected
        raise DigestMismatchError(
            f"{report.path.name} has sha256 {report.sha256}, expected {expected}",
            hint="that is the digest of its tensors, not of the file"
            if same
            else "get the file again, or ask its maker for the digest",
        )


def _seen(report: WeightsReport) -> dict[str, Any]:
    """Return what the bytes tell of weights, and apart from it what their header claims."""
    claims = declared_by(kept_texts(report.metadata)).to_dict()
    return {
        "algorithms": dict(report.algorithms),
        "family": report.family,
        "architectures": list(report.architectures),
        "ranks": {str(rank): count for rank, count in report.ranks.items()},
        "alphas": list(report.alphas),
        "components": report.components,
        "types": dict(report.types),
        **({"claims": claims} if claims else {}),
    }


def _claims(lora: Lora, report: WeightsReport) -> list[str]:
    """Return what a header claims otherwise than bytes and record say."""
    told = [one.message for one in report.findings if one.code.endswith("_differs")]
    trigger = report.declared.trigger
    if trigger and lora.trigger_word and trigger != lora.trigger_word:
        words = f"its header names the trigger {trigger}, the LoRA's is {lora.trigger_word}"
        told.append(words)
    return told


def _duplicates(lora: Lora, report: WeightsReport) -> list[str]:
    return [
        f"{release.id} has the very same weights"
        for release in lora.releases
        if release.weights is not None
        and (
            release.weights.sha256 == report.sha256
            or (report.tensor_sha256 and release.weights.tensor_sha256 == report.tensor_sha256)
        )
    ]


def _leaks(report: WeightsReport) -> list[str]:
    if not report.leaks:
        return []
    shown = ", ".join(report.leaks[:3])
    return [f"its metadata tells what a studio keeps to itself ({shown}): lora weights scrub"]


def _newest(lora: Lora) -> str:
    return lora.releases[-1].id if lora.releases else ""
