"""The controlled words in force: what a word means, and which one was probably meant.

Decides only; ``catalogs.py`` reads the files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from lora_pipeline.catalog.records import AssetType, CatalogWord, Palette, Tag, TagGroup
from lora_pipeline.foundation.ids import did_you_mean


class Unknown(msgspec.Struct, frozen=True):
    """A word that no catalog has.

    Attributes:
        word: As it was given.
        meant: The nearest known word, or None.
    """

    word: str
    meant: str | None

    def __str__(self) -> str:
        """Return the word with the one that was probably meant."""
        return f"{self.word} (did you mean {self.meant}?)" if self.meant else self.word


class Clash(msgspec.Struct, frozen=True):
    """Several tags of a group of which an image may carry one."""

    group: str
    tags: tuple[str, ...]

    def __str__(self) -> str:
        """Return the clash in words."""
        return f"{' and '.join(self.tags)} exclude each other"


class Vocabulary(msgspec.Struct, frozen=True):
    """Every word that is in force for a project, and for a checkpoint when one was named.

    Attributes:
        asset_types: By id.
        styles: By id.
        scenarios: By id.
        palettes: By id.
        groups: Tag groups by id, with the tags in force.
        tags: Tags by their full id, ``group:value``.
        spellings: Full id by spelling: the id itself and its aliases, case ignored.
    """

    asset_types: Mapping[str, AssetType] = msgspec.field(default_factory=dict)
    styles: Mapping[str, CatalogWord] = msgspec.field(default_factory=dict)
    scenarios: Mapping[str, CatalogWord] = msgspec.field(default_factory=dict)
    palettes: Mapping[str, Palette] = msgspec.field(default_factory=dict)
    groups: Mapping[str, TagGroup] = msgspec.field(default_factory=dict)
    tags: Mapping[str, Tag] = msgspec.field(default_factory=dict)
    spellings: Mapping[str, str] = msgspec.field(default_factory=dict)

    def tag(self, given: str) -> str:
        """Return the full id that a spelling means; an unknown one as it was given."""
        return self.spellings.get(given.casefold(), given)

    def style(self, given: str) -> str:
        """Return the id of the style that a spelling means; an unknown one as given."""
        return _by_spelling(self.styles, given)

    def scenario(self, given: str) -> str:
        """Return the id of the scenario that a spelling means; an unknown one as given."""
        return _by_spelling(self.scenarios, given)

    def unknown_tags(self, tags: Iterable[str]) -> list[Unknown]:
        """Return the tags that no catalog has, in order, each once."""
        missing = [tag for tag in dict.fromkeys(tags) if tag not in self.tags]
        return [Unknown(tag, self._meant(tag)) for tag in missing]

    def clashes(self, tags: Iterable[str]) -> list[Clash]:
        """Return the exclusive groups of which more than one tag is there."""
        by_group: dict[str, list[str]] = {}
        for tag in dict.fromkeys(tags):
            by_group.setdefault(tag.partition(":")[0], []).append(tag)
        return [
            Clash(group, tuple(found))
            for group, found in by_group.items()
            if len(found) > 1 and group in self.groups and self.groups[group].exclusive
        ]

    def fitting(self, defaults: Iterable[str], tags: Iterable[str]) -> tuple[str, ...]:
        """Return the default tags that something with ``tags`` still takes, each once.

        One of an exclusive group gives way to the tag of that group that is there already.
        """
        kept = list(dict.fromkeys(tags))
        given = len(kept)
        for tag in defaults:
            group = tag.partition(":")[0]
            there = any(one.partition(":")[0] == group for one in kept)
            if tag not in kept and not (there and self._is_exclusive(tag)):
                kept.append(tag)
        return tuple(kept[given:])

    def _is_exclusive(self, tag: str) -> bool:
        group = self.groups.get(tag.partition(":")[0])
        return group is not None and group.exclusive

    def _meant(self, tag: str) -> str | None:
        group, _, value = tag.partition(":")
        # A word in another group is nearer to what was meant than a look-alike spelling.
        same_value = [known for known in self.tags if known.partition(":")[2] == value]
        if same_value and group not in self.groups:
            return same_value[0]
        return did_you_mean(tag, self.tags)


def unknown_word(given: str, known: Mapping[str, object]) -> Unknown | None:
    """Return ``given`` as unknown when it is no key of ``known``."""
    return None if given in known else Unknown(given, did_you_mean(given, known))


def merge_groups(groups: Iterable[TagGroup]) -> dict[str, TagGroup]:
    """Return tag groups merged by id: later ones add tags and replace those of the same id."""
    merged: dict[str, TagGroup] = {}
    for group in groups:
        before = merged.get(group.id)
        tags = {tag.id: tag for tag in before.tags} if before else {}
        tags |= {tag.id: tag for tag in group.tags}
        merged[group.id] = TagGroup(
            id=group.id, label=group.label, exclusive=group.exclusive, tags=tuple(tags.values())
        )
    return merged


def make_vocabulary(
    *,
    asset_types: Iterable[AssetType] = (),
    styles: Iterable[CatalogWord] = (),
    scenarios: Iterable[CatalogWord] = (),
    palettes: Iterable[Palette] = (),
    groups: Iterable[TagGroup] = (),
) -> Vocabulary:
    """Return the vocabulary of catalogs given from the weakest to the strongest.

    Words of the same id replace each other as a whole: shared ones give way to the project's,
    and these to a checkpoint's own.
    """
    merged = merge_groups(groups)
    tags = {tag.id: tag for group in merged.values() for tag in group.tags}
    return Vocabulary(
        asset_types={one.id: one for one in asset_types},
        styles={one.id: one for one in styles},
        scenarios={one.id: one for one in scenarios},
        palettes={one.id: one for one in palettes},
        groups=merged,
        tags=tags,
        spellings=dict(_spellings(tags.values())),
    )


def _spellings(tags: Iterable[Tag]) -> Iterator[tuple[str, str]]:
    known = list(tags)
    for tag in known:
        group = tag.id.partition(":")[0]
        for alias in tag.aliases:
            yield alias.casefold(), tag.id
            yield f"{group}:{alias}".casefold(), tag.id
    for tag in known:  # last, so that an id is never taken for an alias of another tag
        yield tag.id.casefold(), tag.id


def _by_spelling(words: Mapping[str, CatalogWord], given: str) -> str:
    if given in words:
        return given
    folded = given.casefold()
    for word in words.values():
        if folded in (word.id.casefold(), word.label.casefold()):
            return word.id
        if folded in {alias.casefold() for alias in word.aliases}:
            return word.id
    return given
