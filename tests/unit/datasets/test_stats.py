from __future__ import annotations

import pytest

from lora_pipeline.catalog.records import Provenance
from lora_pipeline.datasets.stats import statistics
from tests.support.dataset_builders import item


def test_tags_are_counted_by_group_with_those_that_have_none() -> None:
    items = [
        item("A", tags=("color:red", "color:blue", "style:flat")),
        item("B", tags=("color:red",)),
        item("C", tags=("style:flat",)),
    ]

    groups = {one["group"]: one for one in statistics(items, {})["tagGroups"]}

    assert (groups["color"]["images"], groups["color"]["without"]) == (2, 1)
    assert groups["color"]["values"] == [
        {"value": "red", "images": 2},
        {"value": "blue", "images": 1},
    ]
    assert (groups["style"]["images"], groups["style"]["without"]) == (2, 1)


@pytest.mark.parametrize(
    ("width", "height", "expected"),
    [
        (1024, 1024, "1:1"),
        (1000, 980, "1:1"),
        (1200, 900, "4:3"),
        (900, 1200, "3:4"),
        (1920, 1080, "16:9"),
        (1080, 1920, "9:16"),
        (5000, 1000, "other landscape"),
        (100, 900, "other portrait"),
        (0, 0, "unknown"),
    ],
)
def test_shapes_have_the_names_that_people_know(width: int, height: int, expected: str) -> None:
    found = statistics([item("A", width=width, height=height)], {})

    assert found["aspectRatios"] == [{"value": expected, "images": 1}]


@pytest.mark.parametrize(
    ("side", "expected"),
    [
        (255, "below 256 px"),
        (256, "256 to 511 px"),
        (1024, "1024 to 1535 px"),
        (4000, "2048 px and more"),
    ],
)
def test_shorter_sides_fall_into_classes(side: int, expected: str) -> None:
    found = statistics([item("A", width=side, height=9000)], {})["shorterSides"]

    assert found == [{"value": expected, "images": 1}]


def test_classes_stand_in_their_own_order() -> None:
    items = [item(str(side), width=side, height=side) for side in (2048, 64, 64, 600)]

    values = [one["value"] for one in statistics(items, {})["shorterSides"]]

    assert values == ["below 256 px", "512 to 767 px", "2048 px and more"]


def test_captions_are_measured_in_words_and_characters() -> None:
    items = [item("A", caption=""), item("B", caption="a red circle"), item("C", caption="x " * 90)]

    lengths = statistics(items, {})["captionLengths"]

    assert lengths["words"] == {"shortest": 0, "median": 3, "longest": 90}
    assert lengths["characters"]["longest"] == 180
    assert [one["value"] for one in lengths["classes"]] == [
        "no words",
        "1 to 4 words",
        "80 words and more",
    ]


def test_authors_come_from_the_records_of_assets() -> None:
    items = [item("A"), item("B"), item("C")]
    provenance = {"A": Provenance(author="ana", source="drawn"), "B": Provenance(), "C": None}

    found = statistics(items, provenance)

    assert found["authors"] == [
        {"value": "", "images": 1},
        {"value": "ana", "images": 1},
        {"value": "unknown", "images": 1},
    ]
    assert {"value": "drawn", "images": 1} in found["sources"]


def test_held_out_images_are_not_trained_on_and_so_not_repeated() -> None:
    items = [item("A", repeats=3), item("B", repeats=5, split="held_out")]

    assert statistics(items, {})["repeated"] == 3


def test_nothing_is_counted_as_nothing() -> None:
    found = statistics([], {})

    assert found["tags"] == []
    assert found["captionLengths"]["words"]["median"] == 0
