"""Training: what would be done, and doing it."""

from __future__ import annotations

from typing import Any

from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.ids import new_ulid
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.releases.release_register import register_release
from lora_pipeline.operations.training.run_preflight import preflight_refusal
from lora_pipeline.operations.training.run_queue import enqueue_training
from lora_pipeline.operations.training.train_hosted import (
    complete_earlier_jobs,
    require_service,
    work_elsewhere,
)
from lora_pipeline.operations.training.train_layers import flags_of
from lora_pipeline.operations.training.train_outcome import brought, planned, tried
from lora_pipeline.operations.training.train_request import Training, Wishes, gather, make_plan
from lora_pipeline.operations.training.train_run import (
    complete_earlier,
    earlier_runs,
    execute,
    new_run,
)
from lora_pipeline.operations.training.train_sending import cap_refusal
from lora_pipeline.operations.training.train_start import not_done, prove, rights_refusal, start_of
from lora_pipeline.releases.lookup import ScopeName
from lora_pipeline.training.hosted.interface import HostedTrainer
from lora_pipeline.workspace.root import Workspace

MANUAL = "manual"


def plan_training(
    workspace: Workspace,
    lora: str,
    dataset: str = "",
    *,
    trainer: str = "",
    preset: str = "",
    config_file: str = "",
    config: dict[str, Any] | None = None,
    resolution: int | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    rank: int | None = None,
    alpha: float | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    trainer_arguments: tuple[str, ...] = (),
    trainer_config: str = "",
    release: str = "",
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Say what a trainer would be given: files, command, environment and expected output.

    Reads records alone and writes nothing; trainer, images and base model need not be here.

    Args:
        workspace: Where the records are.
        lora: Id of the LoRA.
        dataset: Id or path of the manifest; empty for the LoRA's own.
        trainer: Name of the trainer; empty for the one of the settings.
        preset: Id of a preset; empty for the one that fits the base model.
        config_file: Recipe in a YAML or JSON file; wins over the preset.
        config: Recipe as a document; wins over the file.
        resolution: Width and height, in pixels; like all single settings it wins over the rest.
        steps: Optimiser steps.
        epochs: Passes over the images.
        rank: Rank of the LoRA.
        alpha: Scale times rank.
        learning_rate: Learning rate.
        batch_size: Images in one forward pass.
        seed: Seed of everything random.
        trainer_arguments: Passed to the trainer's program as they are.
        trainer_config: The trainer's own configuration file.
        release: Id of the new release; empty for the next one.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` for the shared LoRA.

    Raises:
        RecordNotFoundError: When LoRA, dataset, checkpoint or preset do not exist.
        RecipeInvalidError: When a setting is unknown, breaks its rule, or the trainer cannot.
        ArgumentInvalidError: When the trainer is unknown or the release id is taken.
        DigestMismatchError: When the manifest was changed by hand.
    """
    flags = flags_of(resolution, steps, epochs, rank, alpha, learning_rate, batch_size, seed)
    wishes = Wishes(
        lora, dataset, trainer, preset, config_file, config or {}, flags,
        tuple(trainer_arguments), trainer_config, release, project, scope,
    )  # fmt: skip
    return planned(workspace, gather(workspace, wishes))


def train(
    workspace: Workspace,
    lora: str,
    dataset: str = "",
    *,
    trainer: str = "",
    preset: str = "",
    config_file: str = "",
    config: dict[str, Any] | None = None,
    resolution: int | None = None,
    steps: int | None = None,
    epochs: int | None = None,
    rank: int | None = None,
    alpha: float | None = None,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    seed: int | None = None,
    trainer_arguments: tuple[str, ...] = (),
    trainer_config: str = "",
    release: str = "",
    weights: str = "",
    notes: str = "",
    yes_upload: bool = False,
    set_active: bool = False,
    detach: bool = False,
    skip_preflight: bool = False,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Train a LoRA from a manifest; what comes out is a candidate release.

    Success is what is verified on disk: the weights parse, are finite and not all zero, and
    fit the base model. Every run is recorded, also one that fails or is stopped.

    Args:
        workspace: Where the records are.
        lora: Id of the LoRA.
        dataset: Id or path of the manifest; empty for the LoRA's own.
        trainer: Name of the trainer; empty for the one of the settings.
        preset: Id of a preset; empty for the one that fits the base model.
        config_file: Recipe in a YAML or JSON file; wins over the preset.
        config: Recipe as a document; wins over the file.
        resolution: Width and height, in pixels; like all single settings it wins over the rest.
        steps: Optimiser steps.
        epochs: Passes over the images.
        rank: Rank of the LoRA.
        alpha: Scale times rank.
        learning_rate: Learning rate.
        batch_size: Images in one forward pass.
        seed: Seed of everything random.
        trainer_arguments: Passed to the trainer's program as they are.
        trainer_config: The trainer's own configuration file.
        release: Id of the new release; empty for the next one.
        weights: With trainer ``manual``: the file that was made elsewhere.
        notes: Kept with the release.
        yes_upload: With a trainer elsewhere: send images and captions there.
        set_active: Refused: only the gate makes a release active.
        detach: Put the run into the queue and return; ``lora worker`` executes it.
        skip_preflight: Start although disk, memory or GPU look too small.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` for the shared LoRA.

    Raises:
        TrainerUnavailableError: When the trainer is not installed here.
        TrainerError: When training brought no usable weights; the run is recorded as failed.
        StateError: When the same plan is being trained already.
        PipelineError: As ``plan_training``, and when images or base model are not here.
    """
    if set_active:
        return _refused_activation(lora)
    flags = flags_of(resolution, steps, epochs, rank, alpha, learning_rate, batch_size, seed)
    chosen = trainer or workspace.settings.require_text("trainers.default")
    if chosen == MANUAL:
        _require_weights(lora, dataset, weights)
        return register_release(
            workspace,
            lora,
            weights,
            dataset=dataset,
            release=release,
            config={**(config or {}), **{k: v for k, v in flags.items() if v is not None}},
            notes=notes,
            project=project,
            scope=scope,
        )
    if weights:
        raise ArgumentInvalidError(
            "weights are only taken by trainer manual",
            hint=f"lora train --lora {lora} --dataset {dataset} --trainer manual --weights FILE",
        )
    wishes = Wishes(
        lora, dataset, trainer, preset, config_file, config or {}, flags,
        tuple(trainer_arguments), trainer_config, release, project, scope, yes_upload,
    )  # fmt: skip
    training = gather(workspace, wishes)
    refusal = rights_refusal(workspace, training)
    if refusal is not None:
        return Result(
            data={"loraId": lora, "datasetId": training.manifest.id},
            reasoning=refusal.message,
            refusal=refusal,
            dry_run=workspace.dry_run,
        )
    if workspace.dry_run:
        return tried(workspace, training)
    if detach:
        return enqueue_training(workspace, training, notes, skip_preflight=skip_preflight)
    return _trained(workspace, training, notes, anyway=skip_preflight)


def _trained(workspace: Workspace, training: Training, notes: str, *, anyway: bool) -> Result:
    # Asked before anything is read or written: who trains stands in the run and the release.
    workspace.require_actor()
    # Made for its refusals, which are to come before every byte of the model is read.
    start = start_of(workspace, training)
    if isinstance(start, Refusal):
        return not_done(workspace, training, start)
    refusal = None if anyway else preflight_refusal(workspace, training, start)
    if refusal is not None:
        return not_done(workspace, training, refusal)
    proven = prove(workspace, training, start)
    trainer, scope = training.trainer, training.lora.scope
    same = earlier_runs(workspace, scope, training.lora.record_id, proven.digest)
    settle = complete_earlier_jobs if isinstance(trainer, HostedTrainer) else complete_earlier
    finished, written = settle(workspace, same, notes)
    if finished is not None:
        return brought(workspace, training, finished, written, resumed=True)
    refusal = cap_refusal(workspace, scope, start.estimate) if start.estimate else None
    if refusal is not None:
        return not_done(workspace, training, refusal)
    run_id = new_ulid()
    plan = make_plan(workspace, training, proven.base, proven.staging, run_id, start.version)
    run = new_run(workspace, training, proven.base, plan, run_id, proven.digest, start.cost)
    work = None
    if isinstance(trainer, HostedTrainer):
        require_service(workspace, trainer)
        work = work_elsewhere(workspace, trainer, scope, proven.base, plan, run)
    finished = execute(
        workspace, training, proven.base, plan, run, notes, elsewhere=work, earlier=same
    )
    return brought(workspace, training, finished, written, resumed=False)


def _require_weights(lora: str, dataset: str, weights: str) -> None:
    if not weights:
        raise ArgumentInvalidError(
            "trainer manual registers weights that were made elsewhere, and none are named",
            hint=f"lora train --lora {lora} --dataset {dataset} --trainer manual --weights FILE",
        )


def _refused_activation(lora: str) -> Result:
    message = "a release becomes active through the gate alone, and a new one was never reviewed"
    return Result(
        data={"loraId": lora},
        reasoning=message,
        refusal=Refusal(
            "gate_refused",
            message,
            "train without --set-active, then lora eval grid, a review, and lora promote",
        ),
    )
