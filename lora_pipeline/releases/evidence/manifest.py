"""Find the manifest that a release was trained on: as it stands, or as Git remembers it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from lora_pipeline.datasets.manifest import hash_of_manifest
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.foundation.canonical import short
from lora_pipeline.foundation.errors import RecordInvalidError
from lora_pipeline.releases.evidence.facts import ManifestLost, TrainedManifest, Unproven
from lora_pipeline.releases.evidence.record_past import RecordPast
from lora_pipeline.releases.records import Release
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import RecordStore
from lora_pipeline.workspace.root import Workspace

Found = TrainedManifest | ManifestLost | Unproven


@dataclass
class ManifestFinder:
    """Finds manifests by their content hash, which is computed anew each time.

    Attributes:
        workspace: Where they are.
        records: The records, for a caller that has read them already.
        past: What Git knows of them.
    """

    workspace: Workspace
    records: RecordStore
    past: RecordPast
    _found: dict[tuple[Scope, str, str], TrainedManifest | None] = field(
        default_factory=dict, init=False
    )

    def trained(self, scope: Scope, release: Release) -> Found:
        """Return the manifest that a release of a LoRA in ``scope`` was trained on.

        Raises:
            RecordError: When a manifest of that id is not a valid record.
        """
        dataset_id = str(release.training.get("datasetId", ""))
        wanted = str(release.training.get("manifestHash", ""))
        return self.find(scope, dataset_id, wanted, release.id)

    def find(self, scope: Scope, dataset_id: str, wanted: str, name: str) -> Found:
        """Return the manifest of a content hash.

        Args:
            scope: Where it is asked for; other scopes are looked through as well.
            dataset_id: The id that it had.
            wanted: Its content hash.
            name: What was trained on it, for messages.

        Raises:
            RecordError: When a manifest of that id is not a valid record.
        """
        if not dataset_id or not wanted:
            return ManifestLost(f"nobody recorded which manifest {name} was trained on")
        key = (scope, dataset_id, wanted)
        if key not in self._found:
            self._found[key] = self._search(scope, dataset_id, wanted)
        return self._found[key] or self._lost(name, scope, dataset_id, wanted)

    def near(self, scope: Scope) -> list[Scope]:
        """Return every scope, this one first: a shared LoRA may be of a project's art."""
        visible = self.workspace.visible(scope)
        return visible + [other for other in self.records.scopes() if other not in visible]

    def _search(self, scope: Scope, dataset_id: str, wanted: str) -> TrainedManifest | None:
        scopes = self.near(scope)
        present = self._present(scopes, dataset_id)
        if present and _hash(present) == wanted == present.content_hash:
            return TrainedManifest(present)
        for place in scopes:
            path = self.records.path(Manifest.KIND, place, dataset_id)
            for earlier in self.past.earlier_manifests(path, wanted):
                if _hash(earlier) == wanted:
                    return TrainedManifest(earlier, "the Git history")
        return self._under_another_name(scopes, dataset_id, wanted)

    def _under_another_name(
        self, scopes: list[Scope], dataset_id: str, wanted: str
    ) -> TrainedManifest | None:
        for other in self._others(scopes, dataset_id):
            if other.content_hash == wanted == _hash(other):
                return TrainedManifest(other, f"{other.id}, which has the same content")
        for earlier in self.past.manifests_holding(wanted):
            if _hash(earlier) == wanted:
                return TrainedManifest(earlier, f"the Git history of {earlier.id}")
        return None

    def _others(self, scopes: list[Scope], dataset_id: str) -> Iterator[Manifest]:
        for place in scopes:
            for other in self.records.ids(Manifest, place):
                if other != dataset_id:
                    yield self.records.read(Manifest, place, other).record

    def _lost(
        self, name: str, scope: Scope, dataset_id: str, wanted: str
    ) -> ManifestLost | Unproven:
        present = self._present(self.near(scope), dataset_id)
        if present is None:
            what = f"manifest {dataset_id} is not there"
        elif present.content_hash == wanted:
            what = f"manifest {dataset_id} was edited: its content is not what its hash says"
        else:
            what = f"{dataset_id} is {short(_hash(present) or 'without hash')} now"
        words = f"{what}; {name} was trained on {short(wanted)}"
        if self.past.shallow:
            return Unproven(f"{words}, and this clone lacks the older history")
        return ManifestLost(words)

    def _present(self, scopes: list[Scope], dataset_id: str) -> Manifest | None:
        for place in scopes:
            if self.records.exists(Manifest, place, dataset_id):
                return self.records.read(Manifest, place, dataset_id).record
        return None


def _hash(manifest: Manifest) -> str:
    try:
        return hash_of_manifest(manifest)
    except RecordInvalidError:
        return ""
