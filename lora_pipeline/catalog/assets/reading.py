"""Reading the assets of a project, each with its spec."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from lora_pipeline.catalog.assets.endings import full_id
from lora_pipeline.catalog.assets.filter import AssetEntry, AssetFilter, Sieve
from lora_pipeline.catalog.records import Asset, Project, Spec
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    FileMissingError,
    SelectionEmptyError,
)
from lora_pipeline.foundation.events import Event
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

_MANY = 1000  # assets; a bar for fewer would be gone before it was read
_SPECS = 1024  # specs that are kept for the next asset that was made for one of them


class ProjectAssets(msgspec.Struct, frozen=True):
    """The assets of a project, read one after the other: 100,000 do not fit into memory.

    Attributes:
        workspace: Where they are.
        project: The project's record.
        scope: Where they stand.
    """

    workspace: Workspace
    project: Project
    scope: Scope

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.workspace.records.ids(Asset, self.scope))

    def each(self) -> Iterator[AssetEntry]:
        """Yield all of them, in the order of their ids.

        Raises:
            RecordError: At the first record that is not valid.
        """
        spec = self._specs()
        for one in self._told():
            yield AssetEntry(one.record, spec(one.record.spec_id))

    def meant(self, wanted: AssetFilter) -> Iterator[tuple[Loaded[Asset], AssetEntry]]:
        """Yield the assets that are meant, each with its record as it stands on disk.

        Those that are named by ids come in that order, and no others are read.

        Raises:
            RecordNotFoundError: When an id is not there, or an ending fits several.
            SelectionEmptyError: When nothing was left; names the filter that left nothing.
            RecordError: At the first record that is not valid.
        """
        where = str(self.project.id)
        known = frozenset(self.workspace.records.ids(Asset, self.scope))
        if not known:
            raise SelectionEmptyError(
                f"{where} has no assets", hint="lora asset import DIR --asset-type TYPE"
            )
        counted, read, spec = [f"{where} {len(known)}"], self._told, self._specs()
        if wanted.ids:
            ids = tuple(dict.fromkeys(full_id(one, known, where) for one in wanted.ids))
            counted.append(f"ids {len(ids)}")
            read = functools.partial(self._named, ids)
        sieve = Sieve(wanted, counted)
        for one in read():
            entry = AssetEntry(one.record, spec(one.record.spec_id))
            if sieve.keeps(entry):
                yield one, entry
        sieve.require_any()

    def choose(self, wanted: AssetFilter) -> list[AssetEntry]:
        """Return the assets that are meant, in the order of their titles.

        Raises:
            RecordNotFoundError, SelectionEmptyError, RecordError: As ``meant``.
        """
        chosen = (entry for _, entry in self.meant(wanted))
        return sorted(chosen, key=lambda entry: (entry.title.casefold(), entry.asset.id))

    def _specs(self) -> Callable[[str], Spec | None]:
        return functools.lru_cache(_SPECS)(self.workspace.records.lookup(Spec, self.scope))

    def _named(self, ids: Sequence[str]) -> Iterator[Loaded[Asset]]:
        return (self.workspace.records.read(Asset, self.scope, one) for one in ids)

    def _told(self) -> Iterator[Loaded[Asset]]:
        total = len(self)
        for done, one in enumerate(self.workspace.records.all(Asset, self.scope), start=1):
            if total >= _MANY and (done % 100 == 0 or done == total):
                event = Event("progress", "read", step=done, total=total, unit="assets")
                self.workspace.events(event)
            yield one


def read_assets(workspace: Workspace, scope: Scope) -> ProjectAssets:
    """Return the assets of a project, to be read.

    Raises:
        RecordError: When the project's record is not valid.
    """
    project = workspace.records.read(Project, scope, "project").record
    return ProjectAssets(workspace, project, scope)


def ids_from_file(path: Path) -> tuple[str, ...]:
    """Return the asset ids of a text file, one on a line; empty lines and ``#`` lines aside.

    Raises:
        FileMissingError: When it cannot be read.
        ArgumentInvalidError: When it holds no id, or is no text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise FileMissingError(
            f"no file {path}", hint="--from-file takes a text file with one id on each line"
        ) from error
    except OSError as error:
        raise FileMissingError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ArgumentInvalidError(f"{path.name} is not UTF-8 text") from error
    lines = (line.strip() for line in text.splitlines())
    ids = tuple(line.split()[0] for line in lines if line and not line.startswith("#"))
    if not ids:
        raise ArgumentInvalidError(f"{path.name} holds no asset id", hint="one id on each line")
    return ids
