"""Putting words that an import brought into the project's catalogs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

import msgspec

from lora_pipeline.catalog.imports.plan import Words
from lora_pipeline.catalog.records import CatalogWord, Scenarios, Styles, Tag, TagGroup, Tags
from lora_pipeline.foundation.record import Record
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope

R = TypeVar("R", bound=Record)


def add_words(changes: Changes, scope: Scope, words: Words) -> None:
    """Add words to the catalogs of a scope; catalogs that are missing are made.

    Raises:
        RecordError: When a catalog is not valid.
    """
    now = changes.workspace.now()
    if words.tags:
        empty_tags = Tags(id="tags", created_at=now, updated_at=now, groups=())
        _change(changes, scope, empty_tags, lambda catalog: _with_tags(catalog, words.tags, now))
    if words.styles:
        empty_styles = Styles(id="styles", created_at=now, updated_at=now, styles=())
        _change(
            changes,
            scope,
            empty_styles,
            lambda catalog: msgspec.structs.replace(
                catalog, styles=(*catalog.styles, *_entries(words.styles)), updated_at=now
            ),
        )
    if words.scenarios:
        empty_scenarios = Scenarios(id="scenarios", created_at=now, updated_at=now, scenarios=())
        _change(
            changes,
            scope,
            empty_scenarios,
            lambda catalog: msgspec.structs.replace(
                catalog, scenarios=(*catalog.scenarios, *_entries(words.scenarios)), updated_at=now
            ),
        )


def label_of(word: str) -> str:
    """Return a label for people: ``round_square`` is ``Round square``."""
    spoken = " ".join(word.replace("_", " ").replace("-", " ").split())
    return spoken[:1].upper() + spoken[1:]


def _change(changes: Changes, scope: Scope, empty: R, edit: Callable[[R], R]) -> None:
    records, kind = changes.workspace.records, type(empty)
    if not records.exists(kind, scope, kind.KIND):
        changes.create(edit(empty), scope, kind.KIND)
        return
    loaded = records.read(kind, scope, kind.KIND)
    changes.update(loaded, edit(loaded.record))


def _with_tags(catalog: Tags, tags: Iterable[str], now: str) -> Tags:
    groups = {group.id: group for group in catalog.groups}
    for tag in tags:
        group_id, _, value = tag.partition(":")
        group = groups.get(group_id) or TagGroup(
            id=group_id, label=label_of(group_id), exclusive=False, tags=()
        )
        entry = Tag(id=tag, label=label_of(value))
        groups[group_id] = msgspec.structs.replace(group, tags=(*group.tags, entry))
    return msgspec.structs.replace(catalog, groups=tuple(groups.values()), updated_at=now)


def _entries(words: Iterable[str]) -> tuple[CatalogWord, ...]:
    return tuple(CatalogWord(id=word, label=label_of(word)) for word in words)
