from __future__ import annotations

import pytest

from lora_pipeline.catalog.assets.filter import AssetEntry, AssetFilter, Sieve
from lora_pipeline.catalog.records import Asset, Prompt, Spec, Variant, Version, VersionStatus
from lora_pipeline.foundation.errors import SelectionEmptyError

TIME = "2026-03-01T12:00:00Z"


def entry(
    asset_id: str,
    title: str,
    *tags: str,
    status: VersionStatus = "review",
    asset_type: str = "ui_icon",
    spec_tags: tuple[str, ...] = (),
) -> AssetEntry:
    spec = Spec(
        id=f"S{asset_id}", project_id="p", created_at=TIME, updated_at=TIME, title=title,
        asset_type=asset_type, style="flat", scenario="hud", prompt=Prompt(positive=""),
        tags=spec_tags,
    )  # fmt: skip
    variant = Variant(id="v", original_path="a.png", tags=tags)
    version = Version(id="1", created_at=TIME, status=status, variants=(variant,))
    asset = Asset(
        id=asset_id, project_id="p", spec_id=spec.id, created_at=TIME, updated_at=TIME,
        versions=(version,),
    )  # fmt: skip
    return AssetEntry(asset, spec)


ENTRIES = [
    entry("01AAAAAA111111", "Red heart", "style:flat", "color:red"),
    entry("01AAAAAA222222", "blue [old] heart", "style:flat", "color:blue", status="approved"),
    entry("01AAAAAA333333", "Crown", "style:neon", spec_tags=("color:red",), asset_type="logo"),
]


def titles(wanted: AssetFilter) -> list[str]:
    sieve = Sieve(wanted, [f"neon_city {len(ENTRIES)}"])
    kept = [one.title for one in ENTRIES if sieve.keeps(one)]
    sieve.require_any()
    return kept


def test_without_a_wish_all_are_meant() -> None:
    assert titles(AssetFilter()) == ["Red heart", "blue [old] heart", "Crown"]


def test_tags_of_the_image_and_of_the_spec_count_and_all_must_be_there() -> None:
    assert titles(AssetFilter(tags=("color:red",))) == ["Red heart", "Crown"]
    assert titles(AssetFilter(tags=("color:red", "style:neon"))) == ["Crown"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("red HEART", ["Red heart"]),
        ("*heart", ["Red heart", "blue [old] heart"]),
        ("?rown", ["Crown"]),
        ("blue [old] heart", ["blue [old] heart"]),
    ],
)
def test_titles_are_compared_without_case_and_with_stars(pattern: str, expected: list[str]) -> None:
    assert titles(AssetFilter(titles=(pattern,))) == expected


def test_several_statuses_are_alternatives() -> None:
    assert titles(AssetFilter(statuses=("approved", "rejected"))) == ["blue [old] heart"]


def test_empty_selection_names_the_filter_that_emptied_it_and_counts_before() -> None:
    with pytest.raises(SelectionEmptyError) as caught:
        titles(AssetFilter(asset_types=("ui_icon",), tags=("style:flat", "color:rde")))

    error = caught.value
    assert error.message == "no asset is left: tag color:rde kept 0 of 2"
    assert error.source == "neon_city 3 → asset type ui_icon 2 → tag style:flat 2 → tag color:rde 0"
    assert error.hint == "did you mean color:red?"


def test_of_a_filter_that_leaves_nothing_the_words_that_there_are_are_named() -> None:
    with pytest.raises(SelectionEmptyError) as caught:
        titles(AssetFilter(statuses=("rejected",), asset_types=("ui_icon",)))

    assert caught.value.message == "no asset is left: status rejected kept 0 of 2"
    assert caught.value.hint == "there are: approved, review"


def test_a_filter_knows_whether_anything_was_said() -> None:
    assert not AssetFilter()
    assert AssetFilter(styles=("flat",))
