from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from lora_pipeline.evaluation.effect import CONSTANT, doubts, mean_difference, measure
from lora_pipeline.evaluation.records import Cell, EvaluationMetrics
from tests.support.evaluation_builders import make_evaluation, make_suite, noise

replace = msgspec.structs.replace


def rendered(*, failed: int | None = None) -> tuple[Cell, ...]:
    cells = [
        replace(cell, status="done", image_sha256="a" * 64) for cell in make_evaluation().cells
    ]
    if failed is not None:
        cells[failed] = replace(cells[failed], status="failed", image_sha256="", error=CONSTANT)
    return tuple(cells)


def by_strength(amount: Callable[[float], float]) -> Callable[[Cell], np.ndarray]:
    """Draw grey that is brighter with strength, with one pixel that tells cells apart."""

    def load(cell: Cell) -> np.ndarray:
        pixels = np.zeros((32, 32, 3), np.uint8)
        pixels[:] = round(255 * amount(cell.strength))
        pixels[0, 0] = list(bytes.fromhex(cell.id[:6]))
        return pixels

    return load


@pytest.mark.parametrize(
    ("first", "second", "expected"), [(0, 255, 1.0), (255, 0, 1.0), (7, 7, 0.0), (0, 51, 0.2)]
)
def test_the_difference_is_a_share_of_the_value_range(
    first: int, second: int, expected: float
) -> None:
    one, other = (np.full((4, 4, 3), value, np.uint8) for value in (first, second))
    assert mean_difference(one, other) == expected


def test_the_effect_rises_with_strength() -> None:
    cells, metrics = measure(make_suite(), rendered(), by_strength(lambda s: s / 5))
    assert metrics.effect_mean == pytest.approx(0.2, abs=0.01)
    assert metrics.effect_by_strength["0.5"] == pytest.approx(0.1, abs=0.01)
    assert metrics.monotone is True
    assert metrics.duplicate_cells == 0
    assert [cell.effect is None for cell in cells[:3]] == [True, False, False]


def test_prompts_without_the_trigger_word_are_measured_apart() -> None:
    draw = by_strength(lambda s: s / 5)

    def load(cell: Cell) -> np.ndarray:
        silent = cell.prompt_id == "bare"
        return draw(replace(cell, strength=0.0)) if silent else draw(cell)

    _, metrics = measure(make_suite(), rendered(), load)
    assert metrics.effect_mean == pytest.approx(0.2, abs=0.01)
    assert metrics.effect_without_trigger == pytest.approx(0.0, abs=0.01)


def test_a_lora_that_changes_nothing_has_no_effect_and_that_is_said() -> None:
    cells, metrics = measure(make_suite(), rendered(), lambda cell: noise(cell.seed))
    assert metrics.effect_mean == 0.0
    assert {cell.effect for cell in cells if cell.strength} == {0.0}
    assert "changes nothing" in doubts(metrics)[0]


def test_a_strength_that_is_ignored_shows() -> None:
    _, metrics = measure(
        make_suite(), rendered(), lambda cell: noise(cell.seed + 100 * bool(cell.strength))
    )
    assert metrics.monotone is False
    assert metrics.duplicate_cells > 0
    assert "may be ignored" in doubts(metrics)[0]


def test_a_strength_that_changes_less_the_higher_it_is_shows() -> None:
    _, metrics = measure(make_suite(), rendered(), by_strength(lambda s: (1.5 - s) * bool(s) / 5))
    assert metrics.monotone is False


def test_one_strength_says_nothing_about_rising() -> None:
    suite = make_suite(strengths=(1.0,))
    cells = tuple(cell for cell in rendered() if cell.strength != 0.5)
    assert measure(suite, cells, by_strength(lambda s: s / 5))[1].monotone is None


def test_cells_that_look_alike_are_counted_when_their_settings_differ() -> None:
    same = noise(5)
    _, metrics = measure(make_suite(), rendered(), lambda _: same)
    assert metrics.duplicate_cells == 11


def test_failed_cells_are_left_out_and_constant_ones_counted() -> None:
    cells, metrics = measure(make_suite(), rendered(failed=2), by_strength(lambda s: s / 5))
    assert metrics.constant_cells == 1
    assert cells[2].effect is None
    assert metrics.effect_mean is not None


def test_without_its_base_a_cell_is_not_measured() -> None:
    cells, _ = measure(make_suite(), rendered(failed=0), by_strength(lambda s: s / 5))
    assert [cell.effect for cell in cells[:3]] == [None, None, None]


def test_nothing_rendered_is_nothing_measured() -> None:
    evaluation = make_evaluation()
    cells, metrics = measure(make_suite(), evaluation.cells, lambda _: noise(1))
    assert metrics == EvaluationMetrics()
    assert cells == evaluation.cells
