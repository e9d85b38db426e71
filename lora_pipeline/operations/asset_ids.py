"""Assets as people name them: by id, by the end of an id, or by a file with ids."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lora_pipeline.catalog.assets import ids_from_file
from lora_pipeline.catalog.records import Asset
from lora_pipeline.foundation.errors import RecordNotFoundError
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace

_SHORTEST_ENDING = 6


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
    return [one if one in known else _by_ending(one, known, projects) for one in given]


def _by_ending(given: str, known: set[str], projects: Sequence[str]) -> str:
    # ULIDs made at one time share their beginning; their ends differ.
    fitting = sorted(
        one for one in known if len(given) >= _SHORTEST_ENDING and one.endswith(given.upper())
    )
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise RecordNotFoundError(
            f"{given} may be any of {len(fitting)} assets: {', '.join(fitting[:4])}",
            hint="give more of the id",
        )
    near = did_you_mean(given, known)
    raise RecordNotFoundError(
        f"no asset {given!r} in {', '.join(projects) or 'the workspace'}",
        hint=f"did you mean {near}?" if near else "lora asset list shows ids and titles",
    )
