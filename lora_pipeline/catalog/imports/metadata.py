"""Reading what describes the images of a folder: one file for all of them, or one a folder."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
from msgspec.structs import replace

from lora_pipeline.catalog.imports.columns import Columns, row_of
from lora_pipeline.catalog.imports.facts import FileFacts, facts_of
from lora_pipeline.catalog.imports.text import read_text
from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import ImportSourceError, RecordError
from lora_pipeline.foundation.files import unsafe_reason

_LONGEST_METADATA = 64 * 1024 * 1024
_LONGEST_HEADER = 64 * 1024
_SPREADSHEET_SIGNS = ("=", "+", "-", "@", "\t", "\r")


class Described(msgspec.Struct, frozen=True):
    """What a metadata file says about one image, and where it says so."""

    facts: FileFacts
    where: str


class Metadata(msgspec.Struct, frozen=True):
    """Files that describe the images of a folder.

    Attributes:
        name: What messages call them; empty when there is none.
        images: What they say, by the image's path below the folder.
    """

    name: str = ""
    images: dict[str, Described] = msgspec.field(default_factory=dict)

    def matched(self, names: Sequence[str]) -> Metadata:
        """Return the same, with rows that give a bare file name put to the image of that name.

        A row that names a path, or a name that several images have, stays as it is.
        """
        by_name: dict[str, list[str]] = {}
        for name in names:
            by_name.setdefault(PurePosixPath(name).name, []).append(name)
        there = set(names)
        images: dict[str, Described] = {}
        for given, described in self.images.items():
            fitting = [given] if given in there or "/" in given else by_name.get(given, [])
            target = fitting[0] if len(fitting) == 1 else given
            if target in images:
                first = images[target].where
                raise ImportSourceError(
                    f"{described.where}: {target} is described already, {first}"
                )
            images[target] = described
        return Metadata(self.name, images)


def read_metadata(
    path: Path, *, columns: Columns | None = None, encoding: str = "", below: str = ""
) -> Metadata:
    """Return what a CSV, JSON or JSONL file says about the images of its folder.

    Args:
        path: The file.
        columns: What its columns mean; ours and the usual ones when left out.
        encoding: Its encoding, when a person said it.
        below: The folder that its paths start from, when that is not the imported one.

    Raises:
        FileMissingError: When there is no such file.
        ImportSourceError: When it is not of its form, misspells a column, or describes an
            image twice.
    """
    name = PurePosixPath(below, path.name).as_posix()
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise ImportSourceError(
            f"{name} is no metadata file", hint="CSV, TSV, JSON and JSONL files are read"
        )
    text = read_text(path, longest=_LONGEST_METADATA, encoding=encoding)
    images: dict[str, Described] = {}
    for where, row in reader(text, name, columns or Columns()):
        image = _image_name(row, where, below)
        if image in images:
            raise ImportSourceError(f"{where}: {image} is described already, {images[image].where}")
        facts = facts_of(row, where=where)
        if facts.mask:
            facts = replace(facts, mask=PurePosixPath(below, facts.mask).as_posix())
        images[image] = Described(facts, where)
    return Metadata(name, images)


def read_all_metadata(
    files: Sequence[tuple[str, Path]], *, columns: Columns, encoding: str = ""
) -> Metadata:
    """Return what several files say, each about the images of its own folder.

    Args:
        files: Each file with the folder that it stands in, below the imported one.
        columns: What their columns mean.
        encoding: Their encoding, when a person said it.

    Raises:
        FileMissingError, ImportSourceError: As ``read_metadata`` does.
    """
    names: list[str] = []
    images: dict[str, Described] = {}
    for below, path in files:
        one = read_metadata(path, columns=columns, encoding=encoding, below=below)
        for image, described in one.images.items():
            if image in images:
                raise ImportSourceError(
                    f"{described.where}: {image} is described already, {images[image].where}"
                )
            images[image] = described
        names.append(one.name)
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    return Metadata(shown, images)


def read_description(text: str, name: str) -> FileFacts:
    """Return what the JSON file beside one image says.

    Raises:
        ImportSourceError: When it is not an object of our columns.
    """
    return facts_of(_row(_strict(text, name), name, Columns()), where=name)


def _image_name(row: dict[str, Any], where: str, below: str) -> str:
    name = row.get("file")
    if not isinstance(name, str) or not name.strip():
        raise ImportSourceError(f"{where} names no file")
    name = unicodedata.normalize("NFC", name.strip()).removeprefix("./")
    reason = unsafe_reason(name)
    if reason:
        hint = "folders are separated by /" if "\\" in name else None
        raise ImportSourceError(f"{where}: path {name!r} {reason}", hint=hint)
    return PurePosixPath(below, name).as_posix()


def _csv_rows(text: str, name: str, columns: Columns) -> Iterator[tuple[str, dict[str, Any]]]:
    first = text.split("\n", 1)[0]
    stated = first.strip().lower()
    if stated.startswith("sep=") and len(stated) == 5:  # Excel's own way to say it
        delimiter, text = stated[4], text.partition("\n")[2]
    else:
        delimiter = max(",;\t|", key=lambda one: len(_first_record(text, one)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = [(one.strip(), columns.of(one, where=name)) for one in next(reader, [])]
        _require_header(header, name)
        for cells in reader:
            where = f"{name} line {reader.line_num}"
            if len(cells) > len(header) and any(cell.strip() for cell in cells[len(header) :]):
                raise ImportSourceError(
                    f"{where} has {len(cells)} cells, the first line {len(header)}",
                    hint='text with a comma in it stands in quotes: "a, b"',
                )
            if any(cell.strip() for cell in cells):
                yield where, row_of(header, [_unescaped(cell) for cell in cells], where)
    except csv.Error as error:
        raise ImportSourceError(f"{name} line {reader.line_num}: {error}") from error


def _first_record(text: str, delimiter: str) -> list[str]:
    start = io.StringIO(text[:_LONGEST_HEADER], newline="")
    try:
        return next(csv.reader(start, delimiter=delimiter), [])
    except csv.Error:
        return []


def _unescaped(cell: str) -> str:
    # What would be a formula in a spreadsheet is written with an apostrophe before it.
    return cell[1:] if cell[:1] == "'" and cell[1:2] in _SPREADSHEET_SIGNS else cell


def _require_header(header: Sequence[tuple[str, tuple[str, ...]]], name: str) -> None:
    filled = [column for _, columns in header for column in columns]
    if "file" not in filled:
        there = ", ".join(heading for heading, _ in header if heading)
        raise ImportSourceError(
            f"{name} has no column file",
            hint=f"--map file=NAME says which of its columns it is: {there}"
            if there
            else "its first line names the columns: file,title,tags",
        )
    for column in filled:
        if filled.count(column) > 1 and column not in ("tags", "specTags"):
            raise ImportSourceError(f"{name} has the column {column} twice")


def _json_rows(text: str, name: str, columns: Columns) -> Iterator[tuple[str, dict[str, Any]]]:
    document = _strict(text, name)
    if isinstance(document, dict) and set(document) == {"assets"}:
        document = document["assets"]
    if not isinstance(document, list):
        raise ImportSourceError(f'{name} must hold a list of images, or {{"assets": [...]}}')
    for number, entry in enumerate(document, start=1):
        where = f"{name} entry {number}"
        yield where, _row(entry, where, columns)


def _jsonl_rows(text: str, name: str, columns: Columns) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            where = f"{name} line {number}"
            yield where, _row(_strict(line, where), where, columns)


def _row(entry: Any, where: str, columns: Columns) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise ImportSourceError(f"{where} must be an object of columns and values")
    headings = [(key, columns.of(key, where=where)) for key in entry]
    return row_of(headings, list(entry.values()), where)


def _strict(text: str, name: str) -> Any:
    try:
        return strict_json.loads(text.encode("utf-8"), name)
    except RecordError as error:
        raise ImportSourceError(error.message, hint=error.hint) from error


_READERS: dict[str, Callable[[str, str, Columns], Iterator[tuple[str, dict[str, Any]]]]] = {
    ".csv": _csv_rows,
    ".tsv": _csv_rows,
    ".json": _json_rows,
    ".jsonl": _jsonl_rows,
}
