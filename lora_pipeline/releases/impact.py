"""What some assets are part of: manifests, releases, runs under way, copies on disk."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from lora_pipeline.catalog.image_index import assets_with_images
from lora_pipeline.catalog.records import Asset, Variant
from lora_pipeline.datasets.records import Item, Manifest
from lora_pipeline.datasets.staging.folder import staging_folder
from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.releases.evidence.facts import TrainedManifest
from lora_pipeline.releases.evidence.gathering import EvidenceReader
from lora_pipeline.releases.gate.policies import policy_for
from lora_pipeline.releases.gate.rights import answers_allowed, judge_withdrawals
from lora_pipeline.releases.records import Lora, Release
from lora_pipeline.training.records import Run
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import Loaded

_UNDER_WAY = ("created", "queued", "training")


class Subject(msgspec.Struct, frozen=True):
    """The assets that are asked about, and the digests of their images.

    Attributes:
        ids: Ids of the assets.
        projects: The projects that they belong to.
        images: Digest of an image, or of its pixels, to the asset that it is of.
    """

    ids: frozenset[str]
    projects: frozenset[str]
    images: Mapping[str, str]

    def found_in(self, items: Iterable[Item]) -> tuple[str, ...]:
        """Return the assets of ``items`` that are meant: by id, or as the same bytes."""
        return tuple(
            item.asset_id
            for item in items
            if item.asset_id in self.ids or item.sha256 in self.images
        )


class TouchedManifest(msgspec.Struct, frozen=True):
    """A manifest as it stands that holds some of the assets."""

    dataset_id: str
    scope: Scope
    assets: tuple[str, ...]
    of: int


class TouchedRelease(msgspec.Struct, frozen=True):
    """A release that was trained on some of the assets.

    Attributes:
        lora_id: Its LoRA.
        scope: Where that stands.
        release_id: Its id.
        status: Its status.
        active: Whether production uses it.
        dataset_id: The manifest that it was trained on.
        where: Where that was found; empty for the present file.
        assets: Those of the assets that are in it.
        of: How many images it holds.
        answered: Whether somebody answered for all of them, in a way that counts.
    """

    lora_id: str
    scope: Scope
    release_id: str
    status: str
    active: bool
    dataset_id: str
    where: str
    assets: tuple[str, ...]
    of: int
    answered: bool


class UnknownRelease(msgspec.Struct, frozen=True):
    """A release of which nobody can say any more what it was trained on."""

    lora_id: str
    scope: Scope
    release_id: str
    active: bool
    reason: str


class TouchedRun(msgspec.Struct, frozen=True):
    """A run under way that trains on some of the assets."""

    run_id: str
    scope: Scope
    lora_id: str
    state: str
    dataset_id: str


class Twin(msgspec.Struct, frozen=True):
    """Another asset with the same image."""

    asset_id: str
    project_id: str
    same_as: str
    withdrawn: bool


class Impact(msgspec.Struct, frozen=True):
    """Everything that some assets are part of.

    Attributes:
        subject: The assets.
        manifests: Manifests as they stand.
        releases: Releases, the active ones first.
        unknown: Releases whose manifest could not be found.
        runs: Runs under way.
        twins: Other assets with the same image.
        copies: Staged folders that hold copies of the images.
    """

    subject: Subject
    manifests: tuple[TouchedManifest, ...] = ()
    releases: tuple[TouchedRelease, ...] = ()
    unknown: tuple[UnknownRelease, ...] = ()
    runs: tuple[TouchedRun, ...] = ()
    twins: tuple[Twin, ...] = ()
    copies: tuple[Path, ...] = ()

    @property
    def unanswered(self) -> tuple[TouchedRelease, ...]:
        """The active releases that nobody answered for."""
        return tuple(one for one in self.releases if one.active and not one.answered)


def subject_of(assets: Iterable[Asset], ids: Iterable[str] = ()) -> Subject:
    """Return the subject of some assets, and of ids whose records are gone."""
    known, projects, images = set(ids), set(), {}
    for asset in assets:
        known.add(asset.id)
        projects.add(asset.project_id)
        for version in asset.versions:
            for variant in version.variants:
                images.update(dict.fromkeys(_digests_of(variant), asset.id))
    return Subject(frozenset(known), frozenset(projects), images)


def _digests_of(variant: Variant) -> list[str]:
    identities = [one for one in (variant.original, variant.alpha) if one is not None]
    digests = [digest for one in identities for digest in (one.sha256, one.pixel_sha256)]
    return [digest for digest in digests if digest]


def impact_of(reader: EvidenceReader, subject: Subject) -> Impact:
    """Return everything that the assets are part of, in every scope.

    Raises:
        RecordError: When a manifest, a LoRA or a run is not a valid record.
    """
    search = _Search(reader, subject)
    manifests = tuple(search.manifests())
    releases, unknown = search.releases()
    runs = tuple(search.runs())
    return Impact(
        subject=subject,
        manifests=manifests,
        releases=tuple(sorted(releases, key=lambda one: not one.active)),
        unknown=tuple(sorted(unknown, key=lambda one: not one.active)),
        runs=runs,
        twins=tuple(search.twins()),
        copies=tuple(folder for folder in dict.fromkeys(search.staged) if folder.is_dir()),
    )


def answers_wanted(
    reader: EvidenceReader, loaded: Loaded[Lora], taken: Container[str]
) -> tuple[str, ...]:
    """Return which answers may be given for a LoRA's active release, when one is wanted.

    Args:
        reader: Gathers what is known.
        loaded: The LoRA.
        taken: Assets that were withdrawn, or whose licence ended.

    Raises:
        RecordError: When a record that belongs to the release is not valid.
        SettingsError: When the gate's policy cannot be read.
    """
    release = loaded.record.release(loaded.record.active_release_id)
    if release is None:
        return ()
    evidence = reader.gather_rights(loaded, release, only=taken)
    force = policy_for(reader.workspace, reader.records, loaded.scope, loaded.record)
    judged = judge_withdrawals(evidence, force.policy)
    wanted = any(one.answer is None for one in judged)
    return answers_allowed(evidence) if wanted else ()


@dataclass
class _Search:
    reader: EvidenceReader
    subject: Subject
    staged: list[Path] = field(default_factory=list)

    def manifests(self) -> Iterator[TouchedManifest]:
        records = self.reader.records
        for scope in records.scopes():
            for loaded in records.all(Manifest, scope):
                found = self._found_in(loaded.record)
                if found:
                    yield TouchedManifest(loaded.record_id, scope, found, len(loaded.record.items))

    def releases(self) -> tuple[list[TouchedRelease], list[UnknownRelease]]:
        touched: list[TouchedRelease] = []
        unknown: list[UnknownRelease] = []
        for scope in self.reader.records.scopes():
            for loaded in self.reader.records.all(Lora, scope):
                for release in loaded.record.releases:
                    active = release.id == loaded.record.active_release_id
                    manifest = self.reader.manifests.trained(scope, release)
                    if not isinstance(manifest, TrainedManifest):
                        unknown.append(
                            UnknownRelease(
                                loaded.record_id, scope, release.id, active, manifest.reason
                            )
                        )
                        continue
                    found = self._found_in(manifest.manifest)
                    if found:
                        touched.append(self._release(loaded, release, manifest, found))
        return touched, unknown

    def runs(self) -> Iterator[TouchedRun]:
        for scope in self.reader.records.scopes():
            for loaded in self.reader.records.all(Run, scope):
                run = loaded.record
                if run.state not in _UNDER_WAY:
                    continue
                found = self.reader.manifests.find(
                    scope, run.dataset_id, run.manifest_hash, f"run {run.id}"
                )
                if isinstance(found, TrainedManifest) and self._found_in(found.manifest):
                    yield TouchedRun(run.id, scope, run.lora_id, run.state, run.dataset_id)

    def twins(self) -> Iterator[Twin]:
        for scope in self.reader.records.scopes():
            if not scope.project_id or not self.subject.images:
                continue
            found = assets_with_images(self.reader.workspace, scope, self.subject.images)
            for asset_id, digest in found.items():
                if asset_id not in self.subject.ids:
                    asset = self.reader.records.read(Asset, scope, asset_id).record
                    yield Twin(
                        asset_id,
                        scope.project_id,
                        self.subject.images[digest],
                        bool(asset.rights.withdrawn_at),
                    )

    def _found_in(self, manifest: Manifest) -> tuple[str, ...]:
        found = self.subject.found_in(manifest.items)
        if found and manifest.content_hash:
            self.staged.append(staging_folder(self.reader.workspace, manifest))
        return found

    def _release(
        self,
        loaded: Loaded[Lora],
        release: Release,
        trained: TrainedManifest,
        found: tuple[str, ...],
    ) -> TouchedRelease:
        return TouchedRelease(
            lora_id=loaded.record_id,
            scope=loaded.scope,
            release_id=release.id,
            status=release.status,
            active=release.id == loaded.record.active_release_id,
            dataset_id=str(release.training.get("datasetId", "")),
            where=trained.where,
            assets=found,
            of=len(trained.manifest.items),
            answered=self._answered(loaded, release, found),
        )

    def _answered(self, loaded: Loaded[Lora], release: Release, found: tuple[str, ...]) -> bool:
        if not self.reader.answers(loaded, release):
            return False
        try:
            evidence = self.reader.gather_rights(loaded, release, only=set(found))
            force = policy_for(
                self.reader.workspace, self.reader.records, loaded.scope, loaded.record
            )
            judged = judge_withdrawals(evidence, force.policy)
        except PipelineError:
            return False  # what cannot be judged was not answered
        answered = {one.image.asset_id for one in judged if one.answer is not None}
        return set(found) <= answered
