"""One comparison of two manifests, ready to be told: as data, text, Markdown or HTML. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from lora_pipeline.datasets.diff.changes import Change, Difference, compare
from lora_pipeline.datasets.records import Item, Manifest
from lora_pipeline.datasets.rules import changed_settings, stored_rule


class Side(msgspec.Struct, frozen=True):
    """One of the two manifests.

    Attributes:
        label: What people call it: a dataset, a revision, the work tree.
        manifest: The manifest, or None when there was none.
        commit: Id of the commit that it was read from; empty for the work tree.
    """

    label: str
    manifest: Manifest | None
    commit: str = ""

    @property
    def images(self) -> int:
        """How many images it holds."""
        return len(self.manifest.items) if self.manifest else 0

    @property
    def held_out(self) -> int:
        """How many of them are held out."""
        items = self.manifest.items if self.manifest else ()
        return sum(1 for item in items if item.split == "held_out")

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form."""
        return {
            "label": self.label,
            "commit": self.commit or None,
            "datasetId": self.manifest.id if self.manifest else None,
            "images": self.images,
            "heldOut": self.held_out,
            "contentHash": self.manifest.content_hash if self.manifest else None,
        }


class Transition(msgspec.Struct, frozen=True):
    """One value of an aspect that became another, and of how many images."""

    aspect: str
    before: str
    after: str
    images: int

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form."""
        return {
            "aspect": self.aspect,
            "before": self.before,
            "after": self.after,
            "images": self.images,
        }


class DiffView(msgspec.Struct, frozen=True):
    """What is told of a comparison.

    Attributes:
        name: The dataset, or both.
        before: The older side.
        after: The newer one.
        difference: What became of the images.
        rules: Settings of the rule that differ: name, older and newer value.
        transitions: Licences, splits and repeats that changed, the most frequent first.
        words: Caption words and tags that came or went: ``+`` or ``-``, the word, and in how
            many captions; the most frequent first.
    """

    name: str
    before: Side
    after: Side
    difference: Difference
    rules: tuple[tuple[str, Any, Any], ...]
    transitions: tuple[Transition, ...]
    words: tuple[tuple[str, str, int], ...]

    @property
    def background(self) -> str:
        """Colour below transparency, as the newer side has it."""
        manifest = self.after.manifest or self.before.manifest
        return manifest.normalization.background if manifest else "#FFFFFF"

    @property
    def nothing_changed(self) -> bool:
        """Whether both sides are there and say the same."""
        both = self.before.manifest is not None and self.after.manifest is not None
        return both and not self.difference.changes and not self.rules

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form."""
        added = [{"value": word, "images": n} for sign, word, n in self.words if sign == "+"]
        removed = [{"value": word, "images": n} for sign, word, n in self.words if sign == "-"]
        return {
            "sides": [self.before.to_dict(), self.after.to_dict()],
            "summary": self.difference.summary(),
            **self.difference.to_dict(),
            "ruleChanges": [
                {"name": name, "before": before, "after": after}
                for name, before, after in self.rules
            ],
            "transitions": [one.to_dict() for one in self.transitions],
            "captionWords": {"added": added, "removed": removed},
        }


def view_of(name: str, before: Side, after: Side) -> DiffView:
    """Return the comparison of two sides, of which one may hold nothing.

    Raises:
        ValueError: When neither holds a manifest.
    """
    older, newer = before.manifest, after.manifest
    present = older or newer
    if present is None:
        raise ValueError("there is nothing to compare")
    nothing = replace(present, items=(), content_hash="")
    difference = compare(older or nothing, newer or nothing)
    rules = changed_settings(stored_rule(older or nothing), stored_rule(newer or nothing))
    changed = difference.of_kind("changed")
    return DiffView(
        name=name,
        before=before,
        after=after,
        difference=difference,
        rules=tuple((setting, old, new) for setting, (old, new) in rules.items()),
        transitions=tuple(_transitions(changed)),
        words=tuple(_words(changed)),
    )


def _transitions(changes: Sequence[Change]) -> Iterable[Transition]:
    for aspect in ("license", "split", "repeats"):
        pairs = Counter(
            (_value(change.before, aspect), _value(change.after, aspect))
            for change in changes
            if aspect in change.aspects
        )
        for (before, after), count in sorted(pairs.items(), key=lambda one: (-one[1], one[0])):
            yield Transition(aspect, before, after, count)


def _value(item: Item | None, aspect: str) -> str:
    return str(getattr(item, aspect))


def _words(changes: Sequence[Change]) -> Iterable[tuple[str, str, int]]:
    found: Counter[tuple[str, str]] = Counter()
    for change in changes:
        if "caption" in change.aspects:
            found.update(("+", word) for word in set(change.words_added))
            found.update(("-", word) for word in set(change.words_removed))
    for (sign, word), count in sorted(found.items(), key=lambda one: (-one[1], one[0])):
        yield sign, word, count
