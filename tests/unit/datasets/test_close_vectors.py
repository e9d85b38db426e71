from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_pipeline.datasets import close_vectors
from lora_pipeline.datasets.close_vectors import Cells, CloseVectors, correlated

ALIKE = 0.9


def cells_of(seed: int, count: int, *, grain: int) -> Cells:
    """Return pictures of which many correlate by about 0.9, and some have no contrast."""
    random = np.random.default_rng(seed)
    originals = random.normal(0, 40, (max(1, count // 6), 192))
    shown = originals[random.integers(0, len(originals), count)] * random.uniform(
        0.1, 1, (count, 1)
    )
    shown += random.normal(0, grain, shown.shape) + random.uniform(60, 190, (count, 1))
    shown[:: max(7, count // 5)] = 128
    return np.clip(shown, 0, 255).astype(np.uint8)


def every_pair(parts: Cells, wholes: Cells) -> list[tuple[int, int]]:
    one, other = np.divmod(np.arange(len(parts) * len(wholes)), len(wholes))
    same = correlated(parts[one], wholes[other], ALIKE)
    return list(zip(one[same].tolist(), other[same].tolist(), strict=True))


def found(
    parts: Cells, wholes: Cells, rows: list[int], columns: list[int], *, ahead: bool = False
) -> list[tuple[int, int]]:
    batches = CloseVectors(wholes).pairs(
        parts, np.array(rows, np.int64), np.array(columns, np.int64), ALIKE, ahead=ahead
    )
    return sorted(
        pair for one, other in batches for pair in zip(one.tolist(), other.tolist(), strict=True)
    )


@pytest.fixture
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(close_vectors, "_ROWS", 24)
    monkeypatch.setattr(close_vectors, "_COLUMNS", 40)
    monkeypatch.setattr(close_vectors, "_BATCH", 50)
    monkeypatch.setattr(close_vectors, "_MANY", 1)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 2**32), count=st.integers(1, 130), grain=st.integers(1, 20))
@pytest.mark.parametrize("length", [None, 1, 8, 48, 192])
@pytest.mark.usefixtures("_small_blocks")
def test_no_pair_is_lost_and_none_is_made_up(
    seed: int, count: int, grain: int, length: int | None
) -> None:
    wholes = cells_of(seed, count, grain=grain)
    parts = np.clip(wholes.astype(np.int16) + seed % 40 - 20, 0, 255).astype(np.uint8)
    every = list(range(count))

    with pytest.MonkeyPatch.context() as patch:
        if length is not None:
            patch.setattr(CloseVectors, "_length", lambda *_: length)
        pairs = found(parts, wholes, every, every)

    assert pairs == every_pair(parts, wholes)


@pytest.mark.usefixtures("_small_blocks")
def test_only_the_rows_and_columns_that_are_asked_for_are_compared() -> None:
    wholes = cells_of(3, 120, grain=2)
    rows, columns = [5, 17, 90], list(range(0, 120, 3))

    pairs = found(wholes, wholes, rows, columns)

    every = [(one, other) for one, other in every_pair(wholes, wholes) if one in rows]
    assert pairs == [(one, other) for one, other in every if other in columns]
    assert len(pairs) > 3


@pytest.mark.usefixtures("_small_blocks")
def test_ahead_finds_each_pair_at_least_one_way() -> None:
    wholes = cells_of(4, 120, grain=2)
    every = list(range(120))

    ahead = {pair for pair in found(wholes, wholes, every, every, ahead=True) if pair[0] <= pair[1]}

    assert ahead == {pair for pair in every_pair(wholes, wholes) if pair[0] <= pair[1]}


def test_nothing_is_close_to_nothing() -> None:
    wholes = cells_of(1, 20, grain=5)

    assert found(wholes, wholes, [], list(range(20))) == []
    assert found(wholes, wholes, list(range(20)), []) == []
    assert found(wholes[:0], wholes[:0], [], []) == []
    assert found(np.full((9, 192), 77, np.uint8), wholes, [3], list(range(20))) == []
