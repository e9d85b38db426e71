"""Which assets an operation is about, from what its arguments say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec.structs import replace

from lora_pipeline.catalog.assets.filter import AssetEntry, AssetFilter
from lora_pipeline.catalog.assets.reading import ProjectAssets, ids_from_file, read_assets
from lora_pipeline.catalog.records import Asset
from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace


class Chosen(msgspec.Struct, frozen=True):
    """Assets of a project that are meant, read one after the other, in the order of their ids."""

    assets: ProjectAssets
    wanted: AssetFilter

    def __iter__(self) -> Iterator[tuple[Loaded[Asset], AssetEntry]]:
        """Read them; raises as ``ProjectAssets.meant``."""
        return self.assets.meant(self.wanted)


def chosen_assets(
    workspace: Workspace,
    project: str | None,
    wanted: AssetFilter,
    *,
    everything: bool,
    from_file: str,
    statuses: tuple[str, ...] = (),
) -> tuple[ProjectAssets, Chosen]:
    """Return the assets of a project and those of them that are meant.

    They are read when they are looked at, as often as that happens.

    Args:
        workspace: Where they are.
        project: The project.
        wanted: What was said.
        everything: Whether all are meant when nothing else was said.
        from_file: Text file with ids, or empty.
        statuses: Statuses that are meant when neither ids nor statuses were said.

    Raises:
        ArgumentInvalidError: When nothing was said.
        FileMissingError: When the text file cannot be read.
        RecordNotFoundError, SelectionEmptyError: When there are none of these; once they are
            looked at.
    """
    if from_file:
        ids = (*wanted.ids, *ids_from_file(workspace.root / Path(from_file).expanduser()))
        wanted = replace(wanted, ids=ids)
    if not wanted and not everything:
        raise ArgumentInvalidError(
            "which assets?", hint="give ids, --tag, --asset-type, --status, --title, or --all"
        )
    if not wanted.ids and not wanted.statuses:
        wanted = replace(wanted, statuses=statuses)
    assets = read_assets(workspace, workspace.scope(project))
    return assets, Chosen(assets, wanted)
