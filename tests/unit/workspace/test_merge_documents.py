"""Documents are merged by what they are made of; what both sides changed is never guessed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_pipeline.workspace.merge_documents import (
    MISSING,
    Clash,
    Shape,
    earlier,
    later,
    members,
    merge_documents,
    things,
    whole,
    words,
)

NAMES = st.sampled_from(["a", "b", "c", "d"])
OBJECTS = st.dictionaries(NAMES, st.integers(0, 3) | st.lists(st.integers(0, 2), max_size=2))
LISTS = st.dictionaries(NAMES, st.integers(0, 2), max_size=4).map(
    lambda found: [{"id": name, "n": n} for name, n in found.items()]
)
CASES = [(members(), OBJECTS), (things("id", members()), LISTS)]


@pytest.mark.parametrize(("shape", "documents"), CASES, ids=["members", "things"])
def test_a_side_that_changed_nothing_takes_what_the_other_one_has(
    shape: Shape, documents: st.SearchStrategy[Any]
) -> None:
    @given(documents, documents)
    def check(base: Any, changed: Any) -> None:
        assert merge_documents(shape, base, base, changed)[1] == ()
        assert merge_documents(shape, base, changed, base) == (changed, ())
        assert _by_id(merge_documents(shape, base, base, changed)[0]) == _by_id(changed)

    check()


@pytest.mark.parametrize(("shape", "documents"), CASES, ids=["members", "things"])
def test_both_ways_round_find_the_same_clashes_and_the_same_content(
    shape: Shape, documents: st.SearchStrategy[Any]
) -> None:
    @given(documents, documents, documents)
    def check(base: Any, ours: Any, theirs: Any) -> None:
        one, clashes = merge_documents(shape, base, ours, theirs)
        other, turned = merge_documents(shape, base, theirs, ours, prefer="theirs")

        assert {clash.where for clash in clashes} == {clash.where for clash in turned}
        assert _by_id(one) == _by_id(other)

    check()


@given(OBJECTS, OBJECTS, OBJECTS)
def test_every_value_of_the_result_stands_on_one_of_the_sides(
    base: Any, ours: Any, theirs: Any
) -> None:
    merged, clashes = merge_documents(members(), base, ours, theirs)

    for key, value in merged.items():
        assert value in [side[key] for side in (ours, theirs) if key in side]
    for clash in clashes:
        assert ours.get(clash.where, MISSING) != theirs.get(clash.where, MISSING)


def test_members_of_both_sides_come_together() -> None:
    base = {"rule": {"tags": ["a"], "rating": 0}, "gone": 1}
    ours = {"rule": {"tags": ["a", "b"], "rating": 0}, "gone": 1, "mine": True}
    theirs = {"rule": {"tags": ["a"], "rating": 3}, "yours": None}

    merged, clashes = merge_documents(members(rule=members()), base, ours, theirs)

    assert merged == {"rule": {"tags": ["a", "b"], "rating": 3}, "mine": True, "yours": None}
    assert clashes == ()


def test_a_clash_is_named_by_its_path_and_the_preferred_side_stands() -> None:
    base, ours, theirs = ({"rule": {"word": one}} for one in ("x", "y", "z"))

    for side, value in (("base", "x"), ("ours", "y"), ("theirs", "z")):
        merged, clashes = merge_documents(
            members(rule=members()),
            base,
            ours,
            theirs,
            prefer=side,  # type: ignore[arg-type]
        )
        assert merged == {"rule": {"word": value}}
        assert clashes == (Clash("rule.word", "x", "y", "z"),)


@pytest.mark.parametrize(
    ("base", "ours", "theirs", "merged"),
    [
        (["a"], ["a", "b"], ["a", "c"], ["a", "c", "b"]),
        (["a", "b"], ["a"], ["a", "b", "c"], ["a", "c"]),
        (["a", "b"], ["b"], ["a"], []),
        (MISSING, ["a"], ["b"], ["b", "a"]),
    ],
)
def test_words_of_both_sides_come_together(
    base: Any, ours: Any, theirs: Any, merged: list[str]
) -> None:
    assert merge_documents(words, base, ours, theirs) == (merged, ())


def test_a_thing_that_one_side_removed_and_the_other_changed_is_a_clash() -> None:
    shape = things("id", members())
    base, ours = [{"id": "a", "n": 1}], [{"id": "a", "n": 2}]

    assert merge_documents(shape, base, base, []) == ([], ())
    merged, (clash,) = merge_documents(shape, base, ours, [])
    assert merged == ours
    assert (clash.where, clash.theirs) == ("[a]", MISSING)


def test_the_order_of_our_side_stays_and_sorted_lists_stay_sorted() -> None:
    def named(text: str) -> list[dict[str, str]]:
        return [{"id": one} for one in text]

    shape = things("id", members())
    assert merge_documents(shape, named("zx"), named("zxb"), named("zax"))[0] == named("zaxb")
    assert merge_documents(shape, named("ac"), named("acd"), named("abc"))[0] == named("abcd")


def test_a_list_whose_things_have_no_ids_is_one_thing() -> None:
    shape = things("id", members())

    assert merge_documents(shape, [1], [1, 2], [1])[0] == [1, 2]
    assert len(merge_documents(shape, [{"id": "a"}], [{"id": "a"}] * 2, [])[1]) == 1


def test_times_are_the_first_and_the_last() -> None:
    assert merge_documents(earlier, "2", "2", "1") == ("1", ())
    assert merge_documents(later, "1", "2", "3") == ("3", ())


def test_true_is_not_one_and_one_is_one_and_nothing() -> None:
    assert merge_documents(whole, 0, 1, True)[1]
    assert not merge_documents(whole, 0, 1, 1.0)[1]


def _by_id(document: Any) -> Any:
    return {one["id"]: one for one in document} if isinstance(document, list) else document
