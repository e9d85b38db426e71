"""What a model card tells of: the records about one release, and nothing of today."""

from __future__ import annotations

import re

import msgspec

from lora_pipeline.catalog.records import Asset, Checkpoint
from lora_pipeline.evaluation.records import Evaluation, Review
from lora_pipeline.foundation.errors import RecordInvalidError
from lora_pipeline.releases.evidence.facts import ManifestLost, TrainedManifest, Unproven
from lora_pipeline.releases.evidence.gathering import EvidenceReader
from lora_pipeline.releases.history import active_after, evidence_of, open_emergency
from lora_pipeline.releases.records import HistoryEntry, Lora, Release, Waiver
from lora_pipeline.training.records import Run
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

# Where a checkpoint came from, in the one form that model cards call a base model.
_HUB = re.compile(r"(?:hf://|https://huggingface\.co/)([\w.-]+/[\w.-]+?)(?:/|$)")


class CardFacts(msgspec.Struct, frozen=True):
    """Everything that a card is made of; two workspaces with the same records have the same.

    Attributes:
        lora: The LoRA.
        release: One of its releases.
        checkpoint: The base model's record.
        trained: The manifest that it was trained on, or why it is not there.
        withdrawn: Assets of the manifest that were withdrawn.
        run: The run that made it, where one is recorded.
        evaluation: The grid that its promotion rested on; else the newest complete one.
        entry: The entry of the history that made it active, or None.
        reviews: The verdicts that the promotion rested on; before one, all on its grid.
        waivers: The conditions that were set aside for the promotion.
        active: Whether it is the active release.
        emergency: Whether it is active without the gate.
    """

    lora: Lora
    release: Release
    checkpoint: Checkpoint
    trained: TrainedManifest | ManifestLost
    withdrawn: tuple[str, ...] = ()
    run: Run | None = None
    evaluation: Evaluation | None = None
    entry: HistoryEntry | None = None
    reviews: tuple[Review, ...] = ()
    waivers: tuple[Waiver, ...] = ()
    active: bool = False
    emergency: bool = False

    @property
    def hub_base(self) -> str:
        """The base model's name at Hugging Face, where a record tells it, or empty."""
        record = self.checkpoint
        told = [record.weights.uri if record.weights else ""]
        told.append(record.license.url if record.license else "")
        found = (_HUB.match(address) for address in told)
        return next((one.group(1) for one in found if one), "")


def card_facts(workspace: Workspace, loaded: Loaded[Lora], release: Release) -> CardFacts:
    """Return what a card of a release tells, from the records alone.

    Raises:
        RecordNotFoundError: When the base model has no record.
        RecordInvalidError: When this clone lacks the history that names the manifest, so that
            the card would be another one elsewhere.
        RecordError: When a record that belongs to the release is not valid.
    """
    lora, scope = loaded.record, loaded.scope
    reader = EvidenceReader(workspace, workspace.records)
    trained = reader.manifests.trained(scope, release)
    if isinstance(trained, Unproven):
        raise RecordInvalidError(trained.reason, hint="git fetch --unshallow")
    entry = evidence_of(lora.history, release.id)
    evaluation = _evaluation(workspace, loaded, release, entry)
    near = reader.manifests.near(scope)
    emergency = open_emergency(lora.history)
    return CardFacts(
        lora=lora,
        release=release,
        checkpoint=workspace.records.find(
            Checkpoint, workspace.visible(scope), lora.checkpoint_id
        ).record,
        # Where the manifest was found is no property of the release.
        trained=msgspec.structs.replace(trained, where="")
        if isinstance(trained, TrainedManifest)
        else trained,
        withdrawn=_withdrawn(workspace, near, trained),
        run=_run(workspace, near, release),
        evaluation=evaluation,
        entry=entry,
        reviews=_reviews(workspace, scope, entry, evaluation),
        waivers=_waivers(workspace, scope, entry),
        active=release.id == lora.active_release_id == active_after(lora.history),
        emergency=emergency is not None and emergency.release_id == release.id,
    )


def _evaluation(
    workspace: Workspace, loaded: Loaded[Lora], release: Release, entry: HistoryEntry | None
) -> Evaluation | None:
    if entry and entry.evidence:
        bound = entry.evidence.evaluation_id
        if workspace.records.exists(Evaluation, loaded.scope, bound):
            return workspace.records.read(Evaluation, loaded.scope, bound).record
        return None
    own = [
        one.record
        for one in workspace.records.all(Evaluation, loaded.scope)
        if (one.record.lora_id, one.record.release_id) == (loaded.record_id, release.id)
        and one.record.status == "complete"
    ]
    return max(own, key=lambda one: (one.created_at, one.id), default=None)


def _run(workspace: Workspace, near: list[Scope], release: Release) -> Run | None:
    run_id = str(release.training.get("runId", ""))
    for place in near if run_id else ():
        if workspace.records.exists(Run, place, run_id):
            return workspace.records.read(Run, place, run_id).record
    return None


def _reviews(
    workspace: Workspace, scope: Scope, entry: HistoryEntry | None, evaluation: Evaluation | None
) -> tuple[Review, ...]:
    every = [one.record for one in workspace.records.all(Review, scope)]
    if entry and entry.evidence:
        bound = set(entry.evidence.review_digests)
        found = [one for one in every if one.digest in bound]
    else:
        found = [one for one in every if evaluation and one.evaluation_id == evaluation.id]
    return tuple(sorted(found, key=lambda one: (one.created_at, one.id)))


def _waivers(workspace: Workspace, scope: Scope, entry: HistoryEntry | None) -> tuple[Waiver, ...]:
    bound = set(entry.evidence.waiver_digests) if entry and entry.evidence else set()
    if not bound:
        return ()
    found = [one.record for one in workspace.records.all(Waiver, scope)]
    return tuple(sorted((one for one in found if one.digest in bound), key=lambda one: one.id))


def _withdrawn(
    workspace: Workspace, near: list[Scope], trained: TrainedManifest | ManifestLost
) -> tuple[str, ...]:
    if not isinstance(trained, TrainedManifest):
        return ()
    # A licence that ends is a matter of the day, and no card changes by itself.
    return tuple(
        asset_id
        for asset_id in sorted({item.asset_id for item in trained.manifest.items})
        for asset in [_asset(workspace, near, asset_id)]
        if asset is not None and asset.rights.withdrawn_at
    )


def _asset(workspace: Workspace, near: list[Scope], asset_id: str) -> Asset | None:
    for place in near:
        if workspace.records.exists(Asset, place, asset_id):
            return workspace.records.read(Asset, place, asset_id).record
    return None
