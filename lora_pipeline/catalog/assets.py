"""Reading the assets of a project, each with its spec."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from lora_pipeline.catalog.asset_filter import AssetEntry, AssetFilter, choose
from lora_pipeline.catalog.records import Asset, Project, Spec
from lora_pipeline.foundation.errors import ArgumentInvalidError, FileMissingError
from lora_pipeline.foundation.events import Event
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

_MANY = 1000  # assets; a bar for fewer would be gone before it was read


class ProjectAssets(msgspec.Struct, frozen=True):
    """The assets of a project.

    Attributes:
        project: The project's record.
        scope: Where they stand.
        entries: All of them, in the order of their ids.
        loaded: Their records as they stand on disk, by id.
    """

    project: Project
    scope: Scope
    entries: Sequence[AssetEntry]
    loaded: dict[str, Loaded[Asset]]

    def choose(self, wanted: AssetFilter) -> list[AssetEntry]:
        """Return the assets that are meant.

        Raises:
            RecordNotFoundError, SelectionEmptyError: As ``asset_filter.choose`` does.
        """
        return choose(self.entries, wanted, where=str(self.project.id))


def read_assets(workspace: Workspace, scope: Scope) -> ProjectAssets:
    """Return all assets of a project.

    Raises:
        RecordError: At the first record that is not valid.
    """
    project = workspace.records.read(Project, scope, "project").record
    specs = {one.record_id: one.record for one in workspace.records.all(Spec, scope)}
    loaded = {one.record_id: one for one in _told(workspace, scope)}
    entries = [AssetEntry(one.record, specs.get(one.record.spec_id)) for one in loaded.values()]
    return ProjectAssets(project, scope, entries, loaded)


def _told(workspace: Workspace, scope: Scope) -> Iterator[Loaded[Asset]]:
    total = len(workspace.records.ids(Asset, scope))
    for done, one in enumerate(workspace.records.all(Asset, scope), start=1):
        if total >= _MANY and (done % 100 == 0 or done == total):
            workspace.events(Event("progress", "read", step=done, total=total, unit="assets"))
        yield one


def ids_from_file(path: Path) -> tuple[str, ...]:
    """Return the asset ids of a text file, one on a line; empty lines and ``#`` lines aside.

    Raises:
        FileMissingError: When it cannot be read.
        ArgumentInvalidError: When it holds no id, or is no text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise FileMissingError(f"no file {path}") from error
    except OSError as error:
        raise FileMissingError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ArgumentInvalidError(f"{path.name} is not UTF-8 text") from error
    lines = (line.strip() for line in text.splitlines())
    ids = tuple(line.split()[0] for line in lines if line and not line.startswith("#"))
    if not ids:
        raise ArgumentInvalidError(f"{path.name} holds no asset id", hint="one id on each line")
    return ids
