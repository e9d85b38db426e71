"""The options of ``dataset build``, one by one: each is checked and brought to one form."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date, datetime

from msgspec import UNSET, UnsetType

from lora_pipeline.catalog.vocabulary import Vocabulary
from lora_pipeline.datasets.captions.templates import BUILT_IN, WORDS, parse_template
from lora_pipeline.datasets.captions.wording import unsafe_character
from lora_pipeline.datasets.filters import ISSUE_PREFIX
from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.ids import did_you_mean, require_slug, require_tag

_COLOUR = re.compile(r"#[0-9A-Fa-f]{6}")
_TRIGGER = re.compile(r"[^\s,]{2,50}")
_GROUP = re.compile(r"[a-z0-9][A-Za-z0-9_-]{0,62}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")
LARGEST = 2**53  # what every reader of JSON takes for the same number


def one_of(what: str, value: str | None, known: Sequence[str]) -> str | None:
    """Return a word that is one of the known ones.

    Raises:
        ArgumentInvalidError: When one breaks its rule.
    """
    if value is None or value in known:
        return value
    near = did_you_mean(value, known)
    raise ArgumentInvalidError(
        f"{what} must be one of {', '.join(known)}, got {value!r}",
        hint=f"did you mean {near}?" if near else None,
    )


def slugs(what: str, values: tuple[str, ...]) -> tuple[str, ...]:
    """Return words that are slugs, none twice.

    Raises:
        ArgumentInvalidError: When one breaks its rule.
    """
    return tuple(dict.fromkeys(require_slug(value, what) for value in values))


def tags(values: tuple[str, ...], vocabulary: Vocabulary, *, wanted: bool) -> tuple[str, ...]:
    """Return tags by their full ids, none twice; issue tags are never wanted.

    Raises:
        ArgumentInvalidError: When one breaks its rule.
    """
    found = tuple(dict.fromkeys(require_tag(vocabulary.tag(value)) for value in values))
    issue = next((tag for tag in found if tag.startswith(ISSUE_PREFIX)), None)
    if wanted and issue:
        raise ArgumentInvalidError(
            f"images tagged {issue} are never trained on",
            hint=f"lora asset list --tag {issue} shows them",
        )
    return found


def rating(value: int | None) -> int:
    """Return a rating, 0 to 5.

    Raises:
        ArgumentInvalidError: When one breaks its rule.
    """
    if value is None or 0 <= value <= 5:
        return value or 0
    raise ArgumentInvalidError(f"min rating must be 0 to 5, got {value}")


def share(value: float | None) -> float | None:
    """Return a share, 0 to less than 1.

    Raises:
        ArgumentInvalidError: When one breaks its rule.
    """
    if value is None or 0 <= value < 1:
        return value
    raise ArgumentInvalidError(
        f"held-out share must be at least 0 and less than 1, got {value:g}",
        hint="0.1 holds out about one image in ten",
    )


def background(value: str | None) -> str | None:
    """Return a colour as it is written in manifests.

    Raises:
        ArgumentInvalidError: When one breaks its rule.
    """
    if value is None:
        return None
    if _COLOUR.fullmatch(value):
        return value.upper()
    raise ArgumentInvalidError(f"background must be a colour #RRGGBB, got {value!r}")


def trigger(value: str | None) -> str | None:
    """Return a trigger word.

    Raises:
        ArgumentInvalidError: When one breaks its rule.
    """
    if not value:
        return value
    if _TRIGGER.fullmatch(value) and unsafe_character(value) is None:
        return value
    raise ArgumentInvalidError(
        f"trigger word must be 2 to 50 characters without spaces and commas, got {value!r}"
    )


def line(what: str, value: str | None) -> str | None:
    """Return text that a caption may hold.

    Raises:
        ArgumentInvalidError: When one breaks its rule.
    """
    unsafe = unsafe_character(value) if value else None
    if unsafe:
        raise ArgumentInvalidError(f"{what} holds {unsafe}, which no caption may hold")
    return value


def count(what: str, said: int | None, stored: int | UnsetType) -> int | UnsetType:
    """Return a number of images: what was said, else what is stored; 0 takes it away.

    Raises:
        ArgumentInvalidError: When one breaks its rule.
    """
    if said is None:
        return stored
    if 0 <= said <= LARGEST:
        return said or UNSET
    raise ArgumentInvalidError(f"{what} must be 1 or more, got {said}", hint="0 takes it away")


def group(said: str | None, stored: str | UnsetType) -> str | UnsetType:
    """Return a tag group: what was said, else what is stored; empty takes it away.

    Raises:
        ArgumentInvalidError: When one breaks its rule.
    """
    if said is None:
        return stored
    name = said.removesuffix(":")
    if name and not _GROUP.fullmatch(name):
        raise ArgumentInvalidError(
            f"balance names a tag group, got {said!r}",
            hint=f"--balance {name.partition(':')[0]}" if ":" in name else "lora catalog show",
        )
    return name or UNSET


def licenses(values: tuple[str, ...]) -> tuple[str, ...] | UnsetType:
    """Return licences, none twice in other case.

    Raises:
        ArgumentInvalidError: When one breaks its rule.
    """
    for value in values:
        line("licence", value)
    by_spelling = {value.casefold(): value for value in reversed(values)}
    return tuple(by_spelling[folded] for folded in sorted(by_spelling)) or UNSET


def moment(value: str | None) -> str | UnsetType:
    """Return the time that a day or a time in UTC says.

    Raises:
        ArgumentInvalidError: When it is neither.
    """
    if value is None:
        return UNSET
    try:
        if _TIME.fullmatch(value):
            datetime.fromisoformat(value)
            return value
        return f"{date.fromisoformat(value).isoformat()}T00:00:00Z"
    except ValueError as error:
        raise ArgumentInvalidError(
            f"since must be a day, or a time in UTC, got {value!r}",
            hint="--since 2026-01-31, or 2026-01-31T12:00:00Z",
        ) from error


def template(form: str | None) -> str | UnsetType | None:
    """Return the caption template that a name or a text says; None when nothing was said.

    Raises:
        ArgumentInvalidError: When one breaks its rule.
    """
    if form is None:
        return None
    if form == WORDS:
        return UNSET
    if form in BUILT_IN:
        return BUILT_IN[form]
    if "{" not in form:
        near = did_you_mean(form, [WORDS, *BUILT_IN])
        raise ArgumentInvalidError(
            f"template must be {WORDS}, {', '.join(BUILT_IN)} or text with slots, got {form!r}",
            hint=f"did you mean {near}?" if near else 'such as "{trigger}, {type} of {title}"',
        )
    parse_template(line("template", form) or "")
    return form
