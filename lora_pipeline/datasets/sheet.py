"""Contact sheets of a manifest: every image with its caption, page by page.

A sheet is derived and can always be drawn again. An image that cannot be shown is a hatch with
the reason in it, never a blank. The same images and captions give the same bytes with one
version of Pillow and the same fonts.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from lora_pipeline.datasets.records import Item
from lora_pipeline.datasets.thumbnails import SIDE, Thumbnail
from lora_pipeline.foundation.drawing import (
    INK,
    MUTED,
    TEXT_SIZE,
    TITLE_SIZE,
    Pen,
    wrapped,
)
from lora_pipeline.foundation.typeface import Typeface

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

MOST_LINES = 10  # of a caption
_MARGIN, _GAP, _ROW_GAP, _UNDER = 44, 22, 30, 10
_CAPTION_SIZE, _CAPTION_LINE = 15, 20
_FACT_SIZE, _FACT_LINE = 12, 17
_FACTS = 2
_MOST_COLUMNS, _LEAST_WIDTH = 8, 900
_HELD_OUT = (160, 98, 20)
_BACKDROP = (241, 240, 238)


class Cell(msgspec.Struct, frozen=True):
    """One image on a sheet.

    Attributes:
        number: Its number in the whole selection, from 1.
        item: What the manifest says of it.
        thumbnail: Its picture, or why there is none.
    """

    number: int
    item: Item
    thumbnail: Thumbnail


class SheetHeader(msgspec.Struct, frozen=True):
    """What stands above the images.

    Attributes:
        title: Which dataset.
        facts: Label and text of each line below it.
    """

    title: str
    facts: Sequence[tuple[str, str]]


def draw_page(header: SheetHeader, cells: Sequence[Cell], typeface: Typeface) -> PILImage:
    """Return one page.

    Args:
        header: What stands above the images.
        cells: The images of this page, in order.
        typeface: The letters of captions.
    """
    columns = columns_for(len(cells))
    rows = [
        _Row.of(cells[start : start + columns], typeface) for start in range(0, len(cells), columns)
    ]
    width = max(_LEAST_WIDTH, 2 * _MARGIN + columns * (SIDE + _GAP) - _GAP)
    top = _MARGIN + 48 + 25 * len(header.facts) + _ROW_GAP
    height = top + sum(row.height + _ROW_GAP for row in rows) + _MARGIN - _ROW_GAP
    pen = Pen((width, height), typeface)
    _draw_header(pen, header)
    for row in rows:
        _draw_row(pen, row, top)
        top += row.height + _ROW_GAP
    return pen.image


def columns_for(images: int) -> int:
    """Return how many images stand beside each other on a page of that many."""
    return min(_MOST_COLUMNS, max(3, math.ceil(math.sqrt(1.5 * images))))


def is_enlarged(item: Item) -> bool:
    """Return whether an image is so small that a sheet shows its pixels enlarged."""
    return 0 < max(item.width, item.height) <= SIDE // 2


class _Row(msgspec.Struct, frozen=True):
    cells: Sequence[Cell]
    captions: tuple[list[str], ...]

    @classmethod
    def of(cls, cells: Sequence[Cell], typeface: Typeface) -> _Row:
        captions = (cell.item.caption for cell in cells)
        lines = (wrapped(typeface, one, SIDE, _CAPTION_SIZE, most=MOST_LINES) for one in captions)
        return cls(cells, tuple(lines))

    @property
    def height(self) -> int:
        """Height of pictures, facts and the longest caption."""
        lines = max(1, *map(len, self.captions))
        return SIDE + _UNDER + _FACTS * _FACT_LINE + 4 + lines * _CAPTION_LINE


def _draw_header(pen: Pen, header: SheetHeader) -> None:
    pen.text(_MARGIN, _MARGIN - 6, header.title, TITLE_SIZE)
    for number, (label, words) in enumerate(header.facts):
        top = _MARGIN + 48 + 25 * number
        pen.text(_MARGIN, top, label, TEXT_SIZE, MUTED)
        pen.text(_MARGIN + 90, top, words, TEXT_SIZE)


def _draw_row(pen: Pen, row: _Row, top: int) -> None:
    for column, (cell, caption) in enumerate(zip(row.cells, row.captions, strict=True)):
        left = _MARGIN + column * (SIDE + _GAP)
        _draw_picture(pen, cell, left, top)
        below = top + SIDE + _UNDER
        for line in caption:
            pen.text(left, below, line, _CAPTION_SIZE, INK)
            below += _CAPTION_LINE
        if not caption:
            pen.text(left, below, "no caption", _CAPTION_SIZE, MUTED)
            below += _CAPTION_LINE
        colour = _HELD_OUT if cell.item.split == "held_out" else MUTED
        pen.text(left, below + 4, _facts(cell.item), _FACT_SIZE, colour)
        numbered = f"{cell.number} · {cell.item.asset_id}"
        pen.text(left, below + 4 + _FACT_LINE, numbered, _FACT_SIZE, MUTED)


def _draw_picture(pen: Pen, cell: Cell, left: int, top: int) -> None:
    from PIL import Image

    if cell.thumbnail.webp:
        pen.image.paste(_BACKDROP, (left, top, left + SIDE, top + SIDE))
        with Image.open(io.BytesIO(cell.thumbnail.webp), formats=("WEBP",)) as read:
            picture = _fitted(read.convert("RGB"))
        pen.image.paste(
            picture, (left + (SIDE - picture.width) // 2, top + (SIDE - picture.height) // 2)
        )
    else:
        pen.hatch(left, top, SIDE, SIDE)
        lines = wrapped(pen.typeface, cell.thumbnail.missing, SIDE - 24, _CAPTION_SIZE, most=9)
        for number, line in enumerate(lines):
            pen.text(left + 12, top + 12 + number * _CAPTION_LINE, line, _CAPTION_SIZE, MUTED)
    if cell.item.split == "held_out":
        pen.frame(left, top, SIDE, SIDE, _HELD_OUT, 3)
    else:
        pen.frame(left, top, SIDE, SIDE)


def _fitted(picture: PILImage) -> PILImage:
    from PIL import Image

    factor = SIDE // max(picture.size)
    if factor < 2:
        return picture
    # Enlarged pixels stay pixels; a smooth enlargement would show what is not there.
    size = (picture.width * factor, picture.height * factor)
    return picture.resize(size, Image.Resampling.NEAREST)


def _facts(item: Item) -> str:
    parts = [f"{item.width} x {item.height}" if item.width else "size unknown"]
    parts.append(item.license or "no licence")
    if item.repeats != 1:
        parts.append(f"{item.repeats} times")
    if item.split == "held_out":
        parts.append("held out")
    return " · ".join(parts)
