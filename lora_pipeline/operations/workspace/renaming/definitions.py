"""Where words are defined: the entries of catalogs, renamed, merged or taken out. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.operations.workspace.renaming.references import Family

# family -> (kind of catalog, its list); tags stand one level deeper.
_LISTS: dict[str, tuple[str, str]] = {
    "asset-type": ("asset-types", "assetTypes"),
    "style": ("styles", "styles"),
    "scenario": ("scenarios", "scenarios"),
    "palette": ("palettes", "palettes"),
    "tag-group": ("tags", "groups"),
}
_WITH_ALIASES = frozenset({"style", "scenario", "tag"})

Entry = dict[str, Any]


def catalog_of(family: Family) -> str:
    """Return the kind of catalog that defines the words of a family."""
    return "tags" if family == "tag" else _LISTS[family][0]


def defined_in(family: Family, catalog: Mapping[str, Any]) -> list[str]:
    """Return the ids of a family that a catalog defines."""
    if family == "tag":
        return [tag["id"] for group in catalog["groups"] for tag in group["tags"]]
    return [entry["id"] for entry in catalog[_LISTS[family][1]]]


class WordChange(msgspec.Struct, frozen=True):
    """What becomes of the entry of a word.

    Attributes:
        family: What it is a word of.
        old: Its id.
        new: Its id then.
        merge: Whether the word ``new`` is there already: then the entry goes.
        keep_alias: Whether the old spelling still means the word.
        groups: Tag groups in force, as entries without tags: a catalog that lacks the group
            that a tag moves to gets it from here.
    """

    family: Family
    old: str
    new: str
    merge: bool = False
    keep_alias: bool = False
    groups: Mapping[str, Entry] | None = None

    def applied(self, catalog: dict[str, Any]) -> dict[str, Any]:
        """Return a catalog with the word renamed; the same one when it is not in it.

        Raises:
            ArgumentInvalidError: When a tag moves to a group that is not there.
        """
        if self.family == "tag":
            return self._tag(catalog)
        name = _LISTS[self.family][1]
        entries = [self._group(one) for one in catalog[name]] if self._is_group else catalog[name]
        return {**catalog, name: self._renamed(entries)}

    @property
    def _is_group(self) -> bool:
        return self.family == "tag-group"

    def _renamed(self, entries: list[Entry]) -> list[Entry]:
        ids = [one["id"] for one in entries]
        if self.old not in ids:
            return self._with_alias(entries) if self.new in ids else entries
        if self.merge:
            return self._with_alias([one for one in entries if one["id"] != self.old])
        return self._with_alias(
            [{**one, "id": self.new} if one["id"] == self.old else one for one in entries]
        )

    def _with_alias(self, entries: list[Entry]) -> list[Entry]:
        if not self.keep_alias or self.family not in _WITH_ALIASES:
            return entries
        return [_aliased(one, self.old) if one["id"] == self.new else one for one in entries]

    def _group(self, group: Entry) -> Entry:
        if group["id"] != self.old:
            return group
        tags = [{**tag, "id": self._in_new_group(tag["id"])} for tag in group["tags"]]
        return {**group, "tags": tags}

    def _in_new_group(self, tag: str) -> str:
        return f"{self.new}:{tag.partition(':')[2]}"

    def _tag(self, catalog: dict[str, Any]) -> dict[str, Any]:
        groups: list[Entry] = catalog["groups"]
        moved = [tag for group in groups for tag in group["tags"] if tag["id"] == self.old]
        old_group, new_group = self.old.partition(":")[0], self.new.partition(":")[0]
        if not moved or self.merge or old_group == new_group:
            return {
                **catalog,
                "groups": [{**one, "tags": self._renamed(one["tags"])} for one in groups],
            }
        without = [
            {**one, "tags": [tag for tag in one["tags"] if tag["id"] != self.old]} for one in groups
        ]
        entry = {**moved[0], "id": self.new}
        if new_group not in [one["id"] for one in without]:
            without.append(self._known_group(new_group))
        return {
            **catalog,
            "groups": [
                {**one, "tags": self._with_alias([*one["tags"], entry])}
                if one["id"] == new_group
                else one
                for one in without
            ],
        }

    def _known_group(self, group_id: str) -> Entry:
        known = (self.groups or {}).get(group_id)
        if known is None:
            raise ArgumentInvalidError(
                f"there is no tag group {group_id}", hint=f"lora catalog add tag-group {group_id}"
            )
        return {**known, "tags": []}


def _aliased(entry: Entry, spelling: str) -> Entry:
    aliases = entry.get("aliases", [])
    return entry if spelling in aliases else {**entry, "aliases": [*aliases, spelling]}
