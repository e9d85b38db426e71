"""Captions as they lie in a folder: text files beside images, read byte by byte."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from lora_pipeline.catalog.imports.folder import CAPTION_EXTENSIONS
from lora_pipeline.datasets.captions.lint import Subject, finding
from lora_pipeline.foundation.errors import FileMissingError
from lora_pipeline.foundation.findings import Finding
from lora_pipeline.foundation.images.sniff import EXTENSIONS

_LARGEST = 256 * 1024
_UTF16 = (b"\xff\xfe", b"\xfe\xff")
_BOM = b"\xef\xbb\xbf"
_AROUND = 6  # bytes shown of a text that cannot be read


class FolderCaptions(msgspec.Struct, frozen=True):
    """The captions of a folder.

    Attributes:
        subjects: The captions that can be read; images without one among them.
        findings: What is wrong with the files themselves.
        images: Number of images.
    """

    subjects: tuple[Subject, ...]
    findings: tuple[Finding, ...]
    images: int


def folder_captions(folder: Path) -> FolderCaptions:
    """Return the captions of the images of a folder and of those in it; nothing is written.

    Raises:
        FileMissingError: When there is no such folder.
    """
    if not folder.is_dir():
        raise FileMissingError(f"no folder {folder}")
    subjects: list[Subject] = []
    findings: list[Finding] = []
    images = 0
    for here, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        there = Path(here)
        for image, caption in _pairs(sorted(names)):
            images += bool(image)
            where = (there / (caption or image)).relative_to(folder).as_posix()
            if not caption:
                subjects.append(Subject(where, None))
                continue
            if not image:
                findings.append(finding("caption_orphan", where, "no image has this name"))
            text, wrong = _read(there / caption)
            findings += [finding(code, where, message) for code, message in wrong]
            if text is not None:
                subjects.append(Subject(where, text))
    return FolderCaptions(tuple(subjects), tuple(findings), images)


def caption_text(data: bytes) -> tuple[str | None, list[tuple[str, str]]]:
    """Return the caption that a file holds, or None, and what is wrong with its bytes.

    One line end after the last line is no part of the caption.
    """
    wrong: list[tuple[str, str]] = []
    if data.startswith(_UTF16):
        return None, [("caption_not_utf8", "the file is UTF-16")]
    if data.startswith(_BOM):
        wrong.append(("caption_byte_order_mark", "the file starts with a byte order mark"))
        data = data.removeprefix(_BOM)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        shown = data[max(0, error.start - _AROUND) : error.start].decode("ascii", "replace")
        byte = data[error.start]
        message = f"byte 0x{byte:02X} at offset {error.start} is not UTF-8, after {shown!r}"
        return None, [*wrong, ("caption_not_utf8", message)]
    if "\r" in text:
        offset = data.index(b"\r")
        message = f"a carriage return stands at offset {offset}"
        wrong.append(("caption_carriage_return", message))
    return text.removesuffix("\n").removesuffix("\r"), wrong


def _pairs(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each image with its caption file, and what stands alone with an empty other half."""
    captions = {Path(name).stem: name for name in names if _is(name, CAPTION_EXTENSIONS)}
    images = [name for name in names if _is(name, EXTENSIONS)]
    for name in images:
        yield name, captions.get(Path(name).stem, "")
    for stem in sorted(captions.keys() - {Path(name).stem for name in images}):
        yield "", captions[stem]


def _is(name: str, extensions: Sequence[str] | dict[str, str]) -> bool:
    return Path(name).suffix.lower() in extensions and not name.startswith(".")


def _read(path: Path) -> tuple[str | None, list[tuple[str, str]]]:
    try:
        with path.open("rb") as stream:
            data = stream.read(_LARGEST + 1)
    except OSError as error:
        return None, [("caption_not_utf8", f"the file cannot be read: {error.strerror}")]
    if len(data) > _LARGEST:
        return None, [("caption_not_utf8", f"the file has more than {_LARGEST:,} bytes")]
    return caption_text(data)
