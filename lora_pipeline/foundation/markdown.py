"""Markdown for pull requests from text that nobody trusts.

Such text stands in code spans: there it names nobody, links nowhere, and holds no markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from lora_pipeline.foundation.markup import visible


def code(words: str) -> str:
    """Return text in a code span."""
    shown = visible(words)
    if not shown.strip():
        return "—"
    longest = max((len(run) for run in re.findall("`+", shown)), default=0)
    fence = "`" * (longest + 1)
    room = " " if shown.startswith("`") or shown.endswith("`") or shown != shown.strip() else ""
    return f"{fence}{room}{shown}{room}{fence}"


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table whose cells are Markdown already."""
    lines = [_row(columns), _row(["---"] * len(columns))]
    return [*lines, *map(_row, rows)]


def details(summary: str, body: Sequence[str]) -> list[str]:
    """Return lines that unfold below ``summary``, which is plain text of ours."""
    return ["<details>", f"<summary>{summary}</summary>", "", *body, "", "</details>"]


def _row(cells: Sequence[str]) -> str:
    # A bar ends a cell, also inside a code span.
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
