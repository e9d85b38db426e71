"""Cells that have a picture which cannot be what was asked for; they are marked, never hidden."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from lora_pipeline.evaluation.grid import BASE, strength_words
from lora_pipeline.evaluation.records import Cell

UNCHANGED = "same as base"
_NO_CAPTIONS: Mapping[str, str] = {}


def suspicious_cells(
    cells: Sequence[Cell], captions: Mapping[str, str] = _NO_CAPTIONS
) -> dict[str, str]:
    """Return why a cell is suspicious, by the cell's id; most grids have none.

    A LoRA cell that is its base to the pixel shows no LoRA; two cells with one file, though
    their settings differ, show that one of the settings was ignored.

    Args:
        cells: The cells of a grid, measured.
        captions: What a cell is called in place of its strength, by its id.
    """
    found: dict[str, str] = {}
    by_image: dict[str, dict[str, Cell]] = defaultdict(dict)
    for cell in cells:
        if cell.status != "done":
            continue
        by_image[cell.image_sha256].setdefault(cell.id, cell)
        if cell.effect == 0 and cell.strength > BASE:
            found[cell.id] = UNCHANGED
    for group in by_image.values():
        first, *others = group.values()
        for cell in others:
            found.setdefault(cell.id, f"same as {_other(cell, first, captions)}")
    return found


def _other(cell: Cell, first: Cell, captions: Mapping[str, str]) -> str:
    """Return what tells ``first`` from ``cell``, in few words."""
    if first.prompt_id != cell.prompt_id:
        return first.prompt_id
    if first.seed != cell.seed:
        return f"seed {first.seed}"
    return captions.get(first.id) or strength_words(first.strength)
