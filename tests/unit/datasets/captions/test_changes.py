from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_pipeline.datasets.captions.changes import Piece, compare_words, phrases


def signed(before: str, after: str) -> list[str]:
    signs = {"added": "+", "removed": "-", "same": " "}
    return [f"{signs[one.kind]}{one.text}" for one in compare_words(before, after)]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("flat, red", "flat, red", [" flat, red"]),
        ("flat, red, circle", "flat, blue, circle", [" flat, ", "-red", "+blue", " , circle"]),
        ("flat, red", "trgg, flat, red", ["+trgg, ", " flat, red"]),
        ("round square, x", "circle, x", ["-round square", "+circle", " , x"]),
        ("a big dog here", "one small cat here", ["-a big dog", "+one small cat", "  here"]),
        ("it's red", "it's blue", [" it's ", "-red", "+blue"]),
        ("猫の絵", "犬の絵", ["-猫", "+犬", " の絵"]),
        ("", "red", ["+red"]),
        ("red", "", ["-red"]),
        ("", "", []),
    ],
)
def test_words_that_came_and_went_are_told_in_their_place(
    before: str, after: str, expected: list[str]
) -> None:
    assert signed(before, after) == expected


def test_phrases_are_what_people_call_tags() -> None:
    pieces = (Piece("added", "trgg, "), Piece("same", "a"), Piece("added", ", big red, round."))

    assert phrases(pieces, "added") == ["trgg", "big red", "round"]
    assert phrases(pieces, "removed") == []


def test_texts_too_long_to_compare_count_as_replaced() -> None:
    before = " ".join(f"a{number}" for number in range(3000))
    after = " ".join(f"b{number}" for number in range(3000))

    assert [one.kind for one in compare_words(before, after)] == ["removed", "added"]


TEXTS = st.text(alphabet="ab ,.'猫犬\n-", max_size=40)


@settings(max_examples=300, deadline=None)
@given(TEXTS, TEXTS)
def test_the_pieces_are_both_captions_and_nothing_else(before: str, after: str) -> None:
    pieces = compare_words(before, after)

    assert "".join(one.text for one in pieces if one.kind != "added") == before
    assert "".join(one.text for one in pieces if one.kind != "removed") == after
    assert all(one.text for one in pieces)
