"""Whether a file is a PNG that every trainer reads alike, told from its chunks."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB, _EIGHT_BITS = 2, 8
_CHECKSUM = 4
# sRGB says what is assumed without it. Everything else is transparency, a colour space of its
# own, a rotation, or somebody's name.
_HARMLESS = frozenset({b"IHDR", b"sRGB", b"IDAT", b"IEND"})


def is_plain_rgb_png(path: Path) -> bool:
    """Return whether a file is an 8-bit RGB PNG in sRGB that holds pixels and nothing else.

    The pixels themselves are not decoded.
    """
    try:
        with path.open("rb") as stream:
            if stream.read(8) != _SIGNATURE:
                return False
            return _only_pixels(stream)
    except (OSError, struct.error):
        return False


def _only_pixels(stream: BinaryIO) -> bool:
    while True:
        length, kind = struct.unpack(">I4s", stream.read(8))
        if kind not in _HARMLESS:
            return False
        if kind == b"IHDR":
            bits, colour_type = struct.unpack(">8xBB3x", stream.read(length))
            if (bits, colour_type) != (_EIGHT_BITS, _RGB):
                return False
            length = 0
        stream.seek(length + _CHECKSUM, os.SEEK_CUR)
        if kind == b"IEND":
            return not stream.read(1)  # bytes behind the end are somebody's message
