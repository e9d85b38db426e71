"""Images that are not what they seem, each made by a few lines of code."""

from __future__ import annotations

import io
import itertools
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


def png_with(*chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG with further chunks before its picture data."""
    data = png_bytes(size=(16, 16))
    start = data.index(b"IDAT") - 4
    return data[:start] + b"".join(_chunk(kind, body) for kind, body in chunks) + data[start:]


def packed_zeros(size: int) -> bytes:
    """Return zlib data of few bytes that unpacks to ``size`` zeros."""
    packer = zlib.compressobj(9)
    parts = [packer.compress(b"\x00" * 1_000_000) for _ in range(size // 1_000_000)]
    return b"".join(parts) + packer.flush()


def other_frame(marker: int, *, bits: int = 8) -> bytes:
    """Return a JPEG whose frame header claims another coding or depth."""
    data = bytearray(noisy_jpeg())
    start = data.index(b"\xff\xc0")
    data[start + 1], data[start + 4] = marker, bits
    return bytes(data)


def saved_as(image: Image.Image, file_format: str, **options: object) -> bytes:
    """Return an image in a format."""
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


# Primaries as D50-adapted XYZ columns, and the exponent of the curve.
DISPLAY_P3 = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841), 2.2)
ADOBE_RGB = ((0.6097, 0.3111, 0.0195), (0.2053, 0.6257, 0.0609), (0.1492, 0.0632, 0.7446), 2.2)


def rgb_profile(
    red: tuple[float, ...], green: tuple[float, ...], blue: tuple[float, ...], gamma: float
) -> bytes:
    """Return an ICC profile of three primaries and one curve (ICC.1:2001-04)."""
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + bytes(78),
        b"wtpt": _xyz((0.9642, 1.0, 0.8249)),
        b"rXYZ": _xyz(red),
        b"gXYZ": _xyz(green),
        b"bXYZ": _xyz(blue),
    }
    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    return _profile(
        b"mntr", b"RGB ", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    )


def cmyk_profile() -> bytes:
    """Return an ICC profile of an ink that prints cyan, magenta and yellow as bright as can be.

    Sixteen nodes, one for each mixture of full inks: white paper is L* 100, black ink L* 0.
    """
    nodes = bytearray()
    lab = ((62, -31, -64), (48, 83, -3), (94, -15, 93))
    for cyan, magenta, yellow, black in itertools.product((0, 1), repeat=4):
        inks = [one for one, on in zip(lab, (cyan, magenta, yellow), strict=True) if on]
        light = 0 if black else min([100, *(one[0] for one in inks)])
        a = 0 if black else sum(one[1] for one in inks)
        b = 0 if black else sum(one[2] for one in inks)
        colours = (max(0, min(255, value + 128)) for value in (a, b))
        nodes += bytes([round(light * 2.55), *colours])
    straight = bytes(range(256))
    table = (
        b"mft1\0\0\0\0"
        + bytes([4, 3, 2, 0])
        + struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
        + straight * 4
        + bytes(nodes)
        + straight * 3
    )
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", 5) + b"inks\0" + bytes(78),
        b"wtpt": _xyz((0.9642, 1.0, 0.8249)),
        b"A2B0": table,
    }
    return _profile(b"prtr", b"CMYK", b"Lab ", tags)


def _xyz(values: tuple[float, ...]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(one * 65536) for one in values))


def _profile(kind: bytes, space: bytes, between: bytes, tags: dict[bytes, bytes]) -> bytes:
    start = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, data in tags.items():
        padded = data + bytes(-len(data) % 4)
        table += name + struct.pack(">II", start + len(body), len(data))
        body += padded
    size = start + len(body)
    head = struct.pack(">I", size) + bytes(4) + b"\x02\x40\0\0" + kind + space + between
    head += bytes(12) + b"acsp" + bytes(28)
    head += struct.pack(">3i", round(0.9642 * 65536), 65536, round(0.8249 * 65536))
    return head + bytes(128 - len(head)) + table + body
