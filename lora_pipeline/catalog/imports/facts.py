"""What is said about an image that is imported: by a row, a side-car file or the command."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from lora_pipeline.foundation.errors import ImportSourceError
from lora_pipeline.foundation.ids import did_you_mean

TRAINING_RIGHTS = ("allowed", "denied", "unknown")
_TAG_SEPARATORS = re.compile(r"[;,|\r\n]+")
_NOT_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MOST_STARS = 5


class FileFacts(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is said about one image; what is empty was not said.

    Attributes:
        title: What it shows, in a few words.
        tags: As they were given.
        spec_tags: Tags of what it is a result for; a spec's, not the image's own.
        asset_type: Id of its asset type.
        style: Style, by id or another spelling.
        scenario: Scenario likewise.
        prompt: A description of it.
        caption: What a trainer was told about it; the import's caption rule says what that is.
        source: Where it was taken from.
        author: Who made it.
        license: Licence it stands under.
        url: Where it was published.
        notes: Anything else.
        training_rights: ``allowed``, ``denied``, ``unknown`` or empty.
        consent: Who consented to training, and where that is kept.
        rating: 0 not said, 1 to 5 stars.
        sha256: What its bytes must be.
        mask: File that says which part of it counts, from the metadata file's folder.
    """

    title: str = ""
    tags: tuple[str, ...] = ()
    spec_tags: tuple[str, ...] = ()
    asset_type: str = ""
    style: str = ""
    scenario: str = ""
    prompt: str = ""
    caption: str = ""
    source: str = ""
    author: str = ""
    license: str = ""
    url: str = ""
    notes: str = ""
    training_rights: str = ""
    consent: str = ""
    rating: int = 0
    sha256: str = ""
    mask: str = ""

    def over(self, weaker: FileFacts) -> FileFacts:
        """Return these facts with ``weaker`` ones where nothing was said; tags add up."""
        merged = {
            field: getattr(self, field) or getattr(weaker, field)
            for field in self.__struct_fields__
        }
        merged["tags"] = tuple(dict.fromkeys((*weaker.tags, *self.tags)))
        return FileFacts(**merged)


COLUMNS = ("file", *(info.encode_name for info in msgspec.structs.fields(FileFacts)))


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
        if column != "file" and value is not None:
            read: Callable[[Any, str, str], Any] = _READERS.get(column, _text)
            given[column] = read(value, column, where)
    return msgspec.convert(given, FileFacts)


def split_tags(text: str) -> tuple[str, ...]:
    """Return the tags of a cell: separated by semicolon, comma, bar or line."""
    return tuple(part.strip() for part in _TAG_SEPARATORS.split(text) if part.strip())


def _tags(value: Any, column: str, where: str) -> tuple[str, ...]:
    if isinstance(value, str):
        return split_tags(_text(value, column, where, one_line=False))
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(one.strip() for one in value if one.strip())
    raise ImportSourceError(f"{where}: {column} must be text or a list of texts")


def _text(value: Any, column: str, where: str, *, one_line: bool = True) -> str:
    if not isinstance(value, str):
        raise ImportSourceError(f"{where}: {column} must be text, got {value!r:.40}")
    if _NOT_TEXT.search(value):
        raise ImportSourceError(f"{where}: {column} holds control characters")
    return " ".join(value.split()) if one_line else value.strip()


def _lines(value: Any, column: str, where: str) -> str:
    return _text(value, column, where, one_line=False)


def _rights(value: Any, column: str, where: str) -> str:
    rights = _text(value, column, where).lower()
    if rights and rights not in TRAINING_RIGHTS:
        near = did_you_mean(rights, TRAINING_RIGHTS)
        raise ImportSourceError(
            f"{where}: trainingRights is {rights!r}, not one of {', '.join(TRAINING_RIGHTS)}",
            hint=f"did you mean {near}?" if near else None,
        )
    return rights


def _rating(value: Any, column: str, where: str) -> int:
    text = str(value).strip() if isinstance(value, str | int) else repr(value)
    if text in ("", *map(str, range(_MOST_STARS + 1))):
        return int(text or 0)
    raise ImportSourceError(f"{where}: {column} must be 0 to {_MOST_STARS} stars, got {text:.40}")


def _sha256(value: Any, column: str, where: str) -> str:
    text = _text(value, column, where).removeprefix("sha256:")
    if text and not _SHA256.fullmatch(text):
        raise ImportSourceError(f"{where}: {column} must be 64 lower-case hexadecimal digits")
    return text


# Notes and captions may have lines; the caption rule joins them. Everything else is one line.
_READERS: dict[str, Callable[[Any, str, str], Any]] = {
    "tags": _tags,
    "specTags": _tags,
    "trainingRights": _rights,
    "rating": _rating,
    "sha256": _sha256,
    "notes": _lines,
    "caption": _lines,
}
