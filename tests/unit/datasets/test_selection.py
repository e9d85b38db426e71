from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lora_pipeline.datasets.picks import Candidate, Reason, pick_variant, pick_version
from lora_pipeline.datasets.records import Selection
from lora_pipeline.datasets.selection import Selected, duplicates, require_some, select
from lora_pipeline.foundation.errors import SelectionEmptyError
from tests.support.dataset_builders import candidate, identity, pick, variant, version


def ids(selected: Selected) -> list[str]:
    return [one.asset.id for one in selected.picks]


def reasons(selected: Selected) -> dict[str, str]:
    return {one.asset_id: one.reason.code for one in selected.left_out}


def chosen(*candidates: Candidate, **rule: object) -> Selected:
    return select(candidates, replace(Selection(), **rule))


def test_the_last_version_of_the_status_is_taken() -> None:
    first = version(variant("old"), id="1")
    last = version(variant("new"), id="2")
    draft = version(variant("wip"), id="3", status="draft")
    asset = candidate(versions=(first, last, draft)).asset

    found = pick_version(asset, "approved")

    assert found is not None
    assert found.id == "2"


@pytest.mark.parametrize(
    ("variants", "primary", "expected"),
    [
        ((variant("a"), variant("b")), "b", "b"),
        ((variant("a"), variant("b", status="selected")), "", "b"),
        ((variant("a"), variant("b", status="selected")), "a", "a"),
        ((variant("a", rating=2), variant("b", rating=5), variant("c", rating=5)), "", "b"),
        ((variant("a"), variant("b")), "", "a"),
        ((variant("a", status="rejected"), variant("b")), "a", "b"),
        ((variant("a", status="rejected", rating=5), variant("b", rating=1)), "", "b"),
        ((variant("a"),), "gone", "a"),
    ],
)
def test_the_variant_is_primary_else_selected_else_best_rated_else_first(
    variants: tuple[object, ...], primary: str, expected: str
) -> None:
    found = pick_variant(version(*variants, primary_variant_id=primary))  # type: ignore[arg-type]

    assert found.id == expected


def test_the_image_with_alpha_is_preferred_and_the_original_stands_in() -> None:
    alpha, original = identity("alpha"), identity("original")
    both = variant(original=original, alpha_path="a.png", alpha=alpha)
    one = variant(original=original)

    assert pick(versions=(version(both),)).path == "a.png"
    assert pick(versions=(version(both),)).identity == alpha
    assert pick(versions=(version(one),)).path == "v1.png"
    assert pick(versions=(version(one),)).identity == original


def test_an_alpha_path_without_identity_does_not_borrow_that_of_the_original() -> None:
    broken = variant(original=identity("original"), alpha_path="a.png")

    assert pick(versions=(version(broken),)).identity is None


def test_tags_of_variant_and_spec_count_together_unless_spec_tags_are_switched_off() -> None:
    one = candidate("A", tags=("style:flat",), spec_tags=("color:red",))
    both = ("style:flat", "color:red")

    assert ids(chosen(one, tags=both)) == ["A"]
    assert reasons(chosen(one, tags=both, include_spec_tags=False)) == {"A": "tag_missing"}


def test_all_tags_are_needed_or_any_one_of_them() -> None:
    one = candidate("A", tags=("style:flat",))
    wanted = ("style:flat", "color:red")

    assert ids(chosen(one, tags=wanted)) == []
    assert ids(chosen(one, tags=wanted, tag_mode="any")) == ["A"]
    assert ids(chosen(candidate("B"), tags=wanted, tag_mode="any")) == []


@pytest.mark.parametrize(
    ("fields", "rule", "code"),
    [
        ({"asset_type": "logo"}, {"asset_types": ("ui_icon",)}, "other_asset_type"),
        ({"style": "neon"}, {"styles": ("flat",)}, "other_style"),
        ({"scenario": "hud"}, {"scenarios": ("plain",)}, "other_scenario"),
        ({"checkpoint_id": "sdxl"}, {"checkpoints": ("sd15",)}, "other_checkpoint"),
        ({}, {"status": "review"}, "other_status"),
        ({"tags": ("color:red",)}, {"not_tags": ("color:red",)}, "tag_excluded"),
        ({}, {"min_rating": 1}, "rating_low"),
        ({}, {"tags": ("a:b",)}, "tag_missing"),
    ],
)
def test_what_was_not_asked_for_is_left_out_as_not_matching(
    fields: dict[str, object], rule: dict[str, object], code: str
) -> None:
    selected = chosen(candidate("A", **fields), candidate("B", tags=("a:b",)), **rule)  # type: ignore[arg-type]
    left = {one.asset_id: one for one in selected.left_out}

    assert left["A"].reason.code == code
    assert left["A"].reason.text
    assert not left["A"].matches


def test_art_that_names_no_checkpoint_may_be_used_with_any() -> None:
    assert ids(chosen(candidate("A"), checkpoints=("sd15",))) == ["A"]
    assert ids(chosen(candidate("A", checkpoint_id="sd15"), checkpoints=("sd15",))) == ["A"]


@pytest.mark.parametrize(
    ("one", "code"),
    [
        (candidate("A", tags=("issue:watermark",)), "issue_tag"),
        (candidate("A", spec_tags=("issue:crop",)), "issue_tag"),
        (candidate("A", versions=(version(variant(status="rejected")),)), "variant_rejected"),
        (candidate("A", barred=Reason("rights_denied", "denied", "denied")), "rights_denied"),
        (Candidate(candidate("A").asset, None), "spec_missing"),
    ],
)
def test_what_may_not_be_trained_on_is_left_out_although_it_matches(
    one: Candidate, code: str
) -> None:
    selected = chosen(one)

    assert selected.picks == ()
    assert reasons(selected) == {"A": code}
    assert selected.left_out[0].matches


def test_issue_tags_of_the_spec_bar_an_image_also_when_spec_tags_do_not_count() -> None:
    one = candidate("A", spec_tags=("issue:crop",))

    assert reasons(chosen(one, include_spec_tags=False)) == {"A": "issue_tag"}


@given(st.permutations([candidate(name, tags=(f"t:{name.lower()}",)) for name in "ABCDEF"]))
def test_the_order_of_the_assets_does_not_matter(candidates: list[Candidate]) -> None:
    rule = replace(Selection(), not_tags=("t:c",))

    assert ids(select(candidates, rule)) == ["A", "B", "D", "E", "F"]


def test_every_asset_is_either_picked_or_left_out_with_a_reason() -> None:
    everything = [
        candidate("A"),
        candidate("B", asset_type="logo"),
        candidate("C", tags=("issue:x",)),
        candidate("D", versions=(version(status="review"),)),
        Candidate(candidate("E").asset, None),
    ]
    selected = chosen(*everything, asset_types=("ui_icon",))

    assert sorted(ids(selected) + list(reasons(selected))) == ["A", "B", "C", "D", "E"]


def test_an_empty_selection_names_the_filter_and_counts_all_before_it() -> None:
    assets = [candidate("A", tags=("style:flat",)), candidate("B"), candidate("C", style="neon")]
    selected = chosen(*assets, styles=("flat",), tags=("style:flat", "color:red"))

    with pytest.raises(SelectionEmptyError) as caught:
        require_some(selected.steps, start="neon_city")

    error = caught.value
    assert error.message == "no image is left: tag style:flat and color:red kept 0 of 2"
    assert error.source == (
        "neon_city 3 → style flat 2 → status approved 2 → tag style:flat and color:red 0"
    )


@pytest.mark.parametrize(
    ("rule", "hint"),
    [
        ({"asset_types": ("ui_icn",)}, "did you mean ui_icon?"),
        ({"tags": ("style:flt",)}, "did you mean style:flat?"),
        ({"tags": ("size:huge",)}, "there are: style:flat"),
        ({"tags": ("style:neon",)}, "there are: style:flat"),
        ({"status": "draft"}, "there are: approved"),
    ],
)
def test_the_hint_of_an_empty_selection_says_what_there_is(
    rule: dict[str, object], hint: str
) -> None:
    selected = chosen(candidate("A", tags=("style:flat",)), **rule)

    with pytest.raises(SelectionEmptyError) as caught:
        require_some(selected.steps, start="neon_city")

    assert caught.value.hint == hint


def test_art_that_waits_for_review_is_pointed_out() -> None:
    waiting = candidate("A", versions=(version(status="review"),))

    with pytest.raises(SelectionEmptyError) as caught:
        require_some(chosen(waiting).steps, start="neon_city")

    assert "lora asset approve --status review" in str(caught.value.hint)


def test_of_equal_bytes_the_smallest_key_is_kept() -> None:
    found = duplicates(["b2", "a1", "b1", "b3"], lambda word: (word[0], word[1]))

    assert found == {0: 2, 3: 2}
