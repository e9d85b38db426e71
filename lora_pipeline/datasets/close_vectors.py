"""Which of many pictures correlate: every pair of them, though few products are computed in full.

Pictures are turned into unit vectors, and these so that their first numbers hold most of what
tells them apart. The product of two is at most that of the first numbers and the product of what
both have beyond them, which is one number more. So a matrix product of some twelve numbers in
place of 192 rules nearly every pair out; whole numbers decide about the rest. Nothing is lost
by it: the bound holds in any basis, and how good it is only decides how fast this is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

FAINT = 3  # standard deviation, in levels, below which there is nothing to compare
_ROWS, _COLUMNS = 128, 4096  # of one product: 2 MiB
_LENGTHS = (8, 12, 16, 24, 32, 48, 64, 96, 128)  # how many numbers may stand for all
_WORD = 8  # answers
_BATCH = 8192  # pairs
_MANY = 3000  # pictures; for fewer no basis pays
_SAMPLE = 4096  # vectors that the basis is drawn from
_TRIED = 512  # vectors that say how many pairs a bound leaves
_ROUNDING = 1e-4  # more than single precision takes from a product of unit vectors
_ROUNDING_SQUARED = 1e-5
# Nanoseconds, and only their proportions matter: a product, each number of it, deciding.
_COST_OF_PRODUCT, _COST_OF_NUMBER, _COST_OF_DECISION = 1.0, 0.025, 2000

Cells = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]
_Vectors = npt.NDArray[np.float32]
_Exact = npt.NDArray[np.float64]
_Pairs = tuple[Places, Places]


class CloseVectors:
    """Finds what correlates with rows of one matrix.

    Args:
        wholes: One picture in a row: levels of its cells.
    """

    def __init__(self, wholes: Cells) -> None:
        self._wholes = wholes
        some = wholes[:: max(1, len(wholes) // _SAMPLE)]
        self._basis = _basis(_unit(some)) if len(wholes) >= _MANY else None

    def pairs(
        self, parts: Cells, rows: Places, columns: Places, alike: float, *, ahead: bool = False
    ) -> Iterator[_Pairs]:
        """Yield the pairs of a part and a whole whose correlation is at least ``alike``.

        Args:
            parts: One picture in a row, cells as those of the wholes.
            rows: Which of the parts are compared.
            columns: With which of the wholes.
            alike: The correlation, above 0.
            ahead: Whether the n-th part is only compared with wholes from the n-th on.
        """
        if not len(rows) or not len(columns):
            return
        near = self._near(parts, rows, columns, alike, ahead=ahead)
        yield from _batches(self._sure(parts, _batches(near), alike))

    def _sure(self, parts: Cells, near: Iterable[_Pairs], alike: float) -> Iterator[_Pairs]:
        for one, other in near:
            sure = correlated(parts[one], self._wholes[other], alike)
            yield one[sure], other[sure]

    def _near(
        self, parts: Cells, rows: Places, columns: Places, alike: float, *, ahead: bool
    ) -> Iterator[_Pairs]:
        """Yield the pairs that the bound leaves."""
        length = self._length(parts, rows, columns, alike)
        left, right = self._short(parts, rows, length), self._short(self._wholes, columns, length)
        products = _Products(alike - _ROUNDING)
        for first in range(0, len(rows), _ROWS):
            block = left[first : first + _ROWS]
            for start in range(first // _WORD * _WORD if ahead else 0, len(columns), _COLUMNS):
                one, other = products.reached(block, right[start : start + _COLUMNS])
                yield rows[first + one], columns[start + other]

    def _length(self, parts: Cells, rows: Places, columns: Places, alike: float) -> int:
        """Return how many numbers make the search cheapest, as far as a sample tells."""
        every = int(self._wholes.shape[1])
        if self._basis is None:
            return every
        few = rows[:: max(1, len(rows) // _TRIED)]
        # Not those of the same places, which are close to themselves.
        others = columns[max(1, len(columns) // _TRIED) // 2 :: max(1, len(columns) // _TRIED)]
        costs: dict[int, float] = {}
        for length in (*(one for one in _LENGTHS if one < every), every):
            bound = self._short(parts, few, length) @ self._short(self._wholes, others, length).T
            left = float((bound >= alike - _ROUNDING).mean())
            costs[length] = _COST_OF_PRODUCT + _COST_OF_NUMBER * length + _COST_OF_DECISION * left
        return min(costs, key=costs.__getitem__)

    def _short(self, cells: Cells, places: Places, length: int) -> _Vectors:
        # Nothing is close to the rows of zeros that fill the last word up.
        filled = -(-len(places) // _WORD) * _WORD
        short = np.zeros((filled, length + 1), dtype=np.float32)
        for start in range(0, len(places), _SAMPLE):
            some = places[start : start + _SAMPLE]
            unit = _unit(cells[some])
            low = unit if self._basis is None else unit @ self._basis[:, :length]
            beyond = (unit * unit).sum(axis=1) - (low * low).sum(axis=1)
            short[start : start + len(some), :length] = low
            short[start : start + len(some), length] = np.sqrt(
                np.maximum(beyond, 0) + _ROUNDING_SQUARED
            )
        return short


def correlated(one: Cells, other: Cells, alike: float) -> npt.NDArray[np.bool_]:
    """Return which rows show the same, up to light and contrast; whole numbers decide.

    Rows without contrast show nothing.
    """
    # Doubles hold these whole numbers exactly, and add them in any order to the same.
    first, second = one.astype(np.float64), other.astype(np.float64)
    count = first.shape[1]
    mean_first, mean_second = first.sum(axis=1), second.sum(axis=1)
    together = count * _products(first, second) - mean_first * mean_second
    alone_first = count * _products(first, first) - mean_first**2
    alone_second = count * _products(second, second) - mean_second**2
    # Single operations on numbers that are the same everywhere round the same everywhere.
    bound = alike * np.sqrt(alone_first) * np.sqrt(alone_second)
    shown = np.minimum(alone_first, alone_second) >= (FAINT * count) ** 2
    same: npt.NDArray[np.bool_] = shown & (together >= bound)
    return same


def _products(one: _Exact, other: _Exact) -> _Exact:
    products: _Exact = np.einsum("ij,ij->i", one, other)
    return products


class _Products:
    """Computes products of two blocks in one place, and finds those that reach a bound."""

    def __init__(self, bound: float) -> None:
        self._bound = bound
        self._products = np.empty(_ROWS * _COLUMNS, dtype=np.float32)
        self._reached = np.empty(_ROWS * _COLUMNS, dtype=np.bool_)

    def reached(self, block: _Vectors, side: _Vectors) -> _Pairs:
        shape = len(block), len(side)
        count = shape[0] * shape[1]
        products, reached = self._products[:count], self._reached[:count]
        np.matmul(block, side.T, out=products.reshape(shape))
        np.greater_equal(products, self._bound, out=reached)
        # Nearly all are out: looking at eight answers at a time is most of the speed.
        words = np.flatnonzero(reached.view(np.uint64))
        word, place = np.nonzero(reached.reshape(-1, _WORD)[words])
        one, other = np.divmod(words[word] * _WORD + place, shape[1])
        return one, other


def _batches(pairs: Iterable[_Pairs]) -> Iterator[_Pairs]:
    """Yield the same pairs, many at a time: a call of numpy costs as much as a hundred pairs."""
    held: list[_Pairs] = []
    count = 0
    for some in pairs:
        if len(some[0]):
            held.append(some)
            count += len(some[0])
        if count >= _BATCH:
            yield _together(held)
            held, count = [], 0
    if held:
        yield _together(held)


def _together(pairs: list[_Pairs]) -> _Pairs:
    one, other = zip(*pairs, strict=True)
    return np.concatenate(one), np.concatenate(other)


def _basis(units: _Vectors) -> _Vectors:
    """Return directions as columns, at right angles, those first in which vectors differ most."""
    exact = units.astype(np.float64)
    _, directions = np.linalg.eigh(exact.T @ exact)
    return np.ascontiguousarray(directions[:, ::-1], dtype=np.float32)


def _unit(cells: Cells) -> _Vectors:
    """Return rows with mean 0 and length 1; those without contrast are 0 throughout."""
    values = cells.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    length = np.sqrt((values * values).sum(axis=1, keepdims=True))
    faint = length < (FAINT - 0.01) * np.sqrt(values.shape[1])  # whole numbers decide
    return np.where(faint, 0, values / np.where(faint, 1, length)).astype(np.float32)
