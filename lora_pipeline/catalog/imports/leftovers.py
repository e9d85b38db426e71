"""What an interrupted import left, so that the next one completes it instead of adding to it.

An import writes copies first, then specs and assets. When it dies in between, there are copies
and specs that no asset names. The next import takes their ids for the same images again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from msgspec.structs import replace

from lora_pipeline.catalog.image_index import ImageIndex, images_without_asset
from lora_pipeline.catalog.records import Asset, Spec
from lora_pipeline.foundation.errors import RecordError
from lora_pipeline.foundation.files import TEMPORARY_PREFIX, disk_refusals
from lora_pipeline.foundation.ids import new_ulid
from lora_pipeline.workspace.layout import FOLDERS, Scope
from lora_pipeline.workspace.lock import workspace_lock
from lora_pipeline.workspace.root import Workspace

_DIGITS = 12  # of the digest, in the name of a copy


@dataclass
class Leftovers:
    """Ids that an interrupted import gave to copies and specs, and has no asset for.

    Attributes:
        temporaries: Half-written files.
    """

    temporaries: list[Path] = field(default_factory=list)
    _copies: dict[str, str] = field(default_factory=dict)
    _empty: list[str] = field(default_factory=list)
    _specs: dict[bytes, list[str]] = field(default_factory=dict)

    def asset_id(self, sha256: str) -> str:
        """Return the id of an asset: the one whose copy is there already, else a new one."""
        waiting = self._copies.pop(sha256[:_DIGITS], "")
        if not waiting and self._empty:
            waiting = self._empty.pop()
        return waiting or new_ulid()

    def spec_id(self, spec: Spec) -> str:
        """Return the id of a spec that is there, says the same and has no result; or nothing."""
        waiting = self._specs.get(_said(spec))
        return waiting.pop() if waiting else ""


def read_leftovers(workspace: Workspace, scope: Scope, index: ImageIndex) -> Leftovers:
    """Return what interrupted imports left in a scope."""
    found = Leftovers()
    for folder in images_without_asset(workspace, scope):
        copies = list(_files_of(folder))
        found.temporaries += [one for one in copies if one.name.startswith(TEMPORARY_PREFIX)]
        whole = [one for one in copies if not one.name.startswith(TEMPORARY_PREFIX)]
        if not whole:
            found._empty.append(folder.name)  # noqa: SLF001 - a part of this module's own class
        elif len(whole) == 1:
            found._copies[whole[0].stem] = folder.name  # noqa: SLF001
    home = workspace.data_root / scope.folder
    for name in (FOLDERS[Spec.KIND], FOLDERS[Asset.KIND], "catalogs"):
        found.temporaries += sorted((home / name).glob(f"{TEMPORARY_PREFIX}*"))
    for spec in _specs_without_asset(workspace, scope, index):
        found._specs.setdefault(_said(spec), []).append(spec.id)  # noqa: SLF001
    return found


def _files_of(folder: Path) -> Iterator[Path]:
    original = folder / "original"
    if original.is_dir():
        yield from sorted(path for path in original.iterdir() if path.is_file())


def _specs_without_asset(workspace: Workspace, scope: Scope, index: ImageIndex) -> Iterator[Spec]:
    for spec_id in workspace.records.ids(Spec, scope):
        if spec_id in index.specs:
            continue
        try:
            yield workspace.records.read(Spec, scope, spec_id).record
        except RecordError:
            continue  # validate says what is wrong with it; it is nobody's to complete


def _said(spec: Spec) -> bytes:
    return msgspec.json.encode(replace(spec, id="", created_at="", updated_at=""))


def remove_temporaries(workspace: Workspace, leftovers: Leftovers) -> None:
    """Remove the half-written files that were found.

    Raises:
        LockedError: When another writer holds the workspace.
        StorageError: When the disk refuses.
    """
    if not leftovers.temporaries:
        return
    timeout_s = workspace.settings.number("lock.timeoutSeconds")
    # Whoever was writing when we looked is done once the lock is ours: what is left is nobody's.
    with workspace_lock(workspace.runtime, timeout_s=timeout_s), disk_refusals():
        for path in leftovers.temporaries:
            path.unlink(missing_ok=True)
