"""Reading the catalogs that are in force: shared, then the project's, then a checkpoint's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from lora_pipeline.catalog.records import AssetTypes, Palettes, Scenarios, Styles, Tags
from lora_pipeline.catalog.vocabulary import Vocabulary, make_vocabulary
from lora_pipeline.foundation.record import Record
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace

R = TypeVar("R", bound=Record)
_OWN = "catalogs/checkpoints"


def read_vocabulary(workspace: Workspace, scope: Scope, checkpoint_id: str = "") -> Vocabulary:
    """Return the words in force in a scope, and for a checkpoint when one is named.

    Raises:
        RecordError: When a catalog is not a valid record.
    """
    return make_vocabulary(
        asset_types=[
            one
            for catalog in _catalogs(workspace, scope, AssetTypes)
            for one in catalog.asset_types
        ],
        styles=[
            one
            for catalog in _catalogs(workspace, scope, Styles, checkpoint_id)
            for one in catalog.styles
        ],
        scenarios=[
            one
            for catalog in _catalogs(workspace, scope, Scenarios, checkpoint_id)
            for one in catalog.scenarios
        ],
        palettes=[
            one for catalog in _catalogs(workspace, scope, Palettes) for one in catalog.palettes
        ],
        groups=[
            one
            for catalog in _catalogs(workspace, scope, Tags, checkpoint_id)
            for one in catalog.groups
        ],
    )


def read_every_tag(workspace: Workspace, scope: Scope) -> Vocabulary:
    """Return every tag that may stand on an image, those that checkpoints alone have included.

    A shared manifest may take its images from any project, so all their tags count for it.

    Raises:
        RecordError: When a catalog is not valid.
    """
    places = [scope] if scope.project_id else workspace.records.scopes()
    return make_vocabulary(
        groups=[
            group
            for place in places
            for name in ("", *_with_own_words(workspace, place))
            for catalog in _catalogs(workspace, place, Tags, name)
            for group in catalog.groups
        ]
    )


def _with_own_words(workspace: Workspace, scope: Scope) -> list[str]:
    found = [
        path.name
        for place in workspace.visible(scope)
        for path in sorted((workspace.data_root / place.folder / _OWN).glob("*"))
        if path.is_dir()
    ]
    return list(dict.fromkeys(found))


def _catalogs(
    workspace: Workspace, scope: Scope, kind: type[R], checkpoint_id: str = ""
) -> Iterator[R]:
    weakest_first = list(reversed(workspace.visible(scope)))
    names = [kind.KIND, *([f"{checkpoint_id}/{kind.KIND}"] if checkpoint_id else [])]
    for name in names:
        for place in weakest_first:
            if workspace.records.exists(kind, place, name):
                yield workspace.records.read(kind, place, name).record
