"""Draw a corpus of PNG files: fixed seed, so that every machine measures the same bytes.

Blocks of colour under a grain of noise, which makes them as hard to compress as painted art:
about 55 KB each at 256 x 256. No two pictures are the same.
"""

from __future__ import annotations

import argparse
import struct
import zlib
from pathlib import Path

import numpy as np

SEED = 20240501
GRAINY = 0.71  # share of the rows that have the grain; it decides how large the files get


def draw_corpus(folder: Path, count: int, *, size: int = 256, alpha_every: int = 0) -> None:
    """Write ``count`` PNG files into ``folder``; files that are there are kept.

    Args:
        folder: Where they go; made when it is not there.
        count: How many.
        size: Width and height in pixels.
        alpha_every: Every picture of that number has an alpha channel; none with 0.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        path = folder / f"{number:06d}.png"
        if not path.is_file():
            alpha = alpha_every > 0 and number % alpha_every == 0
            path.write_bytes(picture(number, size=size, alpha=alpha))


def picture(number: int, *, size: int = 256, alpha: bool = False) -> bytes:
    """Return the PNG of that number: always the same bytes."""
    random = np.random.default_rng([SEED, number])
    channels = 4 if alpha else 3
    block = max(1, size // 16)
    base = random.integers(0, 256, (size // block, size // block, channels), dtype=np.uint8)
    smooth = np.kron(base & 0xFC, np.ones((block, block, 1), dtype=np.uint8))
    grainy = round(size * GRAINY)
    smooth[:grainy] |= random.integers(0, 2, smooth[:grainy].shape, dtype=np.uint8)
    return encode_png(smooth)


def encode_png(pixels: np.ndarray) -> bytes:
    """Return an 8-bit RGB or RGBA array of shape (height, width, channels) as a PNG."""
    height, width, channels = pixels.shape
    rows = np.zeros((height, 1 + width * channels), dtype=np.uint8)  # filter byte 0: none
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 6 if channels == 4 else 2, 0, 0, 0)
    data = zlib.compress(rows.tobytes(), 1)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", data)
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--alpha-every", type=int, default=0)
    arguments = parser.parse_args()
    draw_corpus(
        arguments.folder, arguments.count, size=arguments.size, alpha_every=arguments.alpha_every
    )
