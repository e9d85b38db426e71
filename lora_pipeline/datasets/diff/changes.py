"""What changed between two manifests: images that came, went or changed, and how. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from typing import Any, Literal

import msgspec

from lora_pipeline.datasets.captions.changes import Piece, compare_words, phrases
from lora_pipeline.datasets.records import Item, Manifest

Kind = Literal["came", "went", "changed"]
# What a change of an item can be about, in the order in which it is told.
ASPECTS = ("image", "caption", "tags", "license", "split", "repeats")

_NOUNS = dict(
    zip(ASPECTS, ("image", "caption", "tags", "licence", "split", "repeats"), strict=True)
)
_COUNTABLE = ("image", "caption", "license")


class Change(msgspec.Struct, frozen=True, dict=True):
    """What became of one image.

    Attributes:
        kind: Whether it came, went or changed.
        asset_id: The asset, by the id of the newer manifest.
        before: The item in the older manifest, or None when it came.
        after: The item in the newer one, or None when it went.
    """

    kind: Kind
    asset_id: str
    before: Item | None
    after: Item | None

    @property
    def aspects(self) -> tuple[str, ...]:
        """What changed of it, of ``ASPECTS``; empty when it came or went."""
        if self.before is None or self.after is None:
            return ()
        return _aspects(self.before, self.after)

    @cached_property
    def caption(self) -> tuple[Piece, ...]:
        """The caption word by word: what stayed, came and went."""
        return compare_words(_caption(self.before), _caption(self.after))

    @property
    def words_added(self) -> tuple[str, ...]:
        """Caption words that are new; one that only changed its place is not."""
        return _without(phrases(self.caption, "added"), phrases(self.caption, "removed"))

    @property
    def words_removed(self) -> tuple[str, ...]:
        """Caption words that are gone."""
        return _without(phrases(self.caption, "removed"), phrases(self.caption, "added"))

    @property
    def tags_added(self) -> tuple[str, ...]:
        """Tags that are new."""
        return _without(_tags(self.after), _tags(self.before))

    @property
    def tags_removed(self) -> tuple[str, ...]:
        """Tags that are gone."""
        return _without(_tags(self.before), _tags(self.after))

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form."""
        return {
            "kind": self.kind,
            "assetId": self.asset_id,
            "aspects": list(self.aspects),
            "wordsAdded": list(self.words_added),
            "wordsRemoved": list(self.words_removed),
            "caption": [piece.to_dict() for piece in self.caption],
            "tagsAdded": list(self.tags_added),
            "tagsRemoved": list(self.tags_removed),
            "before": self.before.to_dict() if self.before else None,
            "after": self.after.to_dict() if self.after else None,
        }


class Difference(msgspec.Struct, frozen=True):
    """What changed between two manifests.

    Attributes:
        changes: One for each image that is not the same, in the order of asset ids.
        rules: Names of the rules that differ, such as ``selection.tags``.
        same_content: Whether training would see the same.
    """

    changes: tuple[Change, ...]
    rules: tuple[str, ...]
    same_content: bool

    def of_kind(self, kind: Kind) -> list[Change]:
        """Return the images that came, went or changed."""
        return [change for change in self.changes if change.kind == kind]

    def count(self, kind: Kind) -> int:
        """Return how many images came, went or changed."""
        return sum(1 for change in self.changes if change.kind == kind)

    def count_of(self, aspect: str) -> int:
        """Return of how many images an aspect changed."""
        return sum(1 for change in self.changes if aspect in change.aspects)

    def summary(self) -> str:
        """Return the counts as people read them: came, went, and what changed."""
        parts = [f"+{self.count('came')}", f"−{self.count('went')}"]  # noqa: RUF001 - a minus sign
        parts += [
            f"~{count} {_NOUNS[aspect]}{'s' if count > 1 and aspect in _COUNTABLE else ''}"
            for aspect in ASPECTS
            if (count := self.count_of(aspect))
        ]
        return "  ".join(parts)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form."""
        return {
            "came": self.count("came"),
            "went": self.count("went"),
            "changed": self.count("changed"),
            "aspects": {aspect: self.count_of(aspect) for aspect in ASPECTS},
            "rules": list(self.rules),
            "sameContent": self.same_content,
            "changes": [change.to_dict() for change in self.changes],
        }


def compare(before: Manifest, after: Manifest) -> Difference:
    """Return what changed from ``before`` to ``after``.

    Images are matched by asset, then by their bytes: art that was imported anew under other
    ids did neither come nor go.
    """
    older = {item.asset_id: item for item in before.items}
    newer = {item.asset_id: item for item in after.items}
    pairs = [(older[asset_id], newer[asset_id]) for asset_id in older.keys() & newer.keys()]
    gone = [item for asset_id, item in older.items() if asset_id not in newer]
    fresh = [item for asset_id, item in newer.items() if asset_id not in older]
    same_bytes, gone, fresh = _match_by_bytes(gone, fresh)
    changes = [Change("went", item.asset_id, item, None) for item in gone]
    changes += [Change("came", item.asset_id, None, item) for item in fresh]
    changes += [
        Change("changed", new.asset_id, old, new)
        for old, new in [*pairs, *same_bytes]
        if _aspects(old, new)
    ]
    changes.sort(key=lambda change: (change.asset_id, change.kind))
    same = bool(after.content_hash) and before.content_hash == after.content_hash
    return Difference(tuple(changes), _rules(before, after), same)


def _match_by_bytes(
    gone: list[Item], fresh: list[Item]
) -> tuple[list[tuple[Item, Item]], list[Item], list[Item]]:
    by_bytes: dict[str, list[Item]] = defaultdict(list)
    for item in gone:
        if item.sha256:
            by_bytes[item.sha256].append(item)
    pairs, came = [], []
    for item in fresh:
        matching = by_bytes.get(item.sha256)
        if matching:
            pairs.append((matching.pop(0), item))
        else:
            came.append(item)
    matched = {old.asset_id for old, _ in pairs}
    return pairs, [item for item in gone if item.asset_id not in matched], came


def _aspects(old: Item, new: Item) -> tuple[str, ...]:
    differs = {
        "image": old.sha256 != new.sha256,
        "caption": old.caption != new.caption,
        "tags": old.tags != new.tags,
        "license": old.license != new.license,
        "split": old.split != new.split,
        "repeats": old.repeats != new.repeats,
    }
    return tuple(aspect for aspect in ASPECTS if differs[aspect])


def _rules(before: Manifest, after: Manifest) -> tuple[str, ...]:
    pairs = (
        ("selection", before.selection, after.selection),
        ("captionRule", before.caption_rule, after.caption_rule),
        ("normalization", before.normalization, after.normalization),
        ("splitRule", before.split_rule, after.split_rule),
    )
    found: list[str] = []
    for name, older, newer in pairs:
        old, new = older.to_dict(), newer.to_dict()
        keys = sorted(old.keys() | new.keys())
        found += [f"{name}.{key}" for key in keys if old.get(key) != new.get(key)]
    return tuple(found)


def _caption(item: Item | None) -> str:
    return item.caption if item else ""


def _tags(item: Item | None) -> tuple[str, ...]:
    return item.tags if item else ()


def _without(words: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    known = frozenset(others)
    return tuple(word for word in words if word not in known)
