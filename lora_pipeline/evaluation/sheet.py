"""The contact sheet: base beside LoRA at equal seeds, with what made each picture.

The sheet is derived from cells and can always be drawn again. A cell without a picture is a
labelled hatch, never a blank, and a picture that cannot be what was asked for has a mark. A grid
that is too large for one sheet has several pages. The same cells give the same bytes with one
version of Pillow.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from lora_pipeline.evaluation.grid import strength_words
from lora_pipeline.evaluation.records import Cell, Evaluation
from lora_pipeline.evaluation.sheet_layout import (
    CAPTION,
    GAP,
    GROUP_GAP,
    GROUP_HEAD,
    LABEL,
    LINE_GAP,
    MARGIN,
    ROW_GAP,
    Layout,
    Prompt,
)
from lora_pipeline.evaluation.suspicion import suspicious_cells
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

# The bundled font has the letters of ASCII and few more; these are written otherwise.
_SPELLED = {
    "ß": "ss", "æ": "ae", "ø": "o", "ł": "l", "→": "->",
    "\N{EN DASH}": "-", "\N{EM DASH}": "-", "\N{MULTIPLICATION SIGN}": "x",
    "\N{LEFT SINGLE QUOTATION MARK}": "'", "\N{RIGHT SINGLE QUOTATION MARK}": "'",
}  # fmt: skip
_HAS = frozenset("·…±“”©™")
_MOST_PAGES = 20  # that are named at the top
_NO_CAPTIONS: Mapping[str, str] = {}

Loader = Callable[[Cell], "Pixels | None"]


class SheetHeader(msgspec.Struct, frozen=True):
    """What stands above the pictures.

    Attributes:
        title: What is judged, such as ``ui_icons · r7``.
        facts: Label and text of each line below it.
    """

    title: str
    facts: Sequence[tuple[str, str]]


def draw_sheet(
    header: SheetHeader,
    evaluation: Evaluation,
    load: Loader,
    *,
    page: int = 1,
    captions: Mapping[str, str] = _NO_CAPTIONS,
) -> PILImage:
    """Return one page of the sheet of an evaluation; most have no second one.

    Args:
        header: What stands above the pictures.
        evaluation: Its cells, in the order of the grid.
        load: Returns the pixels of a cell that is done, or None when they are not here. It is
            asked for the cells of the page alone.
        page: Which one, from 1.
        captions: What stands below a cell in place of its strength, by the cell's id.
    """
    layout = Layout.of(evaluation)
    suspicious = suspicious_cells(evaluation.cells, captions)
    if len(layout.pages) > 1:
        words = _page_words(layout, page, suspicious)
        header = SheetHeader(header.title, [*header.facts, ("page", words)])
    drawing = _Drawing(
        pen=_Pen(layout.size(page, _header_height(header)), Typeface()),
        layout=layout,
        load=load,
        suspicious=suspicious,
        captions=captions,
    )
    pen = drawing.pen
    top = _draw_header(pen, header)
    for prompt in layout.pages[page - 1]:
        pen.line(MARGIN, top - ROW_GAP // 2, pen.image.width - MARGIN)
        drawing.prompt(prompt, top)
        top += layout.height_of(prompt)
    pen.text(
        MARGIN,
        top - 4,
        f"Below each picture: its {'step' if captions else 'strength'}, and the mean difference to "
        "the base beside it (0 is none, 1 is black against white).",
        SMALL_SIZE,
        MUTED,
    )
    return pen.image


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
    pen.text(MARGIN, MARGIN - 6, header.title, TITLE_SIZE)
    top = MARGIN + 48
    for label, words in header.facts:
        pen.text(MARGIN, top, label, TEXT_SIZE, MUTED)
        pen.text(MARGIN + 110, top, words, TEXT_SIZE)
        top += 25
    return _header_height(header)


def _header_height(header: SheetHeader) -> int:
    return MARGIN + 48 + 25 * len(header.facts) + ROW_GAP + 14


def _page_words(layout: Layout, page: int, suspicious: Mapping[str, str]) -> str:
    marked = [
        str(number)
        for number, prompts in enumerate(layout.pages, start=1)
        if any(
            cell.status == "failed" or cell.id in suspicious
            for prompt in prompts
            for group in prompt.groups
            for cell in group
        )
    ]
    where = f"  ·  failed or suspicious: {', '.join(marked[:_MOST_PAGES])}" if marked else ""
    more = " …" if len(marked) > _MOST_PAGES else ""
    return f"{page} of {len(layout.pages)}{where}{more}"


class _Drawing(msgspec.Struct, frozen=True):
    """What every part of a page is drawn with."""

    pen: _Pen
    layout: Layout
    load: Loader
    suspicious: Mapping[str, str]
    captions: Mapping[str, str]

    def prompt(self, prompt: Prompt, top: int) -> None:
        """Draw a prompt's words and its pictures."""
        pen, layout = self.pen, self.layout
        label_top = top + GROUP_HEAD
        most = (layout.line_height - GROUP_HEAD - CAPTION) // 22
        asks = wrapped(pen.typeface, _writable(prompt.asks), LABEL - 30, SMALL_SIZE)[:most]
        said = wrapped(pen.typeface, _writable(prompt.text), LABEL - 30, TEXT_SIZE)
        for words in said[: max(1, most + 1 - len(asks))]:
            pen.text(MARGIN, label_top, words, TEXT_SIZE)
            label_top += 22
        for line, words in enumerate(asks):
            pen.text(MARGIN, label_top + 6 + 18 * line, words, SMALL_SIZE, MUTED)
        for number, group in enumerate(prompt.groups):
            row, place = divmod(number, layout.groups_a_line)
            left = MARGIN + LABEL + place * (layout.group_width + GROUP_GAP)
            group_top = top + row * (layout.line_height + LINE_GAP)
            pen.text(left, group_top, f"seed {group[0].seed}", SMALL_SIZE, MUTED)
            for column, cell in enumerate(group):
                self._cell(cell, left + column * (layout.width + GAP), group_top + GROUP_HEAD)

    def _cell(self, cell: Cell, left: int, top: int) -> None:
        pen, layout = self.pen, self.layout
        pixels = self.load(cell) if cell.status == "done" else None
        suspicion = self.suspicious.get(cell.id, "")
        if suspicion:
            pen.frame(left, top, layout.width, layout.height, ALARM, 4)
        else:
            pen.frame(left, top, layout.width, layout.height)
        if pixels is not None:
            pen.image.paste(_shown(pixels, layout), (left, top))
        else:
            pen.hatch(left, top, layout.width, layout.height)
            self._explain(cell, left, top)
        caption = top + layout.height + 7
        words = self.captions.get(cell.id) or strength_words(cell.strength)
        pen.text(left, caption, words, SMALL_SIZE)
        right = left + layout.width
        if suspicion:
            pen.text_before(right, caption, suspicion, SMALL_SIZE, ALARM)
        elif cell.effect is not None:
            pen.text_before(right, caption, f"{cell.effect:.3f}", SMALL_SIZE, MUTED)

    def _explain(self, cell: Cell, left: int, top: int) -> None:
        pen, layout = self.pen, self.layout
        state = {"failed": "failed", "pending": "not rendered"}
        words = state.get(cell.status, "not in this store")
        color = ALARM if cell.status == "failed" else MUTED
        pen.text(left + 12, top + 12, words, TEXT_SIZE, color)
        most = max(0, (layout.height - 50) // 18)
        width = layout.width - 24
        reason = wrapped(pen.typeface, _writable(cell.error), width, SMALL_SIZE)[:most]
        for number, line in enumerate(reason):
            pen.text(left + 12, top + 40 + 18 * number, line, SMALL_SIZE, MUTED)


def _shown(pixels: Pixels, layout: Layout) -> PILImage:
    from PIL import Image

    picture = Image.fromarray(pixels)
    size = (layout.width, layout.height)
    # Enlarged pixels stay pixels; a smooth enlargement would show what is not there.
    smooth = picture.width > layout.width
    how = Image.Resampling.LANCZOS if smooth else Image.Resampling.NEAREST
    return picture.resize(size, how)


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
