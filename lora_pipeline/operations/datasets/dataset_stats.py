"""Count what is in a manifest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from lora_pipeline.catalog.records import Asset, Provenance
from lora_pipeline.datasets.records import Item, Manifest
from lora_pipeline.datasets.sources import source_projects
from lora_pipeline.datasets.stats import statistics
from lora_pipeline.foundation.errors import RecordError
from lora_pipeline.foundation.events import Event
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.datasets.dataset_place import with_place
from lora_pipeline.operations.datasets.dataset_views import dataset_row, find_dataset
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

ScopeName = Literal["project", "baseline"]
_TOLD_EVERY = 200  # records


def count_dataset(
    workspace: Workspace,
    dataset_id: str,
    *,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Count the images of a manifest by tag, size, licence, author, split and caption length.

    Raises:
        RecordNotFoundError: When there is no such manifest.
    """
    loaded = find_dataset(workspace, dataset_id, project=project, scope=scope)
    items = loaded.record.items
    provenance = _provenance(workspace, loaded, items)
    gone = sum(1 for found in provenance.values() if found is None)
    unknown = f"{gone} of its assets have no valid record here; author and source unknown"
    return Result(
        data={**dataset_row(loaded), **statistics(items, provenance), "assetsMissing": gone},
        reasoning=f"Counted the {len(items)} images of {loaded.record.id}",
        warnings=(unknown,) if gone else (),
        suggestions=(
            with_place(workspace, loaded.scope, f"lora dataset sheet {loaded.record_id}"),
        ),
    )


def _provenance(
    workspace: Workspace, loaded: Loaded[Manifest], items: tuple[Item, ...]
) -> dict[str, Provenance | None]:
    """Return where the images come from, as the records of their assets say now."""
    try:
        projects = source_projects(workspace, loaded.scope, loaded.record.selection)
    except RecordError:
        projects = []  # a project of the rule is gone; what is there can be counted
    lookups = [workspace.records.lookup(Asset, Scope(project_id)) for project_id in projects]
    found: dict[str, Provenance | None] = {}
    for number, item in enumerate(items, start=1):
        found[item.asset_id] = _provenance_of(item.asset_id, lookups)
        if number % _TOLD_EVERY == 0:
            workspace.events(
                Event("progress", "assets", step=number, total=len(items), unit="records")
            )
    return found


def _provenance_of(
    asset_id: str, lookups: Sequence[Callable[[str], Asset | None]]
) -> Provenance | None:
    for lookup in lookups:
        try:
            asset = lookup(asset_id)
        except RecordError:
            return None
        if asset is not None:
            return asset.provenance
    return None
