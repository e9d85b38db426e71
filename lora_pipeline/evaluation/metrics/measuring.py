"""Measure a whole grid: what needs no model always, what needs one where it is there.

A value that could not be computed is absent and named with its reason: nobody may take its
absence for a pass.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from lora_pipeline.evaluation.effect import effect_alone
from lora_pipeline.evaluation.metrics.pictures import (
    Picture,
    Pictures,
    measure_pictures,
    method,
)
from lora_pipeline.evaluation.metrics.training_images import NoTrainingImages, TrainingImages
from lora_pipeline.evaluation.metrics.with_models import ModelMeasures
from lora_pipeline.evaluation.metrics.without_models import (
    WITH_TRAINING,
    Found,
    among_cells,
    with_training,
)
from lora_pipeline.evaluation.records import Cell, Evaluation, EvaluationMetrics
from lora_pipeline.foundation.errors import FileMissingError, ImageRefusedError
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import ObjectStore, open_store

Training = TrainingImages | NoTrainingImages
_WHITE = "#FFFFFF"


def measure_grid(workspace: Workspace, record: Evaluation, training: Training) -> EvaluationMetrics:
    """Return everything that can be measured on a complete grid, its effect as it was.

    Raises:
        FileMissingError, DigestMismatchError: When a cell's picture is not in the store.
        ImageRefusedError: When it is none any more.
    """
    store = open_store(workspace)
    pictures = _pictures(workspace, record, store, training)
    training = _all_there(training, pictures)
    found = among_cells(record, pictures)
    if isinstance(training, NoTrainingImages):
        found.not_proven |= dict.fromkeys(WITH_TRAINING, training.reason)
    else:
        _take(found, with_training(record, pictures, training.items))
        found.values |= {
            "manifest_hash": training.manifest_hash,
            "training_images": len(training.items),
        }
    _take(found, ModelMeasures(workspace, record, store, training).measure())
    found.values |= {"method": method(), "not_proven": dict(sorted(found.not_proven.items()))}
    return msgspec.structs.replace(
        effect_alone(record.metrics or EvaluationMetrics()), **found.values
    )


def _take(found: Found, other: Found) -> None:
    found.values |= other.values
    found.not_proven |= other.not_proven


def _pictures(
    workspace: Workspace, record: Evaluation, store: ObjectStore, training: Training
) -> Pictures:
    cells = [one for one in record.cells if one.status == "done"]
    wanted = [_picture_of(store, cell) for cell in cells]
    background = _WHITE
    if isinstance(training, TrainingImages):
        background = training.background
        wanted += [_trained(training, place) for place in range(len(training.items))]
    pictures = measure_pictures(workspace, wanted, background=background)
    for cell in cells:
        if cell.image_sha256 in pictures.lost:
            store.open_path(cell.image_sha256)
            raise ImageRefusedError(pictures.lost[cell.image_sha256])
    return pictures


def _picture_of(store: ObjectStore, cell: Cell) -> Picture:
    name = f"{cell.prompt_id} seed {cell.seed} at {cell.strength:g}"
    return Picture(cell.image_sha256, name, lambda: store.open_path(cell.image_sha256))


def _trained(training: TrainingImages, place: int) -> Picture:
    item = training.items[place]

    def get() -> Path | bytes:
        data = training.read(item)
        if isinstance(data, str):
            raise FileMissingError(f"{item.path}: {data}")
        return data

    return Picture(item.sha256, item.path, get)


def _all_there(training: Training, pictures: Pictures) -> Training:
    """Return the training images when every one was measured: part of them proves nothing."""
    if isinstance(training, NoTrainingImages):
        return training
    lost = [pictures.lost[one.sha256] for one in training.items if one.sha256 in pictures.lost]
    if not lost:
        return training
    count = len(training.items)
    return NoTrainingImages(f"{len(lost)} of {count} training images cannot be read: {lost[0]}")
