"""What training is about: the LoRA, the images, the base model, the recipe and the plan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from lora_pipeline.catalog.checkpoints import digest_checkpoint, list_files
from lora_pipeline.catalog.mlx_folder import READER, read_mlx_folder
from lora_pipeline.catalog.records import Checkpoint
from lora_pipeline.catalog.weight_files import place_of_weights, weights_path
from lora_pipeline.datasets.lookup import find_manifest
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.datasets.staging.folder import Staging
from lora_pipeline.datasets.staging.marker import mask_name
from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    DigestMismatchError,
    RecordInvalidError,
    StateError,
)
from lora_pipeline.foundation.ids import require_slug
from lora_pipeline.operations.training.train_layers import recipe_layers
from lora_pipeline.releases.lookup import ScopeName, find_lora
from lora_pipeline.releases.records import Lora
from lora_pipeline.training.plan import (
    CheckpointOnDisk,
    Plan,
    StagedImage,
    TrainingData,
    TrainingRequest,
)
from lora_pipeline.training.recipe import ResolvedRecipe, resolve_recipe
from lora_pipeline.training.runs.folder import run_folder
from lora_pipeline.training.trainers.interface import Trainer
from lora_pipeline.training.trainers.manual import MANUAL
from lora_pipeline.training.trainers.registry import find_trainer
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

# Stands for the run's id in a digest that must be the same for the same plan.
_ANY_RUN = "RUN"


class Wishes(msgspec.Struct, frozen=True):
    """What was asked for, as it was asked.

    Attributes:
        lora: Id of the LoRA.
        dataset: Id or path of the manifest.
        trainer: Name of the trainer; empty for the one of the settings.
        preset: Id of a preset; empty for the one that fits.
        config_file: Recipe in a YAML or JSON file, or empty.
        config: Recipe as a document, or empty.
        flags: Single settings.
        trainer_arguments: Passed to the trainer's program.
        trainer_config: The trainer's own configuration file, or empty.
        release: Id of the new release; empty for the next one.
        project: Project of the LoRA.
        scope: ``baseline`` for the shared LoRA.
        yes_upload: Whether the work may be sent to a service.
    """

    lora: str
    dataset: str
    trainer: str
    preset: str
    config_file: str
    config: Mapping[str, Any]
    flags: Mapping[str, Any]
    trainer_arguments: tuple[str, ...]
    trainer_config: str
    release: str
    project: str | None
    scope: ScopeName
    yes_upload: bool = False


class Training(msgspec.Struct, frozen=True):
    """Everything that a plan is made of.

    Attributes:
        wishes: What was asked for.
        lora: The LoRA.
        manifest: The images and captions.
        checkpoint: The base model's record.
        trainer: The adapter.
        preset: Id of the preset in force, or empty.
        preset_chosen: True when nobody named the preset.
        recipe: The settings in force, with their sources.
        release_id: Id of the release that it brings.
    """

    wishes: Wishes
    lora: Loaded[Lora]
    manifest: Manifest
    checkpoint: Checkpoint
    trainer: Trainer
    preset: str
    preset_chosen: bool
    recipe: ResolvedRecipe
    release_id: str

    @property
    def output_name(self) -> str:
        """File name of the weights, without extension."""
        return f"{self.lora.record_id}-{self.release_id}"


def gather(workspace: Workspace, wishes: Wishes) -> Training:
    """Return what training is about; reads records alone, no image and no model.

    Raises:
        RecordNotFoundError: When LoRA, dataset, checkpoint or preset do not exist.
        RecipeInvalidError: When a setting is unknown or breaks its rule.
        ArgumentInvalidError: When the trainer is unknown or the release id is taken.
    """
    lora = find_lora(workspace, wishes.lora, project=wishes.project, scope=wishes.scope)
    if not wishes.dataset:
        wishes = replace(wishes, dataset=own_dataset(workspace, lora))
    manifest = find_manifest(workspace, lora.scope, wishes.dataset).record
    checkpoint = workspace.records.find(
        Checkpoint, workspace.visible(lora.scope), lora.record.checkpoint_id
    ).record
    trainer = find_trainer(wishes.trainer or workspace.settings.require_text("trainers.default"))
    layers, preset, chosen = recipe_layers(
        workspace, lora.record, checkpoint,
        preset=wishes.preset, config_file=wishes.config_file, config=wishes.config,
        flags=wishes.flags,
    )  # fmt: skip
    return Training(
        wishes=wishes,
        lora=lora,
        manifest=manifest,
        checkpoint=checkpoint,
        trainer=trainer,
        preset=preset,
        preset_chosen=chosen,
        recipe=resolve_recipe(layers),
        release_id=new_release_id(lora.record, wishes.release),
    )


def own_dataset(workspace: Workspace, lora: Loaded[Lora]) -> str:
    """Return the dataset of a LoRA: the one of its name, else that of its newest release.

    Raises:
        ArgumentInvalidError: When it has none.
    """
    name = lora.record_id
    if workspace.records.exists(Manifest, lora.scope, name):
        return name
    for release in reversed(lora.record.releases):
        dataset = release.training.get("datasetId")
        if dataset:
            return str(dataset)
    raise ArgumentInvalidError(
        f"on which dataset? {name} has none of its own",
        hint=f"lora add-images {name} DIR, or --dataset ID (lora dataset list)",
    )


def new_release_id(lora: Lora, wanted: str = "") -> str:
    """Return the id of a new release: the one that is wanted, else r1, r2, ….

    Raises:
        ArgumentInvalidError: When it is no slug or taken.
    """
    taken = {release.id for release in lora.releases}
    if wanted:
        require_slug(wanted, "release")
        if wanted in taken:
            raise ArgumentInvalidError(
                f"{lora.id} has a release {wanted} already",
                hint="leave --release out: releases are never written over",
            )
        return wanted
    numbers = [int(one[1:]) for one in taken if one[:1] == "r" and one[1:].isdecimal()]
    return f"r{max(numbers, default=0) + 1}"


def base_model(workspace: Workspace, checkpoint: Checkpoint, *, prove: bool) -> CheckpointOnDisk:
    """Return the base model as it stands on this machine.

    Args:
        workspace: Its settings say where models stand.
        checkpoint: The record.
        prove: Whether every byte is read and compared; without it nothing needs to be there.

    Raises:
        RecordInvalidError: When the record does not say where the model is.
        FileMissingError, DigestMismatchError: When it is not here, or another one.
    """
    name = f"checkpoint {checkpoint.id}"
    if checkpoint.weights is None:
        raise RecordInvalidError(
            f"{name} does not say where its weights are",
            hint=f"lora checkpoint add {checkpoint.id} --path FOLDER",
        )
    if not prove:
        path = place_of_weights(workspace, checkpoint.weights, name=name)
        return CheckpointOnDisk(
            checkpoint.id, checkpoint.architecture, path, checkpoint.digest,
            _companions(workspace, checkpoint, prove=False),
            _adapter(workspace, checkpoint, prove=False),
        )  # fmt: skip
    path = weights_path(workspace, checkpoint.weights, name=name, check_digest=False)
    digest = digest_checkpoint(list_files(path), workspace.events).digest
    if checkpoint.digest and digest != checkpoint.digest:
        raise DigestMismatchError(
            f"{name} is not the model that was recorded: {digest[:19]}…, "
            f"recorded {checkpoint.digest[:19]}…",
            hint=f"lora checkpoint verify {checkpoint.id}",
        )
    return CheckpointOnDisk(
        checkpoint.id, checkpoint.architecture, path, digest,
        _companions(workspace, checkpoint, prove=True),
        _adapter(workspace, checkpoint, prove=True),
    )  # fmt: skip


def make_plan(
    workspace: Workspace,
    training: Training,
    base: CheckpointOnDisk,
    staging: Staging,
    run_id: str,
    version: str,
) -> Plan:
    """Return the plan of a run.

    Raises:
        RecipeInvalidError: When the recipe asks for what the trainer cannot do.
        StateError: When the base model needs an adapter that the trainer does not load, or
            stands in a format that it does not read.
    """
    _require_adapter_loaded(training)
    _require_readable(training, base)
    request = request_for(workspace, training, staging, base, run_id=run_id)
    return training.trainer.prepare(request, workspace.settings, version)


def request_for(
    workspace: Workspace,
    training: Training,
    staging: Staging,
    base: CheckpointOnDisk,
    *,
    run_id: str = _ANY_RUN,
) -> TrainingRequest:
    """Return all that an adapter may look at."""
    wishes = training.wishes
    return TrainingRequest(
        run_id=run_id,
        lora_id=training.lora.record_id,
        release_id=training.release_id,
        output_name=training.output_name,
        trigger_word=training.lora.record.trigger_word,
        checkpoint=base,
        data=training_data(staging),
        recipe=training.recipe.recipe,
        run_folder=run_folder(workspace, run_id),
        extra_arguments=wishes.trainer_arguments,
        config_file=Path(wishes.trainer_config).absolute() if wishes.trainer_config else None,
    )


def plan_digest(
    workspace: Workspace,
    training: Training,
    base: CheckpointOnDisk,
    staging: Staging,
    version: str,
) -> str:
    """Return the digest of a plan without its run: the same plan again has the same."""
    plan = make_plan(workspace, training, base, staging, _ANY_RUN, version)
    return digest_of(
        {
            "plan": plan.to_dict(),
            "manifestHash": training.manifest.content_hash,
            "checkpointDigest": base.digest,
            "recipe": training.recipe.recipe.to_dict(),
        }
    )


def training_data(staging: Staging) -> TrainingData:
    """Return a staging as adapters see it."""
    return TrainingData(
        dataset_id=staging.dataset_id,
        manifest_hash=staging.manifest_hash,
        folder=staging.folder,
        images=tuple(
            StagedImage(
                one.name, one.caption, one.repeats, one.width, one.height,
                mask_name(one.name) if staging.masked else "",
            )
            for one in staging.images
        ),
    )  # fmt: skip


def _companions(workspace: Workspace, checkpoint: Checkpoint, *, prove: bool) -> dict[str, Path]:
    find = weights_path if prove else place_of_weights
    return {
        name: find(workspace, weights, name=f"{name} of {checkpoint.id}")
        for name, weights in checkpoint.companions.items()
    }


def _adapter(workspace: Workspace, checkpoint: Checkpoint, *, prove: bool) -> Path | None:
    adapter = checkpoint.training_adapter
    if adapter is None:
        return None
    find = weights_path if prove else place_of_weights
    return find(workspace, adapter.weights, name=f"the training adapter of {checkpoint.id}")


def _require_adapter_loaded(training: Training) -> None:
    adapter = training.checkpoint.training_adapter
    if adapter is not None and adapter.required and not training.trainer.loads_adapters:
        raise StateError(
            f"checkpoint {training.checkpoint.id} is distilled: it must be trained with an "
            f"adapter, and {training.trainer.name} loads none",
            hint="--trainer ai_toolkit, or train on the model that it was distilled from",
        )


def _require_readable(training: Training, base: CheckpointOnDisk) -> None:
    if training.trainer.name in {READER, MANUAL.name}:
        return
    mlx = read_mlx_folder(base.path)
    if mlx is not None:
        raise StateError(
            f"checkpoint {base.checkpoint_id} was {mlx.words}",
            hint="--trainer mflux, or a checkpoint that is a diffusers folder or one file",
        )
