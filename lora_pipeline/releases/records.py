"""The LoRA record: its releases, which of them is active, and how that came about."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from lora_pipeline.catalog.records import Weights
from lora_pipeline.foundation.record import Part, Record

ReleaseStatus = Literal["candidate", "approved", "deprecated"]


class Evidence(Part, frozen=True, kw_only=True):
    """What a promotion rested on: every digest that the gate looked at."""

    evaluation_id: str
    result_digest: str
    weights_sha256: str
    manifest_hash: str
    suite_digest: str
    policy_id: str
    policy_digest: str
    review_digests: tuple[str, ...]


class HistoryEntry(Part, frozen=True, kw_only=True):
    """One change of what is active; ``previous`` chains it to the entry before.

    ``digest`` covers all the other fields of the entry.
    """

    event: Literal["promoted", "rolled_back", "deprecated", "activated", "deactivated"]
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
    active.
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
    strength: float = 1.0
    history: tuple[HistoryEntry, ...] = ()


class GatePolicy(Part, frozen=True, kw_only=True):
    """What the gate asks for before a release may become active.

    ``min_effect`` is a mean absolute difference in 0..1; ``max_age_days`` 0 means that
    evidence does not age.
    """

    id: str
    summary: str
    approvals: int = 1
    reviewer_is_not_trainer: bool = True
    min_effect: float = 0.02
    all_cells_seen: bool = True
    one_render_session: bool = True
    rights_required: bool = True
    max_age_days: int = 0
