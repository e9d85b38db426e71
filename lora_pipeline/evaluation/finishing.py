"""After the last cell: measure, draw the contact sheet, and close the evaluation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from lora_pipeline.evaluation.effect import measure
from lora_pipeline.evaluation.grid import BASE, missing_cells, result_digest
from lora_pipeline.evaluation.metrics.words import described
from lora_pipeline.evaluation.pixels import read_pixels
from lora_pipeline.evaluation.records import Cell, Evaluation, EvaluationMetrics
from lora_pipeline.evaluation.sheet import SheetHeader, draw_sheet
from lora_pipeline.evaluation.sheet_layout import is_enlarged, page_count
from lora_pipeline.foundation.canonical import digest_of_bytes, short
from lora_pipeline.foundation.drawing import encode_png, encode_webp
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    FileMissingError,
    RecordInvalidError,
)
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import ObjectStore, open_store

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lora_pipeline.evaluation.metrics.measuring import Training

    Pixels = NDArray[np.uint8]

_KEPT_BYTES = 64 * 1024 * 1024
# What a person who looks at the pictures should look for.
_ON_THE_SHEET = frozenset({"lookAlike", "copies"})


class Finished(msgspec.Struct, frozen=True):
    """What closing an evaluation wrote.

    Attributes:
        loaded: The record as it then stands.
        written: Paths, relative to the workspace.
    """

    loaded: Loaded[Evaluation]
    written: tuple[str, ...]


def finish_evaluation(
    workspace: Workspace,
    loaded: Loaded[Evaluation],
    *,
    trigger_word: str,
    training: Callable[[], Training] | None = None,
) -> Finished:
    """Measure what is rendered, draw the sheet, and mark a whole grid complete.

    A grid with holes gets a sheet too, with hatches in their places, and stays open.

    Args:
        workspace: The workspace.
        loaded: The evaluation.
        trigger_word: That of the LoRA.
        training: Returns what a whole grid is compared with; without it, only the effect is
            measured.

    Raises:
        FileMissingError, DigestMismatchError: When an image is not in the store any more.
        RecordConflictError: When the record was changed meanwhile.
    """
    record = loaded.record
    if record.suite is None:
        raise RecordInvalidError(f"evaluation {record.id} holds no rendered grid")
    load = KeptPictures(open_store(workspace)).load
    cells, metrics = measure(record.suite, record.cells, load)
    record = msgspec.structs.replace(
        record, cells=cells, metrics=metrics, outputs=_outputs(cells), result_digest=""
    )
    if not missing_cells(record):
        if training is not None:
            from lora_pipeline.evaluation.metrics.measuring import measure_grid  # imports numpy

            measured = measure_grid(workspace, record, training())
            record = msgspec.structs.replace(record, metrics=measured)
        record = msgspec.structs.replace(record, status="complete")
        record = msgspec.structs.replace(record, result_digest=result_digest(record))
    return _written(workspace, loaded, record, load, trigger_word)


def remeasure_evaluation(
    workspace: Workspace,
    loaded: Loaded[Evaluation],
    metrics: EvaluationMetrics,
    *,
    trigger_word: str,
) -> Finished:
    """Put other measurements into a complete evaluation, which makes it another one to judge.

    Raises:
        FileMissingError, DigestMismatchError: When an image is not in the store any more.
        RecordConflictError: When the record was changed meanwhile.
    """
    record = msgspec.structs.replace(loaded.record, metrics=metrics)
    record = msgspec.structs.replace(record, result_digest=result_digest(record))
    load = KeptPictures(open_store(workspace)).load
    return _written(workspace, loaded, record, load, trigger_word)


def _written(
    workspace: Workspace,
    loaded: Loaded[Evaluation],
    record: Evaluation,
    load: Callable[[Cell], Pixels],
    trigger_word: str,
) -> Finished:
    image = draw_sheet(header_of(record, trigger_word), record, load)
    sheet = encode_webp(image, lossless_first=is_enlarged(record))
    record = msgspec.structs.replace(
        record, sheet_sha256=digest_of_bytes(sheet).removeprefix("sha256:")
    )
    path = sheet_path(loaded)
    changes = Changes(workspace)
    if not path.is_file() or path.read_bytes() != sheet:
        changes.write_file(path, sheet)
    if record != loaded.record:
        changes.update(loaded, msgspec.structs.replace(record, updated_at=workspace.now()))
    written = tuple(changes.apply())
    return Finished(workspace.records.read(Evaluation, loaded.scope, loaded.record_id), written)


def sheet_path(loaded: Loaded[Evaluation]) -> Path:
    """Return where the contact sheet of an evaluation stands: beside its record."""
    return loaded.path.with_suffix(".webp")


def sheet_png(
    workspace: Workspace, evaluation: Evaluation, *, trigger_word: str, page: int = 1
) -> bytes:
    """Return a page of the contact sheet as PNG, drawn anew from the images that the store has.

    Raises:
        RecordInvalidError: When the evaluation has no cells.
        ArgumentInvalidError: When it has no such page.
    """
    pages = page_count(evaluation)
    if not pages:
        raise RecordInvalidError(f"evaluation {evaluation.id} holds no rendered grid")
    if not 1 <= page <= pages:
        raise ArgumentInvalidError(f"page must be from 1 to {pages}, got {page}")
    store = open_store(workspace)

    def load(cell: Cell) -> Pixels | None:
        try:
            return _load(store, cell)
        except FileMissingError:
            return None

    header = header_of(evaluation, trigger_word)
    # Who turns pages does not want to wait ten seconds for each.
    return encode_png(draw_sheet(header, evaluation, load, page=page), small=pages == 1)


def header_of(evaluation: Evaluation, trigger_word: str) -> SheetHeader:
    """Return what stands above the pictures of an evaluation."""
    facts = [
        ("trigger", trigger_word or "none"),
        ("checkpoint", f"{evaluation.checkpoint_id}  ·  {short(evaluation.checkpoint_digest)}"),
        ("weights", f"sha256:{evaluation.weights_sha256[:12]}"),
        ("suite", f"{evaluation.suite_id}  ·  {short(evaluation.suite_digest)}"),
    ]
    if evaluation.renderer:
        one = evaluation.renderer
        details = [f"on {one.device}" if one.device else "", str(one.details.get("dtype", ""))]
        words = "  ·  ".join([f"{one.name} {one.version}", *filter(None, details)])
        facts.append(("renderer", words))
    if evaluation.metrics:
        facts.append(("effect", effect_words(evaluation.metrics)))
        facts += [
            (one.title, one.words)
            for one in described(evaluation.metrics, evaluation.cells)
            if one.name in _ON_THE_SHEET and one.proven
        ]
    return SheetHeader(f"{evaluation.lora_id}  ·  {evaluation.release_id}", facts)


def effect_words(metrics: EvaluationMetrics) -> str:
    """Return the measured effect as people read it, highest strength first."""
    if metrics.effect_mean is None:
        return "not measured"
    parts = [
        f"{mean:.3f} at strength {strength}"
        for strength, mean in sorted(
            metrics.effect_by_strength.items(), key=lambda item: -float(item[0])
        )
    ]
    if metrics.effect_without_trigger is not None:
        parts.append(f"{metrics.effect_without_trigger:.3f} without the trigger word")
    return "  ·  ".join(parts)


class KeptPictures:
    """Pictures by digest, as far as they fit: measuring and drawing both look at the first ones.

    Args:
        store: Where they are.
    """

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._kept: dict[str, Pixels] = {}
        self._bytes = 0

    def load(self, cell: Cell) -> Pixels:
        """Return the pixels of a cell that is done.

        Raises:
            FileMissingError, DigestMismatchError: When they are not in the store any more.
        """
        if cell.image_sha256 in self._kept:
            return self._kept[cell.image_sha256]
        pixels = _load(self._store, cell)
        if self._bytes + pixels.nbytes <= _KEPT_BYTES:
            self._kept[cell.image_sha256] = pixels
            self._bytes += pixels.nbytes
        return pixels


def _load(store: ObjectStore, cell: Cell) -> Pixels:
    path = store.open_path(cell.image_sha256)
    return read_pixels(path, width=cell.width, height=cell.height)


def _outputs(cells: tuple[Cell, ...]) -> tuple[dict[str, Any], ...]:
    """Return the images in the words of the base format: one entry for each whole prompt."""
    by_prompt: dict[str, list[Cell]] = {}
    for cell in cells:
        by_prompt.setdefault(cell.prompt_id, []).append(cell)
    return tuple(
        {
            "prompt": group[0].prompt,
            "images": [cell.image_sha256 for cell in group if cell.strength > BASE],
            "notes": "",
        }
        for group in by_prompt.values()
        if all(cell.status == "done" for cell in group)
    )
