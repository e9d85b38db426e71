"""Catalogs and checkpoint profiles by themselves: each word once, in its group, without doubt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

from lora_pipeline.catalog.catalogs import read_vocabulary
from lora_pipeline.catalog.profile_records import CheckpointProfile
from lora_pipeline.catalog.records import (
    AssetType,
    AssetTypes,
    CatalogWord,
    Checkpoint,
    Palettes,
    Scenarios,
    Spec,
    Styles,
    Tags,
)
from lora_pipeline.catalog.vocabulary import Vocabulary
from lora_pipeline.catalog.word_findings import WordProblem, tag_problems, word_problem
from lora_pipeline.foundation.findings import Finding, Severity
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.foundation.record import Record
from lora_pipeline.operations.workspace.validation.at_record import finding_at
from lora_pipeline.operations.workspace.validation.collected import CollectedRecords
from lora_pipeline.workspace.definitions import definition_ids
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

_OWN: tuple[type[Record], ...] = (Styles, Scenarios, Tags)


def catalog_findings(workspace: Workspace, records: CollectedRecords) -> Iterator[Finding]:
    """Yield what is wrong with catalogs and profiles, whoever uses their words."""
    checker = _Catalogs(workspace, records)
    for scope in records.scopes():
        yield from checker.of_scope(scope)


class _Catalogs:
    def __init__(self, workspace: Workspace, records: CollectedRecords) -> None:
        self.workspace = workspace
        self.records = records
        self.suites = definition_ids(workspace, "suites")

    def of_scope(self, scope: Scope) -> Iterator[Finding]:
        vocabulary = read_vocabulary(self.workspace, scope)
        for styles in self._every(Styles, scope):
            yield from self._words(styles, "style", styles.record.styles)
        for scenarios in self._every(Scenarios, scope):
            yield from self._words(scenarios, "scenario", scenarios.record.scenarios)
        for palettes in self._every(Palettes, scope):
            ids = [one.id for one in palettes.record.palettes]
            yield from self._twice(palettes, "palette", ids)
        for tags in self._every(Tags, scope):
            yield from self._tags(tags)
        for types in self._every(AssetTypes, scope):
            yield from self._asset_types(types, vocabulary)
        yield from self._of_checkpoints(scope)
        yield from self._profiles(scope, vocabulary)
        for spec in self.records.all(Spec, scope):
            yield from self._profile_of(spec)

    def _every(self, kind: type[Any], scope: Scope) -> Iterator[Loaded[Any]]:
        """Yield the catalogs of a kind, those of checkpoints too."""
        for record_id in self.records.ids(kind, scope):
            yield self.records.read(kind, scope, record_id)

    def _words(
        self, loaded: Loaded[Any], what: str, words: Iterable[CatalogWord]
    ) -> Iterator[Finding]:
        listed = list(words)
        yield from self._twice(loaded, what, [one.id for one in listed])
        yield from self._aliases(loaded, what, [(one.id, one.aliases) for one in listed])

    def _tags(self, loaded: Loaded[Tags]) -> Iterator[Finding]:
        groups = loaded.record.groups
        yield from self._twice(loaded, "tag group", [one.id for one in groups])
        yield from self._twice(loaded, "tag", [tag.id for one in groups for tag in one.tags])
        for group in groups:
            for tag in group.tags:
                if tag.id.partition(":")[0] != group.id:
                    yield finding_at(
                        self.workspace,
                        loaded,
                        "tag_group_differs",
                        f"tag {tag.id} stands in group {group.id}",
                        f"lora rename tag {tag.id} {group.id}:{tag.id.partition(':')[2]}, or move "
                        "it to its group",
                    )
        tags = [(tag.id, tag.aliases) for one in groups for tag in one.tags]
        yield from self._aliases(loaded, "tag", tags)

    def _twice(self, loaded: Loaded[Any], what: str, ids: list[str]) -> Iterator[Finding]:
        for word in sorted({one for one in ids if ids.count(one) > 1}):
            yield finding_at(
                self.workspace,
                loaded,
                "word_twice",
                f"{what} {word} stands twice",
                "take one of them out",
            )

    def _aliases(
        self, loaded: Loaded[Any], what: str, words: Iterable[tuple[str, tuple[str, ...]]]
    ) -> Iterator[Finding]:
        meant: dict[str, set[str]] = defaultdict(set)
        listed = list(words)
        ids = {word.casefold() for word, _ in listed}
        for word, aliases in listed:
            group = word.partition(":")[0] if what == "tag" else ""
            for alias in aliases:
                # A short alias of a tag means one within its group; the bare one is a comfort.
                spelling = alias if ":" in alias or not group else f"{group}:{alias}"
                meant[spelling.casefold()].add(word)
        for spelling, found in sorted(meant.items()):
            others = found | ({spelling} if spelling in ids else set())
            if len(others) > 1:
                yield finding_at(
                    self.workspace,
                    loaded,
                    "alias_ambiguous",
                    f"the spelling {spelling!r} means {' and '.join(sorted(others))}",
                    "take it out of the aliases of one of them",
                )

    def _asset_types(self, loaded: Loaded[AssetTypes], vocabulary: Vocabulary) -> Iterator[Finding]:
        types = loaded.record.asset_types
        yield from self._twice(loaded, "asset type", [one.id for one in types])
        for one in types:
            for problem in tag_problems(one.default_tags, vocabulary):
                yield self._of(loaded, problem, f"default tags of {one.id}: ")
            yield from self._counts(loaded, one)
            if one.suite_id and one.suite_id not in self.suites:
                near = did_you_mean(one.suite_id, self.suites)
                yield finding_at(
                    self.workspace,
                    loaded,
                    "suite_unknown",
                    f"{one.id} names the suite {one.suite_id}, which is not there",
                    f"did you mean {near}?" if near else f"write config/suites/{one.suite_id}.yaml",
                )

    def _counts(self, loaded: Loaded[AssetTypes], one: AssetType) -> Iterator[Finding]:
        counts = one.image_counts
        if counts and not counts.minimum <= counts.recommended_from <= counts.recommended_to:
            yield finding_at(
                self.workspace,
                loaded,
                "counts_disordered",
                f"{one.id} asks for at least {counts.minimum} images and recommends "
                f"{counts.recommended_from} to {counts.recommended_to}",
                "minimum, recommendedFrom and recommendedTo must rise",
            )

    def _of_checkpoints(self, scope: Scope) -> Iterator[Finding]:
        for kind in _OWN:
            for record_id in self.records.ids(kind, scope):
                checkpoint_id = record_id.rpartition("/")[0]
                if checkpoint_id:
                    path = self.records.path(kind.KIND, scope, record_id)
                    where = self.workspace.relative(path)
                    yield from self._checkpoint(scope, checkpoint_id, where, "it is for")

    def _checkpoint(
        self, scope: Scope, checkpoint_id: str, where: str, verb: str
    ) -> Iterator[Finding]:
        visible = self.workspace.visible(scope)
        if self.records.named(Checkpoint, visible, checkpoint_id):
            return
        known = [one for place in visible for one in self.records.ids(Checkpoint, place)]
        near = did_you_mean(checkpoint_id, known)
        yield Finding(
            "reference_lost",
            "error",
            where,
            f"{verb} checkpoint {checkpoint_id}, which is not there",
            f"did you mean {near}?" if near else f"lora checkpoint add {checkpoint_id} --path PATH",
        )

    def _profiles(self, scope: Scope, vocabulary: Vocabulary) -> Iterator[Finding]:
        versions: dict[tuple[str, int], str] = {}
        for loaded in self.records.all(CheckpointProfile, scope):
            profile, where = loaded.record, self.workspace.relative(loaded.path)
            if profile.profile_id != loaded.record_id:
                yield finding_at(
                    self.workspace,
                    loaded,
                    "id_differs",
                    f"it holds the id {profile.profile_id!r}, its place says {loaded.record_id!r}",
                    "the file name is the id: rename the file, or correct profileId",
                )
            yield from self._checkpoint(scope, profile.checkpoint_id, where, "it is for")
            twin = versions.setdefault((profile.checkpoint_id, profile.version), profile.profile_id)
            if twin != profile.profile_id:
                yield finding_at(
                    self.workspace,
                    loaded,
                    "profile_version_twice",
                    f"version {profile.version} for {profile.checkpoint_id} is also {twin}",
                    "a change of a profile is a new version",
                )
            for asset_type in profile.per_asset_type:
                problem = word_problem("asset type", asset_type, vocabulary.asset_types)
                if problem:
                    yield self._of(loaded, problem, "perAssetType: ", "warning")
            own = read_vocabulary(self.workspace, scope, profile.checkpoint_id)
            named = [one for one in profile.tag_order if ":" in one]
            for problem in tag_problems(named, own):
                if problem.code == "tag_unknown":
                    yield self._of(loaded, problem, "tagOrder: ", "warning")

    def _profile_of(self, loaded: Loaded[Spec]) -> Iterator[Finding]:
        spec = loaded.record
        if not spec.checkpoint_profile_id:
            return
        visible = self.workspace.visible(loaded.scope)
        name = spec.checkpoint_profile_id
        if not self.records.named(CheckpointProfile, visible, name):
            known = [one for place in visible for one in self.records.ids(CheckpointProfile, place)]
            near = did_you_mean(name, known)
            yield finding_at(
                self.workspace,
                loaded,
                "reference_lost",
                f"checkpointProfileId names profile {name}, which is not there",
                f"did you mean {near}?" if near else "lora checkpoint profile list",
            )
            return
        for place in visible:
            if self.records.exists(CheckpointProfile, place, name):
                profile = self.records.read(CheckpointProfile, place, name).record
                yield from self._agrees(loaded, profile)
                return

    def _agrees(self, loaded: Loaded[Spec], profile: CheckpointProfile) -> Iterator[Finding]:
        spec = loaded.record
        if spec.checkpoint_profile_version not in (0, profile.version):
            yield finding_at(
                self.workspace,
                loaded,
                "profile_differs",
                f"it names version {spec.checkpoint_profile_version} of {profile.profile_id}, "
                f"which is version {profile.version}",
                "a profile never changes its version: restore it from Git",
            )
        if spec.checkpoint_id and spec.checkpoint_id != profile.checkpoint_id:
            yield finding_at(
                self.workspace,
                loaded,
                "profile_differs",
                f"it is for {spec.checkpoint_id}, its profile {profile.profile_id} is for "
                f"{profile.checkpoint_id}",
                "name a profile of its checkpoint: lora checkpoint profile list",
            )

    def _of(
        self, loaded: Loaded[Any], problem: WordProblem, where: str, severity: Severity = "error"
    ) -> Finding:
        words = f"{where}{problem.message}"
        fix = "keep one of them" if problem.code == "tags_exclusive" else problem.fix
        return finding_at(self.workspace, loaded, problem.code, words, fix, severity=severity)
