"""Reading what describes the images of a folder: one file for all, or side-car files."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_pipeline.catalog.import_facts import FileFacts, column_of, facts_of, split_tags
from lora_pipeline.catalog.import_folder import CAPTION_EXTENSIONS, METADATA_NAMES
from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import FileMissingError, ImportSourceError, RecordError
from lora_pipeline.foundation.files import unsafe_reason
from lora_pipeline.foundation.ids import TAG_PATTERN

_LONGEST_SIDE_CAR = 256 * 1024
_LONGEST_METADATA = 64 * 1024 * 1024
_TAG = re.compile(TAG_PATTERN)


@dataclass(frozen=True)
class Described:
    """What a metadata file says about one image, and where it says so."""

    facts: FileFacts
    where: str


@dataclass(frozen=True)
class Metadata:
    """A file that describes the images of a folder.

    Attributes:
        name: What messages call it; empty when there is none.
        images: What it says, by the image's path below the folder.
    """

    name: str = ""
    images: dict[str, Described] = field(default_factory=dict)


def find_metadata(folder: Path) -> Path | None:
    """Return the metadata file of a folder, or None when it has none.

    Raises:
        ImportSourceError: When it has several.
    """
    found = [folder / name for name in METADATA_NAMES if (folder / name).is_file()]
    if len(found) > 1:
        names = " and ".join(path.name for path in found)
        raise ImportSourceError(
            f"{folder.name} holds {names}; one file must describe the images",
            hint=f"--metadata {found[0]}",
        )
    return found[0] if found else None


def read_metadata(path: Path) -> Metadata:
    """Return what a CSV, JSON or JSONL file says about the images of its folder.

    Raises:
        FileMissingError: When there is no such file.
        ImportSourceError: When it is not of its form, has an unknown column, or describes an
            image twice.
    """
    extension = path.suffix.lower()
    if extension not in _READERS:
        raise ImportSourceError(
            f"{path.name} is no metadata file", hint="it must be .csv, .tsv, .json or .jsonl"
        )
    text = _read_text(path, _LONGEST_METADATA)
    images: dict[str, Described] = {}
    for where, row in _READERS[extension](text, path.name):
        name = _image_name(row, where)
        if name in images:
            raise ImportSourceError(f"{where}: {name} is described already, {images[name].where}")
        images[name] = Described(facts_of(row, where=where), where)
    return Metadata(path.name, images)


def read_side_cars(image: Path) -> FileFacts:
    """Return what the files beside an image say: ``<stem>.json``, ``<stem>.txt``.

    A text file of nothing but tags gives tags, any other one a description. What the JSON
    file says weighs more.

    Raises:
        ImportSourceError: When one of them cannot be used.
    """
    facts = FileFacts()
    for extension in CAPTION_EXTENSIONS:
        path = image.with_suffix(extension)
        if path.is_file():
            facts = _from_text(_read_text(path, _LONGEST_SIDE_CAR)).over(facts)
    path = image.with_suffix(".json")
    if path.is_file():
        document = _strict(_read_text(path, _LONGEST_SIDE_CAR), path.name)
        facts = facts_of(_row(document, path.name), where=path.name).over(facts)
    return facts


def _from_text(text: str) -> FileFacts:
    tags = split_tags(text)
    if tags and all(_TAG.fullmatch(tag) for tag in tags):
        return FileFacts(tags=tags)
    return FileFacts(prompt=" ".join(text.split()))


def _read_text(path: Path, longest: int) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(longest + 1)
    except FileNotFoundError as error:
        raise FileMissingError(f"no file {path}") from error
    except OSError as error:
        raise FileMissingError(f"cannot read {path}: {error.strerror}") from error
    if len(data) > longest:
        raise ImportSourceError(f"{path.name} has more than {longest:,} bytes")
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise ImportSourceError(f"{path.name} is UTF-16", hint="save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")  # spreadsheets write a byte order mark
    except UnicodeDecodeError as error:
        raise ImportSourceError(
            f"{path.name} is not UTF-8 at byte {error.start}", hint="save it as UTF-8"
        ) from error
    if "\x00" in text:
        raise ImportSourceError(f"{path.name} holds NUL bytes; it is no text")
    return text


def _image_name(row: dict[str, Any], where: str) -> str:
    name = row.get("file")
    if not isinstance(name, str) or not name.strip():
        raise ImportSourceError(f"{where} names no file")
    name = unicodedata.normalize("NFC", name.strip()).removeprefix("./")
    reason = unsafe_reason(name)
    if reason:
        raise ImportSourceError(f"{where}: path {name!r} {reason}")
    return name


def _csv_rows(text: str, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    header_line = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header_line.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [column_of(one, where=name) for one in next(reader, [])]
        _require_header(header, name)
        for cells in reader:
            where = f"{name} line {reader.line_num}"
            if len(cells) > len(header):
                raise ImportSourceError(
                    f"{where} has {len(cells)} cells, the first line {len(header)}",
                    hint='text with a comma in it stands in quotes: "a, b"',
                )
            if any(cell.strip() for cell in cells):
                yield where, dict(zip(header, cells, strict=False))
    except csv.Error as error:
        raise ImportSourceError(f"{name} line {reader.line_num}: {error}") from error


def _require_header(header: list[str], name: str) -> None:
    if "file" not in header:
        raise ImportSourceError(
            f"{name} has no column file", hint="its first line names the columns: file,title,tags"
        )
    for column in header:
        if header.count(column) > 1:
            raise ImportSourceError(f"{name} has the column {column} twice")


def _json_rows(text: str, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    document = _strict(text, name)
    if isinstance(document, dict) and set(document) == {"assets"}:
        document = document["assets"]
    if not isinstance(document, list):
        raise ImportSourceError(f'{name} must hold a list of images, or {{"assets": [...]}}')
    for number, entry in enumerate(document, start=1):
        where = f"{name} entry {number}"
        yield where, _row(entry, where)


def _jsonl_rows(text: str, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            where = f"{name} line {number}"
            yield where, _row(_strict(line, where), where)


def _row(entry: Any, where: str) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise ImportSourceError(f"{where} must be an object of columns and values")
    row: dict[str, Any] = {}
    for key, value in entry.items():
        column = column_of(key, where=where)
        if column in row:
            raise ImportSourceError(f"{where} gives {column} twice")
        row[column] = value
    return row


def _strict(text: str, name: str) -> Any:
    try:
        return strict_json.loads(text.encode("utf-8"), name)
    except RecordError as error:
        raise ImportSourceError(error.message, hint=error.hint) from error


_READERS = {
    ".csv": _csv_rows,
    ".tsv": _csv_rows,
    ".json": _json_rows,
    ".jsonl": _jsonl_rows,
}
