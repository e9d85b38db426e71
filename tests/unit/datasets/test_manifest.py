from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lora_pipeline.datasets.manifest import content_hash, hash_of_manifest, in_order, summarise
from lora_pipeline.datasets.records import Item, Normalization, SplitRule
from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import RecordInvalidError
from tests.support.dataset_builders import item, manifest


def hashed(*items: Item) -> str:
    return content_hash(items, Normalization(), SplitRule())


ITEMS = st.lists(
    st.builds(
        item,
        st.uuids().map(str),
        caption=st.sampled_from(["red", "blue, circle"]),
        tags=st.lists(st.sampled_from(["a:b", "c:d"]), unique=True).map(tuple),
        license=st.sampled_from(["", "CC0-1.0"]),
        split=st.sampled_from(["train", "held_out"]),
        repeats=st.integers(1, 3),
    ),
    min_size=1,
    max_size=6,
    unique_by=lambda one: one.sha256,
)


@given(items=ITEMS, data=st.data())
def test_order_ids_and_paths_do_not_change_the_content_hash(
    items: list[Item], data: st.DataObject
) -> None:
    text = st.text(st.characters(codec="ascii", categories=["L"]), min_size=1, max_size=5)
    moved = [
        replace(
            one,
            asset_id=data.draw(text),
            asset_version_id=data.draw(text),
            variant_id=data.draw(text),
            path=data.draw(text),
        )
        for one in data.draw(st.permutations(items))
    ]

    assert hashed(*moved) == hashed(*items)


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "0" * 64},
        {"caption": "blue"},
        {"tags": ("shape:circle",)},
        {"tags": ("shape:circle", "color:red")},
        {"license": "MIT"},
        {"split": "held_out"},
        {"repeats": 2},
    ],
)
def test_whatever_training_sees_changes_the_content_hash(change: dict[str, Any]) -> None:
    assert hashed(replace(item(), **change)) != hashed(item())


@pytest.mark.parametrize("change", [{"bytes": 7}, {"width": 7}, {"height": 7}, {"xxh3": "1" * 32}])
def test_what_follows_from_the_digest_is_not_hashed_again(change: dict[str, Any]) -> None:
    assert hashed(replace(item(), **change)) == hashed(item())


def test_normalisation_and_split_rule_are_part_of_the_content() -> None:
    plain = hashed(item())

    assert content_hash([item()], Normalization(background="#000000"), SplitRule()) != plain
    assert content_hash([item()], Normalization(), SplitRule(held_out=0.1)) != plain


def test_the_content_hash_can_be_computed_by_hand() -> None:
    one = item(caption="rot, Kreis ä", license="CC0-1.0")
    document = (
        '{"items":[{"caption":"rot, Kreis ä","license":"CC0-1.0","repeats":1,'
        f'"sha256":"{one.sha256}","split":"train","tags":["color:red","shape:circle"]}}],'
        '"normalization":{"alpha":"background","background":"#FFFFFF","colorSpace":"srgb",'
        '"format":"png","version":1},'
        '"split":{"heldOut":0,"salt":"lora-pipeline/split/v1"}}'
    )

    assert hashed(one) == f"sha256:{hashlib.sha256(document.encode()).hexdigest()}"


def test_an_item_without_a_digest_has_no_content_hash() -> None:
    with pytest.raises(RecordInvalidError) as caught:
        hashed(item("A9", sha256="0123456789abcdef"))

    assert "A9" in caught.value.message


def test_items_of_equal_bytes_have_a_fixed_order() -> None:
    one, two = item("A", sha256="0" * 64, caption="a"), item("B", sha256="0" * 64, caption="b")

    assert hashed(one, two) == hashed(two, one)


def test_items_stand_in_the_order_of_their_asset_ids() -> None:
    ordered = in_order([item("C"), item("A"), item("B")])

    assert [one.asset_id for one in ordered] == ["A", "B", "C"]


def test_each_item_stands_on_one_line_of_the_file() -> None:
    record = manifest(item("A"), item("B"))
    lines = strict_json.dumps(record.to_dict(), one_line_each=record.ONE_LINE_EACH).decode()

    items = [line for line in lines.splitlines() if '"assetId"' in line]
    assert len(items) == 2
    assert json.loads(items[0].rstrip(","))["caption"] == "red, circle"


def test_rules_are_written_in_full() -> None:
    document = manifest().to_dict()

    assert document["selection"]["status"] == "approved"
    assert document["normalization"]["background"] == "#FFFFFF"
    assert document["splitRule"]["heldOut"] == 0
    assert document["items"][0]["split"] == "train"


def test_a_manifest_states_the_hash_of_its_own_content() -> None:
    record = manifest(item("A"), split_rule=SplitRule(held_out=0.2))

    assert hash_of_manifest(record) == record.content_hash


def test_the_summary_counts_licences_and_names_authors_once() -> None:
    items = [item("A", license="MIT"), item("B"), item("C", license="MIT")]
    found = summarise(["ana", "ana", ""], ["atelier"], items)

    assert found.authors == ("ana",)
    assert [(one.license, one.images) for one in found.licenses] == [("", 1), ("MIT", 2)]


@given(
    caption=st.text(st.characters(codec="utf-8")),
    license_=st.text(st.characters(codec="utf-8")),
    tags=st.lists(st.text(st.characters(codec="utf-8"))),
    repeats=st.integers(0, 2**53 - 1),
    held_out=st.booleans(),
)
def test_the_fast_form_of_an_item_is_that_of_rfc_8785(
    caption: str, license_: str, tags: list[str], repeats: int, *, held_out: bool
) -> None:
    split = "held_out" if held_out else "train"
    one = replace(
        item("a"), caption=caption, license=license_, tags=tuple(tags), repeats=repeats, split=split
    )
    seen: dict[str, Any] = {
        "items": [
            {
                "caption": caption, "license": license_, "repeats": repeats,
                "sha256": one.sha256, "split": split, "tags": tags,
            }
        ],
        "normalization": Normalization().to_dict(),
        "split": SplitRule().to_dict(),
    }  # fmt: skip

    assert hashed(one) == f"sha256:{hashlib.sha256(rfc8785.dumps(seen)).hexdigest()}"
