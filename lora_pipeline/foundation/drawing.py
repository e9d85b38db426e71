"""What contact sheets are drawn with: text that is always seen, frames, hatches, files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from lora_pipeline.foundation.typeface import Color, Typeface

if TYPE_CHECKING:
    from PIL.Image import Image as PILImage

PAPER, INK, MUTED, LINE = (250, 250, 248), (28, 28, 32), (112, 112, 120), (214, 214, 218)
ALARM = (168, 50, 40)
TITLE_SIZE, TEXT_SIZE, SMALL_SIZE = 32, 16, 14
_HATCH_PAPER, _HATCH_LINE = (241, 240, 238), (223, 221, 217)
MAX_BYTES = 1_000_000
_QUALITIES = (90, 80, 70, 60, 50, 40)


class Pen:
    """Draws text, lines and pictures on a sheet.

    Args:
        size: Width and height of the sheet in pixels.
        typeface: Its letters.
    """

    def __init__(self, size: tuple[int, int], typeface: Typeface) -> None:
        from PIL import Image, ImageDraw

        self.image = Image.new("RGB", size, PAPER)
        self.typeface = typeface
        self._draw = ImageDraw.Draw(self.image)

    def text(self, left: int, top: int, words: str, size: int, color: Color = INK) -> None:
        """Write one line to the right of ``left``."""
        self.typeface.draw(self._draw, (left, top), words, size, color)

    def text_before(self, right: int, top: int, words: str, size: int, color: Color = INK) -> None:
        """Write one line that ends at ``right``."""
        left = right - self.typeface.width(words, size)
        self.typeface.draw(self._draw, (left, top), words, size, color)

    def line(self, left: int, top: int, right: int) -> None:
        """Draw a thin line across."""
        self._draw.line([(left, top), (right, top)], LINE)

    def frame(
        self, left: int, top: int, width: int, height: int, color: Color = LINE, thickness: int = 1
    ) -> None:
        """Draw a frame around a place."""
        outer = (left - thickness, top - thickness)
        opposite = (left + width - 1 + thickness, top + height - 1 + thickness)
        self._draw.rectangle((*outer, *opposite), outline=color, width=thickness)

    def hatch(self, left: int, top: int, width: int, height: int) -> None:
        """Fill a place where a picture is missing."""
        from PIL import Image, ImageDraw

        patch = Image.new("RGB", (width, height), _HATCH_PAPER)
        draw = ImageDraw.Draw(patch)
        for offset in range(-height, width, 14):
            draw.line([(offset, height), (offset + height, 0)], _HATCH_LINE, width=3)
        self.image.paste(patch, (left, top))


def wrapped(
    typeface: Typeface, words: str, width: int, size: int, *, most: int | None = None
) -> list[str]:
    """Return words in lines of at most ``width`` pixels; a word that is wider is broken.

    Args:
        typeface: The letters.
        words: The words.
        width: Pixels.
        size: Of the letters.
        most: How many lines; the last one is marked when others are left out.
    """
    lines: list[str] = []
    line = ""
    for word in words.split():
        longer = f"{line} {word}" if line else word
        if typeface.width(longer, size) <= width:
            line = longer
            continue
        if line:
            lines.append(line)
        *whole, line = _pieces(typeface, word, width, size)
        lines += whole
        if most is not None and len(lines) > most:
            break
    lines = [*lines, line] if line else lines
    if most is None or len(lines) <= most:
        return lines
    return [*lines[: most - 1], _marked(typeface, lines[most - 1], width, size)]


def encode_png(image: PILImage, *, small: bool = True) -> bytes:
    """Return a sheet as PNG, without metadata.

    Args:
        image: The sheet.
        small: Whether to spend time on fewer bytes.
    """
    stream = io.BytesIO()
    image.save(stream, "PNG", **({"optimize": True} if small else {"compress_level": 4}))
    return stream.getvalue()


def encode_webp(image: PILImage, *, lossless_first: bool, max_bytes: int = MAX_BYTES) -> bytes:
    """Return a sheet as WebP of at most ``max_bytes``, without metadata.

    Args:
        image: The sheet.
        lossless_first: Whether to try without loss, which suits enlarged pixels.
        max_bytes: Quality, then size, is lowered until it fits.
    """
    if lossless_first:
        data = _webp(image, lossless=True, quality=75)
        if len(data) <= max_bytes:
            return data
    while True:
        for quality in _QUALITIES:
            data = _webp(image, lossless=False, quality=quality)
            if len(data) <= max_bytes:
                return data
        image = image.resize((image.width * 3 // 4, image.height * 3 // 4))


def encode_page(image: PILImage, *, lossless: bool) -> bytes:
    """Return one of many pages as WebP, without metadata and without spending much time."""
    return _webp(image, lossless=lossless, quality=82, effort=2)


def _webp(image: PILImage, *, lossless: bool, quality: int, effort: int = 4) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "WEBP", lossless=lossless, quality=quality, method=effort)
    return stream.getvalue()


def _marked(typeface: Typeface, line: str, width: int, size: int) -> str:
    while line and typeface.width(f"{line} …", size) > width:
        line = line[:-1]
    return f"{line} …"


def _pieces(typeface: Typeface, word: str, width: int, size: int) -> list[str]:
    pieces: list[str] = []
    piece = ""
    for letter in word:
        if piece and typeface.width(piece + letter, size) > width:
            pieces.append(piece)
            piece = ""
        piece += letter
    return [*pieces, piece]
