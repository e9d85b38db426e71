"""Add, list, show and verify base models."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from lora_pipeline.catalog.architecture import (
    architecture_of_folder,
    architecture_of_mlx,
    architecture_of_tensors,
    resolution_of_folder,
    usual_resolution,
)
from lora_pipeline.catalog.catalogs import read_vocabulary
from lora_pipeline.catalog.checkpoints import (
    CheckpointFiles,
    companion_of,
    digest_checkpoint,
    list_files,
    read_config,
    reference_to,
)
from lora_pipeline.catalog.records import (
    Checkpoint,
    CheckpointLicense,
    TrainingAdapter,
    Weights,
)
from lora_pipeline.catalog.weight_files import weights_path
from lora_pipeline.foundation.canonical import short
from lora_pipeline.foundation.digests import sha256_of_file
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    PipelineError,
    RecordExistsError,
    RecordInvalidError,
    RecordNotFoundError,
)
from lora_pipeline.foundation.ids import did_you_mean, require_slug
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.training.weights.file import read_header
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.root import Workspace


def add_checkpoint(
    workspace: Workspace,
    checkpoint_id: str,
    *,
    path: str,
    name: str = "",
    architecture: str = "",
    asset_types: tuple[str, ...] = (),
    license: str = "",  # noqa: A002 - the record's own word
    license_url: str = "",
    commercial_loras: Literal["yes", "no", "unknown"] = "unknown",
    companions: tuple[str, ...] = (),
    vae: str = "",
    training_adapter: str = "",
    resolution: int = 0,
    notes: str = "",
    project: str | None = None,
    scope: Literal["project", "baseline"] = "project",
) -> Result:
    """Add a base model: its bytes are named by a digest, its architecture is looked up.

    The model stays where it is.

    Args:
        workspace: Where the record goes.
        checkpoint_id: Its id, a slug.
        path: A safetensors file, a diffusers folder, or one that mflux-save wrote.
        name: Its name for people.
        architecture: ``sd15``, ``sdxl``, ``flux1``, …; needed when the files do not tell it.
        asset_types: Asset types that it draws; all of the catalog when none is given.
        license: Licence of the model.
        license_url: Where the licence can be read.
        commercial_loras: Whether LoRAs made from it may be used commercially.
        companions: Further model files, each ``NAME=PATH``.
        vae: A VAE that takes the place of its own.
        training_adapter: A LoRA that must be loaded while training on it.
        resolution: Side length in pixels that it was trained at.
        notes: Anything worth keeping.
        project: The project.
        scope: ``baseline`` for a model that all projects share.

    Raises:
        FileMissingError: When there is nothing at a path.
        WeightsRefusedError: When it is no model that is read.
        ArgumentInvalidError: When its architecture must be named.
        RecordExistsError: When there is one of that id.
    """
    require_slug(checkpoint_id, "checkpoint")
    place = workspace.scope(project) if scope == "project" else SHARED
    _require_new(workspace, place, checkpoint_id)
    types = _asset_types(workspace, place, asset_types)
    files = list_files(_located(workspace, path))
    found, side = _looked_up(files)
    if not (architecture or found):
        raise ArgumentInvalidError(
            f"{files.path.name} does not say what architecture it has",
            hint="--architecture sd15, sdxl, flux1, … if you know it",
        )
    known = architecture or found
    digest = digest_checkpoint(files, workspace.events)
    weights = reference_to(workspace, files.path, sha256=digest.sha256, size=digest.bytes)
    now = workspace.now()
    record = Checkpoint(
        id=checkpoint_id,
        name=name.strip() or files.path.stem,
        created_at=now,
        updated_at=now,
        supported_asset_types=types,
        architecture=known,
        digest=digest.digest,
        native_resolution=resolution or side or usual_resolution(known),
        license=(
            CheckpointLicense(id=license, commercial_loras=commercial_loras, url=license_url)
            if license
            else None
        ),
        training_adapter=_adapter(workspace, training_adapter),
        weights=weights,
        vae_weights=_companion(workspace, vae) if vae else None,
        companions={
            key: _companion(workspace, file) for key, file in map(companion_of, companions)
        },
        notes=notes,
    )
    changes = Changes(workspace)
    changes.create(record, place, checkpoint_id)
    return Result(
        data={"checkpoint": record.to_dict(), "scope": place.name, "files": len(files.names)},
        reasoning=f"Added checkpoint {checkpoint_id}, {known}, {short(digest.digest)}",
        warnings=_warnings(record, files, found),
        suggestions=[
            f"lora checkpoint verify {checkpoint_id}",
            f"lora create ID --checkpoint {checkpoint_id} --asset-type {types[0]}",
        ],
        written=changes.apply(),
        dry_run=workspace.dry_run,
    )


def list_checkpoints(workspace: Workspace, *, project: str | None = None) -> Result:
    """List the base models of a project, and those that all projects share.

    Args:
        workspace: Where they are.
        project: The project; only shared ones when there is none yet.

    Raises:
        RecordError: When a record is not valid.
    """
    rows = [
        {
            "id": loaded.record_id,
            "name": loaded.record.name,
            "scope": loaded.scope.name,
            "architecture": loaded.record.architecture,
            "resolution": loaded.record.native_resolution,
            "license": loaded.record.license.id if loaded.record.license else "",
            "commercialLoras": _commercial(loaded.record),
            "digest": loaded.record.digest,
            "assetTypes": list(loaded.record.supported_asset_types),
        }
        for place in _visible(workspace, project)
        for loaded in workspace.records.all(Checkpoint, place)
    ]
    return Result(
        data={"checkpoints": rows},
        reasoning=f"{len(rows)} checkpoints",
        suggestions=[] if rows else ["lora checkpoint add ID --path PATH"],
    )


def show_checkpoint(
    workspace: Workspace, checkpoint_id: str, *, project: str | None = None
) -> Result:
    """Show a base model, and whether it is on this machine.

    Its bytes are not read: ``verify_checkpoint`` does that.

    Args:
        workspace: Where it is.
        checkpoint_id: Its id.
        project: The project.

    Raises:
        RecordNotFoundError: When there is none of that id.
    """
    loaded = workspace.records.find(Checkpoint, _visible(workspace, project), checkpoint_id)
    return Result(
        data={
            "checkpoint": loaded.record.to_dict(),
            "scope": loaded.scope.name,
            "here": _is_here(workspace, loaded.record),
        },
        reasoning=f"Checkpoint {checkpoint_id} is {loaded.record.architecture or 'unknown'}",
        suggestions=[f"lora checkpoint verify {checkpoint_id}"],
    )


def verify_checkpoint(
    workspace: Workspace, checkpoint_id: str, *, project: str | None = None
) -> Result:
    """Read every byte of a base model and compare it with the record.

    Args:
        workspace: Where it is.
        checkpoint_id: Its id.
        project: The project.

    Raises:
        RecordNotFoundError: When there is none of that id.
        RecordInvalidError: When the record names no digest or no weights.
        FileMissingError, SettingsError: When a file is not on this machine.
        DigestMismatchError: When a companion is another file.
    """
    loaded = workspace.records.find(Checkpoint, _visible(workspace, project), checkpoint_id)
    record = loaded.record
    if record.weights is None or not record.digest:
        raise RecordInvalidError(
            f"checkpoint {checkpoint_id} names no digest; there is nothing to compare",
            hint="lora checkpoint add ID --path PATH makes a record that does",
        )
    path = weights_path(workspace, record.weights, name=checkpoint_id, check_digest=False)
    found = digest_checkpoint(list_files(path), workspace.events)
    for key, companion in record.companions.items():
        weights_path(workspace, companion, name=f"{checkpoint_id} {key}")
    if record.vae_weights is not None:
        weights_path(workspace, record.vae_weights, name=f"{checkpoint_id} vae")
    data = {
        "checkpoint": checkpoint_id,
        "path": workspace.relative(path),
        "recorded": record.digest,
        "found": found.digest,
        "bytes": found.bytes,
    }
    if found.digest != record.digest:
        hint = f"restore the model, or lora checkpoint add {checkpoint_id}_2 --path PATH"
        return Result(
            data=data,
            reasoning=f"Checkpoint {checkpoint_id} differs",
            suggestions=[hint],
            refusal=Refusal(
                "checkpoint_differs",
                f"{checkpoint_id} is not the model that was recorded: {short(found.digest)}…, "
                f"recorded {short(record.digest)}…",
                hint,
            ),
        )
    return Result(data=data, reasoning=f"Checkpoint {checkpoint_id} is what was recorded")


def _require_new(workspace: Workspace, place: Scope, checkpoint_id: str) -> None:
    for scope in workspace.visible(place):
        if workspace.records.exists(Checkpoint, scope, checkpoint_id):
            raise RecordExistsError(
                f"checkpoint {checkpoint_id} exists already in {scope}",
                hint=f"lora checkpoint show {checkpoint_id}; other bytes are another checkpoint",
            )


def _asset_types(workspace: Workspace, place: Scope, wanted: tuple[str, ...]) -> tuple[str, ...]:
    known = read_vocabulary(workspace, place).asset_types
    if not wanted and not known:
        raise ArgumentInvalidError(
            "which asset types does it draw?", hint="--asset-type ui_icon, or create a project"
        )
    for asset_type in wanted if known else ():
        if asset_type not in known:
            near = did_you_mean(asset_type, known)
            raise RecordNotFoundError(
                f"no asset type {asset_type!r}",
                hint=f"did you mean {near}?" if near else f"there are: {', '.join(known)}",
            )
    return tuple(dict.fromkeys(wanted)) or tuple(known)


def _located(workspace: Workspace, path: str) -> Path:
    return workspace.root / Path(path).expanduser()


def _looked_up(files: CheckpointFiles) -> tuple[str, int]:
    if not files.is_folder:
        header = read_header(files.path)
        found = architecture_of_tensors((one.name, one.shape) for one in header.tensors)
        return found or "", 0
    if files.mlx is not None:
        return architecture_of_mlx(files.mlx.tensors) or "", 0
    found = architecture_of_folder(
        read_config(files, "model_index.json"), read_config(files, "text_encoder/config.json")
    )
    if found is None:
        return "", 0
    denoiser = read_config(files, "unet/config.json", "transformer/config.json")
    return found, resolution_of_folder(found, denoiser, read_config(files, "vae/config.json"))


def _companion(workspace: Workspace, path: str) -> Weights:
    files = list_files(_located(workspace, path))
    sha256 = "" if files.is_folder else sha256_of_file(files.path)
    size = sum(files.file(name).stat().st_size for name in files.names)
    return reference_to(workspace, files.path, sha256=sha256, size=size)


def _adapter(workspace: Workspace, path: str) -> TrainingAdapter | None:
    return TrainingAdapter(required=True, weights=_companion(workspace, path)) if path else None


def _warnings(record: Checkpoint, files: CheckpointFiles, found: str) -> list[str]:
    warnings = []
    if record.weights is not None and record.weights.kind == "absolute":
        warnings.append(
            "its path means something on this machine only; put it below paths.checkpointsRoot "
            "of config/local.json, and every machine finds its own"
        )
    if record.license is None:
        warnings.append("its licence is not recorded, nor whether its LoRAs may be sold")
    if found and found != record.architecture:
        warnings.append(f"its files look like {found}, not {record.architecture}")
    if files.mlx is not None:
        warnings.append(files.mlx.words)
    if files.ignored:
        warnings.append(f"{', '.join(files.ignored[:3])}: pickled weights that are never read")
    return warnings


def _commercial(record: Checkpoint) -> str:
    return record.license.commercial_loras if record.license else "unknown"


def _visible(workspace: Workspace, project: str | None) -> list[Scope]:
    if project is None and workspace.project is None and not workspace.records.project_ids():
        return [SHARED]
    return workspace.visible(workspace.scope(project))


def _is_here(workspace: Workspace, record: Checkpoint) -> dict[str, Any]:
    if record.weights is None:
        return {"found": False, "why": "the record names no weights"}
    try:
        path = weights_path(workspace, record.weights, name=record.id, check_digest=False)
    except PipelineError as error:
        return {"found": False, "why": error.message}
    return {"found": True, "path": workspace.relative(path)}
