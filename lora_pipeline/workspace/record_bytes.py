"""A record as bytes: what they say, checked; and how one is written, proven by reading it back.

A manifest of 100,000 images has 50 MB, and several times that once it is parsed. Its list stands
with one element on a line, so a long one is read, written and proven a slice at a time: what
stands around the list, and some of its lines, are a whole document. Every byte is read by the same
rules, and what is wrong is said of the document as it stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from typing import Any, TypeVar

from msgspec.structs import replace

from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import MergeConflictError, RecordError, RecordInvalidError
from lora_pipeline.foundation.record import Record
from lora_pipeline.foundation.schemas import require_valid, schema_name_of
from lora_pipeline.workspace.merge_advice import advised

R = TypeVar("R", bound=Record)
_SLICE = 4096  # elements of a list
_LONG = 1024 * 1024  # bytes of a document that is not read in one piece


def parse_record(kind: type[Record], data: bytes, name: str) -> dict[str, Any]:
    """Return the document of a record's bytes after every check of its form.

    Raises:
        RecordInvalidError, JsonInvalidError, MergeConflictError, SchemaVersionError: When it
            is not a valid record of that kind.
    """
    try:
        document = strict_json.loads(data, name)
    except MergeConflictError as error:
        raise advised(error, name) from error
    if not isinstance(document, dict):
        raise RecordInvalidError(f"{name} must hold one JSON object")
    require_valid(document, schema_name_of(document, kind.KIND, name), name)
    return document


def record_from(kind: type[R], data: bytes, name: str) -> R:
    """Return the record in bytes.

    Raises:
        RecordInvalidError, JsonInvalidError, MergeConflictError, SchemaVersionError: When it
            is not a valid record of that kind.
    """
    if not kind.ONE_LINE_EACH or len(data) < _LONG:
        return _typed(kind, data, name)
    key = kind.ONE_LINE_EACH[0]
    try:
        parts = [_typed(kind, part, name) for part in strict_json.slices(data, key, _SLICE)]
    except RecordError:
        return _typed(kind, data, name)  # knows where in the whole of it something is wrong
    elements = tuple(chain.from_iterable(getattr(part, key) for part in parts))
    return replace(parts[0], **{key: elements})


def encode_record(record: Record, name: str) -> bytes:
    """Return the bytes of a record, proven valid by reading them back.

    Raises:
        RecordInvalidError: When the record breaks its schema; nothing was written.
    """
    key = record.ONE_LINE_EACH[0] if record.ONE_LINE_EACH else ""
    if not key or len(getattr(record, key)) <= _SLICE:
        return _proven(record, name)
    return strict_json.joined((_proven(part, name) for part in _slices(record, key)), key)


def _typed(kind: type[R], data: bytes, name: str) -> R:
    document = parse_record(kind, data, name)
    try:
        return kind.from_dict(document)
    except RecordInvalidError as error:  # what a schema cannot say: 1.0 where 1 is meant
        words = "; ".join(map(str, error.violations)) or error.message
        raise RecordInvalidError(f"{name}: {words}", violations=error.violations) from error


def _slices(record: R, key: str) -> Iterator[R]:
    elements = getattr(record, key)
    for start in range(0, len(elements), _SLICE):
        yield replace(record, **{key: elements[start : start + _SLICE]})


def _proven(record: Record, name: str) -> bytes:
    data = strict_json.dumps(
        record.to_dict(), one_line_each=record.ONE_LINE_EACH, exact=record.EXACT_LINES
    )
    parse_record(type(record), data, name)
    return data
