"""The controlled words: what records use must be in a catalog, and exclusive tags exclude."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from lora_pipeline.catalog.catalogs import read_vocabulary
from lora_pipeline.catalog.records import Asset, Checkpoint, Project, Scenarios, Spec, Styles, Tags
from lora_pipeline.catalog.vocabulary import Vocabulary, unknown_word
from lora_pipeline.foundation.findings import Finding, Severity
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.foundation.record import Record
from lora_pipeline.operations.validation.collected import CollectedRecords
from lora_pipeline.releases.records import Lora
from lora_pipeline.workspace.definitions import definition_ids
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace


def word_findings(workspace: Workspace, records: CollectedRecords) -> Iterator[Finding]:
    """Yield every word that no catalog has, tags that exclude each other, and twin triggers.

    Args:
        workspace: Reads from ``records``.
        records: All records.
    """
    words = _Words(workspace, records)
    for scope in records.scopes():
        yield from words.of_scope(scope)
    yield from _checkpoint_catalogs(workspace, records)
    yield from _twin_triggers(workspace, records)


@dataclass(frozen=True)
class _Words:
    workspace: Workspace
    records: CollectedRecords

    def of_scope(self, scope: Scope) -> Iterator[Finding]:
        vocabulary = read_vocabulary(self.workspace, scope)
        for project in self.records.all(Project, scope):
            yield from self._project(project, vocabulary)
        for spec in self.records.all(Spec, scope):
            yield from self._spec(spec, vocabulary)
        for asset in self.records.all(Asset, scope):
            yield from self._asset(asset, vocabulary)
        types = self._asset_types(scope, vocabulary)
        for lora in self.records.all(Lora, scope):
            for asset_type in lora.record.asset_types:
                yield from self._known(lora, "asset type", asset_type, types)
        for checkpoint in self.records.all(Checkpoint, scope):
            for asset_type in checkpoint.record.supported_asset_types:
                yield from self._known(
                    checkpoint, "asset type", asset_type, types, severity="warning"
                )

    def _asset_types(self, scope: Scope, vocabulary: Vocabulary) -> Mapping[str, object]:
        if scope != SHARED:
            return vocabulary.asset_types
        # Shared LoRAs and checkpoints serve the asset types of every project.
        known: dict[str, object] = {}
        for other in self.records.scopes():
            known |= read_vocabulary(self.workspace, other).asset_types
        return known

    def _project(self, loaded: Loaded[Project], vocabulary: Vocabulary) -> Iterator[Finding]:
        project = loaded.record
        yield from self._known(loaded, "style", project.defaults.style, vocabulary.styles)
        yield from self._known(loaded, "scenario", project.defaults.scenario, vocabulary.scenarios)
        policies = definition_ids(self.workspace, "gates")
        for asset_type, policy_id in project.gate.items():
            yield from self._known(loaded, "asset type", asset_type, vocabulary.asset_types)
            if policy_id not in policies:
                near = did_you_mean(policy_id, policies)
                yield self._finding(
                    loaded,
                    "policy_unknown",
                    f"gate names the policy {policy_id!r}, which is not there",
                    f"did you mean {near}?" if near else f"there are: {', '.join(policies)}",
                )

    def _spec(self, loaded: Loaded[Spec], vocabulary: Vocabulary) -> Iterator[Finding]:
        spec = loaded.record
        if spec.checkpoint_id:
            vocabulary = read_vocabulary(self.workspace, loaded.scope, spec.checkpoint_id)
        yield from self._known(loaded, "asset type", spec.asset_type, vocabulary.asset_types)
        yield from self._known(loaded, "style", spec.style, vocabulary.styles)
        yield from self._known(loaded, "scenario", spec.scenario, vocabulary.scenarios)
        yield from self._tags(loaded, spec.tags, vocabulary, "")

    def _asset(self, loaded: Loaded[Asset], vocabulary: Vocabulary) -> Iterator[Finding]:
        for version in loaded.record.versions:
            for variant in version.variants:
                yield from self._tags(loaded, variant.tags, vocabulary, f"variant {variant.id}, ")

    def _tags(
        self, loaded: Loaded[Asset] | Loaded[Spec], tags: tuple[str, ...], vocabulary: Vocabulary,
        where: str,
    ) -> Iterator[Finding]:  # fmt: skip
        for unknown in vocabulary.unknown_tags(tags):
            yield self._finding(
                loaded,
                "word_unknown",
                f"{where}tag {unknown.word} is in no catalog",
                f"did you mean {unknown.meant}?"
                if unknown.meant
                else "add it to catalogs/tags.json",
            )
        for clash in vocabulary.clashes(tags):
            yield self._finding(
                loaded, "tags_exclusive", f"{where}{clash}", "keep one of them: lora asset tag"
            )

    def _known(
        self,
        loaded: Loaded[Project] | Loaded[Spec] | Loaded[Lora] | Loaded[Checkpoint],
        what: str,
        word: str,
        known: Mapping[str, object],
        *,
        severity: Severity = "error",
    ) -> Iterator[Finding]:
        unknown = unknown_word(word, known)
        if word and unknown:
            yield self._finding(
                loaded,
                "word_unknown",
                f"{what} {word} is in no catalog",
                f"did you mean {unknown.meant}?" if unknown.meant else "add it to the catalog",
                severity=severity,
            )

    def _finding(
        self,
        loaded: Loaded[Project] | Loaded[Spec] | Loaded[Lora] | Loaded[Checkpoint] | Loaded[Asset],
        code: str,
        message: str,
        fix: str,
        *,
        severity: Severity = "error",
    ) -> Finding:
        return Finding(code, severity, self.workspace.relative(loaded.path), message, fix)


def _checkpoint_catalogs(workspace: Workspace, records: CollectedRecords) -> Iterator[Finding]:
    kinds: tuple[type[Record], ...] = (Styles, Scenarios, Tags)
    for scope in records.scopes():
        for kind in kinds:
            for record_id in records.ids(kind, scope):
                checkpoint_id = record_id.rpartition("/")[0]
                if checkpoint_id and not records.named(
                    Checkpoint, workspace.visible(scope), checkpoint_id
                ):
                    known = records.ids(Checkpoint, scope)
                    near = did_you_mean(checkpoint_id, known)
                    yield Finding(
                        "reference_lost",
                        "error",
                        workspace.relative(records.path(kind.KIND, scope, record_id)),
                        f"it is for checkpoint {checkpoint_id}, which is not there",
                        f"did you mean {near}?" if near else "",
                    )


def _twin_triggers(workspace: Workspace, records: CollectedRecords) -> Iterator[Finding]:
    for scope in records.scopes():
        met: dict[str, Loaded[Lora]] = {}
        # Shared LoRAs meet those of every project, and each other once.
        for place in reversed(workspace.visible(scope)):
            for loaded in records.all(Lora, place):
                trigger = loaded.record.trigger_word.casefold()
                twin = met.setdefault(trigger, loaded) if trigger else loaded
                if twin is not loaded and place == scope:
                    yield Finding(
                        "trigger_twice",
                        "error",
                        workspace.relative(loaded.path),
                        f"the trigger word {loaded.record.trigger_word!r} is also that of "
                        f"{twin.record_id} in {twin.scope}",
                        "give one of them another word before it is trained",
                    )
