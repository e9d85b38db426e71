from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.catalog.imports.captions import (
    CaptionKind,
    WordReader,
    read_side_cars,
    with_caption,
)
from lora_pipeline.catalog.imports.facts import FileFacts
from lora_pipeline.catalog.records import Tag, TagGroup
from lora_pipeline.catalog.vocabulary import make_vocabulary
from lora_pipeline.foundation.errors import ImportSourceError

VOCABULARY = make_vocabulary(
    groups=[
        TagGroup(
            id="color", label="Colour", exclusive=False,
            tags=(
                Tag(id="color:gray", label="Gray", aliases=("grey",)),
                Tag(id="color:dark_blue", label="Night", prompt_token="navy"),
                Tag(id="color:round", label="Round"),
            ),
        ),
        TagGroup(
            id="shape", label="Shape", exclusive=False,
            tags=(Tag(id="shape:round", label="Circle"),),
        ),
    ]
)  # fmt: skip


def told(
    caption: str, kind: CaptionKind, *, group: str = "look", prompt: str = ""
) -> tuple[tuple[str, ...], str, dict[str, int]]:
    words = WordReader(VOCABULARY, group)
    facts = with_caption(FileFacts(caption=caption, prompt=prompt), kind, words)
    assert facts.caption == ""
    return facts.tags, facts.prompt, words.unusable


def test_auto_takes_a_list_of_tags_for_tags_and_anything_else_for_a_description() -> None:
    assert told("style:flat, color:red", "auto")[:2] == (("style:flat", "color:red"), "")
    assert told("A crown,\r\nred and flat", "auto")[:2] == ((), "A crown, red and flat")


def test_text_is_a_description_whatever_it_looks_like() -> None:
    assert told("style:flat, color:red", "text")[:2] == ((), "style:flat, color:red")


def test_none_leaves_the_caption_out() -> None:
    assert told("a crown", "none")[:2] == ((), "")


def test_words_between_commas_become_tags_and_stay_as_the_description() -> None:
    assert told("1girl, Blue Hair, solo", "tags")[:2] == (
        ("look:1girl", "look:blue_hair", "look:solo"),
        "1girl, Blue Hair, solo",
    )


def test_words_of_a_catalog_become_its_tags() -> None:
    tags, _, _ = told("grey, Dark Blue, navy, circle, color:gray, Night", "tags")

    assert tags == ("color:gray", "color:dark_blue", "shape:round")


def test_word_that_means_several_tags_means_none_of_them() -> None:
    assert told("round", "tags")[0] == ("look:round",)


def test_booru_words_stand_between_spaces_when_there_is_no_comma() -> None:
    assert told("1girl blue_hair saber_\\(fate\\)", "booru")[0] == (
        "look:1girl", "look:blue_hair", "look:saber_fate",
    )  # fmt: skip
    assert told("1girl, blue hair", "booru")[0] == ("look:1girl", "look:blue_hair")


def test_words_of_which_no_tag_can_be_made_are_counted_and_stay_in_the_description() -> None:
    tags, prompt, unusable = told("猫耳, red, :d", "tags")

    assert tags == ("look:red", "look:d")
    assert prompt == "猫耳, red, :d"
    assert unusable == {"猫耳": 1}


def test_sentence_between_commas_is_no_tag() -> None:
    long = "a very long sentence about a crown that goes on and on until nobody reads it"

    assert told(f"red, {long}", "tags")[2] == {}
    assert told(f"red, {long} {long}", "tags")[0][0] == "look:red"


def test_without_a_group_unknown_words_stay_as_they_are_to_be_refused() -> None:
    assert told("grey, solo", "tags", group="")[0] == ("color:gray", "solo")


def test_description_that_was_given_weighs_more_than_the_caption() -> None:
    assert told("red", "tags", prompt="a crown")[:2] == (("look:red",), "a crown")


def test_words_of_a_folder_stand_in_for_a_missing_caption() -> None:
    words = WordReader(VOCABULARY)

    assert with_caption(FileFacts(), "auto", words, stands_in="sks icon").prompt == "sks icon"
    said = with_caption(FileFacts(caption="a sun"), "auto", words, stands_in="sks icon")
    assert said.prompt == "a sun"


def test_side_cars_give_captions_and_json_weighs_more(tmp_path: Path) -> None:
    (tmp_path / "crown.txt").write_text("a crown\n")
    assert read_side_cars(tmp_path / "crown.png") == FileFacts(caption="a crown")
    (tmp_path / "crown.caption").write_text("a red crown")
    assert read_side_cars(tmp_path / "crown.png") == FileFacts(caption="a red crown")
    (tmp_path / "crown.json").write_text('{"caption": "gold", "title": "Crown"}')

    assert read_side_cars(tmp_path / "crown.png") == FileFacts(caption="gold", title="Crown")


def test_image_without_side_cars_says_nothing(tmp_path: Path) -> None:
    assert read_side_cars(tmp_path / "crown.png") == FileFacts()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("Königskrone".encode("latin-1"), "crown.txt is not UTF-8 at byte 1"),
        (b"crown\x00", "NUL bytes"),
        (b"a \x1b[31mcrown", "control characters"),
        (b"x" * (256 * 1024 + 1), "more than 262,144 bytes"),
    ],
)
def test_side_car_that_is_no_text_says_where_and_why(
    tmp_path: Path, data: bytes, words: str
) -> None:
    (tmp_path / "crown.txt").write_bytes(data)

    with pytest.raises(ImportSourceError, match=words):
        read_side_cars(tmp_path / "crown.png")


def test_side_car_of_another_encoding_is_read_when_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "crown.txt").write_bytes("Königskrone".encode("latin-1"))
    (tmp_path / "sun.txt").write_bytes("Söl".encode("utf-16"))

    assert read_side_cars(tmp_path / "crown.png", encoding="latin-1").caption == "Königskrone"
    assert read_side_cars(tmp_path / "sun.png", encoding="latin-1").caption == "Söl"
