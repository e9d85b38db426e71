"""Images that are not what they seem, each made by a few lines of code."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

from PIL import Image, ImageCms, PngImagePlugin

LFS_POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 9\n"


def png_bytes(mode: str = "RGB", size: tuple[int, int] = (8, 6), colour: object = None) -> bytes:
    """Return a small PNG of one colour."""
    buffer = io.BytesIO()
    Image.new(mode, size, colour if colour is not None else 0).save(buffer, "PNG")  # type: ignore[arg-type]
    return buffer.getvalue()


def noisy_jpeg(size: tuple[int, int] = (64, 48)) -> bytes:
    """Return a JPEG with enough detail that cutting it anywhere cuts picture data."""
    width, height = size
    data = bytes((x * 7 + y * 13) % 256 for y in range(height) for x in range(width * 3))
    buffer = io.BytesIO()
    Image.frombytes("RGB", size, data).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and holds one byte of picture data."""
    ihdr = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", ihdr)
        + _chunk(b"IDAT", zlib.compress(b"\x00"))
        + _chunk(b"IEND", b"")
    )


def jpeg_header(width: int, height: int) -> bytes:
    """Return a JPEG whose frame header claims a size."""
    data = bytearray(noisy_jpeg())
    start = data.index(b"\xff\xc0") + 5
    data[start : start + 4] = struct.pack(">HH", height, width)
    return bytes(data)


def webp_header(width: int, height: int) -> bytes:
    """Return the header of an extended WebP that claims a size."""
    body = b"VP8X" + struct.pack("<I", 10) + b"\x00" * 4
    body += (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def text_bomb() -> bytes:
    """Return a PNG whose compressed text unpacks to two megabytes."""
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", "0" * 2_000_000, zip=True)
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def animated(path: Path, file_format: str) -> Path:
    """Write an image of two frames."""
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(path, file_format, save_all=True, append_images=frames[1:], duration=50)
    return path


def swapped_profile() -> bytes:
    """Return a colour profile in which red and blue have changed places."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = data.index(b"rXYZ"), data.index(b"bXYZ")
    data[red : red + 4], data[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(data)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
