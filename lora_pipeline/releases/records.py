"""The LoRA record: its releases, which of them is active, and how that came about."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from lora_pipeline.catalog.records import Weights
from lora_pipeline.foundation.record import Part, Record

ReleaseStatus = Literal["candidate", "approved", "deprecated"]
# A shared LoRA sets the mood below the project's own, which is to be seen.
BASELINE_STRENGTH, PROJECT_STRENGTH = 0.6, 0.9
HistoryEvent = Literal["promoted", "rolled_back", "deprecated", "activated", "deactivated"]


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


class HistoryEntry(Part, frozen=True, kw_only=True):
    """One change of what is active; ``previous`` chains it to the entry before.

    ``digest`` covers all the other fields of the entry.
    """

    event: HistoryEvent
    at: str
    by: str
    release_id: str = ""
    from_release_id: str = ""
    evidence: Evidence | None = None
    reason: str = ""
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
