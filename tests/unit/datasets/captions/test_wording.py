from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, UnsetType
from msgspec.structs import replace

from lora_pipeline.catalog.records import Prompt
from lora_pipeline.datasets.captions.wording import Caption, Tokens, caption_of, ingredients, spoken
from lora_pipeline.datasets.picks import Pick
from lora_pipeline.datasets.records import CaptionRule
from lora_pipeline.foundation.errors import CaptionInvalidError
from tests.support.dataset_builders import pick

TOKENS = Tokens(
    styles={"flat": ("flat style", "clean")},
    scenarios={"hud": ("game interface",)},
    tags={"shape:circle": "round icon", "color:red": "crimson"},
)


def made(one: Pick, tokens: Tokens = TOKENS, **rule: object) -> Caption:
    return caption_of(one, replace(CaptionRule(), **rule), tokens)


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("tags", "circle, red"),
        ("tags+spec", "circle, red, thick outline"),
        ("tags+spec+title", "circle, red, thick outline, Health potion"),
    ],
)
def test_strategies_take_tags_then_those_of_the_spec_then_its_title(
    strategy: str, expected: str
) -> None:
    one = pick(
        tags=("shape:circle", "color:red"),
        spec_tags=("line:thick_outline", "color:red"),
        title="Health potion",
    )

    assert made(one, strategy=strategy).text == expected


def test_tokens_follow_as_style_scenario_and_tags_and_replace_the_tag_that_has_one() -> None:
    one = pick(tags=("shape:circle", "line:thick"), spec_tags=("color:red",), scenario="hud")

    caption = made(one, include_prompt_tokens=True)

    assert caption.text == "thick, flat style, clean, game interface, round icon, crimson"


def test_without_tokens_the_catalog_does_not_matter() -> None:
    one = pick(tags=("shape:circle",))

    assert made(one).text == made(one, tokens=Tokens()).text == "circle"


def test_trigger_word_and_prefix_come_first_and_the_suffix_last() -> None:
    caption = made(
        pick(tags=("shape:circle",)),
        trigger_word="nctyicon",
        prefix="icon",
        suffix="white background",
    )

    assert caption.text == "nctyicon, icon, circle, white background"


def test_a_word_said_before_is_left_out_and_kept_in_the_trace() -> None:
    one = pick(tags=("style:flat", "shape:flat"), title="FLAT")

    caption = made(one, strategy="tags+spec+title")

    assert caption.text == "flat"
    assert [word.source for word in caption.repeated] == ["tag shape:flat", "title"]


def test_every_word_says_where_it_comes_from() -> None:
    one = pick(tags=("shape:circle", "line:thick"), spec_tags=("size:small",), title="Potion")

    caption = made(one, strategy="tags+spec+title", include_prompt_tokens=True, trigger_word="trgg")

    assert [(word.text, word.source) for word in caption.words] == [
        ("trgg", "trigger word"),
        ("thick", "tag line:thick"),
        ("small", "spec tag size:small"),
        ("Potion", "title"),
        ("flat style", "token of style flat"),
        ("clean", "token of style flat"),
        ("round icon", "token of tag shape:circle"),
    ]


def test_a_tag_is_said_as_its_value() -> None:
    assert spoken("shape:round_square") == "round square"
    assert spoken("view:3-4") == "3-4"


def test_equal_titles_in_another_unicode_form_give_the_same_caption() -> None:
    composed, decomposed = pick(title="Caf\u00e9"), pick(title="Cafe\u0301")

    assert (
        made(composed, strategy="tags+spec+title").text
        == made(decomposed, strategy="tags+spec+title").text
    )


@pytest.mark.parametrize("character", ["\n", "\x00", "\x1b", "\u2028", "\u202e", "\x85"])
def test_a_character_that_no_caption_may_hold_is_refused_with_asset_and_source(
    character: str,
) -> None:
    one = pick("A7", tags=("shape:circle",), title=f"a{character}b")

    with pytest.raises(CaptionInvalidError) as caught:
        made(one, strategy="tags+spec+title")

    assert "asset A7" in caught.value.message
    assert "its title holds" in caught.value.message


def test_an_empty_caption_is_refused_and_says_what_to_do() -> None:
    with pytest.raises(CaptionInvalidError) as caught:
        made(pick("A7", title="Potion"))

    assert "asset A7 (Potion): its caption would be empty" in caught.value.message
    assert "lora asset tag A7" in str(caught.value.hint)


def test_a_caption_of_the_trigger_word_alone_is_a_caption() -> None:
    assert made(pick(), trigger_word="trgg").text == "trgg"


WORDS = st.text(st.characters(codec="utf-8"), max_size=12)


@given(title=WORDS, prefix=WORDS, suffix=WORDS)
def test_what_comes_out_is_one_line_without_control_characters_or_an_error(
    title: str, prefix: str, suffix: str
) -> None:
    one = pick(tags=("shape:circle",), title=title)

    try:
        text = made(one, strategy="tags+spec+title", prefix=prefix, suffix=suffix).text
    except CaptionInvalidError:
        return
    assert text
    assert len(text.splitlines()) == 1
    assert not any(ord(character) < 32 or ord(character) == 127 for character in text)


def test_a_token_of_the_checkpoints_own_catalog_says_so_in_the_trace() -> None:
    tokens = Tokens(
        styles={"flat": ("flat vector art",)},
        tags={"shape:circle": "round icon"},
        checkpoint_id="sdxl_base",
        overridden=frozenset({"style flat"}),
    )

    caption = made(pick(tags=("shape:circle",)), tokens, include_prompt_tokens=True)

    assert [word.source for word in caption.words] == [
        "token of style flat for sdxl_base",
        "token of tag shape:circle",
    ]


TEXTS = st.sampled_from(["flat", "hud", "a potion, red"])
SAME = {
    "tags": st.lists(st.sampled_from(["shape:circle", "color:red"]), unique=True).map(tuple),
    "spec_tags": st.lists(st.sampled_from(["line:thick", "color:red"]), unique=True).map(tuple),
    "style": TEXTS,
    "scenario": TEXTS,
}


@given(
    fields=st.fixed_dictionaries(SAME),
    titles=st.tuples(TEXTS, TEXTS),
    prompts=st.tuples(TEXTS, TEXTS),
    strategy=st.sampled_from(["tags", "tags+spec", "tags+spec+title"]),
    template=st.sampled_from([UNSET, "{title}, {prompt}", "[{tags}] {style} {scenario}"]),
    tokens=st.booleans(),
)
def test_images_of_equal_ingredients_have_equal_captions(
    fields: dict[str, Any],
    titles: tuple[str, str],
    prompts: tuple[str, str],
    strategy: str,
    template: str | UnsetType,
    *,
    tokens: bool,
) -> None:
    rule = replace(
        CaptionRule(), trigger_word="zx", strategy=strategy, template=template,
        include_prompt_tokens=tokens,
    )  # fmt: skip
    one, other = (
        pick(asset_id, title=title, prompt=Prompt(positive=prompt), license_=asset_id, **fields)
        for asset_id, title, prompt in zip("AB", titles, prompts, strict=True)
    )
    same = caption_of(one, rule, TOKENS).text == caption_of(other, rule, TOKENS).text

    assert same or ingredients(one, rule) != ingredients(other, rule)
