"""Finding a manifest by the name that people give: an id, or the path of its file."""

from __future__ import annotations

from pathlib import Path

from lora_pipeline.datasets.records import Manifest
from lora_pipeline.foundation.errors import RecordNotFoundError
from lora_pipeline.workspace.layout import Scope, place_of
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace


def find_manifest(workspace: Workspace, scope: Scope, name: str) -> Loaded[Manifest]:
    """Return a manifest: by its path, else from the scope, else from the shared ones.

    Args:
        workspace: The workspace.
        scope: Where an id is looked for first.
        name: An id, or a path (with a slash or ``.json``) relative to the workspace.

    Raises:
        RecordNotFoundError: When there is none.
        RecordError: When it is not valid.
    """
    if "/" not in name and not name.endswith(".json"):
        return workspace.records.find(Manifest, workspace.visible(scope), name)
    path = Path(workspace.root, name)
    root = workspace.data_root
    place = place_of(path.relative_to(root).as_posix()) if path.is_relative_to(root) else None
    if place is None or place.kind != Manifest.KIND:
        raise RecordNotFoundError(
            f"{name} is no manifest of this workspace",
            hint="they stand in data/projects/PROJECT/datasets and data/shared/datasets",
        )
    return workspace.records.read(Manifest, place.scope, place.record_id)
