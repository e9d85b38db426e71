"""How far the cells of two releases are apart: each pair of images is measured once.

Images go by the digest of their bytes, so what lies between two of them never changes and is
remembered. Ten thousand cells take a while once, and nothing the next time.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from lora_pipeline.engine.pool import map_ordered
from lora_pipeline.evaluation.compare import CellPair
from lora_pipeline.evaluation.effect import mean_difference
from lora_pipeline.evaluation.pixels import decode_pixels
from lora_pipeline.evaluation.records import Cell
from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import ObjectStore, open_store

if TYPE_CHECKING:
    from lora_pipeline.datasets.checks.measure_cache import MeasureCache
    from lora_pipeline.evaluation.pixels import Pixels

_FORM = 1  # of the remembered rows


class _Known(msgspec.Struct, frozen=True):
    """One row of what is remembered: ``sha256`` stands for the pair."""

    sha256: str
    difference: float


def differences_of(workspace: Workspace, pairs: Sequence[CellPair]) -> list[float | None]:
    """Return the mean difference of each pair's images, in 0..1; None where one is not here.

    A few images are in memory at a time, however many pairs there are.
    """
    cache, store = _cache(workspace), open_store(workspace)
    names = [_name_of(pair) for pair in pairs]
    unknown = {
        name: pair
        for name, pair in zip(names, pairs, strict=True)
        if name and not pair.same_image and name not in cache
    }
    measured = map_ordered(
        lambda pair: _difference(store, pair),
        list(unknown.values()),
        events=workspace.events,
        topic="compare",
        unit="pairs",
    )
    for name, difference in zip(unknown, measured, strict=True):
        if difference is not None:
            cache.add(_Known(name, difference))
    known = [name for name in dict.fromkeys(names) if name and name in cache]
    if unknown and not workspace.dry_run:
        cache.save(known)
    values = dict(zip(known, cache.rows(known)["difference"], strict=True))
    return [
        0.0 if pair.same_image else float(values[name]) if name in values else None
        for name, pair in zip(names, pairs, strict=True)
    ]


def pixels_of(store: ObjectStore, cell: Cell | None) -> Pixels | None:
    """Return the pixels of a cell, or None where the image that was recorded is not here."""
    if cell is None or not cell.image_sha256:
        return None
    try:
        data = store.path(cell.image_sha256).read_bytes()
        if hashlib.sha256(data).hexdigest() != cell.image_sha256:
            return None
        return decode_pixels(data, width=cell.width, height=cell.height)
    except (OSError, PipelineError):
        return None


def _name_of(pair: CellPair) -> str:
    """Return what stands for the two images of a pair; empty where one was never drawn."""
    digests = [one.image_sha256 if one else "" for one in (pair.before, pair.after)]
    return hashlib.sha256("".join(digests).encode()).hexdigest() if all(digests) else ""


def _difference(store: ObjectStore, pair: CellPair) -> float | None:
    first, second = pixels_of(store, pair.before), pixels_of(store, pair.after)
    return None if first is None or second is None else mean_difference(first, second)


def _cache(workspace: Workspace) -> MeasureCache:
    import numpy as np

    from lora_pipeline.datasets.checks.measure_cache import MeasureCache

    def as_row(one: _Known) -> tuple[object, ...]:
        return np.frombuffer(bytes.fromhex(one.sha256), dtype=np.uint8), one.difference

    form = np.dtype([("sha256", "u1", (32,)), ("difference", "<f8")])
    seal = f"{_FORM} pillow {importlib.metadata.version('pillow')} row {form.itemsize}\n"
    path = workspace.runtime / "cache" / "cell-differences"
    return MeasureCache(path, seal.encode("ascii"), form, as_row)
