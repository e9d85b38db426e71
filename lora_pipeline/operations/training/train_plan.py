"""Plans that are kept: written into a file, reviewed, and run while nothing has changed."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from lora_pipeline.foundation import files
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.training.train import train
from lora_pipeline.operations.training.train_kept_plan import (
    HEAD,
    kept_plan,
    plan_bytes,
    read_plan,
    wishes_of,
)
from lora_pipeline.operations.training.train_layers import flags_of
from lora_pipeline.operations.training.train_outcome import command_of, planned
from lora_pipeline.operations.training.train_request import Wishes, gather
from lora_pipeline.operations.workspace.output_file import OutputKind, require_output
from lora_pipeline.releases.lookup import ScopeName
from lora_pipeline.training.saved_plan import Difference, SavedPlan, differences
from lora_pipeline.workspace.root import Workspace

_KIND = OutputKind("a plan of training", ".yaml", HEAD)


def save_plan(
    workspace: Workspace,
    lora: str,
    dataset: str = "",
    *,
    output: str,
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
    """Write a plan into a file that people review and ``train.from-plan`` runs later.

    It holds every file that the trainer is given, line by line, with words for the places of
    this machine, so that it reads the same everywhere and shows in a pull request.

    Args:
        workspace: Where the records are.
        lora: Id of the LoRA.
        dataset: Id or path of the manifest; empty for the LoRA's own.
        output: File to write, in the workspace and outside of its records, ending with .yaml.
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
        ArgumentInvalidError, UnsafePathError, StateError: When nothing may be written there.
        PipelineError: As ``plan_training``.
    """
    path, _ = require_output(workspace, output, (_KIND,))
    flags = flags_of(resolution, steps, epochs, rank, alpha, learning_rate, batch_size, seed)
    wishes = Wishes(
        lora, dataset, trainer, preset, config_file, config or {}, flags,
        tuple(trainer_arguments), trainer_config, release, project, scope,
    )  # fmt: skip
    training = gather(workspace, wishes)
    kept = kept_plan(workspace, training)
    told = planned(workspace, training)
    if not workspace.dry_run:
        files.write_atomic(path, plan_bytes(kept))
    shown = workspace.relative(path)
    return replace(
        told,
        data={**told.data, "planFile": shown, "savedPlanDigest": kept.plan_digest},
        reasoning=f"Planned {kept.release_id} of {kept.lora_id} with {kept.trainer}",
        suggestions=(f"lora train --from-plan {shown}",),
        written=[shown],
        dry_run=workspace.dry_run,
    )


def train_from_plan(
    workspace: Workspace,
    plan: str,
    *,
    notes: str = "",
    yes_upload: bool = False,
    detach: bool = False,
    skip_preflight: bool = False,
) -> Result:
    """Run a plan that was kept, when everything is still as it was planned.

    The plan is made again from what was asked for. Where anything differs (a record, a digest,
    the trainer, a preset, a setting, a line of a file), nothing runs and each difference is named.

    Args:
        workspace: Where the records are.
        plan: File that ``train.save-plan`` wrote.
        notes: Kept with the release.
        yes_upload: With a trainer elsewhere: send images and captions there.
        detach: Put the run into the queue and return; ``lora worker`` executes it.
        skip_preflight: Start although disk, memory or GPU look too small.

    Raises:
        FileMissingError: When there is no such file.
        RecordInvalidError: When it is no plan.
        PipelineError: As ``train``.
    """
    kept = read_plan(workspace, plan)
    wishes = wishes_of(workspace, kept)
    found = differences(kept, kept_plan(workspace, gather(workspace, wishes)))
    if found:
        return _outdated(workspace, kept, wishes, plan, found)
    asked = kept.wishes
    return train(
        workspace,
        kept.lora_id,
        kept.dataset_id,
        trainer=wishes.trainer,
        preset=wishes.preset,
        config_file=wishes.config_file,
        config=asked.config,
        **_arguments_of(asked.flags),
        trainer_arguments=asked.trainer_arguments,
        trainer_config=wishes.trainer_config,
        release=kept.release_id,
        notes=notes,
        yes_upload=yes_upload,
        detach=detach,
        skip_preflight=skip_preflight,
        project=wishes.project,
        scope=wishes.scope,
    )


def _arguments_of(flags: Mapping[str, Any]) -> dict[str, Any]:
    named = {"learningRate": "learning_rate", "batchSize": "batch_size"}
    return {named.get(name, name): value for name, value in flags.items()}


def _outdated(
    workspace: Workspace, kept: SavedPlan, wishes: Wishes, name: str, found: list[Difference]
) -> Result:
    shown = "; ".join(one.message for one in found[:2])
    more = f"; and {len(found) - 2} more" if len(found) > 2 else ""
    again = f"{command_of(wishes)} --plan --output {shlex.quote(name)}"
    return Result(
        data={
            "loraId": kept.lora_id,
            "datasetId": kept.dataset_id,
            "planFile": name,
            "plannedAt": kept.created_at,
            "plannedBy": kept.created_by,
            "changes": [one.to_dict() for one in found],
        },
        reasoning=f"{name} is not what would be run now",
        suggestions=(again,),
        dry_run=workspace.dry_run,
        refusal=Refusal(
            "plan_outdated", f"since {name} was made something changed: {shown}{more}", again
        ),
    )
