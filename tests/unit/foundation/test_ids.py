"""Ids: slugs for people, ULIDs for machines, and the word that was meant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.files import unsafe_reason
from lora_pipeline.foundation.ids import (
    did_you_mean,
    new_ulid,
    require_slug,
    require_tag,
    slugify,
)


@pytest.mark.parametrize("slug", ["a", "0", "neon_city", "icons-2", "a" * 63, "com10", "console"])
def test_slugs_are_accepted(slug: str) -> None:
    assert require_slug(slug, "project") == slug


@pytest.mark.parametrize(
    "value",
    [
        "", ".", "..", ".git", "-x", "_x", "a" * 64, "Neon", "neon city", "neon/city", "neon\\city",
        "neon.city", "ümlaut", "a\n", "\na", "a\x00", "con", "prn", "aux", "nul", "com1", "lpt9",
        "../x", "x:y", "猫",
    ],
)  # fmt: skip
def test_what_is_no_slug_is_refused_and_named(value: str) -> None:
    with pytest.raises(ArgumentInvalidError) as caught:
        require_slug(value, "project")

    assert caught.value.message.startswith("project must be a slug")
    assert repr(value) in caught.value.message


def test_the_nearest_slug_is_offered() -> None:
    with pytest.raises(ArgumentInvalidError) as caught:
        require_slug("Neon City!", "project")

    assert caught.value.hint == "try neon_city"


@given(st.text(max_size=80))
def test_a_made_slug_is_a_slug_or_nothing(text: str) -> None:
    slug = slugify(text)

    assert slug == "" or require_slug(slug, "x") == slug


@given(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True))
def test_every_slug_is_a_portable_file_name(text: str) -> None:
    try:
        slug = require_slug(text, "x")
    except ArgumentInvalidError:
        return
    assert unsafe_reason(f"{slug}.json") is None


@pytest.mark.parametrize("tag", ["style:flat", "assetType:ui_icon", "issue:low-res", "v:1.5"])
def test_tags_are_accepted(tag: str) -> None:
    assert require_tag(tag) == tag


@pytest.mark.parametrize(
    ("tag", "hint"),
    [
        ("flat", "try subject:flat"),
        ("Style:Flat Art", "try style:flat_art"),
        ("style:", "try subject:style"),
        (":flat", "try group:flat"),
        ("style:flat\n", "try style:flat"),
        ("a:b:c", "try a:b_c"),
        ("", "try subject:value"),
    ],
)
def test_what_is_no_tag_is_refused_with_one_that_is(tag: str, hint: str) -> None:
    with pytest.raises(ArgumentInvalidError) as caught:
        require_tag(tag)

    assert caught.value.hint == hint
    assert require_tag(hint.removeprefix("try "))


def test_ulids_are_different_and_in_the_order_of_their_making() -> None:
    made = [new_ulid() for _ in range(100)]

    assert len(set(made)) == 100
    assert all(len(one) == 26 and one.isalnum() and one == one.upper() for one in made)
    assert [one[:10] for one in made] == sorted(one[:10] for one in made)


def test_the_word_that_was_meant_is_found() -> None:
    assert did_you_mean("datset", ["dataset", "demo"]) == "dataset"
    assert did_you_mean("xyz", ["dataset", "demo"]) is None
    assert did_you_mean("x", []) is None


def test_tags_of_one_group_are_near_by_their_values() -> None:
    tags = ["shape:diamond", "shape:heart", "color:red"]

    assert did_you_mean("shape:moon", tags) is None
    assert did_you_mean("shape:hart", tags) == "shape:heart"
    assert did_you_mean("colour:red", tags) == "color:red"
