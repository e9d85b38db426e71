"""Every record of a workspace, read once and kept in memory: what there are many of, packed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from lora_pipeline.catalog.records import Asset, Spec
from lora_pipeline.foundation.record import Record
from lora_pipeline.workspace.layout import SHARED, Scope, relative_path
from lora_pipeline.workspace.records import Loaded, RecordStore

R = TypeVar("R", bound=Record)
Key = tuple[str, Scope, str]


class Packed(msgspec.Struct, frozen=True, gc=False):
    """A record in a fifth of its memory; unpacking it takes some microseconds."""

    kind: type[Record]
    data: bytes
    digest: str


def packed(loaded: Loaded[Any]) -> Loaded[Any] | Packed:
    """Return how a record is kept: assets and specs, of which there may be 100,000, packed."""
    record = loaded.record
    if not isinstance(record, Asset | Spec):
        return loaded
    return Packed(type(record), msgspec.msgpack.encode(record), loaded.digest)


class CollectedRecords(RecordStore):
    """Records that were read before: the same door, without the disk behind it.

    What could not be read is not in it; that it is there all the same is known by its key.

    Args:
        data_root: Where they were read.
        loaded: The valid records, as ``packed`` returns them.
        broken: Keys of records whose file is not valid.
    """

    def __init__(
        self,
        data_root: Path,
        loaded: Mapping[Key, Loaded[Any] | Packed],
        broken: Iterable[Key] = (),
    ) -> None:
        super().__init__(data_root)
        self._loaded = loaded
        self._broken = frozenset(broken)
        self._by_kind: dict[tuple[str, Scope], list[str]] = {}
        for kind, scope, record_id in sorted(self._loaded, key=lambda key: key[2]):
            self._by_kind.setdefault((kind, scope), []).append(record_id)

    def read(self, kind: type[R], scope: Scope, record_id: str) -> Loaded[R]:
        """Return one record.

        Raises:
            RecordNotFoundError: When there is none that is valid.
        """
        found = self._loaded.get((kind.KIND, scope, record_id))
        if found is None:
            raise self._not_found(kind.KIND, scope, record_id)
        if isinstance(found, Packed):
            path = self.data_root / relative_path(kind.KIND, scope, record_id)
            return Loaded(cast("R", _unpacked(found)), scope, record_id, path, found.digest)
        return cast("Loaded[R]", found)

    def find(self, kind: type[R], scopes: Iterable[Scope], record_id: str) -> Loaded[R]:
        """Return the record of that id in the first of ``scopes`` that has it.

        Raises:
            RecordNotFoundError: When none has it.
        """
        tried = list(scopes)
        for scope in tried:
            if self.exists(kind, scope, record_id):
                return self.read(kind, scope, record_id)
        raise self._not_found(kind.KIND, tried[0], record_id)

    def exists(self, kind: type[R], scope: Scope, record_id: str) -> bool:
        """Return whether that record was read."""
        return (kind.KIND, scope, record_id) in self._loaded

    def named(self, kind: type[R], scopes: Iterable[Scope], record_id: str) -> bool:
        """Return whether there is such a record, valid or not: its own error says the rest."""
        keys = [(kind.KIND, scope, record_id) for scope in scopes]
        return any(key in self._loaded or key in self._broken for key in keys)

    def ids(self, kind: type[R], scope: Scope) -> list[str]:
        """Return the ids of all records of a kind in a scope, sorted."""
        return list(self._by_kind.get((kind.KIND, scope), ()))

    def all(self, kind: type[R], scope: Scope) -> Iterator[Loaded[R]]:
        """Yield every record of a kind in a scope, in the order of their ids."""
        yield from (self.read(kind, scope, record_id) for record_id in self.ids(kind, scope))

    def each(self, kind: type[R], scope: Scope) -> Iterator[R]:
        """Yield what ``all`` does, without what only a change to a record needs."""
        yield from (loaded.record for loaded in self.all(kind, scope))

    def lookup(self, kind: type[R], scope: Scope) -> Callable[[str], R | None]:
        """Return a function that returns a record by its id, or None."""

        def find(record_id: str) -> R | None:
            found = self._loaded.get((kind.KIND, scope, record_id))
            if found is None:
                return None
            return cast("R", _unpacked(found) if isinstance(found, Packed) else found.record)

        return find

    def everywhere(self, kind: type[R]) -> Iterator[Loaded[R]]:
        """Yield every record of a kind in every scope."""
        for scope in self.scopes():
            yield from self.all(kind, scope)

    def scopes(self) -> list[Scope]:
        """Return every scope that holds a record, the shared one first."""
        projects = {key[1].project_id for key in (*self._loaded, *self._broken)} - {None}
        return [SHARED, *(Scope(project_id) for project_id in sorted(map(str, projects)))]

    def project_ids(self) -> list[str]:
        """Return the ids of all projects, sorted."""
        return [str(scope.project_id) for scope in self.scopes() if scope.project_id]


def _unpacked(one: Packed) -> Record:
    return msgspec.msgpack.decode(one.data, type=one.kind)
