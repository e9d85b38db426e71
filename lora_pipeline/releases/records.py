"""The LoRA record: its releases, which of them is active, and how that came about."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from lora_pipeline.catalog.records import Weights
from lora_pipeline.evaluation.records import ReviewBinding
from lora_pipeline.foundation.record import Part, Record

ReleaseStatus = Literal["candidate", "approved", "deprecated"]
# A shared LoRA sets the mood below the project's own, which is to be seen.
BASELINE_STRENGTH, PROJECT_STRENGTH = 0.6, 0.9
HistoryEvent = Literal[
    "promoted", "rolled_back", "emergency", "deprecated", "activated", "deactivated"
]
# What a person may set aside for a while: it rests on judgement, not on bytes.
Waivable = Literal["preference", "copy", "metrics", "freshness"]


class Evidence(Part, frozen=True, kw_only=True):
    """What a promotion rested on: every digest that the gate looked at."""

    evaluation_id: str
    result_digest: str
    weights_sha256: str
    manifest_hash: str
    suite_digest: str
    checkpoint_digest: str
    policy_id: str
    policy_digest: str
    review_digests: tuple[str, ...]
    blind_digests: tuple[str, ...] = ()
    waiver_digests: tuple[str, ...] = ()


class HistoryEntry(Part, frozen=True, kw_only=True):
    """One change of what is active; ``previous`` chains it to the entry before.

    ``digest`` covers all the other fields of the entry. An ``emergency`` names the weights that it
    made active, the conditions that did not pass, and until when it holds.
    """

    event: HistoryEvent
    at: str
    by: str
    release_id: str = ""
    from_release_id: str = ""
    evidence: Evidence | None = None
    reason: str = ""
    weights_sha256: str = ""
    skipped: tuple[str, ...] = ()
    until: str = ""
    previous: str = ""
    digest: str = ""


class Release(Part, frozen=True, kw_only=True):
    """One set of weights with the training that made it.

    ``training`` and ``evaluation`` are open, as in repositories that exist already; what this
    version writes into them is described in ``docs/records.md``.
    """

    id: str
    created_at: str
    status: ReleaseStatus
    weights: Weights | None = None
    local_path: str = ""
    sha256: str = ""
    notes: str = ""
    training: dict[str, Any] = {}
    evaluation: dict[str, Any] = {}
    parent_release_id: str = ""
    created_by: str = ""


class Lora(Record, frozen=True, kw_only=True):
    """A LoRA: what it is for and its releases.

    ``enabled`` and ``strength`` are about use; they are independent of which release is
    active. A strength that nobody chose (None) is that of the scope.
    """

    KIND: ClassVar[str] = "lora"

    id: str
    name: str
    created_at: str
    updated_at: str
    scope: Literal["baseline", "project"]
    checkpoint_id: str
    asset_types: tuple[str, ...]
    releases: tuple[Release, ...] = ()
    recommended: bool = False
    active_release_id: str = ""
    trigger_word: str = ""
    description: str = ""
    enabled: bool = True
    strength: float | None = None
    history: tuple[HistoryEntry, ...] = ()

    @property
    def strength_in_use(self) -> float:
        """The strength that production uses: the chosen one, else that of the scope."""
        if self.strength is not None:
            return self.strength
        return BASELINE_STRENGTH if self.scope == "baseline" else PROJECT_STRENGTH

    def release(self, release_id: str) -> Release | None:
        """Return the release of that id, or None."""
        return next((one for one in self.releases if one.id == release_id), None)


class AnsweredImage(Part, frozen=True, kw_only=True):
    """An image that an answer is about, and since when it must no longer be used."""

    asset_id: str
    since: str


class WithdrawalAnswer(Record, frozen=True, kw_only=True):
    """What a person decided about a release whose images were withdrawn; never rewritten.

    It is bound to the weights, to what they were trained on and to the single withdrawals: any
    other weights and any further withdrawal are another question. ``digest`` covers all the
    other fields.
    """

    KIND: ClassVar[str] = "withdrawal-answer"

    id: str
    lora_id: str
    release_id: str
    answer: Literal["retrain", "keep"]
    reason: str
    answered_by: str
    created_at: str
    weights_sha256: str
    manifest_hash: str
    images: tuple[AnsweredImage, ...]
    until: str = ""
    digest: str


class Waiver(Record, frozen=True, kw_only=True):
    """A condition that a person set aside for a release, with a reason and an end.

    It is bound to what was judged: another grid, other weights, another suite are another
    question. ``measured`` is what had been measured then. ``digest`` covers all other fields.
    """

    KIND: ClassVar[str] = "waiver"

    id: str
    lora_id: str
    release_id: str
    condition: str
    reason: str
    waived_by: str
    created_at: str
    until: str
    binding: ReviewBinding
    measured: float | None = None
    digest: str


class BlindRule(Part, frozen=True, kw_only=True):
    """What a blind comparison must have shown.

    Attributes:
        against: ``active`` for the release that was active before (the base where none was).
        reviewers: How many different people must have answered.
        pairs: How many different pairs must have been judged.
        above: What the lower end of the 95 % interval of the share of wins must exceed.
        constancy: Share of repeats and controls that a reviewer must have met to count.
    """

    against: Literal["active", "base"] = "active"
    reviewers: int = 1
    pairs: int
    above: float = 0.5
    constancy: float = 0.6


class MetricRule(Part, frozen=True, kw_only=True):
    """The limits of one measured value."""

    min: float | None = None
    max: float | None = None


class GatePolicy(Part, frozen=True, kw_only=True):
    """What the gate asks for before a release may become active.

    What no policy can switch off is not in it: digests that agree, a complete grid, cells that
    are images, and an answer for everything that was withdrawn.

    Attributes:
        id: Its id, which is the file name; several that were joined stand with ``+``.
        summary: Who it is for, in one line.
        reasons: Why each number is what it is.
        approvals: How many different people must have approved.
        reviewer_is_not_trainer: Whether the word of who trained the release does not count.
        reviews_committed_by_reviewer: Whether Git must say that each reviewer committed the
            own review.
        min_effect: Smallest mean absolute difference between base and LoRA, in 0..1.
        all_cells_seen: Whether a reviewer must have seen every cell.
        rights_known: Whether the training right of every image must be stated as allowed;
            without it, "unknown" is judged by the project's own rule.
        max_age_days: Longest time between the grid and the promotion; 0 means any.
        reviews_signed: Whether the commit that brought a verdict must carry the good signature
            of the reviewer.
        blind: What a blind comparison must have shown, or None.
        max_copy_similarity: Largest similarity of a cell to a training image; 0 asks for none.
        metrics: Limits for measured values, by name.
        waivable: Which conditions a person may set aside for a while.
        max_waiver_days: For how many days at most.
        emergency_days: For how many days a release may be used that was made active without
            verdicts; 0 allows none.
    """

    id: str
    summary: str
    reasons: dict[str, str] = {}
    approvals: int = 1
    reviewer_is_not_trainer: bool = True
    reviews_committed_by_reviewer: bool = False
    min_effect: float = 0.02
    all_cells_seen: bool = True
    rights_known: bool = False
    max_age_days: int = 0
    reviews_signed: bool = False
    blind: BlindRule | None = None
    max_copy_similarity: float = 0.0
    metrics: dict[str, MetricRule] = {}
    waivable: tuple[Waivable, ...] = ()
    max_waiver_days: int = 30
    emergency_days: int = 0
