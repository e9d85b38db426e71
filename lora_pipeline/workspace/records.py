"""The one door to records on disk: read, list, and write in one all-or-nothing step."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from lora_pipeline.foundation import files, strict_json
from lora_pipeline.foundation.canonical import digest_of_bytes
from lora_pipeline.foundation.errors import (
    RecordConflictError,
    RecordExistsError,
    RecordInvalidError,
    RecordNotFoundError,
)
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.foundation.record import Record
from lora_pipeline.workspace.layout import FOLDERS, SHARED, SINGLES, Scope, relative_path
from lora_pipeline.workspace.record_bytes import record_from

R = TypeVar("R", bound=Record)
R_co = TypeVar("R_co", bound=Record, covariant=True)


class Loaded(msgspec.Struct, Generic[R_co], frozen=True):
    """A record as it stands on disk.

    Attributes:
        record: The typed record.
        scope: Where it stands.
        record_id: Its id.
        path: Its file.
        digest: ``sha256:…`` of the file's bytes: what a change to it is based on.
    """

    record: R_co
    scope: Scope
    record_id: str
    path: Path
    digest: str


class RecordStore:
    """Reads records below one data root; writing goes through ``changes.Changes``."""

    def __init__(self, data_root: Path) -> None:
        self.data_root = data_root
        # Messages name a record from the folder that holds the data root.
        self._shown_root = data_root.name
        self._root_length = len(str(data_root))

    def path(self, kind: str, scope: Scope, record_id: str) -> Path:
        """Return the file of a record, whether it exists or not.

        Raises:
            UnsafePathError: When the id would lead out of the data root.
        """
        return files.safe_join(self.data_root, relative_path(kind, scope, record_id))

    def read(self, kind: type[R], scope: Scope, record_id: str) -> Loaded[R]:
        """Return one record, checked against its schema.

        Raises:
            RecordNotFoundError: When there is none; the hint names a near one.
            RecordInvalidError, JsonInvalidError, MergeConflictError, SchemaVersionError: When
                the file is not a valid record.
        """
        path = self.path(kind.KIND, scope, record_id)
        if not path.is_file():
            raise self._not_found(kind.KIND, scope, record_id)
        return self._load(kind, scope, record_id, path)

    def find(self, kind: type[R], scopes: Iterable[Scope], record_id: str) -> Loaded[R]:
        """Return the record of that id in the first of ``scopes`` that has it.

        Raises:
            RecordNotFoundError: When none has it.
        """
        tried = list(scopes)
        for scope in tried:
            if self.path(kind.KIND, scope, record_id).is_file():
                return self.read(kind, scope, record_id)
        raise self._not_found(kind.KIND, tried[0], record_id)

    def exists(self, kind: type[R], scope: Scope, record_id: str) -> bool:
        """Return whether there is a file for that record."""
        return self.path(kind.KIND, scope, record_id).is_file()

    def ids(self, kind: type[R], scope: Scope) -> list[str]:
        """Return the ids of all records of a kind in a scope, sorted."""
        if kind.KIND in SINGLES:
            return [kind.KIND] if self.exists(kind, scope, kind.KIND) else []
        folder = self.data_root / scope.folder / FOLDERS[kind.KIND]
        if not folder.is_dir():
            return []
        # Hidden files are not records: editors and macOS leave such beside them.
        return sorted(
            name.removesuffix(".json")
            for name in os.listdir(folder)  # noqa: PTH208 - 10,000 names, and no need of paths
            if name.endswith(".json") and not name.startswith(".")
        )

    def all(self, kind: type[R], scope: Scope) -> Iterator[Loaded[R]]:
        """Yield every record of a kind in a scope, in the order of their ids.

        Raises:
            RecordError: At the first file that is not a valid record.
        """
        if kind.KIND in SINGLES:
            yield from (self.read(kind, scope, record_id) for record_id in self.ids(kind, scope))
            return
        folder = files.safe_join(self.data_root, f"{scope.folder}/{FOLDERS[kind.KIND]}")
        links = _links(folder)
        for record_id in self.ids(kind, scope):
            # Following every file to its end costs more than reading it; only links need that.
            if f"{record_id}.json" in links:
                yield self.read(kind, scope, record_id)
            else:
                yield self._load(kind, scope, record_id, folder / f"{record_id}.json")

    def each(self, kind: type[R], scope: Scope) -> Iterator[R]:
        """Yield what ``all`` does, without what only a change to a record needs.

        Raises:
            RecordError: At the first file that is not a valid record.
        """
        if kind.KIND in SINGLES:
            yield from (loaded.record for loaded in self.all(kind, scope))
            return
        lookup = self.lookup(kind, scope)
        yield from filter(None, map(lookup, self.ids(kind, scope)))

    def lookup(self, kind: type[R], scope: Scope) -> Callable[[str], R | None]:
        """Return a function that reads a record by its id, or returns None without such a file.

        It knows the files that are there now. For many ids it is faster than ``read``.

        Raises:
            RecordError: By the function, when the file is not a valid record.
        """
        folder = files.safe_join(self.data_root, f"{scope.folder}/{FOLDERS[kind.KIND]}")
        known, links, place = frozenset(self.ids(kind, scope)), _links(folder), str(folder)

        def read(record_id: str) -> R | None:
            if record_id not in known:
                return None
            if f"{record_id}.json" in links:
                return self.read(kind, scope, record_id).record
            file = f"{place}/{record_id}.json"
            return self._typed(kind, record_id, file, strict_json.read_bytes(file))

        return read

    def project_ids(self) -> list[str]:
        """Return the ids of all projects, sorted."""
        folder = self.data_root / "projects"
        if not folder.is_dir():
            return []
        return sorted(path.parent.name for path in folder.glob("*/project.json"))

    def scopes(self) -> list[Scope]:
        """Return the shared scope and that of every project."""
        return [SHARED, *(Scope(project_id) for project_id in self.project_ids())]

    def _load(self, kind: type[R], scope: Scope, record_id: str, path: Path) -> Loaded[R]:
        data = strict_json.read_bytes(path)
        record = self._typed(kind, record_id, str(path), data)
        return Loaded(record, scope, record_id, path, digest_of_bytes(data))

    def _typed(self, kind: type[R], record_id: str, file: str, data: bytes) -> R:
        name = f"{self._shown_root}{file[self._root_length :]}"
        record = record_from(kind, data, name)
        stated = getattr(record, "id", record_id)
        if kind.KIND in FOLDERS and stated != record_id:
            raise RecordInvalidError(
                f"{record_id}.json holds the id {stated!r}; the file name must be the id"
            )
        return record

    def _not_found(self, kind: str, scope: Scope, record_id: str) -> RecordNotFoundError:
        folder = self.data_root / scope.folder / FOLDERS.get(kind, "")
        known = [path.stem for path in folder.glob("*.json")] if folder.is_dir() else []
        near = did_you_mean(record_id, known)
        if near:
            hint = f"did you mean {near}?"
        elif known:
            hint = "there are: " + ", ".join(sorted(known)[:8])
        else:
            hint = f"{scope} has no {kind} yet"
        return RecordNotFoundError(f"no {kind} {record_id!r} in {scope}", hint=hint)


def _links(folder: Path) -> frozenset[str]:
    if not folder.is_dir():
        return frozenset()
    with os.scandir(folder) as entries:
        return frozenset(entry.name for entry in entries if entry.is_symlink())


def check_base(path: Path, based_on: str | None) -> None:
    """Check that a file is still what a change to it is based on.

    Args:
        path: The record's file.
        based_on: Digest of the bytes that were read, or None for a new record.

    Raises:
        RecordExistsError: When a new record is there already.
        RecordConflictError: When the file changed or went away since it was read.
    """
    if based_on is None:
        if path.exists():
            raise RecordExistsError(f"{path.stem} exists already ({path.name})")
        return
    if not path.is_file():
        raise RecordConflictError(f"{path.name} was removed meanwhile; nothing was written")
    if digest_of_bytes(strict_json.read_bytes(path)) != based_on:
        raise RecordConflictError(
            f"{path.name} was changed meanwhile; nothing was written", hint="run the command again"
        )
