"""What the gate answers: conditions, and the decision that they make together."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

ConditionStatus = Literal["pass", "fail", "not_proven", "waived"]


class Condition(msgspec.Struct, frozen=True):
    """One thing that the gate asks for, and what it found.

    Attributes:
        id: Stable slug, such as ``effect``.
        title: What people call it.
        status: ``not_proven`` says that it could not be checked here; it refuses like ``fail``.
            ``waived`` says that it does not hold, and that a person set it aside for a while.
        reason: What was found, in a few words with numbers and names.
        measured: The value that was found, where there is one.
        threshold: The value that the policy asks for, where there is one.
        evidence: What it rests on: records with their digests, as people look them up.
    """

    id: str
    title: str
    status: ConditionStatus
    reason: str
    measured: float | None = None
    threshold: float | None = None
    evidence: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the condition holds and that was shown, or was waived."""
        return self.status in ("pass", "waived")

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form."""
        return {
            "id": self.id,
            "title": self.title,
            "status": self.status,
            "reason": self.reason,
            "measured": self.measured,
            "threshold": self.threshold,
            "evidence": list(self.evidence),
        }


class Decision(msgspec.Struct, frozen=True):
    """The gate's answer about one release.

    Attributes:
        lora_id: The LoRA.
        release_id: The release.
        policy_id: The policy that was applied.
        policy_digest: Its digest.
        evaluation_id: The evaluation that was judged, or empty.
        conditions: Every condition, in the order in which the work is done.
        review_digests: The approvals that counted, sorted.
        blind_digests: The blind reviews that counted, sorted.
        waiver_digests: The waivers that counted, sorted.
    """

    lora_id: str
    release_id: str
    policy_id: str
    policy_digest: str
    evaluation_id: str
    conditions: tuple[Condition, ...]
    review_digests: tuple[str, ...] = ()
    blind_digests: tuple[str, ...] = ()
    waiver_digests: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every condition holds; what was not shown counts as no."""
        return bool(self.conditions) and all(one.passed for one in self.conditions)

    @property
    def refusing(self) -> tuple[Condition, ...]:
        """The conditions that refuse."""
        return tuple(one for one in self.conditions if not one.passed)

    def condition(self, condition_id: str) -> Condition:
        """Return one condition; it must be there."""
        return next(one for one in self.conditions if one.id == condition_id)

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form."""
        return {
            "loraId": self.lora_id,
            "releaseId": self.release_id,
            "passed": self.passed,
            "policyId": self.policy_id,
            "policyDigest": self.policy_digest,
            "evaluationId": self.evaluation_id,
            "conditions": [one.to_dict() for one in self.conditions],
            "reviewDigests": list(self.review_digests),
            "blindDigests": list(self.blind_digests),
            "waiverDigests": list(self.waiver_digests),
        }
