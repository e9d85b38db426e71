"""From an id and another one to everything that has to change, or why it cannot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec

from lora_pipeline.operations.workspace.renaming.definitions import (
    WordChange,
    catalog_of,
    defined_in,
)
from lora_pipeline.operations.workspace.renaming.obstacles import Obstacle, obstacles
from lora_pipeline.operations.workspace.renaming.references import WORDS, Renaming
from lora_pipeline.operations.workspace.validation.kinds import KINDS
from lora_pipeline.workspace.documents import Document, documents
from lora_pipeline.workspace.layout import SHARED, Scope, relative_path
from lora_pipeline.workspace.record_bytes import parse_record
from lora_pipeline.workspace.root import Workspace

_CATALOGS = frozenset({"styles", "scenarios", "tags"})
_SERVING_ALL = frozenset({"lora", "checkpoint", "checkpoint-profile"})


class Rewritten(msgspec.Struct, frozen=True):
    """A record with references renamed.

    Attributes:
        document: As it stands.
        content: As it will be.
        places: How many references were renamed; 0 where only the file moves.
        path: Where it will stand, below the data root.
    """

    document: Document
    content: dict[str, Any]
    places: int
    path: str


@dataclass
class RenamingPlan:
    """What a renaming does to the records of a workspace; nothing is written here.

    Attributes:
        workspace: Whose records.
        renaming: The id.
        scope: Where it is defined: a project, or shared.
        merge: Whether the new id is there already.
        keep_alias: Whether the old spelling still means the word.
    """

    workspace: Workspace
    renaming: Renaming
    scope: Scope
    merge: bool = False
    keep_alias: bool = False
    obstacles: list[Obstacle] = field(default_factory=list)
    rewritten: list[Rewritten] = field(default_factory=list)
    kept_items: dict[str, int] = field(default_factory=dict)

    def make(self) -> None:
        """Read every record that may name the id, and see what becomes of it.

        Raises:
            RecordError: When such a record, or a catalog, is not valid.
        """
        concerned = [
            (document, self._content(document))
            for document in self._documents
            if self._concerns(document)
        ]
        self.obstacles = obstacles(self.renaming, concerned)
        for document, content in concerned:
            self._rewrite(document, content)

    @cached_property
    def _documents(self) -> list[Document]:
        return list(documents(self.workspace))

    @cached_property
    def defined(self) -> dict[str, list[Scope]]:
        """Every id of the family, with the scopes that define it."""
        found: dict[str, list[Scope]] = {}
        for document in self._documents:
            for word in self._defined_by(document):
                scopes = found.setdefault(word, [])
                if document.place.scope not in scopes:
                    scopes.append(document.place.scope)
        return found

    def _defined_by(self, document: Document) -> list[str]:
        family, place = self.renaming.family, document.place
        if family in WORDS:
            is_catalog = place.kind == catalog_of(family)
            return defined_in(family, self._content(document)) if is_catalog else []
        if family == "project":
            return [str(place.scope.project_id)] if place.kind == "project" else []
        return [place.record_id] if place.kind == family else []

    @cached_property
    def _hidden_in(self) -> frozenset[str | None]:
        """The projects in which the id means a record of their own, not the shared one."""
        if self.scope != SHARED or self.renaming.family in WORDS:
            return frozenset()
        own = self.defined.get(self.renaming.old, [])
        return frozenset(scope.project_id for scope in own if scope != SHARED)

    @property
    def bound_suites(self) -> frozenset[str]:
        """The suites that some grid was rendered of, in any project."""
        return frozenset(
            str(self._content(document).get("suiteId", ""))
            for document in self._documents
            if document.place.kind == "evaluation" and document.holds(self.renaming.old)
        )

    @cached_property
    def known_elsewhere(self) -> bool:
        """Whether another scope has a word of that id too."""
        own = self.defined.get(self.renaming.old, [])
        return any(scope != self.scope for scope in own)

    def _concerns(self, document: Document) -> bool:
        place, family = document.place, self.renaming.family
        if family == "project" and place.scope == self.scope:
            return True
        if not document.holds(self.renaming.old) and not self._moves(document):
            return False
        if self.scope == SHARED:
            return place.scope.project_id not in self._hidden_in
        if place.scope == self.scope:
            return True
        return place.scope == SHARED and (
            place.kind == "dataset" or (family == "asset-type" and place.kind in _SERVING_ALL)
        )

    def _moves(self, document: Document) -> bool:
        head = document.place.record_id.partition("/")[0]
        catalog = document.place.kind in _CATALOGS and "/" in document.place.record_id
        return self.renaming.family == "checkpoint" and catalog and head == self.renaming.old

    def _rewrite(self, document: Document, content: dict[str, Any]) -> None:
        place, renaming = document.place, self.renaming
        if not self._is_about_us(document, content):
            return
        changed, places = content, 0
        for one in self._renamings:
            changed, count = one.rewritten(place.kind, changed)
            changed, entries = self._catalog(one, place.kind, changed)
            places += count + entries
        if place.kind == "dataset":
            self._count_items(document, content)
        serves_others = self.scope != SHARED == place.scope and self.known_elsewhere
        if serves_others and place.kind in _SERVING_ALL:
            changed = _beside(content, changed)
        path = self._path(document)
        moved = path != document.path.relative_to(self.workspace.data_root).as_posix()
        if changed != content or (moved and renaming.family != "project"):
            self.rewritten.append(Rewritten(document, changed, places, path))

    def _is_about_us(self, document: Document, content: dict[str, Any]) -> bool:
        """Return whether a shared manifest takes its images from the project alone."""
        if document.place.scope == self.scope or document.place.kind != "dataset":
            return True
        if self.scope == SHARED or self.renaming.family == "project":
            return True
        return bool(content.get("selection", {}).get("projects") == [self.scope.project_id])

    @cached_property
    def _renamings(self) -> list[Renaming]:
        """What is renamed: an asset type takes the tag along that says it."""
        renaming = self.renaming
        if renaming.family != "asset-type":
            return [renaming]
        tags = {
            tag
            for document in self._documents
            if document.place.kind == "tags" and document.place.scope in (SHARED, self.scope)
            for tag in defined_in("tag", self._content(document))
        }
        old, new = f"assetType:{renaming.old}", f"assetType:{renaming.new}"
        return [renaming, Renaming("tag", old, new)] if old in tags else [renaming]

    def _content(self, document: Document) -> dict[str, Any]:
        kind = KINDS[document.place.kind]
        return parse_record(kind, document.data, self.workspace.relative(document.path))

    def _catalog(
        self, renaming: Renaming, kind: str, content: dict[str, Any]
    ) -> tuple[dict[str, Any], int]:
        family = renaming.family
        if family not in WORDS or kind != catalog_of(family):
            return content, 0
        change = WordChange(
            family,
            renaming.old,
            renaming.new,
            merge=self.merge,
            keep_alias=self.keep_alias,
            groups=self._groups if family == "tag" else None,
        )
        changed = change.applied(content)
        if changed == content:
            return content, 0
        return {**changed, "updatedAt": self.workspace.now()}, 1

    @cached_property
    def _groups(self) -> dict[str, dict[str, Any]]:
        groups: dict[str, dict[str, Any]] = {}
        for document in self._documents:
            if document.place.kind == "tags" and document.place.scope in (SHARED, self.scope):
                for group in self._content(document)["groups"]:
                    groups[group["id"]] = group
        return groups

    def _path(self, document: Document) -> str:
        place, renaming = document.place, self.renaming
        scope, record_id = place.scope, place.record_id
        if renaming.family == "project" and scope.project_id == renaming.old:
            scope = Scope(renaming.new)
        elif place.kind == renaming.family and record_id == renaming.old:
            record_id = renaming.new
        elif self._moves(document):
            record_id = f"{renaming.new}/{record_id.rpartition('/')[2]}"
        return relative_path(place.kind, scope, record_id)

    def _count_items(self, document: Document, content: dict[str, Any]) -> None:
        """Count the items that keep the old word: a manifest is what was built."""
        family, old = self.renaming.family, self.renaming.old
        if family not in ("tag", "tag-group"):
            return
        kept = sum(
            any(tag == old or (family == "tag-group" and tag.startswith(f"{old}:")) for tag in tags)
            for tags in _tags_of_items(content)
        )
        if kept:
            self.kept_items[self.workspace.relative(document.path)] = kept


def _tags_of_items(content: dict[str, Any]) -> Iterator[list[str]]:
    return (item.get("tags", []) for item in content.get("items", []))


def _beside(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """Return shared lists with the new id added to the old one, which others still use."""
    merged: dict[str, Any] = {}
    for key, value in after.items():
        old = before.get(key)
        if isinstance(value, list) and isinstance(old, list) and old != value:
            merged[key] = list(dict.fromkeys([*old, *value]))
        elif isinstance(value, dict) and isinstance(old, dict) and old != value:
            merged[key] = {**value, **old} if set(value) != set(old) else _beside(old, value)
        else:
            merged[key] = value
    return merged
