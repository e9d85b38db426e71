"""The words in which a comparison of manifests is told, whatever it is written in. Pure."""

from __future__ import annotations

import re
from typing import Any

from lora_pipeline.datasets.diff.changes import Change
from lora_pipeline.datasets.diff.view import DiffView
from lora_pipeline.datasets.records import Item

_ASPECTS = {"license": "licence", "split": "split", "repeats": "repeats"}
_SPLITS = {"train": "to train on", "held_out": "held out"}


def headline(view: DiffView) -> str:
    """Return what happened to the dataset as a whole."""
    if view.before.manifest is None:
        return f"new since {view.before.label}: {images(view.after.images)}"
    if view.after.manifest is None:
        return f"gone in {view.after.label}, it held {images(view.before.images)}"
    if view.nothing_changed:
        return "nothing changed"
    return view.difference.summary()


def setting_name(setting: str) -> str:
    """Return the name of a setting as people say it: ``trigger word``."""
    return re.sub(r"([A-Z])", r" \1", setting.partition(".")[2]).lower()


def setting_value(value: Any) -> str:
    """Return the value of a setting as people read it."""
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "any"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "nothing" if value in (None, "") else str(value)


def aspect_name(aspect: str) -> str:
    """Return the name of what changed of an image."""
    return _ASPECTS.get(aspect, aspect)


def aspect_value(aspect: str, value: str) -> str:
    """Return a value of it as people say it."""
    if aspect == "split":
        return _SPLITS.get(value, value)
    return value or "none"


def other_changes(change: Change) -> list[tuple[str, str, str]]:
    """Return what changed of an image beside picture, caption and tags: name, before, after."""
    before, after = change.before, change.after
    if before is None or after is None:
        return []
    resized = [] if size(before) == size(after) else [("size", size(before), size(after))]
    return resized + [
        (
            aspect_name(aspect),
            aspect_value(aspect, str(getattr(before, aspect))),
            aspect_value(aspect, str(getattr(after, aspect))),
        )
        for aspect in change.aspects
        if aspect in _ASPECTS
    ]


def size(item: Item) -> str:
    """Return the size of an image."""
    return f"{item.width} × {item.height}" if item.width else "size unknown"  # noqa: RUF001


def facts(item: Item) -> str:
    """Return what is said of an image beside its caption."""
    parts = [size(item)]
    parts.append(item.license or "no licence")
    if item.repeats != 1:
        parts.append(f"{item.repeats} times")
    if item.split == "held_out":
        parts.append("held out")
    return " · ".join(parts)


def cut(words: str, most: int) -> str:
    """Return at most ``most`` letters, marked when some were left out."""
    return words if len(words) <= most else f"{words[:most]}…"


def images(count: int) -> str:
    """Return a number of images."""
    return f"{count} image" if count == 1 else f"{count} images"
