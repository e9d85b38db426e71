"""What is measured on every grid, without a model: from tones, colours, edges and looks. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lora_pipeline.datasets.near_duplicates import near_pairs
from lora_pipeline.datasets.records import Item
from lora_pipeline.evaluation.metric_records import LookAlike
from lora_pipeline.evaluation.metrics import distances
from lora_pipeline.evaluation.metrics.cell_pairs import cell_pairs, drawn, valued, varied
from lora_pipeline.evaluation.metrics.intervals import DIGITS, compared
from lora_pipeline.evaluation.metrics.pictures import Pictures
from lora_pipeline.evaluation.records import Cell, Evaluation

ONE_SEED = "the suite draws one seed for each prompt"
NO_EDGES = "no cell has an edge that could be measured"
# Compared with what was trained on.
WITH_TRAINING = ("paletteDistance", "toneDistance", "lookAlike")


@dataclass
class Found:
    """What was measured, by the name of its field, and why the rest was not.

    Attributes:
        values: Fields of ``EvaluationMetrics``.
        not_proven: Reasons, by the name that the record has.
    """

    values: dict[str, Any] = field(default_factory=dict)
    not_proven: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, written_as: str, value: object, otherwise: str) -> None:
        """Keep a value, or say why there is none."""
        if value is None:
            self.not_proven[written_as] = otherwise
        else:
            self.values[name] = value


def among_cells(record: Evaluation, pictures: Pictures) -> Found:
    """Return what the cells alone tell: sharpness, variety, and the way from the base."""
    pairs, found = cell_pairs(record), Found()
    widths = valued(pairs, lambda cell: pictures.edge_width(cell.image_sha256) or None)
    found.add("edge_width", "edgeWidth", compared(widths), NO_EDGES)
    variety = compared(varied(pairs, _look_difference(pictures)))
    found.add("seed_variety", "seedVariety", variety, ONE_SEED)
    if pairs:
        lora = [pair.lora.image_sha256 for pair in pairs]
        base = [pair.base.image_sha256 for pair in pairs]
        found.values["palette_from_base"] = _mean(
            distances.palette_distance(pictures.palettes(lora), pictures.palettes(base))
        )
        found.values["tone_from_base"] = _mean(
            distances.tone_distance(pictures.tones(lora), pictures.tones(base))
        )
    return found


def with_training(record: Evaluation, pictures: Pictures, items: Sequence[Item]) -> Found:
    """Return how near the cells are to what was trained on; every image of it was measured."""
    pairs, found = cell_pairs(record), Found()
    trained = [item.sha256 for item in items]
    palette = pictures.palettes(trained).mean(axis=0, keepdims=True)
    tones = pictures.tones(trained).mean(axis=0, keepdims=True)

    def of_palette(cell: Cell) -> float:
        own = pictures.palettes([cell.image_sha256])
        return float(distances.palette_distance(own, palette)[0])

    def of_tones(cell: Cell) -> float:
        return float(distances.tone_distance(pictures.tones([cell.image_sha256]), tones)[0])

    found.values["palette_distance"] = compared(valued(pairs, of_palette))
    found.values["tone_distance"] = compared(valued(pairs, of_tones))
    found.values["look_alike"] = look_alike(record, pictures, items)
    return found


def look_alike(record: Evaluation, pictures: Pictures, items: Sequence[Item]) -> LookAlike | None:
    """Return the cell that is most like an image of the manifest, as it is or mirrored."""
    cells = drawn(record.cells, base=False)
    if not cells or not items:
        return None
    trained = [item.sha256 for item in items]
    shown = pictures.shown(trained)
    both = np.concatenate([shown, distances.mirrored(shown)])
    vectors = distances.look_vectors(both)
    names = [cell.image_sha256 for cell in cells]
    best = distances.nearest(distances.look_vectors(pictures.shown(names)), vectors)
    bases = [cell.image_sha256 for cell in drawn(record.cells, base=True)]
    item = items[best.second % len(items)]
    return LookAlike(
        similarity=round(best.similarity, DIGITS),
        cell_id=cells[best.first].id,
        asset_id=item.asset_id,
        image_sha256=item.sha256,
        mirrored=best.second >= len(items),
        base=_highest(distances.look_vectors(pictures.shown(bases)), vectors) if bases else None,
        cells=len(cells),
        images=len(items),
        same=_same(pictures, names, trained),
    )


def _same(pictures: Pictures, cells: Sequence[str], trained: Sequence[str]) -> int:
    """Return how many cells show the same picture as one that was trained on."""
    contents = list(dict.fromkeys(cells))
    own, other = pictures.looks(contents), pictures.looks(trained)
    looks = np.concatenate([own, other, distances.mirrored(other)])
    among = range(len(own), len(looks))
    found = {
        contents[one]
        for one, second in near_pairs(looks, pictures.background, among=among)
        if one < len(own) <= second
    }
    return sum(cell in found for cell in cells)


def _highest(vectors: distances.Floats, trained: distances.Floats) -> float:
    return round(distances.nearest(vectors, trained).similarity, DIGITS)


def _look_difference(pictures: Pictures) -> Callable[[Cell, Cell], float]:
    def distance(one: Cell, other: Cell) -> float:
        first, second = pictures.shown([one.image_sha256, other.image_sha256])
        return distances.look_difference(first, second)

    return distance


def _mean(values: distances.Distances) -> float:
    return round(float(values.mean()), DIGITS)
