from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.catalog.imports.facts import FileFacts
from lora_pipeline.catalog.imports.folder import FoundImage
from lora_pipeline.catalog.imports.plan import (
    PlannedAsset,
    WordProblem,
    Words,
    plan_asset,
    unknown_words,
)
from lora_pipeline.catalog.records import AssetType, CatalogWord, ProjectDefaults, Tag, TagGroup
from lora_pipeline.catalog.vocabulary import make_vocabulary

VOCABULARY = make_vocabulary(
    asset_types=[
        AssetType(id="ui_icon", label="UI icon", default_tags=("assetType:ui_icon",)),
        AssetType(id="logo", label="Logo"),
    ],
    styles=[CatalogWord(id="flat", label="Flat", aliases=("plain",))],
    scenarios=[CatalogWord(id="hud", label="HUD")],
    groups=[
        TagGroup(
            id="style", label="Style", exclusive=True,
            tags=(Tag(id="style:flat", label="Flat"), Tag(id="style:neon", label="Neon")),
        ),
        TagGroup(
            id="color", label="Colour", exclusive=False,
            tags=(Tag(id="color:gray", label="Gray", aliases=("grey",)),),
        ),
    ],
)  # fmt: skip
DEFAULTS = ProjectDefaults(style="flat", scenario="hud")


def plan(name: str = "icons/neon-blue_crown.png", **facts: Any) -> PlannedAsset:
    given = {"asset_type": "ui_icon", **facts}
    image = FoundImage(name, Path("/art") / name)
    return plan_asset(image, FileFacts(**given), VOCABULARY, DEFAULTS)


def test_title_is_made_from_the_file_name_when_none_is_given() -> None:
    assert plan().title == "Neon blue crown"
    assert plan(title="Crown of the sea").title == "Crown of the sea"


@pytest.mark.parametrize("name", ["-_-.png", "\u202e.png", " .png"])
def test_name_that_says_nothing_gives_a_title_all_the_same(name: str) -> None:
    assert plan(name).title == "Untitled"


def test_title_of_a_name_with_a_line_feed_is_one_line() -> None:
    assert plan("two\nlines.png").title == "Two lines"


def test_project_defaults_stand_in_for_style_and_scenario() -> None:
    assert (plan().style, plan().scenario) == ("flat", "hud")
    assert plan(style="Plain").style == "flat"


def test_tags_are_brought_to_their_catalog_spelling_once_each() -> None:
    assert plan(tags=("grey", "Style:Flat", "color:gray")).tags == ("color:gray", "style:flat")


def test_tags_of_the_type_go_to_the_spec() -> None:
    assert plan().spec_tags == ("assetType:ui_icon",)
    assert plan(asset_type="logo").spec_tags == ()


def test_right_to_train_is_unknown_unless_it_is_stated() -> None:
    assert plan().rights.training == "unknown"
    assert plan(training_rights="denied").rights.training == "denied"


@pytest.mark.parametrize(
    ("facts", "code", "hint"),
    [
        ({"asset_type": "ui_icn"}, "asset_type_unknown", "did you mean ui_icon?"),
        ({"asset_type": "zzz"}, "asset_type_unknown", "there are: ui_icon, logo"),
        (
            {"tags": ("flat",)},
            "tag_invalid",
            "did you mean style:flat? --tag-group GROUP takes free words: GROUP:flat",
        ),
        (
            {"tags": ("style flat",)},
            "tag_invalid",
            "did you mean style:flat? --tag-group GROUP takes free words: GROUP:style_flat",
        ),
        ({"tags": ("style:flat", "style:neon")}, "tags_exclusive", "an image has one tag of style"),
        ({"style": "very flat"}, "style_invalid", None),
        ({"scenario": "../hud"}, "scenario_invalid", None),
    ],
)
def test_words_that_are_none_are_refused_with_what_was_meant(
    facts: dict[str, Any], code: str, hint: str | None
) -> None:
    with pytest.raises(WordProblem) as caught:
        plan(**facts)

    assert (caught.value.code, caught.value.hint) == (code, hint)


def test_words_of_no_catalog_are_gathered_in_order_and_once() -> None:
    planned = [plan(tags=("shape:star", "color:gray"), style="oil"), plan(tags=("shape:star",))]

    assert unknown_words(planned, VOCABULARY) == Words(
        tags=("shape:star", "assetType:ui_icon"), styles=("oil",), scenarios=()
    )


def test_no_new_words_are_nothing() -> None:
    assert not Words()
    assert Words(styles=("oil",))
