"""Which pictures show the same, though their bytes differ: recompressed, resized, cropped.

Looks at small pictures of the pictures (``ImageMeasures.look``), laid on the background that
training will see. Whether two are near-duplicates depends on these two alone, and is decided
by whole-number arithmetic: matrix products only rule out (``close_vectors``). So every machine
finds the same pairs, in whatever order the pictures come.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from lora_pipeline.datasets.close_vectors import Cells, CloseVectors, Places, correlated

_CELLS, _COARSE = 16, 8
_ALIKE, _ALIKE_COARSE = 0.975, 0.948  # correlation of pictures that lie on one another
_CROP_ALIKE, _CROP_SEEN = 0.985, 0.898  # of a part with a whole: after fitting, and before
_FARTHEST, _CROP_FARTHEST = 48, 36  # levels by which one cell may differ
_PLAIN = 24  # levels by which the rim of a drawing on plain ground may vary
_SLICE = 4096  # pictures that are enlarged in memory at a time

Looks = npt.NDArray[np.uint8]
Pairs = list[tuple[int, int]]


class Window(msgspec.Struct, frozen=True):
    """A square part of a picture; all in shares of its sides."""

    x: float
    y: float
    size: float

    def is_near(self, other: Window) -> bool:
        """Return whether fitting may lead from here to there."""
        across = abs(self.x + self.size / 2 - other.x - other.size / 2)
        down = abs(self.y + self.size / 2 - other.y - other.size / 2)
        return abs(self.size - other.size) <= 0.065 and max(across, down) <= 0.055


_WHOLE = Window(0, 0, 1)


def near_pairs(
    looks: Looks,
    background: str = "#FFFFFF",
    *,
    among: Sequence[int] | None = None,
    told: Callable[[int, int], None] | None = None,
) -> Pairs:
    """Return all pairs of near-duplicates, each with the lower index first, sorted.

    Args:
        looks: One look for each picture: n by 16 by 16 by 4, premultiplied.
        background: What transparency is laid on, ``#RRGGBB``.
        among: Only pairs with one of these pictures.
        told: Called with the steps that are done and their number, for progress.
    """
    search = _Search(on_background(looks, background))
    chosen = None if among is None else np.asarray(sorted(set(among)), dtype=np.int64)
    found = set(search.aligned(chosen))
    windows = first_windows()
    for done, window in enumerate(windows, start=1):
        if told:
            told(done, len(windows))
        found |= set(search.crops(window, chosen))
    return sorted({(min(pair), max(pair)) for pair in found})


def groups(count: int, pairs: Pairs) -> list[tuple[int, ...]]:
    """Return which of ``count`` pictures hang together by pairs: groups of two and more."""
    leads = list(range(count))

    def leader(one: int) -> int:
        while leads[one] != one:
            leads[one] = leads[leads[one]]
            one = leads[one]
        return one

    for one, other in pairs:
        first, second = sorted((leader(one), leader(other)))
        leads[second] = first
    members: dict[int, list[int]] = {}
    for one in range(count):
        members.setdefault(leader(one), []).append(one)
    return [tuple(group) for group in members.values() if len(group) > 1]


def on_background(looks: Looks, background: str) -> Looks:
    """Return looks without transparency: n by 16 by 16 by 3."""
    colour = np.frombuffer(bytes.fromhex(background.removeprefix("#")), dtype=np.uint8)
    laid = np.empty((*looks.shape[:3], 3), dtype=np.uint8)
    for start in range(0, len(looks), _SLICE):
        some = looks[start : start + _SLICE]
        through = (255 - some[..., 3:].astype(np.uint16)) * colour
        laid[start : start + _SLICE] = np.minimum(some[..., :3] + (through + 127) // 255, 255)
    return laid


class _Search:
    def __init__(self, pictures: Looks) -> None:
        self._pictures = pictures
        self._fine = pictures.reshape(len(pictures), _CELLS * _CELLS * 3)
        self._whole = _part(pictures, _WHOLE)
        self._close = CloseVectors(self._whole)
        self._textured = np.flatnonzero(~_is_on_plain_ground(pictures))

    def aligned(self, chosen: Places | None) -> Iterator[tuple[int, int]]:
        every = np.arange(len(self._pictures))
        rows = every if chosen is None else chosen
        for one, other in self._close.pairs(
            self._whole, rows, every, _ALIKE_COARSE, ahead=chosen is None
        ):
            apart = one < other if chosen is None else one != other
            one, other = one[apart], other[apart]  # noqa: PLW2901 - fewer of the same
            same = _agree(self._fine[one], self._fine[other], _ALIKE, _FARTHEST)
            yield from zip(one[same].tolist(), other[same].tolist(), strict=True)

    def crops(self, window: Window, chosen: Places | None) -> Iterator[tuple[int, int]]:
        """Yield whole and part of it, where the part is near a window.

        Drawings on plain ground have no crops: only other rims.
        """
        whole = self._textured
        if chosen is None:
            sides = [(whole, whole)]
        else:
            few = np.intersect1d(whole, chosen)
            sides = [(few, whole), (whole, few)]
        parts = _part(self._pictures, window)
        for rows, columns in sides:
            for one, other in self._close.pairs(parts, rows, columns, _CROP_SEEN):
                apart = one != other
                yield from self._fitting(window, one[apart], other[apart])

    def _fitting(self, window: Window, one: Places, other: Places) -> Iterator[tuple[int, int]]:
        if not len(one):
            return
        sources, where = np.unique(one, return_inverse=True)
        fits = np.zeros(len(one), dtype=np.bool_)
        for near in _windows_near(window):
            left = np.flatnonzero(~fits)
            if not len(left):
                break
            parts = _part(self._pictures[sources], near)[where[left]]
            wholes = self._whole[other[left]]
            fits[left] = _agree(parts, wholes, _CROP_ALIKE, _CROP_FARTHEST)
        yield from zip(one[fits].tolist(), other[fits].tolist(), strict=True)


def _part(pictures: Looks, window: Window) -> npt.NDArray[np.uint8]:
    """Return a part of every picture as 8 by 8 cells of three colours, flat."""
    weights = _weights(window)
    levels = np.empty((len(pictures), 3 * _COARSE * _COARSE), dtype=np.uint8)
    for start in range(0, len(pictures), _SLICE):
        some = pictures[start : start + _SLICE]
        planes = some.transpose(0, 3, 1, 2).reshape(-1, _CELLS * _CELLS)
        # Whole numbers far below 2 to the power of 53: the products are exact in any order.
        cells = (planes.astype(np.float64) @ weights).astype(np.int64) >> 16
        levels[start : start + _SLICE] = np.minimum(cells, 255).reshape(len(some), -1)
    return levels


@functools.cache
def _weights(window: Window) -> npt.NDArray[np.float64]:
    down = _along(window.y, window.size)
    across = _along(window.x, window.size)
    return np.kron(down, across).T.astype(np.float64)


def _along(start: float, size: float) -> npt.NDArray[np.int64]:
    shares = np.zeros((_COARSE, _CELLS), dtype=np.int64)
    step = size * _CELLS / _COARSE
    for cell in range(_COARSE):
        low = start * _CELLS + cell * step
        for source in range(_CELLS):
            overlap = min(low + step, source + 1) - max(low, source)
            shares[cell, source] = round(256 * max(0.0, overlap) / step)
    # Rounded shares may sum up to 255 or 257; the largest one takes the difference.
    shares[np.arange(_COARSE), shares.argmax(axis=1)] += 256 - shares.sum(axis=1)
    return shares


def _agree(one: Cells, other: Cells, alike: float, farthest: int) -> npt.NDArray[np.bool_]:
    """Return which rows are of the same picture; whole numbers decide."""
    apart = np.abs(one.astype(np.int16) - other).max(axis=1, initial=0)
    agree: npt.NDArray[np.bool_] = (apart <= farthest) & correlated(one, other, alike)
    return agree


def _is_on_plain_ground(pictures: Looks) -> npt.NDArray[np.bool_]:
    rim = np.ones((_CELLS, _CELLS), dtype=np.bool_)
    rim[1:-1, 1:-1] = False
    cells = pictures[:, rim].astype(np.int16)
    spread = cells.max(axis=1, initial=0) - cells.min(axis=1, initial=255)
    plain: npt.NDArray[np.bool_] = spread.max(axis=1) <= _PLAIN
    return plain


@functools.cache
def first_windows() -> tuple[Window, ...]:
    """Return the parts that are looked for first; fitting starts from them."""
    windows = [_WHOLE]
    for size in (0.9, 0.8):
        rest = 1 - size
        places = ((0.5, 0.5), (0, 0), (1, 0), (0, 1), (1, 1))
        windows += [Window(rest * x, rest * y, size) for x, y in places]
    return tuple(windows)


@functools.cache
def _windows_near(window: Window) -> tuple[Window, ...]:
    every = []
    for number in range(1, 7):
        steps = number  # of 4 % each, from 0 to what the size leaves
        size = 1 - 0.04 * steps
        every += [
            Window(0.04 * x, 0.04 * y, size) for x in range(steps + 1) for y in range(steps + 1)
        ]
    return tuple(one for one in every if one.is_near(window))
