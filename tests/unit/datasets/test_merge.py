"""Two manifests come together item by item, and claim no more than can be known."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lora_pipeline.datasets.manifest import hash_of_manifest
from lora_pipeline.datasets.merge import merge_manifests
from lora_pipeline.datasets.records import (
    CaptionRule,
    Item,
    Manifest,
    ProvenanceSummary,
    Selection,
    SplitRule,
    UnconfirmedMerge,
)
from lora_pipeline.foundation.errors import RecordInvalidError
from lora_pipeline.workspace.record_bytes import encode_record
from tests.support.dataset_builders import item, manifest

A, B, C, D = (item(name) for name in "ABCD")


def ids(merged: Manifest) -> list[str]:
    return [one.asset_id for one in merged.items]


def test_what_came_and_went_on_both_sides_comes_together() -> None:
    base, ours, theirs = manifest(A, B), manifest(A, B, C), manifest(B, D)

    merged = merge_manifests(base, ours, theirs)

    assert ids(merged.manifest) == ["B", "C", "D"]
    assert (merged.clashes, merged.undecided) == ((), ())
    assert merged.manifest.content_hash == hash_of_manifest(merged.manifest)
    assert merged.manifest.unconfirmed_merge == UnconfirmedMerge(
        ours=ours.content_hash, theirs=theirs.content_hash
    )


def test_two_sides_that_made_the_manifest_anew_come_together() -> None:
    merged = merge_manifests(None, manifest(A), manifest(A, B))

    assert ids(merged.manifest) == ["A", "B"]


def test_settings_of_both_sides_come_together() -> None:
    base = manifest(A, selection=Selection(tags=("style:flat",)))
    ours = replace(base, selection=Selection(tags=("style:flat",), min_rating=3))
    theirs = replace(
        base,
        selection=Selection(tags=("style:flat", "color:red")),
        caption_rule=CaptionRule(trigger_word="nctyicon"),
    )

    merged = merge_manifests(base, ours, theirs).manifest

    assert merged.selection == Selection(tags=("style:flat", "color:red"), min_rating=3)
    assert merged.caption_rule.trigger_word == "nctyicon"


def test_a_split_that_changed_on_one_side_is_in_the_content_hash() -> None:
    base = manifest(A)
    theirs = manifest(A, split_rule=SplitRule(held_out=0.5))

    merged = merge_manifests(base, manifest(A, B), theirs).manifest

    assert merged.split_rule.held_out == 0.5
    assert merged.content_hash == hash_of_manifest(merged)


def test_a_setting_that_both_sides_changed_is_a_clash() -> None:
    base, ours, theirs = (
        manifest(A, caption_rule=CaptionRule(trigger_word=word)) for word in ("", "one", "two")
    )

    merged = merge_manifests(base, ours, theirs)
    (clash,) = merged.clashes

    assert (clash.where, clash.ours, clash.theirs) == ("captionRule.triggerWord", "one", "two")
    assert merged.manifest.caption_rule.trigger_word == "one"
    theirs_first = merge_manifests(base, ours, theirs, prefer="theirs").manifest
    assert theirs_first.caption_rule.trigger_word == "two"


def test_parts_of_an_item_that_each_side_changed_come_together() -> None:
    ours = replace(A, caption="blue, circle")
    theirs = replace(A, license="CC0-1.0", repeats=2)

    merged = merge_manifests(manifest(A), manifest(ours), manifest(theirs))

    assert merged.manifest.items == (replace(ours, license="CC0-1.0", repeats=2),)
    assert merged.undecided == ()


def test_what_both_sides_changed_of_an_item_is_left_to_the_build_and_said() -> None:
    ours, theirs = (replace(A, caption=one) for one in ("ours", "theirs"))

    merged = merge_manifests(manifest(A), manifest(ours), manifest(theirs))

    assert merged.manifest.items == (ours,)
    assert merged.undecided == ("A",)
    assert merged.manifest.unconfirmed_merge is not None
    assert merged.manifest.unconfirmed_merge.undecided == ("A",)


def test_an_image_is_taken_whole_and_never_mixed_from_two() -> None:
    ours = replace(A, path="two.png", sha256="1" * 64, width=10)
    theirs = replace(A, path="three.png", sha256="2" * 64, height=20)

    merged = merge_manifests(manifest(A), manifest(ours), manifest(theirs)).manifest.items[0]

    assert (merged.path, merged.sha256, merged.width, merged.height) == (
        "two.png",
        "1" * 64,
        10,
        64,
    )


@pytest.mark.parametrize("turned", [False, True])
def test_an_image_that_one_side_took_out_stays_out(turned: bool) -> None:
    """It may have been withdrawn: a merge must not bring it back."""
    out, changed = manifest(B), manifest(replace(A, caption="new words"), B)
    ours, theirs = (changed, out) if turned else (out, changed)

    merged = merge_manifests(manifest(A, B), ours, theirs)

    assert ids(merged.manifest) == ["B"]
    assert merged.undecided == ("A",)


def test_the_same_art_imported_on_both_sides_stands_once_the_better_described() -> None:
    plain = replace(C, tags=(), caption="circle")
    twin = replace(D, sha256=C.sha256, tags=("color:red",))

    merged = merge_manifests(manifest(A), manifest(A, plain), manifest(A, twin)).manifest

    assert ids(merged) == ["A", "D"]


def test_the_same_change_on_both_sides_claims_no_more_than_each_of_them() -> None:
    changed = replace(manifest(A, B), updated_at="2026-03-02T12:00:00Z")
    again = replace(changed, updated_at="2026-03-03T12:00:00Z")

    merged = merge_manifests(manifest(A), changed, again).manifest

    assert merged.unconfirmed_merge is None
    assert merged.updated_at == again.updated_at


def test_what_an_earlier_merge_left_open_stays_open() -> None:
    open_ = UnconfirmedMerge(
        ours="sha256:" + "1" * 64, theirs="sha256:" + "2" * 64, undecided=("Z",)
    )
    ours = replace(manifest(A, B), unconfirmed_merge=open_)

    again = merge_manifests(manifest(A), ours, manifest(A, C)).manifest
    same = merge_manifests(manifest(A), ours, ours).manifest

    assert again.unconfirmed_merge is not None
    assert again.unconfirmed_merge.undecided == ("Z",)
    assert same.unconfirmed_merge == open_


def test_the_summary_counts_the_items_that_are_in() -> None:
    def with_authors(*authors: str, items: tuple[Item, ...]) -> Manifest:
        return manifest(*items, provenance_summary=ProvenanceSummary(authors=authors))

    base = with_authors("ana", items=(A,))
    ours = with_authors("ana", "kim", items=(A, replace(B, license="CC0-1.0")))
    theirs = with_authors("ana", "bo", items=(A, replace(C, license="CC0-1.0")))

    summary = merge_manifests(base, ours, theirs).manifest.provenance_summary

    assert summary.authors == ("ana", "bo", "kim")
    assert [(one.license, one.images) for one in summary.licenses] == [("", 1), ("CC0-1.0", 2)]


def test_when_no_image_is_left_nothing_is_merged() -> None:
    with pytest.raises(RecordInvalidError, match="no image is left"):
        merge_manifests(manifest(A, B), manifest(A), manifest(B))


def test_manifests_without_digests_are_not_merged() -> None:
    bare = manifest(A, content_hash="")
    with pytest.raises(RecordInvalidError, match="states no SHA-256"):
        merge_manifests(bare, replace(bare, items=(A, replace(B, sha256=""))), bare)


ITEMS: st.SearchStrategy[Any] = st.dictionaries(
    st.sampled_from("ABCDEF"),
    st.fixed_dictionaries({"caption": st.sampled_from(["x", "y"]), "repeats": st.integers(1, 2)}),
    min_size=1,
).map(lambda found: manifest(*(item(name, **fields) for name, fields in sorted(found.items()))))


@given(ITEMS, ITEMS, ITEMS)
def test_the_result_is_valid_true_to_its_items_and_the_same_whoever_merges(
    base: Manifest, ours: Manifest, theirs: Manifest
) -> None:
    try:
        merged = merge_manifests(base, ours, theirs).manifest
    except RecordInvalidError:
        return  # nothing left
    turned = merge_manifests(base, theirs, ours).manifest

    assert merged.content_hash == hash_of_manifest(merged)
    assert encode_record(merged, "icons.json")
    assert ids(merged) == sorted(ids(merged)) == ids(turned)
    sides = {one.asset_id for side in (ours, theirs) for one in side.items}
    gone = {one.asset_id for one in base.items} - (
        {one.asset_id for one in ours.items} & {one.asset_id for one in theirs.items}
    )
    assert set(ids(merged)) == sides - gone
