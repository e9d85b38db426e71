"""Letters for drawn text: the bundled font, and others for the letters that it lacks.

The bundled font is the one inside Pillow, which holds the letters of ASCII and few more, and is
the same on every machine. A letter that it lacks is looked for in the font that was named, then
in those of this machine. One that no font has is drawn as an empty box, never left out.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from lora_pipeline.foundation.errors import ArgumentInvalidError

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

Color = tuple[int, int, int]
_MISSING = -1
_SPACE = -2
_NO_LETTER = "\U0010ffff"  # never assigned: what a font draws for it is its sign for "no letter"
_PROBE_SIZE = 24


class Typeface:
    """Draws and measures lines of text in which every letter is seen.

    Args:
        files: Fonts that are tried in this order for letters that the bundled one lacks.
    """

    def __init__(self, files: Sequence[Path] = ()) -> None:
        self._faces: list[_Face | None] = [_Face(None)]
        self._files = tuple(files)
        self._where: dict[str, int] = {}
        self._missing: dict[str, None] = {}
        self._widths = lru_cache(maxsize=20_000)(self._measure)

    @property
    def missing(self) -> tuple[str, ...]:
        """Letters that no font has, in the order in which they were met."""
        return tuple(self._missing)

    @property
    def files_used(self) -> tuple[Path, ...]:
        """Font files that a letter was taken from; empty when the bundled font had them all."""
        used = sorted({place for place in self._where.values() if place > 0})
        return tuple(self._files[place - 1] for place in used)

    def width(self, words: str, size: int) -> float:
        """Return the width of a line in pixels."""
        return self._widths(words, size)

    def draw(
        self, draw: ImageDraw, place: tuple[float, float], words: str, size: int, color: Color
    ) -> None:
        """Draw a line whose upper left corner is ``place``."""
        left, top = place
        for face, run in self._runs(words):
            if face == _MISSING:
                for _ in run:
                    _draw_box(draw, left, top, size, color)
                    left += _box_width(size)
                continue
            font = self._face(face).font(size)
            # One baseline for all fonts: that of the bundled one.
            baseline = top + self._face(0).font(size).getmetrics()[0]
            draw.text((left, baseline), run, color, font=font, anchor="ls")
            left += font.getlength(run)

    def _measure(self, words: str, size: int) -> float:
        return sum(
            len(run) * _box_width(size)
            if face == _MISSING
            else self._face(face).font(size).getlength(run)
            for face, run in self._runs(words)
        )

    def _runs(self, words: str) -> Iterator[tuple[int, str]]:
        if words.isascii() and words.isprintable():
            yield 0, words  # the bundled font has all of these
            return
        shown = "".join(filter(_is_seen, unicodedata.normalize("NFC", words)))
        pieces: list[tuple[int, str]] = []
        for is_space, letters in groupby(shown, str.isspace):
            run = "".join(letters)
            pieces += [(_SPACE, run)] if is_space else self._faces_of(run)
        settled = (
            (_of_space(pieces, place) if face == _SPACE else face, run)
            for place, (face, run) in enumerate(pieces)
        )
        for face, same in groupby(settled, lambda piece: piece[0]):
            yield face, "".join(run for _, run in same)

    def _faces_of(self, word: str) -> list[tuple[int, str]]:
        """Return the fonts of a word: one for all of it where there is one."""
        faces = [self._face_of(letter) for letter in word]
        best = max(faces)
        whole = self._face_or_none(best) if _MISSING not in faces else None
        if whole is not None and all(map(whole.has, set(word))):
            return [(best, word)]
        return list(zip(faces, word, strict=True))

    def _face_of(self, letter: str) -> int:
        place = self._where.get(letter)
        if place is None:
            place = self._where[letter] = self._look_for(letter)
            if place == _MISSING:
                self._missing[letter] = None
        return place

    def _look_for(self, letter: str) -> int:
        if not letter.isprintable():
            return _MISSING
        for place in range(len(self._files) + 1):
            face = self._face_or_none(place)
            if face is not None and face.has(letter):
                return place
        return _MISSING

    def _face(self, place: int) -> _Face:
        face = self._face_or_none(place)
        assert face is not None  # noqa: S101 - a letter was found in it
        return face

    def _face_or_none(self, place: int) -> _Face | None:
        # Opened one after the other, as far as the letters of the text make it necessary.
        while len(self._faces) <= place:
            self._faces.append(_opened(self._files[len(self._faces) - 1]))
        return self._faces[place]


def require_font(path: Path) -> Path:
    """Return ``path`` when it is a font that can be used.

    Raises:
        ArgumentInvalidError: When it is not.
    """
    if _opened(path) is None:
        raise ArgumentInvalidError(
            f"{path} is no font that can be read", hint="name a .ttf, .otf or .ttc file"
        )
    return path


class _Face:
    """One font in the sizes that were asked for."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._sizes: dict[int, FreeTypeFont] = {}
        self._known: dict[str, bool] = {}
        self._nothing = self._shape(_NO_LETTER)

    def font(self, size: int) -> FreeTypeFont:
        """Return it in one size."""
        from PIL import ImageFont

        if size not in self._sizes:
            loaded = (
                ImageFont.truetype(self._path, size) if self._path else ImageFont.load_default(size)
            )
            if not isinstance(loaded, ImageFont.FreeTypeFont):
                raise OSError("Pillow was built without FreeType")
            self._sizes[size] = loaded
        return self._sizes[size]

    def has(self, letter: str) -> bool:
        """Return whether it holds a letter."""
        found = self._known.get(letter)
        if found is None:
            found = letter.isspace() or self._shape(letter) != self._nothing
            self._known[letter] = found
        return found

    def _shape(self, letter: str) -> tuple[tuple[int, int], bytes]:
        mask = self.font(_PROBE_SIZE).getmask(letter)
        return mask.size, bytes(mask)


def _opened(path: Path) -> _Face | None:
    try:
        return _Face(path)
    except (OSError, ValueError):  # damaged, a bitmap font of one size, no permission
        return None


def _of_space(pieces: Sequence[tuple[int, str]], place: int) -> int:
    """Return the font of a space: that of its neighbours when they agree.

    Words that are written from right to left change places around it then, as they should.
    """
    around = {face for face, _ in pieces[max(place - 1, 0) : place + 2] if face != _SPACE}
    return around.pop() if len(around) == 1 and around != {_MISSING} else 0


def _is_seen(letter: str) -> bool:
    # Variation selectors choose between forms of the letter before them.
    return not 0xFE00 <= ord(letter) <= 0xFE0F


def _box_width(size: int) -> int:
    return round(size * 0.62)


def _draw_box(draw: ImageDraw, left: float, top: float, size: int, color: Color) -> None:
    right = left + _box_width(size) - 3
    box = (round(left) + 1, round(top + size * 0.2), round(right), round(top + size * 0.95))
    draw.rectangle(box, outline=color)
