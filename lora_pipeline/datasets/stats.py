"""What is in a manifest, counted. Pure."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from lora_pipeline.catalog.records import Provenance
from lora_pipeline.datasets.records import Item

_UNKNOWN = "unknown"
# The lowest value of each class; what is below the first one has a class of its own.
_SIDES = (256, 512, 768, 1024, 1536, 2048)
_WORDS = (1, 5, 10, 20, 40, 80)
_RATIOS = ((1, 1), (5, 4), (4, 3), (3, 2), (16, 10), (16, 9), (2, 1), (21, 9), (3, 1))
_RATIO_TOLERANCE = 0.03  # of the logarithm: 1000 x 980 still counts as a square


def statistics(
    items: Sequence[Item], provenance: Mapping[str, Provenance | None]
) -> dict[str, Any]:
    """Return the counts of a manifest's items, JSON-ready, the largest count first.

    Args:
        items: The items.
        provenance: Where the image of an asset comes from, by asset id, as its record says
            now; None when there is no such record any more.
    """
    return {
        "bytes": sum(item.bytes for item in items),
        "repeated": sum(item.repeats for item in items if item.split == "train"),
        "tags": counts(tag for item in items for tag in item.tags),
        "tagGroups": _tag_groups(items),
        "sizes": counts(_size(item) for item in items),
        "shorterSides": _classes((_shorter_side(item) for item in items), _SIDES, "px"),
        "aspectRatios": counts(_ratio(item) for item in items),
        "licenses": counts(item.license for item in items),
        "authors": counts(_said(provenance.get(item.asset_id), "author") for item in items),
        "sources": counts(_said(provenance.get(item.asset_id), "source") for item in items),
        "splits": counts(item.split for item in items),
        "captionWords": counts(
            word for item in items if item.caption for word in item.caption.split(", ")
        ),
        "captionLengths": _caption_lengths(items),
    }


def counts(values: Iterable[str]) -> list[dict[str, Any]]:
    """Return how many images have each value, the largest count first."""
    found = Counter(values)
    return [
        {"value": value, "images": count}
        for value, count in sorted(found.items(), key=lambda one: (-one[1], one[0]))
    ]


def _tag_groups(items: Sequence[Item]) -> list[dict[str, Any]]:
    carrying: dict[str, int] = defaultdict(int)
    values: dict[str, list[str]] = defaultdict(list)
    for item in items:
        parts = [tag.partition(":")[::2] for tag in item.tags]
        for group in {group for group, _ in parts}:
            carrying[group] += 1
        for group, value in parts:
            values[group].append(value)
    return [
        {
            "group": group,
            "images": carrying[group],
            "without": len(items) - carrying[group],
            "values": counts(values[group]),
        }
        for group in sorted(carrying, key=lambda one: (-carrying[one], one))
    ]


def _caption_lengths(items: Sequence[Item]) -> dict[str, Any]:
    words = [len(item.caption.split()) for item in items]
    return {
        "words": _spread(words),
        "characters": _spread([len(item.caption) for item in items]),
        "classes": _classes(words, _WORDS, "words"),
    }


def _spread(numbers: Sequence[int]) -> dict[str, Any]:
    if not numbers:
        return {"shortest": 0, "median": 0, "longest": 0}
    return {"shortest": min(numbers), "median": median(numbers), "longest": max(numbers)}


def _classes(numbers: Iterable[int], lowest: Sequence[int], unit: str) -> list[dict[str, Any]]:
    """Return how many numbers fall into each class, in the order of the classes."""
    found = Counter(sum(1 for low in lowest if number >= low) for number in numbers)
    return [
        {"value": _class_name(place, lowest, unit), "images": count}
        for place, count in sorted(found.items())
    ]


def _class_name(place: int, lowest: Sequence[int], unit: str) -> str:
    if place == 0:
        return f"no {unit}" if lowest[0] == 1 else f"below {lowest[0]} {unit}"
    low = lowest[place - 1]
    if place == len(lowest):
        return f"{low} {unit} and more"
    return f"{low} to {lowest[place] - 1} {unit}"


def _size(item: Item) -> str:
    return f"{item.width} × {item.height}" if item.width and item.height else _UNKNOWN  # noqa: RUF001


def _shorter_side(item: Item) -> int:
    return min(item.width, item.height)


def _ratio(item: Item) -> str:
    if not item.width or not item.height:
        return _UNKNOWN
    shape = abs(math.log(item.width / item.height))
    long, short = min(_RATIOS, key=lambda ratio: abs(math.log(ratio[0] / ratio[1]) - shape))
    if abs(math.log(long / short) - shape) > _RATIO_TOLERANCE:
        return "other landscape" if item.width > item.height else "other portrait"
    return f"{long}:{short}" if item.width >= item.height else f"{short}:{long}"


def _said(provenance: Provenance | None, name: str) -> str:
    if provenance is None:
        return _UNKNOWN
    return str(getattr(provenance, name))
