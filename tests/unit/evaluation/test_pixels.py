from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora_pipeline.evaluation.pixels import decode_pixels, is_constant, read_pixels
from lora_pipeline.foundation.errors import ImageRefusedError
from tests.support.evaluation_builders import noise, png_of


def saved(image: Image.Image, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


def bomb() -> bytes:
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    crc = struct.pack(">I", zlib.crc32(chunk))
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + crc


def test_pixels_come_back_as_they_were_saved(tmp_path: Path) -> None:
    pixels = noise(1)
    (tmp_path / "a.png").write_bytes(png_of(pixels))
    assert np.array_equal(read_pixels(tmp_path / "a.png", width=32, height=32), pixels)


def test_transparency_is_laid_on_white() -> None:
    clear = saved(Image.new("RGBA", (4, 4), (255, 0, 0, 0)))
    assert decode_pixels(clear, width=4, height=4).min() == 255


def test_grey_becomes_three_channels() -> None:
    assert decode_pixels(saved(Image.new("L", (4, 4), 9)), width=4, height=4).shape == (4, 4, 3)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "damaged or no PNG"),
        (b"not an image", "damaged or no PNG"),
        (png_of(noise(1))[:200], "damaged or no PNG"),
        (png_of(noise(1))[:-8], "damaged or no PNG"),
        (saved(Image.new("RGB", (32, 32)), "JPEG"), "damaged or no PNG"),
        (png_of(noise(1, 16, 16)), "16 x 16, asked for 32 x 32"),
        (saved(Image.new("I;16", (32, 32))), "8 bits are read"),
    ],
)
def test_what_is_no_whole_png_of_that_size_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ImageRefusedError, match=words):
        decode_pixels(data, width=32, height=32)


def test_an_image_of_ten_thousand_megapixels_is_refused_before_it_is_decoded() -> None:
    with pytest.raises(ImageRefusedError):
        decode_pixels(bomb(), width=32, height=32)


def test_a_file_that_is_not_there_is_no_image(tmp_path: Path) -> None:
    with pytest.raises(ImageRefusedError, match="there is no image"):
        read_pixels(tmp_path / "none.png", width=1, height=1)


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (np.zeros((8, 8, 3), np.uint8), True),
        (np.full((8, 8, 3), (10, 200, 30), np.uint8), True),
        (np.full((8, 8, 3), 128, np.uint8) + (np.arange(8) % 3).astype(np.uint8)[:, None], True),
        (noise(1, 8, 8), False),
    ],
)
def test_one_colour_only_is_told_also_when_it_is_dithered(
    pixels: np.ndarray, expected: bool
) -> None:
    assert is_constant(pixels) is expected
