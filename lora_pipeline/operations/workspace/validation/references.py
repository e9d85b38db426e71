"""What records say of each other: every id that is named must be there, and agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

from lora_pipeline.catalog.records import Asset, Checkpoint, Spec
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.evaluation.records import Evaluation, Review
from lora_pipeline.foundation.findings import Finding
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.foundation.record import Record
from lora_pipeline.operations.workspace.validation.at_record import finding_at
from lora_pipeline.operations.workspace.validation.collected import CollectedRecords
from lora_pipeline.releases.records import Lora
from lora_pipeline.training.records import Run
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace


def reference_findings(workspace: Workspace, records: CollectedRecords) -> Iterator[Finding]:
    """Yield every reference that leads nowhere or to something that says otherwise."""
    checker = _References(workspace, records)
    for spec in records.everywhere(Spec):
        yield from checker.spec(spec)
    for asset in records.everywhere(Asset):
        yield from checker.asset(asset)
    for manifest in records.everywhere(Manifest):
        yield from checker.manifest(manifest)
    for lora in records.everywhere(Lora):
        yield from checker.lora(lora)
    for run in records.everywhere(Run):
        yield from checker.run(run)
    for evaluation in records.everywhere(Evaluation):
        yield from checker.evaluation(evaluation)
    for review in records.everywhere(Review):
        yield from checker.review(review)


class _References(msgspec.Struct, frozen=True):
    workspace: Workspace
    records: CollectedRecords

    def spec(self, loaded: Loaded[Spec]) -> Iterator[Finding]:
        spec = loaded.record
        yield from self._of_scope(loaded, spec.project_id)
        yield from self._names(loaded, Checkpoint, spec.checkpoint_id, "checkpointId")
        for lora_id in spec.lora_ids:
            yield from self._names(loaded, Lora, lora_id, "loraIds")

    def asset(self, loaded: Loaded[Asset]) -> Iterator[Finding]:
        asset = loaded.record
        yield from self._of_scope(loaded, asset.project_id)
        yield from self._names(loaded, Spec, asset.spec_id, "specId")
        for version in asset.versions:
            variants = [variant.id for variant in version.variants]
            if version.primary_variant_id and version.primary_variant_id not in variants:
                yield finding_at(
                    self.workspace,
                    loaded,
                    "reference_lost",
                    f"version {version.id} names the primary variant "
                    f"{version.primary_variant_id}, which it does not have",
                )
        yield from self._twice(loaded, "version", [version.id for version in asset.versions])

    def manifest(self, loaded: Loaded[Manifest]) -> Iterator[Finding]:
        manifest = loaded.record
        yield from self._scope_word(loaded, manifest.scope)
        if manifest.project_id:
            yield from self._of_scope(loaded, manifest.project_id)
        yield from self._names(
            loaded, Checkpoint, manifest.caption_rule.checkpoint_id, "captionRule.checkpointId"
        )
        scopes = self._all_near(loaded.scope)
        lost = [
            item.asset_id
            for item in manifest.items
            if not self.records.named(Asset, scopes, item.asset_id)
        ]
        if lost:
            yield finding_at(
                self.workspace,
                loaded,
                "reference_lost",
                f"{len(lost)} items name assets that are not there, the first is {lost[0]}",
                f"restore them from Git, or lora dataset build {manifest.id}",
            )

    def lora(self, loaded: Loaded[Lora]) -> Iterator[Finding]:
        lora = loaded.record
        yield from self._scope_word(loaded, lora.scope)
        yield from self._names(loaded, Checkpoint, lora.checkpoint_id, "checkpointId")
        ids = [release.id for release in lora.releases]
        yield from self._twice(loaded, "release", ids)
        for release in lora.releases:
            where = f"release {release.id}"
            run_id = str(release.training.get("runId", ""))
            dataset_id = str(release.training.get("datasetId", ""))
            yield from self._names(loaded, Run, run_id, f"{where}, runId", anywhere=True)
            yield from self._names(
                loaded, Manifest, dataset_id, f"{where}, datasetId", anywhere=True
            )
            if release.parent_release_id and release.parent_release_id not in ids:
                yield self._lost(
                    loaded, "release", release.parent_release_id, f"{where}, parentReleaseId", ids
                )

    def run(self, loaded: Loaded[Run]) -> Iterator[Finding]:
        run = loaded.record
        yield from self._names(loaded, Lora, run.lora_id, "loraId")
        yield from self._names(loaded, Checkpoint, run.checkpoint_id, "checkpointId")
        yield from self._names(loaded, Manifest, run.dataset_id, "datasetId", anywhere=True)

    def evaluation(self, loaded: Loaded[Evaluation]) -> Iterator[Finding]:
        evaluation = loaded.record
        yield from self._release(loaded, evaluation.lora_id, evaluation.release_id)
        yield from self._names(loaded, Checkpoint, evaluation.checkpoint_id, "checkpointId")

    def review(self, loaded: Loaded[Review]) -> Iterator[Finding]:
        review = loaded.record
        yield from self._release(loaded, review.lora_id, review.release_id)
        yield from self._names(loaded, Evaluation, review.evaluation_id, "evaluationId")
        if self.records.exists(Evaluation, loaded.scope, review.evaluation_id):
            judged = self.records.read(Evaluation, loaded.scope, review.evaluation_id).record
            said = (review.lora_id, review.release_id)
            if said != (judged.lora_id, judged.release_id):
                yield finding_at(
                    self.workspace,
                    loaded,
                    "reference_differs",
                    f"it is about {' '.join(said)}, the evaluation that it names is about "
                    f"{judged.lora_id} {judged.release_id}",
                    "restore the review from Git; a verdict is never changed",
                )

    def _release(self, loaded: Loaded[Any], lora_id: str, release_id: str) -> Iterator[Finding]:
        yield from self._names(loaded, Lora, lora_id, "loraId")
        for scope in self.workspace.visible(loaded.scope):
            if self.records.exists(Lora, scope, lora_id):
                lora = self.records.read(Lora, scope, lora_id).record
                known = [release.id for release in lora.releases]
                if release_id not in known:
                    yield self._lost(loaded, "release", release_id, "releaseId", known)
                return

    def _names(
        self,
        loaded: Loaded[Any],
        kind: type[Record],
        record_id: str,
        field: str,
        *,
        anywhere: bool = False,
    ) -> Iterator[Finding]:
        """Check a reference; an empty one is none."""
        scopes = self._all_near(loaded.scope) if anywhere else self.workspace.visible(loaded.scope)
        if record_id and not self.records.named(kind, scopes, record_id):
            known = [one for scope in scopes for one in self.records.ids(kind, scope)]
            yield self._lost(loaded, kind.KIND, record_id, field, known)

    def _lost(
        self, loaded: Loaded[Any], kind: str, record_id: str, field: str, known: Iterable[str]
    ) -> Finding:
        near = did_you_mean(record_id, known)
        fix = f"did you mean {near}?" if near else ""
        if kind == Lora.KIND and not near:
            fix = f"restore it from Git, or lora delete {record_id} to remove what is left of it"
        return finding_at(
            self.workspace,
            loaded,
            "reference_lost",
            f"{field} names {kind} {record_id}, which is not there",
            fix,
        )

    def _of_scope(self, loaded: Loaded[Any], project_id: str) -> Iterator[Finding]:
        if project_id != loaded.scope.project_id:
            yield finding_at(
                self.workspace,
                loaded,
                "scope_differs",
                f"it says project {project_id}, and stands in {loaded.scope}",
                "move the file, or correct projectId",
            )

    def _scope_word(self, loaded: Loaded[Any], scope: str) -> Iterator[Finding]:
        if scope != loaded.scope.name:
            yield finding_at(
                self.workspace,
                loaded,
                "scope_differs",
                f"it says scope {scope}, and stands in {loaded.scope}",
                "move the file, or correct scope",
            )

    def _twice(self, loaded: Loaded[Any], what: str, ids: Sequence[str]) -> Iterator[Finding]:
        for repeated in sorted({one for one in ids if ids.count(one) > 1}):
            yield finding_at(self.workspace, loaded, "id_twice", f"{what} {repeated} stands twice")

    def _all_near(self, scope: Scope) -> list[Scope]:
        visible = self.workspace.visible(scope)
        return visible + [other for other in self.records.scopes() if other not in visible]
