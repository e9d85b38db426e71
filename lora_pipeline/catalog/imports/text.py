"""Text files of other programs: which encoding they are in, and no guess where that is not said."""

from __future__ import annotations

import codecs
from pathlib import Path

from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    FileMissingError,
    ImportSourceError,
)

# The longer mark first: UTF-32 begins as UTF-16 does.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: Path, *, longest: int, encoding: str = "") -> str:
    """Return the text of a file: as its mark says, else as a person said, else as UTF-8.

    Args:
        path: The file.
        longest: Most bytes that are read.
        encoding: Name of its encoding, when a person said it.

    Raises:
        FileMissingError: When it cannot be read.
        ImportSourceError: When it is longer, or not text in that encoding; names the byte.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(longest + 1)
    except FileNotFoundError as error:
        raise FileMissingError(f"no file {path}") from error
    except OSError as error:
        raise FileMissingError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > longest:
        raise ImportSourceError(f"{path.name} has more than {longest:,} bytes")
    return decode(data, path.name, encoding=encoding)


def decode(data: bytes, name: str, *, encoding: str = "") -> str:
    """Return the text that bytes say, as ``read_text`` does.

    Raises:
        ImportSourceError: When they are not text in that encoding; names the byte.
    """
    marked = next((codec for mark, codec in _MARKS if data.startswith(mark)), "")
    codec = marked or encoding or "utf-8"
    try:
        text = data.decode(codec)
    except UnicodeDecodeError as error:
        raise ImportSourceError(
            f"{name} is not {codec.upper().removesuffix('-SIG')} at byte {error.start}",
            hint="save it as UTF-8, or say what it is: --encoding cp1252 is Windows' western one",
        ) from error
    if "\x00" in text:
        raise ImportSourceError(
            f"{name} holds NUL bytes; it is no text",
            hint="if it is UTF-16 without a mark: --encoding utf-16-le",
        )
    return text.removeprefix("\ufeff")


def require_encoding(name: str) -> str:
    """Return the name of an encoding that there is.

    Raises:
        ArgumentInvalidError: When there is none of that name.
    """
    try:
        b"a".decode(name or "utf-8")
    except LookupError as error:
        raise ArgumentInvalidError(
            f"no encoding {name!r}", hint="utf-8, utf-16, cp1252, latin-1, shift_jis, gb18030, …"
        ) from error
    except UnicodeError:
        pass  # it is one; the letter is none in it
    return name
