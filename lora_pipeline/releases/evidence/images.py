"""What became of the images of a grid: are they there, unaltered, and do they measure the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lora_pipeline.evaluation.effect import effect_alone
from lora_pipeline.evaluation.effect import measure as measure_cells
from lora_pipeline.evaluation.pixels import is_constant, read_pixels
from lora_pipeline.evaluation.records import Cell, Evaluation
from lora_pipeline.foundation.errors import (
    DigestMismatchError,
    FileMissingError,
    ImageRefusedError,
)
from lora_pipeline.releases.evidence.facts import ImageFacts, Unproven
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import ObjectStore, open_store

if TYPE_CHECKING:
    from lora_pipeline.evaluation.pixels import Pixels


def image_facts(
    workspace: Workspace, evaluation: Evaluation | None, *, measure: bool
) -> ImageFacts | Unproven:
    """Return what became of the images of an evaluation.

    Args:
        workspace: Its store holds them.
        evaluation: Whose images.
        measure: Whether to decode and measure them anew when they are all there.
    """
    if evaluation is None:
        return Unproven("no evaluation")
    store = open_store(workspace)
    missing: list[str] = []
    altered: list[str] = []
    for cell in evaluation.cells:
        try:
            if cell.status == "done":
                store.open_path(cell.image_sha256)
        except FileMissingError:
            missing.append(_name(cell))
        except DigestMismatchError:
            altered.append(_name(cell))
    mismeasured: tuple[str, ...] = ()
    if measure and not missing and not altered and evaluation.metrics:
        mismeasured = tuple(_mismeasured(store, evaluation))
    return ImageFacts(tuple(missing), tuple(altered), mismeasured)


def _mismeasured(store: ObjectStore, evaluation: Evaluation) -> list[str]:
    if evaluation.suite is None:
        return []
    constant: list[str] = []

    def load(cell: Cell) -> Pixels:
        path = store.path(cell.image_sha256)
        pixels = read_pixels(path, width=cell.width, height=cell.height)
        if is_constant(pixels):
            constant.append(f"{_name(cell)} shows one colour only")
        return pixels

    try:
        cells, metrics = measure_cells(evaluation.suite, evaluation.cells, load)
    except ImageRefusedError as error:
        return [error.message]
    differing = [
        f"{_name(new)} has an effect of {new.effect}, recorded {old.effect}"
        for old, new in zip(evaluation.cells, cells, strict=True)
        if old.effect != new.effect
    ]
    if not differing and evaluation.metrics and metrics != effect_alone(evaluation.metrics):
        differing = ["the whole grid"]
    return constant + differing


def _name(cell: Cell) -> str:
    return f"{cell.prompt_id} seed {cell.seed} at {cell.strength:g}"
