"""Conditions about people: whose approvals count, and whose objections stand."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from lora_pipeline.evaluation.records import Review, ReviewBinding
from lora_pipeline.evaluation.reviews import review_digest
from lora_pipeline.releases.evidence.facts import GivenReview, ReleaseEvidence, Unproven
from lora_pipeline.releases.evidence.people import is_no_person
from lora_pipeline.releases.gate.decision import Condition
from lora_pipeline.releases.records import GatePolicy

_WORDS = {
    "weights_sha256": "other weights",
    "tensor_sha256": "other weights",
    "manifest_hash": "another manifest",
    "suite_digest": "another suite",
    "result_digest": "another grid",
}


class Brought(Protocol):
    """What Git knows of a record that somebody brought."""

    @property
    def committed_by(self) -> str | Unproven:
        """Who committed it; empty when nobody has yet."""

    @property
    def signed_by(self) -> str | Unproven:
        """Whose good signature that commit carries; empty when it has none."""


class Approvals(msgspec.Struct, frozen=True):
    """Which approvals count.

    Attributes:
        counted: One review for each person whose approval counts.
        doubts: Why other approvals do not, one sentence each.
        unproven: True when one could not be judged here.
    """

    counted: tuple[Review, ...]
    doubts: tuple[str, ...]
    unproven: bool = False


def reviews_intact(evidence: ReleaseEvidence, _: GatePolicy) -> Condition:
    """No review of the release was edited after it was given."""
    for given in evidence.reviews:
        review = given.review
        if review_digest(review) != review.digest:
            return Condition(
                "reviews",
                "reviews intact",
                "fail",
                f"the review of {review.reviewer} was edited ({review.id})",
            )
        if given.rewritten:
            return Condition(
                "reviews",
                "reviews intact",
                "fail",
                f"the Git history holds another review of {review.reviewer} under {review.id}",
            )
        if is_future(review.created_at, evidence.today):
            return Condition(
                "reviews",
                "reviews intact",
                "fail",
                f"the review of {review.reviewer} is dated {review.created_at[:10]}, in the future",
            )
    for blind in evidence.removed_blinds:
        return Condition(
            "reviews",
            "reviews intact",
            "fail",
            f"the blind review of {blind.reviewer} was removed ({blind.id})",
        )
    for review in evidence.removed_reviews:
        return Condition(
            "reviews",
            "reviews intact",
            "fail",
            f"the review of {review.reviewer} was removed ({review.id})",
        )
    count = len(evidence.reviews)
    reason = "none given yet" if not count else f"{count} as given"
    return Condition("reviews", "reviews intact", "pass", reason)


def approvals_enough(evidence: ReleaseEvidence, policy: GatePolicy) -> Condition:
    """As many different people approved this very grid as the policy asks for."""
    found = counted_approvals(evidence, policy)
    count, needed = len(found.counted), policy.approvals
    approved = ", ".join(review.reviewer for review in found.counted)
    parts = [f"{approved} approved"] if approved else []
    parts += found.doubts
    reason = f"{count} of {needed}" + (f": {'; '.join(parts)}" if parts else "")
    if count >= needed:
        return Condition("approvals", "approvals", "pass", reason, count, needed)
    status = "not_proven" if found.unproven else "fail"
    return Condition("approvals", "approvals", status, reason, count, needed)  # type: ignore[arg-type]


def objections_answered(evidence: ReleaseEvidence, _: GatePolicy) -> Condition:
    """Nobody's last word on these weights is no, whichever grid it was about."""
    against = [
        review for review in _last_words(evidence, any_grid=True) if review.verdict != "approved"
    ]
    if not against:
        return Condition("objections", "objections", "pass", "none open")
    words = "; ".join(
        f"{review.reviewer} {_said(review)}" + (f" ({review.comment})" if review.comment else "")
        for review in against
    )
    return Condition("objections", "objections", "fail", words, len(against), 0)


def counted_approvals(evidence: ReleaseEvidence, policy: GatePolicy) -> Approvals:
    """Return which approvals of the judged evaluation count, and why others do not."""
    counted: list[Review] = []
    doubts: list[str] = []
    unproven = False
    given_by = {given.review.id: given for given in evidence.reviews}
    for review in _last_words(evidence, any_grid=False):
        if review.verdict != "approved":
            continue
        doubt = _doubt(evidence, policy, given_by[review.id])
        if doubt is None:
            counted.append(review)
        else:
            doubts.append(doubt.reason if isinstance(doubt, Unproven) else doubt)
            unproven = unproven or isinstance(doubt, Unproven)
    doubts += _approvals_of_other_grids(evidence)
    return Approvals(tuple(counted), tuple(doubts), unproven)


def _last_words(evidence: ReleaseEvidence, *, any_grid: bool) -> list[Review]:
    """Return the latest review of each person, in the order in which they were given."""
    wanted = evidence.evaluation.id if evidence.evaluation else None
    latest: dict[str, Review] = {}
    for given in sorted(evidence.reviews, key=lambda one: (one.review.created_at, one.review.id)):
        review = given.review
        if any_grid or review.evaluation_id == wanted:
            latest[evidence.person(review.reviewer)] = review
    return sorted(latest.values(), key=lambda one: (one.created_at, one.id))


def _approvals_of_other_grids(evidence: ReleaseEvidence) -> list[str]:
    judged = evidence.evaluation.id if evidence.evaluation else ""
    spoke = {evidence.person(review.reviewer) for review in _last_words(evidence, any_grid=False)}
    return [
        f"{review.reviewer} approved another grid ({review.evaluation_id})"
        for review in _last_words(evidence, any_grid=True)
        if review.verdict == "approved"
        and review.evaluation_id != judged
        and evidence.person(review.reviewer) not in spoke
    ]


def _doubt(
    evidence: ReleaseEvidence, policy: GatePolicy, given: GivenReview
) -> str | Unproven | None:
    review = given.review
    who = review.reviewer
    if is_no_person(who):
        return f"{who} is no person"
    if review_digest(review) != review.digest or given.rewritten:
        return f"the review of {who} was edited"
    other = other_binding(evidence, review.binding)
    if other:
        return f"{who} approved {other}"
    unseen = _unseen(evidence, policy, review)
    if unseen:
        return f"{who} {unseen}"
    if review.broken:
        return f"{who} approved what breaks the rule of {', '.join(review.broken)}"
    return own_work(evidence, policy, who, "approve it") or not_committed(
        evidence, policy, who, given, "review"
    )


def other_binding(evidence: ReleaseEvidence, binding: ReviewBinding) -> str:
    """Return what a word is about instead of the release and grid that are judged, or empty."""
    release, evaluation = evidence.release, evidence.evaluation
    present = ReviewBinding(
        weights_sha256=release.weights.sha256 if release.weights else "",
        tensor_sha256=release.weights.tensor_sha256 if release.weights else "",
        manifest_hash=str(release.training.get("manifestHash", "")),
        suite_digest=evaluation.suite_digest if evaluation else "",
        result_digest=evaluation.result_digest if evaluation else "",
    )
    for name, words in _WORDS.items():
        if getattr(binding, name) != getattr(present, name):
            return words
    return ""


def _unseen(evidence: ReleaseEvidence, policy: GatePolicy, review: Review) -> str:
    total = len(evidence.evaluation.cells) if evidence.evaluation else 0
    if review.cells_total != total:
        return f"saw a grid of {review.cells_total} cells, it has {total}"
    if policy.all_cells_seen and review.cells_seen < total:
        return f"saw {review.cells_seen} of {total} cells"
    return ""


def own_work(
    evidence: ReleaseEvidence, policy: GatePolicy, who: str, what: str
) -> str | Unproven | None:
    """Return why the word of ``who`` does not count: it is about their own work.

    Args:
        evidence: What is judged.
        policy: What it is judged by.
        who: Who spoke.
        what: What they may not do then, such as ``approve it``.
    """
    if not policy.reviewer_is_not_trainer:
        return None
    name = evidence.release.id
    if not evidence.trainers:
        return Unproven(f"nobody is recorded as who made {name}, so nobody is known to be another")
    did = evidence.trainers.get(evidence.person(who))
    return f"{who} {did} {name} and cannot {what}" if did else None


def not_committed(
    evidence: ReleaseEvidence, policy: GatePolicy, who: str, given: Brought, what: str
) -> str | Unproven | None:
    """Return why the word of ``who`` does not count: Git does not say that they brought it.

    Args:
        evidence: What is judged.
        policy: What it is judged by.
        who: Who spoke.
        given: What Git knows of it.
        what: What they said: a review, an answer.
    """
    if not (policy.reviews_committed_by_reviewer or policy.reviews_signed):
        return None
    by = given.committed_by
    if isinstance(by, Unproven):
        return by
    if not by:
        return f"the {what} of {who} is not committed yet"
    if evidence.person(by) != evidence.person(who):
        return f"the {what} of {who} was committed by {by}"
    return _not_signed(evidence, who, given.signed_by, what) if policy.reviews_signed else None


def is_future(moment: str, today: str) -> bool:
    """Return whether a time has not come yet; a day is left for clocks that differ.

    Who speaks "tomorrow" would have the last word over everything that is said today.
    """
    if not today:
        return False
    return datetime.fromisoformat(moment) > datetime.fromisoformat(today) + timedelta(days=1)


def _not_signed(
    evidence: ReleaseEvidence, who: str, signed_by: str | Unproven, what: str
) -> str | Unproven | None:
    if isinstance(signed_by, Unproven):
        return signed_by
    if not signed_by:
        return f"the commit with the {what} of {who} is not signed"
    if evidence.person(signed_by) != evidence.person(who):
        return f"the commit with the {what} of {who} is signed by {signed_by}"
    return None


def _said(review: Review) -> str:
    return "rejected it" if review.verdict == "rejected" else "asks for more work"
