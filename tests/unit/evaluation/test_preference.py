"""What answers are worth: intervals, agreement, and honest words for few of them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_pipeline.evaluation.preference import (
    effective_count,
    krippendorff,
    sentences,
    weigh,
    wilson,
)

KEYS = [(f"p{number}", 1) for number in range(40)]


@pytest.mark.parametrize(
    ("count", "wins"),
    [(6, 6), (8, 7), (10, 9), (12, 10), (16, 12), (20, 15), (24, 17), (30, 21), (40, 27), (50, 32),
     (60, 38), (80, 49), (100, 60)],
)  # fmt: skip
def test_so_many_wins_are_the_fewest_that_show_a_difference(count: int, wins: int) -> None:
    assert wilson(wins, count)[0] > 0.5 or count == 6
    assert wilson(wins - 1, count)[0] <= 0.5


def test_what_all_passed_is_worth() -> None:
    assert round(wilson(12, 12)[0], 2) == 0.76
    assert round(wilson(20, 20)[0], 2) == 0.84
    assert round(wilson(0, 20)[1], 2) == 0.16


def test_of_nothing_nothing_is_known() -> None:
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.integers(1, 200).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_an_interval_holds_its_share_and_stays_within_bounds(case: tuple[int, int]) -> None:
    wins, count = case
    low, high = wilson(wins, count)

    assert 0 <= low <= wins / count + 1e-12
    assert wins / count - 1e-12 <= high <= 1


def test_pairs_of_one_prompt_are_worth_less_than_pairs_of_many() -> None:
    alone = effective_count([[1]] * 12)
    together = effective_count([[1] * 6] * 2)

    assert alone == 12
    assert together < 7


def test_pairs_that_follow_their_prompt_are_worth_as_much_as_prompts() -> None:
    assert effective_count([[1] * 6, [0] * 6, [1] * 6, [0] * 6]) == pytest.approx(4, rel=0.05)


def test_alpha_is_that_of_the_textbook() -> None:
    """Krippendorff's own example of interval data: four observers, twelve units, 0.849."""
    table = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    answers = [
        {("u", unit): value for unit, value in enumerate(row) if value is not None} for row in table
    ]

    assert krippendorff(answers) == pytest.approx(0.849, abs=0.001)


def test_alpha_is_not_defined_where_all_said_the_same_or_nobody_judged_the_same_pair() -> None:
    assert krippendorff([{KEYS[0]: 1}, {KEYS[0]: 1}]) is None
    assert krippendorff([{KEYS[0]: 1}, {KEYS[1]: -1}]) is None
    assert krippendorff([]) is None


def test_opposites_disagree_more_than_a_tie_does() -> None:
    first = dict.fromkeys(KEYS[:5], 1) | dict.fromkeys(KEYS[5:10], -1)
    doubtful = first | dict.fromkeys(KEYS[:3], 0)
    opposite = first | dict.fromkeys(KEYS[:3], -1)
    mild, hard = krippendorff([first, doubtful]), krippendorff([first, opposite])

    assert mild is not None
    assert hard is not None
    assert mild > hard


def test_a_pair_that_several_judged_is_one_pair() -> None:
    found = weigh([{KEYS[0]: 1, KEYS[1]: 1}, {KEYS[0]: 1, KEYS[1]: -1}])

    assert (found.wins, found.losses, found.ties, found.reviewers) == (1, 0, 1, 2)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([], "Nobody has compared it with r5 yet."),
        ([{}], "Nobody has compared it with r5 yet."),
        ([{KEYS[0]: 1}], "1 decided pair from 1 prompt"),
        ([dict.fromkeys(KEYS[:8], 0)], "Every pair is a tie"),
        ([dict.fromkeys(KEYS[:20], 1)], "so it is better"),
        ([dict.fromkeys(KEYS[:20], -1)], "so it is worse"),
        ([dict.fromkeys(KEYS[:3], 1)], "which is no proof of either"),
        ([dict.fromkeys(KEYS[:4], 1)] * 2, "cannot be told from chance"),
        ([{KEYS[0]: 1, KEYS[1]: -1}, {KEYS[0]: -1, KEYS[1]: 1}], "and disagree"),
        ([{KEYS[0]: 1, KEYS[1]: -1}, {KEYS[0]: 1, KEYS[1]: -1}], "and agree"),
        ([{KEYS[0]: 1}], "One person answered"),
    ],
)
def test_every_count_has_an_honest_sentence(answers: list[dict[tuple[str, int], int]],
                                            words: str) -> None:  # fmt: skip
    assert words in " ".join(sentences(weigh(answers), against="r5"))
