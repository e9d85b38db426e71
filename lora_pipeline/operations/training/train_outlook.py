"""What is to be expected of a training: length, minutes, sizes, and what a careful person asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from lora_pipeline.catalog.catalogs import read_vocabulary
from lora_pipeline.datasets.captions.tokens import Reading
from lora_pipeline.datasets.staging.folder import Staging
from lora_pipeline.operations.datasets.caption_target import target_of
from lora_pipeline.operations.training.train_request import Training, request_for, training_data
from lora_pipeline.training.cautions import Caution, Subject, trainer_notes
from lora_pipeline.training.estimates import (
    Duration,
    Estimate,
    PastRun,
    duration_of,
    estimate,
    weights_size,
)
from lora_pipeline.training.plan import CheckpointOnDisk, Plan
from lora_pipeline.training.records import Run
from lora_pipeline.training.runs.folder import is_here
from lora_pipeline.training.trainers.interface import LimitsCaptions
from lora_pipeline.workspace.root import Workspace


class Outlook(msgspec.Struct, frozen=True):
    """What is to be expected of a plan.

    Attributes:
        estimate: Length, and what is unusual.
        cautions: What is unusual, and what the trainer says of its plan.
        minutes: About how long it takes.
        sizes: Bytes of what is read and written, JSON-ready; None where nothing tells.
    """

    estimate: Estimate
    cautions: tuple[Caution, ...]
    minutes: Duration
    sizes: dict[str, Any]


def look_ahead(workspace: Workspace, training: Training, staging: Staging) -> Estimate:
    """Return how long training will be and what is unusual about it."""
    record = training.lora.record
    types = read_vocabulary(workspace, training.lora.scope).asset_types
    counts = next((types[one].image_counts for one in record.asset_types if one in types), None)
    held_out = sum(one.split != "train" for one in training.manifest.items)
    return estimate(
        Subject(
            recipe=training.recipe.recipe,
            data=training_data(staging),
            trigger_word=record.trigger_word,
            license=training.checkpoint.license,
            recommended=(counts.recommended_from, counts.recommended_to) if counts else None,
            native_resolution=training.checkpoint.native_resolution,
            asset_types=record.asset_types,
            held_out=held_out,
        )
    )


def outlook_of(
    workspace: Workspace,
    training: Training,
    staging: Staging,
    plan: Plan,
    base: CheckpointOnDisk,
) -> Outlook:
    """Return what is to be expected of a plan; reads records and sizes of files alone."""
    found = look_ahead(workspace, training, staging)
    past = list(_past_runs(workspace, training))
    recipe = training.recipe.recipe
    problem = training.trainer.health(workspace.settings)
    missing = (
        [Caution("trainer_missing", f"{plan.trainer} cannot run here: {problem.message}")]
        if problem
        else []
    )
    cautions = (
        *missing,
        *found.cautions,
        *cut_captions(workspace, training, staging, plan, base),
        *trainer_notes(plan.warnings),
    )
    return Outlook(
        estimate=found,
        cautions=tuple(dict.fromkeys(cautions)),
        minutes=duration_of(recipe, plan.total_steps, past),
        sizes={
            "imageBytes": sum(one.bytes for one in training.manifest.items if one.split == "train"),
            "megapixels": round(sum(one.width * one.height for one in staging.images) / 1e6, 1),
            "planBytes": sum(len(file.content.encode()) for file in plan.files),
            "checkpointBytes": _bytes_below(base.path),
            "weightsBytes": weights_size(recipe, past),
            "checkpointsKept": _kept(training, plan),
        },
    )


def cut_captions(
    workspace: Workspace,
    training: Training,
    staging: Staging,
    plan: Plan,
    base: CheckpointOnDisk,
) -> list[Caution]:
    """Return whether this trainer cuts captions, counted with the tokenizers that are here."""
    trainer = training.trainer
    reach = (
        trainer.caption_reach(request_for(workspace, training, staging, base), plan)
        if isinstance(trainer, LimitsCaptions)
        else None
    )
    target = target_of(workspace, training.lora.scope, training.checkpoint.id)
    if not target.known:
        return []
    texts = [image.caption for image in staging.images]
    leading = [one for one in replace(target, reads=reach).read(texts) if one.encoder.leads]
    longest = [max(counts) for counts in zip(*(one.counts for one in leading), strict=True)]
    reads = min(one.encoder.reads for one in leading)
    over = sum(count > reads for count in longest)
    if not over:
        return []
    names = " and ".join(one.encoder.name for one in leading)
    verb = "read" if len(leading) > 1 else "reads"
    return [
        Caution(
            "captions_cut",
            f"{over} of {len(texts)} captions are longer than the {reads} tokens that {names} "
            f"{verb} with {plan.trainer}; the longest has {_about(leading)}{max(longest)}, "
            "and the rest of it is not learnt",
        )
    ]


def _about(readings: list[Reading]) -> str:
    return "" if all(one.exact for one in readings) else "about "


def _past_runs(workspace: Workspace, training: Training) -> Iterator[PastRun]:
    """Yield runs of the same trainer on the same base model that came to their end."""
    for loaded in workspace.records.all(Run, training.lora.scope):
        run = loaded.record
        same = run.trainer == training.trainer.name and run.checkpoint_id == training.checkpoint.id
        if same and run.state == "ready":
            final = next((one for one in run.outputs if one.step is None), None)
            yield PastRun(
                seconds=run.duration_seconds,
                steps=run.steps_done,
                recipe=run.recipe,
                weights_bytes=final.bytes if final else 0,
                here=is_here(workspace, run.id),
            )


def _kept(training: Training, plan: Plan) -> int:
    every = training.recipe.recipe.save_every
    return (plan.total_steps - 1) // every if every else 0


def _bytes_below(path: Path) -> int | None:
    try:
        if path.is_file():
            return path.stat().st_size
        sizes = [one.stat().st_size for one in path.rglob("*") if one.is_file()]
    except OSError:
        return None
    return sum(sizes) if sizes else None
