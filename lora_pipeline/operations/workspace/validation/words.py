"""The controlled words: what records use must be in a catalog, and exclusive tags exclude."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from lora_pipeline.catalog.catalogs import read_vocabulary
from lora_pipeline.catalog.records import Asset, Checkpoint, Project, Spec
from lora_pipeline.catalog.vocabulary import Vocabulary
from lora_pipeline.catalog.word_findings import WordProblem, tag_problems, word_problem
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.foundation.findings import Finding, Severity
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.operations.workspace.validation.at_record import finding_at
from lora_pipeline.operations.workspace.validation.collected import CollectedRecords
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
    yield from _twin_triggers(workspace, records)


class _Words:
    def __init__(self, workspace: Workspace, records: CollectedRecords) -> None:
        self.workspace = workspace
        self.records = records
        self._vocabularies: dict[tuple[Scope, str], Vocabulary] = {}

    def of_scope(self, scope: Scope) -> Iterator[Finding]:
        vocabulary = self._vocabulary(scope)
        for project in self.records.all(Project, scope):
            yield from self._project(project, vocabulary)
        for spec in self.records.all(Spec, scope):
            yield from self._spec(spec)
        for asset in self.records.all(Asset, scope):
            yield from self._asset(asset)
        types = self._asset_types(scope, vocabulary)
        for lora in self.records.all(Lora, scope):
            yield from self._known(lora, "asset type", lora.record.asset_types, types)
        for checkpoint in self.records.all(Checkpoint, scope):
            supported = checkpoint.record.supported_asset_types
            yield from self._known(checkpoint, "asset type", supported, types, severity="warning")
        for manifest in self.records.all(Manifest, scope):
            yield from self._rule(manifest, vocabulary, types)

    def _vocabulary(self, scope: Scope, checkpoint_id: str = "") -> Vocabulary:
        key = (scope, checkpoint_id)
        if key not in self._vocabularies:
            self._vocabularies[key] = read_vocabulary(self.workspace, scope, checkpoint_id)
        return self._vocabularies[key]

    def _asset_types(self, scope: Scope, vocabulary: Vocabulary) -> Mapping[str, object]:
        if scope != SHARED:
            return vocabulary.asset_types
        # Shared LoRAs and checkpoints serve the asset types of every project.
        known: dict[str, object] = {}
        for other in self.records.scopes():
            known |= self._vocabulary(other).asset_types
        return known

    def _project(self, loaded: Loaded[Project], vocabulary: Vocabulary) -> Iterator[Finding]:
        project, defaults = loaded.record, loaded.record.defaults
        yield from self._known(loaded, "style", [defaults.style], vocabulary.styles)
        yield from self._known(loaded, "scenario", [defaults.scenario], vocabulary.scenarios)
        yield from self._known(loaded, "palette", defaults.palette_ids, vocabulary.palettes)
        yield from self._tags(loaded, defaults.tag_ids, vocabulary, "defaults: ")
        yield from self._known(loaded, "asset type", project.gate, vocabulary.asset_types)
        policies = definition_ids(self.workspace, "gates")
        for policy_id in project.gate.values():
            if policy_id not in policies:
                near = did_you_mean(policy_id, policies)
                yield finding_at(
                    self.workspace,
                    loaded,
                    "policy_unknown",
                    f"gate names the policy {policy_id!r}, which is not there",
                    f"did you mean {near}?" if near else f"there are: {', '.join(policies)}",
                )

    def _spec(self, loaded: Loaded[Spec]) -> Iterator[Finding]:
        spec = loaded.record
        vocabulary = self._vocabulary(loaded.scope, spec.checkpoint_id)
        yield from self._known(loaded, "asset type", [spec.asset_type], vocabulary.asset_types)
        yield from self._known(loaded, "style", [spec.style], vocabulary.styles)
        yield from self._known(loaded, "scenario", [spec.scenario], vocabulary.scenarios)
        yield from self._tags(loaded, spec.tags, vocabulary)

    def _asset(self, loaded: Loaded[Asset]) -> Iterator[Finding]:
        spec = self._spec_of(loaded)
        vocabulary = self._vocabulary(loaded.scope, spec.checkpoint_id if spec else "")
        for version in loaded.record.versions:
            for variant in version.variants:
                where = f"variant {variant.id}, "
                yield from self._tags(loaded, variant.tags, vocabulary, where)
                if spec:
                    yield from self._against_spec(loaded, variant.tags, spec, vocabulary, where)

    def _spec_of(self, loaded: Loaded[Asset]) -> Spec | None:
        spec_id = loaded.record.spec_id
        if not self.records.exists(Spec, loaded.scope, spec_id):
            return None
        return self.records.read(Spec, loaded.scope, spec_id).record

    def _against_spec(
        self,
        loaded: Loaded[Asset],
        tags: tuple[str, ...],
        spec: Spec,
        vocabulary: Vocabulary,
        where: str,
    ) -> Iterator[Finding]:
        """Yield tags of an image that its spec's own tags exclude: both would be in a caption."""
        told = {
            clash.group for clash in (*vocabulary.clashes(tags), *vocabulary.clashes(spec.tags))
        }
        for clash in vocabulary.clashes((*tags, *spec.tags)):
            if clash.group not in told:
                yield finding_at(
                    self.workspace,
                    loaded,
                    "tags_exclusive",
                    f"{where}{clash}, the last of them in its spec",
                    f"lora asset tag {loaded.record_id} --remove {clash.tags[0]}, or correct "
                    f"spec {spec.id}",
                    severity="warning",
                )

    def _rule(
        self, loaded: Loaded[Manifest], vocabulary: Vocabulary, types: Mapping[str, object]
    ) -> Iterator[Finding]:
        """Yield words of a manifest's rule that select nothing any more."""
        rule = loaded.record.selection
        shared = loaded.scope == SHARED
        yield from self._known(loaded, "asset type", rule.asset_types, types, severity="warning")
        if shared:
            return  # its words are those of the projects that it takes images from
        for what, words, known in (
            ("style", rule.styles, vocabulary.styles),
            ("scenario", rule.scenarios, vocabulary.scenarios),
        ):
            yield from self._known(loaded, what, words, known, severity="warning")
        for problem in tag_problems((*rule.tags, *rule.not_tags), vocabulary):
            if problem.code == "tag_unknown":
                yield self._of(loaded, problem, "its rule: ", "warning")

    def _tags(
        self, loaded: Loaded[Any], tags: tuple[str, ...], vocabulary: Vocabulary, where: str = ""
    ) -> Iterator[Finding]:
        for problem in tag_problems(tags, vocabulary):
            yield self._of(loaded, problem, where, "error")

    def _known(
        self,
        loaded: Loaded[Any],
        what: str,
        words: Iterable[str],
        known: Mapping[str, object],
        *,
        severity: Severity = "error",
    ) -> Iterator[Finding]:
        for word in words:
            problem = word_problem(what, word, known)
            if problem:
                yield self._of(loaded, problem, "", severity)

    def _of(
        self, loaded: Loaded[Any], problem: WordProblem, where: str, severity: Severity
    ) -> Finding:
        fix = problem.fix
        if isinstance(loaded.record, Asset):
            fix = fix.replace("lora asset tag ID", f"lora asset tag {loaded.record_id}")
        message = f"{where}{problem.message}"
        return finding_at(self.workspace, loaded, problem.code, message, fix, severity=severity)


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
