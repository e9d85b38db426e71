"""What is said about an image that is imported: by a row, a side-car file or the command."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from lora_pipeline.foundation.errors import ImportSourceError
from lora_pipeline.foundation.ids import did_you_mean

TRAINING_RIGHTS = ("allowed", "denied", "unknown")
# Other spellings of the columns, as other tools write them.
_ALIASES = {
    "file_name": "file",
    "filename": "file",
    "path": "file",
    "asset_type": "assetType",
    "type": "assetType",
    "text": "prompt",
    "caption": "prompt",
    "licence": "license",
    "rights": "trainingRights",
    "training_rights": "trainingRights",
}
_TAG_SEPARATORS = re.compile(r"[;,|\r\n]+")
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


class FileFacts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is said about one image; what is empty was not said.

    Attributes:
        title: What it shows, in a few words.
        tags: As they were given.
        asset_type: Id of its asset type.
        style: Style, by id or another spelling.
        scenario: Scenario likewise.
        prompt: A description of it.
        source: Where it was taken from.
        author: Who made it.
        license: Licence it stands under.
        url: Where it was published.
        notes: Anything else.
        training_rights: ``allowed``, ``denied``, ``unknown`` or empty.
    """

    title: str = ""
    tags: tuple[str, ...] = ()
    asset_type: str = ""
    style: str = ""
    scenario: str = ""
    prompt: str = ""
    source: str = ""
    author: str = ""
    license: str = ""
    url: str = ""
    notes: str = ""
    training_rights: str = ""

    def over(self, weaker: FileFacts) -> FileFacts:
        """Return these facts with ``weaker`` ones where nothing was said; tags add up."""
        merged = {
            field: getattr(self, field) or getattr(weaker, field)
            for field in self.__struct_fields__
        }
        merged["tags"] = tuple(dict.fromkeys((*weaker.tags, *self.tags)))
        return FileFacts(**merged)


COLUMNS = tuple(info.encode_name for info in msgspec.structs.fields(FileFacts))


def column_of(name: str, *, where: str) -> str:
    """Return the column that a heading means.

    Raises:
        ImportSourceError: When there is none of that name; the hint names a near one.
    """
    plain = name.strip()
    known = ("file", *COLUMNS)
    for column in known:
        if plain.casefold() == column.casefold():
            return column
    if plain.casefold() in _ALIASES:
        return _ALIASES[plain.casefold()]
    near = did_you_mean(plain, [*known, *_ALIASES])
    raise ImportSourceError(
        f"{where}: unknown column {plain!r}",
        hint=f"did you mean {_ALIASES.get(near, near)}?" if near else "known: " + ", ".join(known),
    )


def facts_of(values: Mapping[str, Any], *, where: str) -> FileFacts:
    """Return the facts that columns and their values say.

    Args:
        values: Column to value; text, or a list for the tags.
        where: Where they stand, for messages.

    Raises:
        ImportSourceError: When a value is not of its column's kind.
    """
    given: dict[str, Any] = {}
    for column, value in values.items():
        if column == "file" or value is None:
            continue
        given[column] = _tags(value, where) if column == "tags" else _text(value, column, where)
    rights = str(given.get("trainingRights", "")).lower()
    if rights and rights not in TRAINING_RIGHTS:
        near = did_you_mean(rights, TRAINING_RIGHTS)
        raise ImportSourceError(
            f"{where}: trainingRights is {rights!r}, not one of {', '.join(TRAINING_RIGHTS)}",
            hint=f"did you mean {near}?" if near else None,
        )
    return msgspec.convert(given | {"trainingRights": rights}, FileFacts)


def split_tags(text: str) -> tuple[str, ...]:
    """Return the tags of a cell: separated by semicolon, comma, bar or line."""
    return tuple(part.strip() for part in _TAG_SEPARATORS.split(text) if part.strip())


def _tags(value: Any, where: str) -> tuple[str, ...]:
    if isinstance(value, str):
        return split_tags(value)
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(one.strip() for one in value if one.strip())
    raise ImportSourceError(f"{where}: tags must be text or a list of texts")


def _text(value: Any, column: str, where: str) -> str:
    if not isinstance(value, str):
        raise ImportSourceError(f"{where}: {column} must be text, got {value!r:.40}")
    if _NOT_TEXT.search(value):
        raise ImportSourceError(f"{where}: {column} holds control characters")
    # Notes may have lines; everything else is one line.
    return value.strip() if column == "notes" else " ".join(value.split())
