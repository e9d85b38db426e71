"""Everything that the gate may look at, gathered beforehand; no clock and no disk in it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from lora_pipeline.catalog.records import OnWithdrawal
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.evaluation.blind.records import BlindPlan, BlindReview
from lora_pipeline.evaluation.records import Evaluation, Review, Suite
from lora_pipeline.releases.evidence.people import person_of
from lora_pipeline.releases.records import GatePolicy, Lora, Release, Waiver, WithdrawalAnswer
from lora_pipeline.training.records import Run


class Unproven(msgspec.Struct, frozen=True):
    """Something that could not be checked here.

    Attributes:
        reason: What stood in the way, as people read it.
        elsewhere: True when the bytes are merely on another machine: a build machine without
            the weights has not found anything wrong.
    """

    reason: str
    elsewhere: bool = False


class TrainedManifest(msgspec.Struct, frozen=True):
    """The manifest that a release was trained on.

    Attributes:
        manifest: It, found by its content hash.
        where: Where it was found, such as ``the Git history``; empty for the present file.
    """

    manifest: Manifest
    where: str = ""


class ManifestLost(msgspec.Struct, frozen=True):
    """The manifest that a release was trained on is not there.

    Attributes:
        reason: What is there instead.
    """

    reason: str


class WithdrawnImage(msgspec.Struct, frozen=True):
    """An image of the manifest that must no longer be used.

    Attributes:
        asset_id: The asset.
        since: From which moment.
        text: Since when and why, as people read it.
        on_withdrawal: The mildest answer that the asset's project allows.
        retrain_within_days: How long its project lets a release stay in use after that.
        expired: True when nobody withdrew it: its licence ended, or ends.
    """

    asset_id: str
    since: str
    text: str
    on_withdrawal: OnWithdrawal = "stop"
    retrain_within_days: int = 30
    expired: bool = False


class RightsFacts(msgspec.Struct, frozen=True):
    """What the catalog says today about the images of the manifest.

    Attributes:
        refused: Images that may not be trained on, as ``asset reason``.
        unstated: Assets whose training right nobody stated.
        unknown: Assets that the catalog does not hold.
        withdrawn: Images that were withdrawn, or whose licence ended.
        ending: Images whose licence ends within the next weeks.
    """

    refused: tuple[str, ...] = ()
    unstated: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    withdrawn: tuple[WithdrawnImage, ...] = ()
    ending: tuple[WithdrawnImage, ...] = ()

    @property
    def barred(self) -> tuple[str, ...]:
        """Every image that may not be trained on today, whatever the reason."""
        return (*(f"{one.asset_id} {one.text}" for one in self.withdrawn), *self.refused)


class ImageFacts(msgspec.Struct, frozen=True):
    """What became of the cells' images on this machine, by cell id.

    Attributes:
        missing: Not in the store.
        altered: In the store, with other bytes than their name says.
        mismeasured: What was measured again and came out differently, as ``cell: what``.
    """

    missing: tuple[str, ...] = ()
    altered: tuple[str, ...] = ()
    mismeasured: tuple[str, ...] = ()


class GivenReview(msgspec.Struct, frozen=True):
    """A review as it stands, and what Git knows of it.

    Attributes:
        review: The record.
        committed_by: Who committed it; empty when nobody has yet.
        rewritten: True when the history holds another content for its file.
        signed_by: Whose good signature that commit carries; empty when it has none.
    """

    review: Review
    committed_by: str | Unproven = ""
    rewritten: bool = False
    signed_by: str | Unproven = ""


class GivenAnswer(msgspec.Struct, frozen=True):
    """An answer to withdrawals as it stands, and what Git knows of it.

    Attributes:
        answer: The record.
        committed_by: Who committed it; empty when nobody has yet.
        rewritten: True when the history holds another content for its file.
        signed_by: Whose good signature that commit carries; empty when it has none.
    """

    answer: WithdrawalAnswer
    committed_by: str | Unproven = ""
    rewritten: bool = False
    signed_by: str | Unproven = ""


class GivenBlind(msgspec.Struct, frozen=True):
    """A blind review as it stands, what it rests on, and what Git knows of it.

    Attributes:
        review: The record.
        plan: The plan of its page, which committed to the order beforehand.
        opponent: The grid that the other side's images are from, for another release.
        committed_by: Who committed it; empty when nobody has yet.
        rewritten: True when the history holds another content for its file or its plan's.
        signed_by: Whose good signature that commit carries; empty when it has none.
    """

    review: BlindReview
    plan: BlindPlan | None = None
    opponent: Evaluation | None = None
    committed_by: str | Unproven = ""
    rewritten: bool = False
    signed_by: str | Unproven = ""


class GivenWaiver(msgspec.Struct, frozen=True):
    """A waiver as it stands, and what Git knows of it.

    Attributes:
        waiver: The record.
        committed_by: Who committed it; empty when nobody has yet.
        rewritten: True when the history holds another content for its file.
        signed_by: Whose good signature that commit carries; empty when it has none.
    """

    waiver: Waiver
    committed_by: str | Unproven = ""
    rewritten: bool = False
    signed_by: str | Unproven = ""


class PolicyBefore(msgspec.Struct, frozen=True):
    """What was asked for before the change that a promotion came with.

    Attributes:
        policy: The policy of then.
        where: Where that is written, as people read it.
        suite: The suite by which a LoRA of these asset types was judged, where there was one.
    """

    policy: GatePolicy
    where: str
    suite: Suite | None = None


class ReleaseEvidence(msgspec.Struct, frozen=True):
    """All evidence about one release.

    Attributes:
        lora: The LoRA as it stands.
        release: The release that is asked about.
        now: The time that freshness is counted to.
        today: The present time, which the term of an answer is counted to.
        run: The run that trained it, when its record is there.
        evaluation: The evaluation that is judged, when there is one.
        reviews: Every review of the release, whatever evaluation it is about.
        weights_sha256: Digest of the bytes that the weights reference leads to.
        manifest: The manifest that was trained on.
        checkpoint_digest: Digest that the record of the base model holds today.
        suite_digest: Digest of the suite's definition today.
        suites: The suites by which a LoRA of these asset types is judged today.
        images: What became of the cells' images.
        rights: What the catalog says about the manifest's images.
        removed_reviews: Reviews of the release that Git knows and that are gone.
        removed_blinds: Blind reviews of the release that Git knows and that are gone.
        answers: What was decided about withdrawn images of the release.
        blinds: Every blind review of the release.
        open_pages: How many blind pages for the judged grid were never answered.
        waivers: Conditions of the release that somebody set aside.
        people: Other addresses of the same person, as Git's mailmap has them.
    """

    lora: Lora
    release: Release
    now: str
    weights_sha256: str | Unproven
    manifest: TrainedManifest | ManifestLost | Unproven
    checkpoint_digest: str | Unproven
    suite_digest: str | Unproven
    rights: RightsFacts | Unproven
    images: ImageFacts | Unproven
    suites: tuple[str, ...] = ()
    run: Run | None = None
    evaluation: Evaluation | None = None
    reviews: tuple[GivenReview, ...] = ()
    removed_reviews: tuple[Review, ...] = ()
    removed_blinds: tuple[BlindReview, ...] = ()
    answers: tuple[GivenAnswer, ...] = ()
    blinds: tuple[GivenBlind, ...] = ()
    open_pages: int = 0
    waivers: tuple[GivenWaiver, ...] = ()
    today: str = ""
    people: Mapping[str, str] = msgspec.field(default_factory=dict)

    def person(self, identity: str) -> str:
        """Return who is behind an address."""
        return person_of(self.people.get(identity, identity))

    @property
    def trainers(self) -> dict[str, str]:
        """Who made the release, each with what they did; one's own work is not approved."""
        made: dict[str, str] = {}
        if self.release.created_by:
            made[self.person(self.release.created_by)] = "made"
        if self.run and self.run.requested_by:
            made[self.person(self.run.requested_by)] = "trained"
        return made
