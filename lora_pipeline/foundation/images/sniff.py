"""What the first bytes of a file say, before any decoder sees it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

HEAD_BYTES = 4096
EXTENSIONS = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".webp": "WEBP",
}
EXTENSION_OF = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}
# Named so that a refusal can say what the file is; none of them is ever decoded.
OTHER_IMAGE_EXTENSIONS = frozenset(
    {
        ".apng", ".avif", ".bmp", ".dds", ".eps", ".exr", ".gif", ".hdr", ".heic", ".heif",
        ".ico", ".j2k", ".jp2", ".jxl", ".kra", ".pcx", ".psb", ".psd", ".svg", ".tga", ".tif",
        ".tiff", ".xcf",
    }
)  # fmt: skip
# Start of frame: 0xC0 to 0xCF but for the three that are something else.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_TAIL = 4096
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_SIGNATURES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"GIF8", "a GIF image"),
    (0, b"%!PS", "an EPS or PostScript file"),
    (0, b"\xc5\xd0\xd3\xc6", "an EPS file"),
    (0, b"%PDF", "a PDF document"),
    (0, b"8BPS", "a Photoshop file"),
    (0, b"II*\x00", "a TIFF image"),
    (0, b"MM\x00*", "a TIFF image"),
    (0, b"BM", "a BMP image"),
    (0, b"\x00\x00\x01\x00", "an icon file (ICO)"),
    (0, b"gimp xcf", "a GIMP file"),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR image"),
    (0, b"DDS ", "a DDS texture"),
    (0, b"\xff\x0a", "a JPEG XL image"),
    (0, b"\x00\x00\x00\x0cJXL ", "a JPEG XL image"),
    (0, b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image"),
    (4, b"ftypavif", "an AVIF image"),
    (4, b"ftypavis", "an AVIF image"),
    (4, b"ftypheic", "a HEIC image"),
    (4, b"ftypheix", "a HEIC image"),
    (4, b"ftypmif1", "a HEIF image"),
    (4, b"ftyp", "a video or HEIF file"),
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "a gzip archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"7z\xbc\xaf", "a 7z archive"),
)
_TEXT_KINDS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("<!doctype html", "<html", "<head", "<body"), "a web page (HTML)"),
    (("<?xml", "<svg", "<!--", "<!doctype svg"), "an XML file"),
    (("{", "["), "a JSON file"),
)


@dataclass(frozen=True)
class Sniffed:
    """What a file is by its first bytes.

    Attributes:
        format: ``PNG``, ``JPEG`` or ``WEBP``; empty when it is none of them.
        what: What it is, in words.
        width: Stored width in pixels where the header says it at once, else 0.
        height: Stored height likewise.
    """

    format: str
    what: str
    width: int = 0
    height: int = 0


def sniff(head: bytes) -> Sniffed:
    """Return what a file is that starts with ``head``."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack(">II", head[16:24]) if head[12:16] == b"IHDR" else (0, 0)
        return Sniffed("PNG", "a PNG image", width, height)
    if head.startswith(b"\xff\xd8\xff"):
        return Sniffed("JPEG", "a JPEG image")
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return Sniffed("WEBP", "a WebP image", *_webp_size(head))
    for offset, signature, what in _SIGNATURES:
        if head[offset:].startswith(signature):
            return Sniffed("", what)
    return Sniffed("", _text_kind(head) or "in no known image format")


def is_lfs_pointer(head: bytes) -> bool:
    """Return whether a file is the pointer that Git LFS leaves where content is missing."""
    return head.startswith(_LFS_POINTER)


def odd_jpeg(path: str) -> str:
    """Return in which odd kind of JPEG a file is, or an empty string when it is in a usual one."""
    arithmetic = "an arithmetic-coded JPEG"
    kinds = {0xC3: "a lossless JPEG", 0xC9: arithmetic, 0xCA: arithmetic}
    with open(path, "rb") as stream:  # noqa: PTH123 - a path of a request, nothing to join
        if stream.read(2) != b"\xff\xd8":
            return ""
        while len(head := stream.read(4)) == 4 and head[0] == 0xFF:
            marker, length = head[1], int.from_bytes(head[2:], "big")
            if marker in _FRAMES:
                bits = int.from_bytes(stream.read(1), "big")
                if bits not in (0, 8):
                    return f"is a JPEG of {bits} bits a channel, which is not read"
                return f"is {kinds[marker]}, which is not read" if marker in kinds else ""
            if length < 2 or marker == 0xDA:
                return ""
            stream.seek(length - 2, 1)
    return ""


def data_behind_end(path: str, image_format: str) -> bool:
    """Return whether bytes stand behind the end of an image, where some hide other files."""
    with open(path, "rb") as stream:  # noqa: PTH123 - a path of a request, nothing to join
        head = stream.read(8)
        size = stream.seek(0, 2)
        stream.seek(max(0, size - _TAIL))
        tail = stream.read()
    if image_format == "WEBP":
        return size > int.from_bytes(head[4:8], "little") + 9  # one byte of padding is usual
    if image_format == "PNG":
        return not tail.endswith(b"IEND\xae\x42\x60\x82")
    return not tail.rstrip(b"\x00").endswith(b"\xff\xd9")  # cameras fill up with zeros


def too_many_pixels(width: int, height: int, max_pixels: int) -> str | None:
    """Return why an image of that size is refused, or None when it is not."""
    if width * height <= max_pixels:
        return None
    return (
        f"has {width:,} x {height:,} pixels ({width * height:,}), at most {max_pixels:,} are read"
    )


def format_by_name(name: str) -> str:
    """Return the format that a file name promises, or an empty string."""
    return EXTENSIONS.get(Path(name).suffix.lower(), "")


def _webp_size(head: bytes) -> tuple[int, int]:
    kind = head[12:16]
    if kind == b"VP8X" and len(head) >= 30:
        return 1 + int.from_bytes(head[24:27], "little"), 1 + int.from_bytes(head[27:30], "little")
    if kind == b"VP8L" and len(head) >= 25:
        bits = int.from_bytes(head[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + ((bits >> 14) & 0x3FFF)
    if kind == b"VP8 " and len(head) >= 30:
        width, height = struct.unpack("<HH", head[26:30])
        return width & 0x3FFF, height & 0x3FFF
    return 0, 0


def _text_kind(head: bytes) -> str:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "a text file"
    # The cut at the end of the head may fall into a character; its first bytes are left out.
    whole = head[:-3] if len(head) == HEAD_BYTES else head
    try:
        start = whole.decode("utf-8").lstrip("\ufeff \t\r\n").lower()
    except UnicodeDecodeError:
        return ""
    if "\x00" in start:
        return ""
    for opening, what in _TEXT_KINDS:
        if start.startswith(opening):
            return "an SVG drawing" if "<svg" in start else what
    return "a text file"
