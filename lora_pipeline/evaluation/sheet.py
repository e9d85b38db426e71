"""The contact sheet: base beside LoRA at equal seeds, with what made each picture.

The sheet is derived from cells and can always be drawn again. A cell without a picture is a
labelled hatch, never a blank. The same cells give the same bytes with one version of Pillow.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from lora_pipeline.evaluation.grid import BASE
from lora_pipeline.evaluation.records import Cell, Evaluation
from lora_pipeline.foundation.drawing import (
    ALARM,
    INK,
    MUTED,
    SMALL_SIZE,
    TEXT_SIZE,
    TITLE_SIZE,
    Pen,
    wrapped,
)
from lora_pipeline.foundation.typeface import Typeface

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image as PILImage

    Pixels = NDArray[np.uint8]

_MAX_WIDTH = 2000
_MARGIN, _LABEL, _GAP, _GROUP_GAP, _ROW_GAP = 44, 236, 16, 40, 30
_GROUP_HEAD, _CAPTION = 26, 26
_SMALL_SIDE, _ENLARGED_SIDE, _LARGE_SIDE = 96, 192, 224
# The bundled font has the letters of ASCII and few more; these are written otherwise.
_SPELLED = {
    "ß": "ss", "æ": "ae", "ø": "o", "ł": "l", "→": "->",
    "\N{EN DASH}": "-", "\N{EM DASH}": "-", "\N{MULTIPLICATION SIGN}": "x",
    "\N{LEFT SINGLE QUOTATION MARK}": "'", "\N{RIGHT SINGLE QUOTATION MARK}": "'",
}  # fmt: skip
_HAS = frozenset("·…±“”©™")

Loader = Callable[[Cell], "Pixels | None"]


@dataclass(frozen=True)
class SheetHeader:
    """What stands above the pictures.

    Attributes:
        title: What is judged, such as ``ui_icons · r7``.
        facts: Label and text of each line below it.
    """

    title: str
    facts: Sequence[tuple[str, str]]


def draw_sheet(header: SheetHeader, evaluation: Evaluation, load: Loader) -> PILImage:
    """Return the sheet of an evaluation.

    Args:
        header: What stands above the pictures.
        evaluation: Its cells, in the order of the grid.
        load: Returns the pixels of a cell that is done, or None when they are not here.
    """
    layout = _Layout.of(evaluation)
    pen = _Pen(layout.size(header), Typeface())
    top = _draw_header(pen, header)
    for prompt in layout.prompts:
        pen.line(_MARGIN, top - _ROW_GAP // 2, pen.image.width - _MARGIN)
        _draw_prompt(pen, layout, prompt, top, load)
        top += layout.height_of(prompt)
    pen.text(
        _MARGIN,
        top - 4,
        "Below each picture: its strength, and the mean difference to the base beside it "
        "(0 is none, 1 is black against white).",
        SMALL_SIZE,
        MUTED,
    )
    return pen.image


def is_enlarged(evaluation: Evaluation) -> bool:
    """Return whether the cells are so small that the sheet shows them enlarged."""
    return all(max(cell.width, cell.height) <= _SMALL_SIDE for cell in evaluation.cells)


@dataclass(frozen=True)
class _Prompt:
    """The cells of one prompt, one group a seed."""

    text: str
    kind: str
    groups: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class _Layout:
    """Sizes in pixels that follow from the cells."""

    prompts: tuple[_Prompt, ...]
    width: int
    height: int
    columns: int
    groups_a_line: int

    @classmethod
    def of(cls, evaluation: Evaluation) -> _Layout:
        kinds = {one.id: one.kind for one in evaluation.suite.prompts} if evaluation.suite else {}
        prompts = tuple(
            _Prompt(cells[0].prompt, kinds.get(name, "").replace("_", " "), _by_seed(cells))
            for name, cells in _runs(evaluation.cells)
        )
        columns = max(len(group) for prompt in prompts for group in prompt.groups)
        first = evaluation.cells[0]
        width, height = _shown_size(first.width, first.height)
        group = columns * (width + _GAP) - _GAP
        fitting = (_MAX_WIDTH - 2 * _MARGIN - _LABEL + _GROUP_GAP) // (group + _GROUP_GAP)
        most = max(len(prompt.groups) for prompt in prompts)
        return cls(prompts, width, height, columns, max(1, min(fitting, most)))

    @property
    def group_width(self) -> int:
        """Width of the cells of one seed."""
        return self.columns * (self.width + _GAP) - _GAP

    @property
    def line_height(self) -> int:
        """Height of one line of groups."""
        return _GROUP_HEAD + self.height + _CAPTION

    def height_of(self, prompt: _Prompt) -> int:
        """Return the height of one prompt with the gap below it."""
        lines = -(-len(prompt.groups) // self.groups_a_line)
        return lines * self.line_height + _ROW_GAP

    def size(self, header: SheetHeader) -> tuple[int, int]:
        """Return the size of the whole sheet."""
        groups = self.groups_a_line * (self.group_width + _GROUP_GAP) - _GROUP_GAP
        width = max(2 * _MARGIN + _LABEL + groups, 900)
        height = _header_height(header) + sum(map(self.height_of, self.prompts))
        return width, height + _MARGIN


class _Pen(Pen):
    """Writes in the letters of the bundled font alone: a sheet in Git is the same everywhere."""

    def text(
        self,
        left: int,
        top: int,
        words: str,
        size: int,
        color: tuple[int, int, int] = INK,
    ) -> None:
        """Write one line."""
        super().text(left, top, _writable(words), size, color)


def _draw_header(pen: _Pen, header: SheetHeader) -> int:
    pen.text(_MARGIN, _MARGIN - 6, header.title, TITLE_SIZE)
    top = _MARGIN + 48
    for label, words in header.facts:
        pen.text(_MARGIN, top, label, TEXT_SIZE, MUTED)
        pen.text(_MARGIN + 110, top, words, TEXT_SIZE)
        top += 25
    return _header_height(header)


def _header_height(header: SheetHeader) -> int:
    return _MARGIN + 48 + 25 * len(header.facts) + _ROW_GAP + 14


def _draw_prompt(pen: _Pen, layout: _Layout, prompt: _Prompt, top: int, load: Loader) -> None:
    label_top = top + _GROUP_HEAD
    most = (layout.line_height - _GROUP_HEAD - _CAPTION) // 22
    for words in wrapped(pen.typeface, _writable(prompt.text), _LABEL - 30, TEXT_SIZE)[:most]:
        pen.text(_MARGIN, label_top, words, TEXT_SIZE)
        label_top += 22
    pen.text(_MARGIN, label_top + 6, prompt.kind, SMALL_SIZE, MUTED)
    for number, group in enumerate(prompt.groups):
        row, place = divmod(number, layout.groups_a_line)
        left = _MARGIN + _LABEL + place * (layout.group_width + _GROUP_GAP)
        group_top = top + row * layout.line_height
        pen.text(left, group_top, f"seed {group[0].seed}", SMALL_SIZE, MUTED)
        for column, cell in enumerate(group):
            _draw_cell(
                pen,
                layout,
                cell,
                (left + column * (layout.width + _GAP), group_top + _GROUP_HEAD),
                load,
            )


def _draw_cell(
    pen: _Pen, layout: _Layout, cell: Cell, place: tuple[int, int], load: Loader
) -> None:
    left, top = place
    pixels = load(cell) if cell.status == "done" else None
    pen.frame(left, top, layout.width, layout.height)
    if pixels is not None:
        pen.image.paste(_shown(pixels, layout), (left, top))
    else:
        pen.hatch(left, top, layout.width, layout.height)
        _explain(pen, layout, cell, place)
    caption = top + layout.height + 7
    words = "base" if cell.strength == BASE else f"strength {cell.strength:g}"
    pen.text(left, caption, words, SMALL_SIZE)
    if cell.effect is not None:
        right = left + layout.width
        pen.text_before(right, caption, f"{cell.effect:.3f}", SMALL_SIZE, MUTED)


def _explain(pen: _Pen, layout: _Layout, cell: Cell, place: tuple[int, int]) -> None:
    left, top = place
    words = {"failed": "failed", "pending": "not rendered"}.get(cell.status, "not in this store")
    color = ALARM if cell.status == "failed" else MUTED
    pen.text(left + 12, top + 12, words, TEXT_SIZE, color)
    most = max(0, (layout.height - 50) // 18)
    for number, line in enumerate(
        wrapped(pen.typeface, _writable(cell.error), layout.width - 24, SMALL_SIZE)[:most]
    ):
        pen.text(left + 12, top + 40 + 18 * number, line, SMALL_SIZE, MUTED)


def _shown(pixels: Pixels, layout: _Layout) -> PILImage:
    from PIL import Image

    picture = Image.fromarray(pixels)
    size = (layout.width, layout.height)
    # Enlarged pixels stay pixels; a smooth enlargement would show what is not there.
    smooth = picture.width > layout.width
    how = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
    return picture.resize(size, how)


def _shown_size(width: int, height: int) -> tuple[int, int]:
    longest = max(width, height)
    if longest <= _SMALL_SIDE:
        factor = max(1, _ENLARGED_SIDE // longest)
        return width * factor, height * factor
    if longest <= _LARGE_SIDE:
        return width, height
    return (
        max(1, round(width * _LARGE_SIDE / longest)),
        max(1, round(height * _LARGE_SIDE / longest)),
    )


def _runs(cells: Sequence[Cell]) -> Iterator[tuple[str, list[Cell]]]:
    for name, run in groupby(cells, key=lambda cell: cell.prompt_id):
        yield name, list(run)


def _by_seed(cells: Sequence[Cell]) -> tuple[tuple[Cell, ...], ...]:
    return tuple(tuple(run) for _, run in groupby(cells, key=lambda cell: cell.seed))


def _writable(words: str) -> str:
    """Return text in the letters that the bundled font has."""
    spelled = "".join(_SPELLED.get(letter, letter) for letter in words)
    plain = "".join(
        letter
        for letter in unicodedata.normalize("NFKD", spelled)
        if not unicodedata.combining(letter)
    )
    return "".join(
        letter if letter in _HAS or (letter.isascii() and letter.isprintable()) else "?"
        for letter in plain
    )
