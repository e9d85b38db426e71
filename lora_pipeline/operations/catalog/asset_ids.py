"""Assets as people name them: by id, by the end of an id, or by a file with ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lora_pipeline.catalog.assets.endings import full_id
from lora_pipeline.catalog.assets.reading import ids_from_file
from lora_pipeline.catalog.records import Asset
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace


def listed_ids(
    workspace: Workspace, projects: Sequence[str], given: Sequence[str], from_file: str | None
) -> tuple[str, ...]:
    """Return the full ids of the assets that were named, sorted, each once.

    Args:
        workspace: The workspace.
        projects: Projects whose assets may be meant.
        given: Ids, or endings of ids that only one asset has.
        from_file: Text file with the same, one on each line; relative to the workspace.

    Raises:
        FileMissingError, ArgumentInvalidError: When the file cannot be used.
        RecordNotFoundError: When there is no such asset, or an ending fits several.
    """
    named = list(given)
    if from_file:
        named += ids_from_file(workspace.root / Path(from_file).expanduser())
    return tuple(sorted(set(full_ids(workspace, projects, named)))) if named else ()


def full_ids(workspace: Workspace, projects: Sequence[str], given: Sequence[str]) -> list[str]:
    """Return the full id of each asset that was named, in that order; no record is read.

    Raises:
        RecordNotFoundError: When there is no such asset, or an ending fits several.
    """
    known = {
        asset_id
        for project_id in projects
        for asset_id in workspace.records.ids(Asset, Scope(project_id))
    }
    where = ", ".join(projects) or "the workspace"
    return [full_id(one, known, where) for one in given]
