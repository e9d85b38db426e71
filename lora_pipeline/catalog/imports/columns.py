"""Which column of somebody's table means what: our names, usual other ones, and ``--map``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lora_pipeline.catalog.imports.facts import COLUMNS
from lora_pipeline.foundation.errors import ArgumentInvalidError, ImportSourceError
from lora_pipeline.foundation.ids import did_you_mean

# Other spellings of the columns, as other tools write them.
_ALIASES = {
    "file_name": "file",
    "filename": "file",
    "path": "file",
    "asset_type": "assetType",
    "type": "assetType",
    "text": "caption",
    "description": "prompt",
    "keywords": "tags",
    "spec_tags": "specTags",
    "licence": "license",
    "mask_file_name": "mask",
    "rights": "trainingRights",
    "training_rights": "trainingRights",
}
_BY_SPELLING = {column.casefold(): column for column in COLUMNS} | _ALIASES
_LISTS = ("tags", "specTags")
_NEXT_PAIR = re.compile(r",(?=\s*[A-Za-z]+\s*=)")


@dataclass
class Columns:
    """What the columns of the tables of an import mean.

    Attributes:
        asked: Columns by the heading that ``--map`` names for them; one heading may fill
            several columns.
        unused: Headings that mean nothing to us, in the order in which they were met.
    """

    asked: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    unused: list[str] = field(default_factory=list)
    _met: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def of(self, heading: str, *, where: str) -> tuple[str, ...]:
        """Return the columns that a heading fills; none when it means nothing to us.

        Raises:
            ImportSourceError: When it is nearly one of ours, and no ``--map`` was given:
                what was misspelt would be lost without a word.
        """
        if heading not in self._met:
            self._met[heading] = self._columns(heading.strip(), where)
        return self._met[heading]

    def _columns(self, plain: str, where: str) -> tuple[str, ...]:
        if plain in self.asked:
            return self.asked[plain]
        ours = _BY_SPELLING.get(re.sub(r"[\s_-]+", "_", plain.casefold()))
        taken = {column for columns in self.asked.values() for column in columns}
        if ours and (ours not in taken or ours in _LISTS):
            return (ours,)
        near = None if ours or self.asked else _misspelt(plain)
        if near:
            raise ImportSourceError(
                f"{where}: unknown column {plain!r}",
                hint=f"did you mean {near}? --map {near}={plain!r} takes it as it is",
            )
        if plain and plain not in self.unused:
            self.unused.append(plain)
        return ()

    def require_met(self) -> None:
        """Check that every heading that ``--map`` names was there.

        Raises:
            ImportSourceError: When one was not; the hint names a near one.
        """
        met = [heading.strip() for heading in self._met]
        for heading in self.asked:
            if heading not in met:
                near = did_you_mean(heading, met)
                there = ", ".join(met) or "no file describes the images"
                raise ImportSourceError(
                    f"--map names a column {heading!r}, and there is none",
                    hint=f"did you mean {near}?" if near else f"there are: {there}",
                )


def read_mapping(pairs: Sequence[str]) -> Columns:
    """Return the columns that ``--map title=Name,tags=Keywords`` asks for.

    Raises:
        ArgumentInvalidError: When a pair is none, or names no column of ours.
    """
    asked: dict[str, tuple[str, ...]] = {}
    for pair in (one for text in pairs for one in _NEXT_PAIR.split(text)):
        ours, equals, heading = pair.partition("=")
        ours, heading = ours.strip(), heading.strip()
        if not equals or not heading:
            raise ArgumentInvalidError(
                f"--map takes COLUMN=NAME, got {pair.strip()!r}",
                hint="--map title=Name,tags=Keywords",
            )
        column = _BY_SPELLING.get(ours.casefold())
        if column is None:
            near = did_you_mean(ours, COLUMNS)
            raise ArgumentInvalidError(
                f"--map: there is no column {ours!r} to fill",
                hint=f"did you mean {near}?" if near else "there are: " + ", ".join(COLUMNS),
            )
        if column not in _LISTS and any(column in columns for columns in asked.values()):
            raise ArgumentInvalidError(f"--map fills {column} twice")
        asked[heading] = (*asked.get(heading, ()), column)
    return Columns(asked)


def row_of(
    headings: Iterable[tuple[str, Sequence[str]]], values: Sequence[Any], where: str
) -> dict[str, Any]:
    """Return what a row says, by our columns.

    Args:
        headings: Each heading of the row with the columns that it fills.
        values: The row's values, in the same order.
        where: Where the row stands, for messages.

    Raises:
        ImportSourceError: When two headings fill a column that holds one value.
    """
    row: dict[str, Any] = {}
    for (heading, columns), value in zip(headings, values, strict=False):
        for column in columns:
            if column in row and column not in _LISTS:
                raise ImportSourceError(
                    f"{where} gives {column} twice", hint=f"leave {heading!r} out"
                )
            row[column] = _joined(row[column], value) if column in row else value
    return row


def _misspelt(plain: str) -> str | None:
    # Nearer than other hints ask for: "Creator" is no misspelt author, "titel" is a title.
    for known in (*COLUMNS, *_ALIASES):
        likeness = difflib.SequenceMatcher(None, plain.casefold(), known.casefold())
        if likeness.ratio() >= 0.8:
            return _ALIASES.get(known, known)
    return None


def _joined(first: Any, second: Any) -> Any:
    if isinstance(first, str) and isinstance(second, str):
        return f"{first};{second}"
    lists = [[one] if isinstance(one, str) else one for one in (first, second) if one is not None]
    return [word for one in lists for word in one]
