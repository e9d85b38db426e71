"""Reading and writing JSON without its usual leniencies.

What other readers accept silently (a key given twice, NaN, a byte order mark, a merge
conflict) is refused here with its place, because two readers would see two documents.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from lora_pipeline.foundation.conflict_markers import conflict_error
from lora_pipeline.foundation.errors import FileMissingError, JsonInvalidError

MAX_BYTES = 128 * 1024 * 1024  # a manifest of 100,000 images has about 60
# How a list stands with one element on a line. The comma stands in front: an element that is added
# at the end, where newer ids sort, is one line of a diff, and leaves the line before it as it was.
_OPEN, _BETWEEN, _CLOSE = b"[\n     ", b"\n    ,", b"\n  ]"
_sorted = msgspec.json.Encoder(order="sorted").encode
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
_INTEGER_DIGITS = 19  # what 64 bits hold; longer numbers lose digits in other readers


def loads(data: bytes, name: str) -> Any:
    """Return the value of strict JSON text.

    Args:
        data: UTF-8 bytes; CRLF is accepted, a byte order mark is not.
        name: What the text is, for messages.

    Raises:
        JsonInvalidError: When the text is not strict JSON; names line and column.
        MergeConflictError: When it holds merge markers.
    """
    if len(data) > MAX_BYTES:
        raise JsonInvalidError(f"{name} has {len(data)} bytes, at most {MAX_BYTES} are read")
    value = _decode_plain(data)
    return _loads_by_rules(data, name) if value is None else value


def _decode_plain(data: bytes) -> Any:
    """Return the value of text that breaks no rule at first sight, else None.

    A key given twice, or a number with more digits than it keeps, comes out other than it went
    in. So does text that is merely unusual: the slower parser that knows the rules judges both.
    """
    try:
        value = msgspec.json.decode(data)
        msgspec.msgpack.encode(value)  # refuses whole numbers beyond 64 bits
        unchanged = msgspec.json.encode(value) == msgspec.json.format(data, indent=-1)
    except (msgspec.MsgspecError, UnicodeError, OverflowError, RecursionError):
        return None
    return value if unchanged else None


def _loads_by_rules(data: bytes, name: str) -> Any:
    conflict = conflict_error(data, name)
    if conflict is not None:
        raise conflict
    if data.startswith((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")):
        raise JsonInvalidError(
            f"{name} starts with a byte order mark", hint="save it as UTF-8 without BOM"
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise JsonInvalidError(f"{name} is not UTF-8 at byte {error.start}") from error
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique_pairs,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_bounded,
        )
        if _SURROGATE_ESCAPE.search(text):
            _refuse_lone_surrogates(value)
    except json.JSONDecodeError as error:
        raise JsonInvalidError(
            f"{name} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from error
    except _StrictnessError as error:
        raise JsonInvalidError(f"{name} is not strict JSON: {error}") from error
    except RecursionError as error:
        raise JsonInvalidError(f"{name} is nested too deeply") from error
    return value


def load(path: Path) -> Any:
    """Return the value of a strict JSON file.

    Raises:
        FileMissingError: When there is no such file.
        JsonInvalidError: When it is not strict JSON.
        MergeConflictError: When it holds merge markers.
    """
    return loads(read_bytes(path), str(path))


def read_bytes(path: Path | str) -> bytes:
    """Return the bytes of a file.

    Raises:
        FileMissingError: When it does not exist or cannot be read.
        JsonInvalidError: When it is larger than any document may be; it is not read then.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            size = os.fstat(descriptor).st_size
            if size > MAX_BYTES:
                raise JsonInvalidError(f"{path} has {size} bytes, at most {MAX_BYTES} are read")
            data = os.read(descriptor, size + 1)
            if len(data) == size:
                return data
            # A call may return less than it was asked for, and the file may have grown.
            parts = [data]
            while parts[-1]:
                parts.append(os.read(descriptor, 1024 * 1024))
            return b"".join(parts)
        finally:
            os.close(descriptor)
    except FileNotFoundError as error:
        raise FileMissingError(f"no file {path}") from error
    except OSError as error:
        raise FileMissingError(f"cannot read {path}: {error.strerror}") from error


def dumps(value: Any, *, one_line_each: Iterable[str] = (), exact: bool = False) -> bytes:
    """Return ``value`` as records stand on disk.

    UTF-8, two spaces, sorted keys, LF, final newline, no NaN. The top-level lists that
    ``one_line_each`` names are written with one element on a line, so that a diff shows one
    line for each element that came, went or changed.

    Args:
        value: The value.
        one_line_each: Keys of such lists.
        exact: Whether these hold no fractions; they are written five times as fast.

    Raises:
        JsonInvalidError: When the value holds NaN, infinity or a lone surrogate.
    """
    flat = frozenset(one_line_each)
    try:
        if not flat or not isinstance(value, dict) or not value:
            return _pretty(value) + b"\n"
        line = _exact_line if exact else _line
        parts = (
            b"  %b: %b" % (_key(key), _member(key, value[key], flat, line)) for key in sorted(value)
        )
        return b"{\n" + b",\n".join(parts) + b"\n}\n"
    except (ValueError, RecursionError) as error:
        raise JsonInvalidError(f"value cannot be written as JSON: {error}") from error


def slices(data: bytes, key: str, size: int) -> Iterator[bytes]:
    """Yield a document as several, each with at most ``size`` elements of one of its lists.

    One whose list does not stand with one element on a line, as ``dumps`` writes it, comes as it
    is.
    """
    start, end = _region(data, key)
    head, tail = data[:start], data[end:]
    between = re.compile(re.escape(_BETWEEN)).finditer(data, start, end)
    edges = [one.start() for one in itertools.islice(between, size - 1, None, size)]
    for edge in (*edges, end):
        yield head + data[start:edge] + tail
        start = edge + len(_BETWEEN)


def joined(documents: Iterable[bytes], key: str) -> bytes:
    """Return one document of those into which ``slices`` would take it apart."""
    whole, tail = io.BytesIO(), b""
    for number, data in enumerate(documents):
        start, end = _region(data, key)
        whole.write(_BETWEEN if number else data[:start])
        whole.write(memoryview(data)[start:end])
        tail = data[end:]
    whole.write(tail)
    return whole.getvalue()


def _region(data: bytes, key: str) -> tuple[int, int]:
    """Return where the lines of a list begin and end; both are the end of a document without."""
    # No text holds a line feed of its own, so these can stand nowhere else.
    opening = b"\n  %b: %b" % (_key(key), _OPEN)
    start = data.find(opening)
    end = data.find(_CLOSE, start)
    return (len(data), len(data)) if min(start, end) < 0 else (start + len(opening), end)


class _StrictnessError(Exception):
    """Raised inside the parser's hooks, where no file name is known."""


def _key(key: str) -> bytes:
    return json.dumps(key, ensure_ascii=False).encode()


def _pretty(value: Any) -> bytes:
    # Python writes with an indent more than twice as slowly as without one; the characters of
    # both ways are the same.
    flat = json.dumps(
        value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return msgspec.json.format(flat.encode(), indent=2)


def _member(key: str, value: Any, flat: frozenset[str], line: Callable[[Any], bytes]) -> bytes:
    if key not in flat or not isinstance(value, list) or not value:
        return _pretty(value).replace(b"\n", b"\n  ")
    return _OPEN + _BETWEEN.join(map(line, value)) + _CLOSE


def _line(element: Any) -> bytes:
    return json.dumps(element, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()


def _exact_line(element: Any) -> bytes:
    # Fractions it writes in another way than Python, and NaN as null; all else alike.
    return msgspec.json.format(_sorted(element), indent=0)


def _unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _StrictnessError(f"key {key!r} stands twice in one object")
            seen.add(key)
    return document


def _refuse_constant(name: str) -> Any:
    raise _StrictnessError(f"{name} is not a JSON number")


def _bounded(text: str) -> int:
    if len(text.lstrip("-")) > _INTEGER_DIGITS:
        raise _StrictnessError(f"{text[:24]}… is too large a number")
    return int(text)


def _refuse_lone_surrogates(value: Any) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise _StrictnessError("text holds half of a surrogate pair") from error


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise _StrictnessError(f"{text} is too large a number")
    return number
