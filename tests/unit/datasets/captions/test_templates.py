"""The language of caption templates, and the captions that they make."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lora_pipeline.datasets.captions.templates import BUILT_IN, SLOTS, parse_template, usual_form
from lora_pipeline.datasets.captions.wording import Caption, Tokens, caption_of
from lora_pipeline.datasets.picks import Pick
from lora_pipeline.datasets.records import CaptionRule
from lora_pipeline.foundation.errors import CaptionInvalidError
from tests.support.dataset_builders import pick

TOKENS = Tokens(styles={"flat": ("flat style",)}, tags={"color:red": "crimson"})
FULL = {"strategy": "tags+spec+title", "trigger_word": "nctyicon"}


def potion() -> Pick:
    return pick(tags=("shape:circle", "color:red"), title="Health potion")


def made(template: str, one: Pick | None = None, **rule: Any) -> Caption:
    changed = replace(CaptionRule(), template=template, **{**FULL, **rule})
    return caption_of(one or potion(), changed, TOKENS)


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{trigger}, {type} of {title}", "nctyicon, ui icon of Health potion"),
        ("{tags}", "circle, red"),
        ("{tags:and}", "circle and red"),
        ("a {tags.color} {tags.shape}", "a red circle"),
        ("{tags.color}: {tags}", "red: circle"),
        ("{title} in {style} for {scenario}", "Health potion in flat for plain"),
        ("{title}[ with {prefix}][, {suffix}]", "Health potion"),
        ("{title}[, {tags.view}]", "Health potion"),
        ("{prefix} {title}", "Health potion"),
        (BUILT_IN["sentence"], "nctyicon, ui icon of Health potion: circle, red."),
    ],
)
def test_slots_are_filled_and_sections_without_words_are_left_out(
    template: str, expected: str
) -> None:
    assert made(template).text == expected


def test_the_sentence_holds_prefix_tokens_and_suffix_where_there_are_any() -> None:
    caption = made(
        BUILT_IN["sentence"], prefix="glossy", suffix="White background",
        include_prompt_tokens=True,
    )  # fmt: skip

    assert caption.text == (
        "nctyicon, glossy ui icon of Health potion: circle, flat style, crimson. White background."
    )


def test_the_sentence_is_whole_under_every_strategy_without_trigger_and_tags() -> None:
    bare = pick(title="Health potion")

    assert made(BUILT_IN["sentence"], bare, strategy="tags", trigger_word="").text == "ui icon."
    assert made(BUILT_IN["sentence"], strategy="tags").text == "nctyicon, ui icon: circle, red."


def test_a_tag_with_a_token_is_said_by_it_where_the_tag_or_its_group_stands() -> None:
    assert made("{tags}", include_prompt_tokens=True).text == "circle, crimson"
    assert (
        made("{tags.color} icon, {tags}", include_prompt_tokens=True).text == "crimson icon, circle"
    )
    assert (
        made("{tags}; {tokens}", include_prompt_tokens=True).text == "circle; flat style, crimson"
    )


def test_words_of_lists_give_way_to_what_a_sentence_says_anyway() -> None:
    one = pick(tags=("style:flat", "shape:flat", "color:red"), title="Flat")

    caption = made("{tags} {title}", one)

    assert caption.text == "red Flat"
    assert [word.source for word in caption.repeated] == ["tag style:flat", "tag shape:flat"]


def test_the_trace_names_words_of_the_template_itself() -> None:
    caption = made("{trigger}, {type} of {title}: {tags}.")

    assert [(word.text, word.source) for word in caption.words] == [
        ("nctyicon", "trigger word"),
        ("ui icon", "asset type"),
        ("of", "template"),
        ("Health potion", "title"),
        ("circle", "tag shape:circle"),
        ("red", "tag color:red"),
    ]


@pytest.mark.parametrize(
    "title", ["{trigger} {0} {0.__class__}", "%(x)s $HOME ${x}", "[{tags}]", "{{7*7}}"]
)
def test_what_stands_in_a_slot_is_never_read_as_a_template(title: str) -> None:
    assert made("{title}!", pick(title=title)).text == f"{title}!"


@pytest.mark.parametrize(
    ("template", "rule"),
    [
        ("{tirgger}", "says {tirgger} at character 1, which is no slot"),
        ("{title!r}", "which is no slot"),
        ("{title.__class__}", "which is no slot"),
        ("{0}", "which is no slot"),
        ("{}", "which is no slot"),
        ("{tags.}", "which is no slot"),
        ("{title:>10}", "after : there is only and"),
        ("an icon", "has no slot"),
        ("{title", "has a lone { at character 1"),
        ("title}", "has a lone } at character 6"),
        ("{{title}}", "has a lone {"),
        ("[{title}", "has a section that is not closed"),
        ("{title}]", "has a ] at character 8"),
        ("[[{title}]]", "sections do not stand in each other"),
        ("{title}[ and more]", "has a section without a slot"),
        ("{title}" + "x" * 500, "has 507 characters, at most 500"),
    ],
)
def test_what_is_not_of_the_language_is_refused_with_its_place(template: str, rule: str) -> None:
    with pytest.raises(CaptionInvalidError) as caught:
        parse_template(template)

    assert rule in caught.value.message
    assert caught.value.hint


def test_a_slot_that_is_spelled_wrong_is_answered_with_the_right_one() -> None:
    with pytest.raises(CaptionInvalidError) as caught:
        parse_template("{tirgger} {tags}")

    assert caught.value.hint == "did you mean {trigger}?"


@given(st.text(max_size=60))
def test_any_text_is_a_template_or_refused(text: str) -> None:
    try:
        slots = list(parse_template(text).slots())
    except CaptionInvalidError:
        return
    assert all(slot.name in SLOTS or slot.name.startswith("tags.") for slot in slots)


@given(st.text(alphabet=st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=30))
def test_a_title_stands_in_the_caption_as_it_is(title: str) -> None:
    one = pick(title=title)

    assert made("{title}", one).text == made("x[ {title}]", one).text.removeprefix("x ")


def test_models_that_read_sentences_get_sentences_and_unknown_ones_words() -> None:
    assert usual_form("flux1") == usual_form("qwen_image") == "sentence"
    assert usual_form("sdxl") == usual_form("sd15") == usual_form("") == "tags"


def test_a_caption_that_says_nothing_of_the_image_is_refused() -> None:
    with pytest.raises(CaptionInvalidError) as caught:
        made("an icon{title}", pick(title="x"), strategy="tags")

    assert "would be empty" in caught.value.message
