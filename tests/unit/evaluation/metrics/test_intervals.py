from __future__ import annotations

import random

import pytest

from lora_pipeline.evaluation.metrics.intervals import Pair, compared, interval


def pairs(*differences: tuple[str, float]) -> list[Pair]:
    return [Pair(prompt, 0.5 + difference, 0.5) for prompt, difference in differences]


def test_without_pairs_there_is_nothing_to_say() -> None:
    assert compared([]) is None


def test_means_stand_beside_the_difference() -> None:
    found = compared(pairs(("a", 0.1), ("a", 0.3), ("b", 0.2)))
    assert found is not None
    assert (found.lora, found.base, found.difference) == (0.7, 0.5, 0.2)
    assert (found.pairs, found.prompts) == (3, 2)


def test_one_prompt_has_no_interval() -> None:
    found = compared(pairs(("a", 0.1), ("a", 0.9)))
    assert found is not None
    assert found.low is None
    assert found.high is None


def test_the_interval_holds_the_difference() -> None:
    found = compared(pairs(*((str(number), number / 100) for number in range(10))))
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.difference < found.high


def test_equal_prompts_have_an_interval_without_width() -> None:
    assert interval([[0.2, 0.2], [0.2], [0.2]]) == (0.2, 0.2)


def test_the_order_of_pairs_changes_nothing() -> None:
    given = pairs(*((str(number % 5), random.Random(number).random()) for number in range(40)))
    assert compared(given) == compared(given[::-1])


def test_two_prompts_are_no_more_than_two_however_many_seeds_they_have() -> None:
    few = interval([[0.0], [1.0]])
    many = interval([[0.0] * 100, [1.0] * 100])
    assert few == many == (0.0, 1.0)


def test_the_same_pairs_give_the_same_interval_for_ever() -> None:
    assert interval([[0.1, 0.2], [0.4], [0.0, 0.3]]) == (0.15, 0.4)


@pytest.mark.parametrize("shift", [-0.5, 0.5])
def test_a_clear_difference_does_not_reach_zero(shift: float) -> None:
    low, high = interval([[shift + number / 100] for number in range(8)])
    assert low is not None
    assert high is not None
    assert low * high > 0
