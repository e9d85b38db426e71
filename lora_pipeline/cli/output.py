"""What people read: short reports and tables. Nothing of it reaches ``--json``."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import click

from lora_pipeline.foundation.errors import PipelineError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from lora_pipeline.foundation.result import Result

_LABEL_WIDTH = 11
_BAR_WIDTH = 24
_LEAST_ROOM = 20  # columns for words beside ids and labels
_GAP = 3  # between the columns of a table
MAX_WRITTEN_SHOWN = 4


@dataclass(frozen=True)
class Share:
    """A cell that shows a share of all: a bar in a terminal, nothing elsewhere.

    Attributes:
        part: Between 0 and 1.
    """

    part: float


@dataclass(frozen=True)
class Table:
    """A table of words: column titles and rows."""

    columns: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True)
class Report:
    """What a command says to a person.

    Attributes:
        headline: First line; the answer.
        rows: Labelled lines below it. A label of ``pass``, ``fail``, ``not proven``,
            ``warning`` is coloured.
        tables: Tables below the rows.
        lines: Free lines below the tables.
    """

    headline: str
    rows: Sequence[tuple[str, str]] = ()
    tables: Sequence[Table] = ()
    lines: Sequence[str] = field(default_factory=tuple)


_COLOURS = {
    "ok": "green",
    "pass": "green",
    "fail": "red",
    "error": "red",
    "refused": "red",
    "not proven": "yellow",
    "warn": "yellow",
    "warning": "yellow",
}


def plain(text: str) -> str:
    """Return text that cannot steer a terminal: control and direction characters escaped."""
    return "".join(
        character if character.isprintable() or character == "\n" else _escape(character)
        for character in text
    )


def say(text: str, *, err: bool = False) -> None:
    """Print a line; coloured only in a terminal that wants it."""
    plain_terminal = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    click.echo(text, err=err, color=False if plain_terminal else None)


def print_json(document: dict[str, Any]) -> None:
    """Print the one JSON document of a call."""
    import json  # imported late: start-up is part of the product

    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    say(json.dumps(document, indent=2, ensure_ascii=not unicode))


def print_report(report: Report, result: Result) -> None:
    """Print a report, then what was written, the warnings and the next commands."""
    say(plain(report.headline))
    wrote = "would write" if result.dry_run else "wrote"
    labels = [label for label, _ in report.rows] + ([wrote] if result.written else [])
    width = max([_LABEL_WIDTH, *(len(label) + 2 for label in labels)])
    for label, text in report.rows:
        _row(label, text, width)
    for number, table in enumerate(report.tables):
        if number:
            say("")
        _print_table(_shown(table))
    for line in report.lines:
        say(plain(line))
    if result.written:
        _row(wrote, _written(result.written), width)
    for warning in result.warnings:
        _row("warning", warning, width)
    if result.suggestions:
        say(f"{click.style('next', bold=True)}  " + _next(result.suggestions))


def print_error(error: PipelineError) -> None:
    """Print a failure on stderr: the thing and the rule, where it came from, what to do."""
    head = f"{click.style('error', fg='red', bold=True)}  {plain(error.message)}"
    say(f"{head}  [{error.code}]", err=True)
    if error.source:
        say(f"  from   {plain(error.source)}", err=True)
    for violation in error.violations[1:9]:
        say(f"  also   {plain(str(violation))}", err=True)
    if len(error.violations) > 9:
        say(f"  also   {len(error.violations) - 9} more", err=True)
    if error.hint:
        say(f"{click.style('next', bold=True)}   {plain(error.hint)}", err=True)


def size_text(size: int) -> str:
    """Return a number of bytes as people read it."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{size} B"


def counted(number: int, one: str, many: str | None = None) -> str:
    """Return a number with its noun: ``1 image``, ``2 images``."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def _row(label: str, text: str, width: int) -> None:
    shown = click.style(label.ljust(width), fg=_COLOURS.get(label)) if label else " " * width
    first, *rest = (part for line in plain(text).split("\n") for part in _wrapped(line, width + 2))
    say(f"  {shown}{first}")
    for line in rest:
        say(f"  {' ' * width}{line}")


def _terminal_width() -> int | None:
    """Return the columns of the terminal, or None when a file or a program reads."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _wrapped(line: str, indent: int) -> list[str]:
    """Return a line in parts that fit beside a label; nothing is cut that may be pasted."""
    width = _terminal_width()
    if width is None or indent + len(line) <= width or line.lstrip().startswith("lora "):
        return [line]
    import textwrap  # imported late: start-up is part of the product

    # What stands in columns goes on in its column.
    head = re.match(r" *(\S+( \S+)* {2,})?", line)
    lead = head.group() if head and len(head.group()) < width // 2 else ""
    room = max(width - indent - len(lead), _LEAST_ROOM)
    parts = textwrap.wrap(line[len(lead) :], room, break_long_words=False, break_on_hyphens=False)
    return [lead + parts[0], *(" " * len(lead) + part for part in parts[1:])] if parts else [line]


def _next(suggestions: Sequence[str]) -> str:
    width, indent = _terminal_width(), " " * 6
    together = plain("  ·  ".join(suggestions))
    if width is None or len(indent) + len(together) <= width:
        return together
    return f"\n{indent}".join(map(plain, suggestions))


def _written(paths: Sequence[str]) -> str:
    if len(paths) <= MAX_WRITTEN_SHOWN:
        return "\n".join(paths)
    return "\n".join([*paths[: MAX_WRITTEN_SHOWN - 1], f"… and {len(paths) - 3} more files"])


def _print_table(table: Table) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    whole = _kept_whole(table)
    for number, column in enumerate(table.columns):
        # An id that is cut or parted cannot be pasted.
        drawn.add_column(column, overflow="fold", no_wrap=number in whole)
    for row in table.rows:
        drawn.add_row(*map(_cell, row))
    # Without a terminal a table is not cut at 80 columns: someone will grep it.
    columns = os.environ.get("COLUMNS", "")
    wide = int(columns) if columns.isascii() and columns.isdigit() and int(columns) else 200
    console = Console(width=None if sys.stdout.isatty() else wide, highlight=False)
    # rich would end the program itself when the reader goes away (``lora … | head``).
    with console.capture() as drawing:
        console.print(drawn)
    say(drawing.get().removesuffix("\n"))


def _shown(table: Table) -> Table:
    """Return a table without the columns that say nothing, where a person reads it."""
    if _terminal_width() is None or not table.rows:
        return table
    said = [
        number
        for number in range(len(table.columns))
        if any(isinstance(row[number], Share) or str(row[number]) for row in table.rows)
    ]
    return Table(
        [table.columns[number] for number in said],
        [[row[number] for number in said] for row in table.rows],
    )


def _kept_whole(table: Table) -> set[int]:
    """Return the columns of single words that fit unbroken and leave room for the others."""
    width = _terminal_width()
    if width is None:
        return set()
    room, words = width, {}
    for number, title in enumerate(table.columns):
        cells = [str(row[number]) for row in table.rows]
        longest = max(map(len, [title, *cells])) + _GAP
        if any(" " in cell for cell in cells):
            room -= min(longest, _LEAST_ROOM)
        else:
            words[number] = longest
    whole: set[int] = set()
    for number in sorted(words, key=words.__getitem__, reverse=True):
        if words[number] <= room:
            whole.add(number)
            room -= words[number]
    return whole


def _cell(value: object) -> RenderableType:
    from rich.bar import Bar
    from rich.text import Text

    if not isinstance(value, Share):
        return Text(plain(str(value)))
    if not sys.stdout.isatty():
        return Text("")
    return Bar(1.0, 0, value.part, width=_BAR_WIDTH, color="cyan")


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
