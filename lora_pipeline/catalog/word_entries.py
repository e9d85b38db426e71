"""New entries of catalogs: one word with what people say of it. Decides only."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from lora_pipeline.catalog.new_words import label_of
from lora_pipeline.catalog.records import (
    AssetType,
    AssetTypes,
    CatalogWord,
    ImageCounts,
    Palette,
    Palettes,
    Scenarios,
    Styles,
    Tag,
    TagGroup,
    Tags,
)
from lora_pipeline.foundation.errors import ArgumentInvalidError, RecordExistsError
from lora_pipeline.foundation.record import Record

_COLOUR = re.compile(r"#(?:[0-9A-Fa-f]{6}|[0-9A-Fa-f]{8})")


class NewWord(msgspec.Struct, frozen=True):
    """A word that is to be put into a catalog.

    Attributes:
        kind: ``asset-type``, ``style``, ``scenario``, ``palette``, ``tag`` or ``tag-group``.
        word: Its id.
        label: Its name for people, or empty.
        said: Everything else that was said of it, by name; what was not said is not in it.
    """

    kind: str
    word: str
    label: str
    said: Mapping[str, Any]


# What may be said of each kind of word.
ALLOWED: dict[str, frozenset[str]] = {
    "asset-type": frozenset(
        {
            "description", "default_tags", "counts", "suite", "requires_alpha", "tileable",
            "multi_frame",
        }
    ),
    "style": frozenset({"description", "tokens", "aliases"}),
    "scenario": frozenset({"description", "tokens", "aliases"}),
    "palette": frozenset({"description", "tokens", "colors"}),
    "tag": frozenset({"tokens", "aliases"}),
    "tag-group": frozenset({"exclusive"}),
}  # fmt: skip


def empty_catalog(kind: str, now: str) -> Record:
    """Return the catalog that holds words of a kind, without any."""
    times = {"created_at": now, "updated_at": now}
    return {
        "asset-type": AssetTypes(id="asset-types", asset_types=(), **times),
        "style": Styles(id="styles", styles=(), **times),
        "scenario": Scenarios(id="scenarios", scenarios=(), **times),
        "palette": Palettes(id="palettes", palettes=(), **times),
        "tag": Tags(id="tags", groups=(), **times),
        "tag-group": Tags(id="tags", groups=(), **times),
    }[kind]


def with_word(catalog: Record, new: NewWord, groups: Mapping[str, TagGroup]) -> Record:
    """Return a catalog with a new word in it.

    Args:
        catalog: The catalog.
        new: The word.
        groups: Tag groups in force: a tag's group that the catalog lacks is made as there.

    Raises:
        RecordExistsError: When the catalog has the word.
        ArgumentInvalidError: When what was said of it is not for such a word, or is none.
    """
    strange = set(new.said) - ALLOWED[new.kind]
    if strange:
        name = min(strange).replace("_", "-")
        raise ArgumentInvalidError(f"a {new.kind.replace('-', ' ')} has no {name}")
    if isinstance(catalog, Tags):
        return _with_tag(catalog, new, groups)
    if isinstance(catalog, AssetTypes):
        types = (*catalog.asset_types, _asset_type(new))
        _require_new(new, [one.id for one in catalog.asset_types])
        return msgspec.structs.replace(catalog, asset_types=types)
    if isinstance(catalog, Palettes):
        _require_new(new, [one.id for one in catalog.palettes])
        return msgspec.structs.replace(catalog, palettes=(*catalog.palettes, _palette(new)))
    if isinstance(catalog, Styles):
        _require_new(new, [one.id for one in catalog.styles])
        return msgspec.structs.replace(catalog, styles=(*catalog.styles, _plain(new)))
    assert isinstance(catalog, Scenarios)  # noqa: S101 - there are no others
    _require_new(new, [one.id for one in catalog.scenarios])
    return msgspec.structs.replace(catalog, scenarios=(*catalog.scenarios, _plain(new)))


def _with_tag(catalog: Tags, new: NewWord, known: Mapping[str, TagGroup]) -> Tags:
    groups = {group.id: group for group in catalog.groups}
    if new.kind == "tag-group":
        _require_new(new, list(groups))
        groups[new.word] = TagGroup(
            id=new.word,
            label=new.label or label_of(new.word),
            exclusive=bool(new.said.get("exclusive")),
            tags=(),
        )
        return msgspec.structs.replace(catalog, groups=tuple(groups.values()))
    group_id, _, value = new.word.partition(":")
    model = groups.get(group_id) or known.get(group_id)
    if model is None:
        raise ArgumentInvalidError(
            f"there is no tag group {group_id}", hint=f"lora catalog add tag-group {group_id}"
        )
    group = model if group_id in groups else msgspec.structs.replace(model, tags=())
    _require_new(new, [tag.id for tag in group.tags])
    tokens = new.said.get("tokens", ())
    if len(tokens) > 1:
        raise ArgumentInvalidError(f"a tag has one prompt token, got {len(tokens)}")
    entry = Tag(
        id=new.word,
        label=new.label or label_of(value),
        prompt_token="".join(tokens),
        aliases=tuple(new.said.get("aliases", ())),
    )
    groups[group_id] = msgspec.structs.replace(group, tags=(*group.tags, entry))
    return msgspec.structs.replace(catalog, groups=tuple(groups.values()))


def _plain(new: NewWord) -> CatalogWord:
    return CatalogWord(
        id=new.word,
        label=new.label or label_of(new.word),
        description=new.said.get("description", ""),
        prompt_tokens=tuple(new.said.get("tokens", ())),
        aliases=tuple(new.said.get("aliases", ())),
    )


def _palette(new: NewWord) -> Palette:
    colors = tuple(new.said.get("colors", ()))
    wrong = [one for one in colors if not _COLOUR.fullmatch(one)]
    if wrong or not colors:
        raise ArgumentInvalidError(
            f"a palette has colours as #RRGGBB or #RRGGBBAA, got {wrong[0] if wrong else 'none'}",
            hint="--color #FFFFFF --color #22262B",
        )
    return Palette(
        id=new.word,
        label=new.label or label_of(new.word),
        colors=colors,
        description=new.said.get("description", ""),
        prompt_tokens=tuple(new.said.get("tokens", ())),
    )


def _asset_type(new: NewWord) -> AssetType:
    said = new.said
    return AssetType(
        id=new.word,
        label=new.label or label_of(new.word),
        description=said.get("description", ""),
        multi_frame=bool(said.get("multi_frame")),
        requires_alpha=bool(said.get("requires_alpha")),
        tileable=bool(said.get("tileable")),
        default_tags=tuple(said.get("default_tags", ())),
        image_counts=_counts(said["counts"]) if "counts" in said else None,
        suite_id=said.get("suite", ""),
    )


def _counts(text: str) -> ImageCounts:
    found = re.fullmatch(r"(\d+):(\d+)-(\d+)", text)
    numbers = [int(one) for one in found.groups()] if found else []
    if not numbers or not 1 <= numbers[0] <= numbers[1] <= numbers[2]:
        raise ArgumentInvalidError(
            f"image counts are MINIMUM:FROM-TO, rising, got {text!r}", hint="--counts 10:40-60"
        )
    return ImageCounts(minimum=numbers[0], recommended_from=numbers[1], recommended_to=numbers[2])


def _require_new(new: NewWord, ids: list[str]) -> None:
    if new.word in ids:
        raise RecordExistsError(
            f"{new.kind.replace('-', ' ')} {new.word} is there already", hint="lora catalog show"
        )
