from __future__ import annotations

import hashlib
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lora_pipeline.datasets.limits import Drawn, Limited, within_limits
from lora_pipeline.datasets.records import Selection


def image(number: int, *tags: str, rating: int = 0) -> Drawn:
    digest = hashlib.sha256(str(number).encode()).hexdigest()
    return Drawn(f"A{number:04}", digest, tags, rating)


def limited(*images: Drawn, **rule: Any) -> Limited:
    return within_limits(images, replace(Selection(), **rule))


def ids(result: Limited, *images: Drawn) -> set[str]:
    return {images[index].asset_id for index in result.kept}


def colours(**counts: int) -> tuple[Drawn, ...]:
    """Return images: so many of each colour."""
    shown = [f"color:{colour}" for colour, count in counts.items() for _ in range(count)]
    return tuple(image(number, tag) for number, tag in enumerate(shown))


def shown(result: Limited, images: tuple[Drawn, ...]) -> dict[str, int]:
    return dict(Counter(tag for index in result.kept for tag in images[index].tags))


def test_without_a_limit_every_image_comes_in() -> None:
    assert limited(image(1), image(2)) == Limited((0, 1))


def test_a_limit_that_is_not_reached_leaves_nothing_out() -> None:
    assert limited(image(1), image(2), limit=2) == Limited((0, 1))


def test_a_limit_keeps_that_many_and_says_why_each_other_one_is_out() -> None:
    images = [image(number) for number in range(10)]

    result = limited(*images, limit=4, seed=7)

    assert len(result.kept) == 4
    assert set(result.left_out) == set(range(10)) - set(result.kept)
    reason = next(iter(result.left_out.values()))
    assert (reason.code, reason.text) == ("limit", "not among the 4 that were drawn, seed 7")
    assert [(one.name, one.before, one.after) for one in result.steps] == [("limit 4", 10, 4)]


def test_the_draw_is_the_digest_of_seed_and_image() -> None:
    images = [image(number) for number in range(20)]
    by_hand = sorted(
        images, key=lambda one: hashlib.sha256(f"5\n{one.sha256}".encode()).hexdigest()
    )

    assert ids(limited(*images, limit=6, seed=5), *images) == {one.asset_id for one in by_hand[:6]}


def test_another_seed_draws_others() -> None:
    images = [image(number) for number in range(40)]

    draws = {frozenset(limited(*images, limit=10, seed=seed).kept) for seed in range(8)}

    assert len(draws) == 8


def test_better_rated_images_come_first() -> None:
    images = [image(number, rating=5 if number in (3, 8) else 1) for number in range(10)]

    assert {3, 8} <= set(limited(*images, limit=3).kept)


@given(st.permutations(range(12)), st.integers(1, 12), st.integers(0, 3))
def test_neither_order_nor_ids_matter(order: list[int], limit: int, seed: int) -> None:
    images = [image(number, f"color:c{number % 3}") for number in range(12)]
    moved = [
        Drawn(f"B{place}", images[number].sha256, images[number].tags)
        for place, number in enumerate(order)
    ]
    rule = {"limit": limit, "seed": seed, "balance": "color"}

    before, after = limited(*images, **rule), limited(*moved, **rule)

    assert {images[index].sha256 for index in before.kept} == {
        moved[index].sha256 for index in after.kept
    }


@given(st.integers(1, 30), st.integers(100, 200))
def test_a_new_image_takes_the_place_of_one_at_most(limit: int, fresh: int) -> None:
    images = [image(number) for number in range(30)]

    before = ids(limited(*images, limit=limit), *images)
    after = ids(limited(*images, image(fresh), limit=limit), *images, image(fresh))

    assert len(before - after) <= 1


def test_balance_alone_shows_each_tag_as_often_as_the_rarest() -> None:
    images = colours(red=9, blue=4, green=3)

    result = limited(*images, balance="color")

    assert shown(result, images) == {"color:red": 3, "color:blue": 3, "color:green": 3}
    left = next(why for index, why in result.left_out.items() if images[index].tags[0][6:] == "red")
    assert (left.code, left.text) == ("balance", "color:red has its 3 already")


def test_balance_with_a_limit_shares_it_and_lets_rare_tags_keep_all_they_have() -> None:
    images = colours(red=20, blue=20, green=2)

    result = limited(*images, balance="color", limit=12)

    assert shown(result, images) == {"color:red": 5, "color:blue": 5, "color:green": 2}
    assert {why.code for why in result.left_out.values()} == {"limit"}


def test_an_own_number_for_each_tag_is_not_lowered_to_the_rarest() -> None:
    images = colours(red=9, blue=4, green=1)

    result = limited(*images, balance="color", limit_each=4)

    assert shown(result, images) == {"color:red": 4, "color:blue": 4, "color:green": 1}


def test_a_number_for_each_tag_and_one_for_all_hold_together() -> None:
    images = colours(red=9, blue=9, green=9)

    result = limited(*images, balance="color", limit_each=4, limit=7)

    assert sorted(shown(result, images).values()) == [2, 2, 3]


def test_images_without_a_tag_of_the_group_are_left_out_and_told() -> None:
    result = limited(image(1, "color:red"), image(2, "shape:star"), balance="color")

    assert result.kept == (0,)
    assert result.left_out[1].text == "no tag of the group color"


def test_a_group_that_no_image_knows_leaves_nothing_and_names_the_groups_there_are() -> None:
    result = limited(image(1, "shape:star", "style:flat"), image(2, "style:flat"), balance="color")

    assert result.kept == ()
    assert result.steps[0].after == 0
    assert result.steps[0].hint == "there are the groups style, shape"


@given(
    st.lists(st.sets(st.sampled_from("abcd"), min_size=1), min_size=1, max_size=40),
    st.integers(1, 6),
)
def test_an_image_of_several_tags_counts_for_each_and_no_tag_has_more_than_its_number(
    groups: list[set[str]], each: int
) -> None:
    images = tuple(
        image(number, *(f"color:{one}" for one in sorted(tags)))
        for number, tags in enumerate(groups)
    )

    result = limited(*images, balance="color", limit_each=each)

    assert all(count <= each for count in shown(result, images).values())
    assert sorted((*result.kept, *result.left_out)) == list(range(len(images)))


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40), st.integers(1, 40))
def test_with_one_tag_for_each_image_shares_differ_by_one_unless_a_tag_has_no_more(
    letters: list[str], limit: int
) -> None:
    images = tuple(image(number, f"color:{one}") for number, one in enumerate(letters))

    result = limited(*images, balance="color", limit=limit)

    there, kept = Counter(f"color:{one}" for one in letters), shown(result, images)
    most = max(kept.values())
    assert len(result.kept) == min(limit, len(images))
    assert all(kept.get(tag, 0) >= min(most - 1, count) for tag, count in there.items())
