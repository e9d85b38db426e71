"""Identifiers: ULIDs for machines, slugs for people, and "did you mean"."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from datetime import datetime

from lora_pipeline.foundation.errors import ArgumentInvalidError

SLUG_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,62}$"
# A group may be written in camel case (assetType:ui_icon), as existing repositories do.
TAG_PATTERN = r"^[a-z0-9][A-Za-z0-9_-]{0,62}:[a-z0-9][a-z0-9_.-]{0,62}$"

_SLUG = re.compile(SLUG_PATTERN)
_TAG = re.compile(TAG_PATTERN)
# Names that Windows keeps for devices, whatever their extension.
_RESERVED = frozenset(
    {"con", "prn", "aux", "nul"}
    | {f"com{n}" for n in range(1, 10)}
    | {f"lpt{n}" for n in range(1, 10)}
)


def new_ulid() -> str:
    """Return a new ULID: 26 characters, sortable by the time of its making."""
    from ulid import ULID  # imported late: reading commands never need it

    return str(ULID())


def time_of_ulid(ulid: str) -> datetime:
    """Return when a ULID was made.

    Raises:
        ArgumentInvalidError: When it is none.
    """
    from ulid import ULID

    try:
        return ULID.from_str(ulid).datetime
    except ValueError as error:
        raise ArgumentInvalidError(f"{ulid!r} is no ULID") from error


def require_slug(value: str, what: str) -> str:
    """Return ``value`` when it is a slug.

    Raises:
        ArgumentInvalidError: When it is not; the hint offers the nearest slug.
    """
    if _SLUG.fullmatch(value) and value not in _RESERVED:
        return value
    nearest = slugify(value)
    raise ArgumentInvalidError(
        f"{what} must be a slug (a-z, 0-9, _ and -, at most 63), got {value!r}",
        hint=f"try {nearest}" if nearest else "such as neon_city",
    )


def require_tag(value: str) -> str:
    """Return ``value`` when it is a namespaced tag such as ``style:flat``.

    Raises:
        ArgumentInvalidError: When it is not.
    """
    if _TAG.fullmatch(value):
        return value
    raise ArgumentInvalidError(
        f"tag must be group:value in lower case, got {value!r}",
        hint=f"try {_tag_hint(value)}",
    )


def slugify(text: str) -> str:
    """Return the slug nearest to ``text``, or an empty string when nothing is left of it."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_")[:63]
    return f"{slug}_" if slug in _RESERVED else slug


def did_you_mean(wrong: str, known: Iterable[str]) -> str | None:
    """Return the known word nearest to ``wrong``, or None when none is near.

    Tags of one group are compared by their values: the group that they share makes ``shape:moon``
    no nearer to ``shape:diamond``.
    """
    group, colon, value = wrong.partition(":")
    words = {word: word for word in known}
    same = {word.partition(":")[2]: word for word in words if word.startswith(f"{group}:")}
    wanted, words = (value, same) if colon and same else (wrong, words)
    import difflib  # only mistakes need it

    matches = difflib.get_close_matches(wanted, list(words), n=1, cutoff=0.6)
    return words[matches[0]] if matches else None


def _tag_hint(value: str) -> str:
    group, _, name = value.partition(":")
    if not name:
        group, name = "subject", group
    return f"{slugify(group) or 'group'}:{slugify(name) or 'value'}"
