from __future__ import annotations

import pytest

from lora_pipeline.catalog.asset_filter import AssetEntry, AssetFilter, choose
from lora_pipeline.catalog.records import Asset, Prompt, Spec, Variant, Version, VersionStatus
from lora_pipeline.foundation.errors import RecordNotFoundError, SelectionEmptyError

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
    return [one.title for one in choose(ENTRIES, wanted, where="neon_city")]


def test_without_a_wish_all_come_in_the_order_of_their_titles() -> None:
    assert titles(AssetFilter()) == ["blue [old] heart", "Crown", "Red heart"]


def test_tags_of_the_image_and_of_the_spec_count_and_all_must_be_there() -> None:
    assert titles(AssetFilter(tags=("color:red",))) == ["Crown", "Red heart"]
    assert titles(AssetFilter(tags=("color:red", "style:neon"))) == ["Crown"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("red HEART", ["Red heart"]),
        ("*heart", ["blue [old] heart", "Red heart"]),
        ("?rown", ["Crown"]),
        ("blue [old] heart", ["blue [old] heart"]),
    ],
)
def test_titles_are_compared_without_case_and_with_stars(pattern: str, expected: list[str]) -> None:
    assert titles(AssetFilter(titles=(pattern,))) == expected


def test_several_statuses_are_alternatives() -> None:
    assert titles(AssetFilter(statuses=("approved", "rejected"))) == ["blue [old] heart"]


def test_id_may_be_given_by_an_ending_that_only_one_has() -> None:
    assert titles(AssetFilter(ids=("333333",))) == ["Crown"]
    assert titles(AssetFilter(ids=("01AAAAAA111111", "111111"))) == ["Red heart"]


@pytest.mark.parametrize("given", ["999999", "33333", "01AAAAAA"])
def test_unknown_id_or_too_short_an_ending_is_not_found(given: str) -> None:
    with pytest.raises(RecordNotFoundError, match="no asset"):
        titles(AssetFilter(ids=(given,)))


def test_ending_of_several_ids_names_them() -> None:
    twins = [entry("01AXXXXXXX", "A"), entry("01BXXXXXXX", "B")]

    with pytest.raises(RecordNotFoundError, match="may be any of 2 assets"):
        choose(twins, AssetFilter(ids=("XXXXXXX",)), where="p")


def test_empty_selection_names_the_filter_that_emptied_it_and_counts_before() -> None:
    with pytest.raises(SelectionEmptyError) as caught:
        titles(AssetFilter(asset_types=("ui_icon",), tags=("style:flat", "color:rde")))

    error = caught.value
    assert error.message == "no asset is left: tag color:rde kept 0 of 2"
    assert error.source == "neon_city 3 → asset type ui_icon 2 → tag style:flat 2 → tag color:rde 0"
    assert error.hint == "did you mean color:red?"


def test_project_without_assets_says_so() -> None:
    with pytest.raises(SelectionEmptyError, match="neon_city has no assets"):
        choose([], AssetFilter(), where="neon_city")


def test_a_filter_knows_whether_anything_was_said() -> None:
    assert not AssetFilter()
    assert AssetFilter(styles=("flat",))
