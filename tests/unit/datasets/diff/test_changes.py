from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from lora_pipeline.datasets.diff.changes import compare
from lora_pipeline.datasets.records import CaptionRule, Selection
from tests.support.dataset_builders import item, manifest


def test_nothing_changed() -> None:
    found = compare(manifest(item("A")), manifest(item("A")))

    assert found.changes == ()
    assert found.rules == ()
    assert found.same_content


def test_images_that_came_and_went_are_told_apart() -> None:
    found = compare(manifest(item("A"), item("B")), manifest(item("B"), item("C"), item("D")))

    assert [(one.kind, one.asset_id) for one in found.changes] == [
        ("went", "A"),
        ("came", "C"),
        ("came", "D"),
    ]
    assert found.summary() == "+2  −1"  # noqa: RUF001 - a minus sign
    assert not found.same_content


@pytest.mark.parametrize(
    ("change", "aspect"),
    [
        ({"sha256": "0" * 64}, "image"),
        ({"caption": "red, square"}, "caption"),
        ({"tags": ("color:red",)}, "tags"),
        ({"license": "MIT"}, "license"),
        ({"split": "held_out"}, "split"),
        ({"repeats": 2}, "repeats"),
    ],
)
def test_what_changed_of_an_image_is_named(change: dict[str, Any], aspect: str) -> None:
    found = compare(manifest(item("A")), manifest(replace(item("A"), **change)))

    assert found.changes[0].kind == "changed"
    assert found.changes[0].aspects == (aspect,)
    assert found.count_of(aspect) == 1


def test_a_caption_changes_word_by_word() -> None:
    before = item("A", caption="trgg, red, circle")
    after = item("A", caption="trgg, circle, large")

    change = compare(manifest(before), manifest(after)).changes[0]

    assert change.words_added == ("large",)
    assert change.words_removed == ("red",)


def test_art_imported_anew_under_another_id_did_not_come_or_go() -> None:
    before = item("A", caption="red")
    after = item("Z", sha256=before.sha256, caption="blue")

    found = compare(manifest(before), manifest(after))

    assert [(one.kind, one.asset_id, one.aspects) for one in found.changes] == [
        ("changed", "Z", ("caption",))
    ]


def test_paths_and_versions_are_no_change() -> None:
    moved = item("A", path="elsewhere.png", asset_version_id="V2")

    assert compare(manifest(item("A")), manifest(moved)).changes == ()


def test_rules_that_differ_are_named() -> None:
    before = manifest(selection=Selection(tags=("a:b",)))
    after = manifest(caption_rule=CaptionRule(trigger_word="trgg"))

    assert compare(before, after).rules == ("selection.tags", "captionRule.triggerWord")


def test_the_summary_counts_each_aspect() -> None:
    before = manifest(item("A"), item("B"))
    after = manifest(item("A", caption="x"), item("B", caption="y", license="MIT"))

    assert compare(before, after).summary() == "+0  −0  ~2 captions  ~1 licence"  # noqa: RUF001
