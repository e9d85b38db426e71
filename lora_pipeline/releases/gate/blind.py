"""The condition about blind comparison: people who did not know preferred the candidate."""

from __future__ import annotations

import msgspec

from lora_pipeline.evaluation.blind.comparison import (
    constancy,
    preferences,
    problem_of,
)
from lora_pipeline.evaluation.blind.records import BlindReview
from lora_pipeline.evaluation.grid import result_digest
from lora_pipeline.evaluation.preference import Preference, weigh
from lora_pipeline.evaluation.records import Evaluation
from lora_pipeline.releases.evidence.facts import GivenBlind, ReleaseEvidence, Unproven
from lora_pipeline.releases.evidence.people import is_no_person
from lora_pipeline.releases.gate.decision import Condition
from lora_pipeline.releases.gate.verdicts import (
    is_future,
    not_committed,
    other_binding,
    own_work,
)
from lora_pipeline.releases.history import incumbent_for
from lora_pipeline.releases.records import BlindRule, GatePolicy

CONDITION = "preference"


class Counted(msgspec.Struct, frozen=True):
    """Which blind reviews count.

    Attributes:
        reviews: The first of each person that counts.
        doubts: Why others do not, one sentence each.
        unproven: True when one could not be judged here.
    """

    reviews: tuple[BlindReview, ...]
    doubts: tuple[str, ...]
    unproven: bool = False


def preference_shown(evidence: ReleaseEvidence, policy: GatePolicy) -> Condition | None:
    """Enough people preferred it in enough pairs; None when the policy does not ask."""
    rule = policy.blind
    if rule is None:
        return None
    counted = counted_blinds(evidence, policy)
    found = weigh([preferences(one) for one in counted.reviews])
    against = rival_of(evidence, rule) or "the base"
    lacking = _lacking(found, counted, rule)
    notes = [*lacking, *counted.doubts]
    if evidence.open_pages:
        pages = "1 page was" if evidence.open_pages == 1 else f"{evidence.open_pages} pages were"
        notes.append(f"{pages} made and never answered")
    reason = "; ".join([_said(found, counted, against, rule), *notes])
    measured = round(found.low, 4) if found.pairs else None
    if not lacking:
        return Condition(CONDITION, CONDITION, "pass", reason, measured, rule.above)
    return Condition(
        CONDITION,
        CONDITION,
        "not_proven" if counted.unproven else "fail",
        reason,
        measured,
        rule.above,
    )


def rival_of(evidence: ReleaseEvidence, rule: BlindRule) -> str:
    """Return the release that the candidate must be better than, or empty for the base."""
    if rule.against == "base":
        return ""
    return incumbent_for(evidence.lora.history, evidence.release.id)


def counted_blinds(evidence: ReleaseEvidence, policy: GatePolicy) -> Counted:
    """Return which blind reviews of the judged grid count, and why others do not.

    Of one person the first counts: whoever answers again has learnt the images, and might
    answer until it comes out right.
    """
    rule = policy.blind
    if rule is None:
        return Counted((), ())
    first: dict[str, GivenBlind] = {}
    judged = evidence.evaluation.id if evidence.evaluation else ""
    doubts: list[str] = []
    for given in sorted(evidence.blinds, key=lambda one: (one.review.created_at, one.review.id)):
        if given.review.evaluation_id != judged:
            continue
        other = _other_rival(given.review, evidence, rule)
        if other:
            doubts.append(other)
        else:
            first.setdefault(evidence.person(given.review.reviewer), given)
    counted: list[BlindReview] = []
    unproven = False
    for given in first.values():
        doubt = _doubt(given, evidence, policy, rule)
        if doubt is None:
            counted.append(given.review)
        else:
            doubts.append(doubt.reason if isinstance(doubt, Unproven) else doubt)
            unproven = unproven or isinstance(doubt, Unproven)
    return Counted(tuple(counted), tuple(doubts), unproven)


def _doubt(
    given: GivenBlind, evidence: ReleaseEvidence, policy: GatePolicy, rule: BlindRule
) -> str | Unproven | None:
    review, who = given.review, given.review.reviewer
    problem = problem_of(review, given.plan)
    other = other_binding(evidence, review.binding)
    met, checks = constancy(review)
    reasons = (
        (is_no_person(who), f"{who} is no person"),
        (bool(problem), problem),
        (given.rewritten, f"the blind review of {who} was edited"),
        (bool(other), f"{who} compared {other}"),
        (
            is_future(review.created_at, evidence.today),
            f"the blind review of {who} is dated in the future",
        ),
        (_foreign(given, evidence), f"{who} was shown images that are not of these grids"),
        (
            checks > 0 and met < rule.constancy * checks,
            f"{who} met {met} of {checks} checks of attention",
        ),
    )
    found = next((words for holds, words in reasons if holds), None)
    return (
        found
        or own_work(evidence, policy, who, "compare it")
        or not_committed(evidence, policy, who, given, "blind review")
    )


def _other_rival(review: BlindReview, evidence: ReleaseEvidence, rule: BlindRule) -> str:
    wanted = rival_of(evidence, rule)
    opponent = review.against
    if opponent.kind == "base":
        return f"{review.reviewer} compared it with the base, not with {wanted}" if wanted else ""
    if opponent.release_id != wanted:
        named = wanted or "the base"
        return f"{review.reviewer} compared it with {opponent.release_id}, not with {named}"
    release = evidence.lora.release(wanted)
    weights = release.weights.sha256 if release and release.weights else ""
    if opponent.weights_sha256 != weights:
        return f"{review.reviewer} compared it with other weights of {wanted}"
    return ""


def _foreign(given: GivenBlind, evidence: ReleaseEvidence) -> bool:
    """Return whether a pair shows anything but the cells of the two grids at its own place."""
    mine, review = evidence.evaluation, given.review
    base = review.against.kind == "base"
    theirs = mine if base else given.opponent
    if mine is None or theirs is None or given.plan is None:
        return True
    if review.against.result_digest != theirs.result_digest or (
        not base and result_digest(theirs) != theirs.result_digest
    ):
        return True
    strength = given.plan.strength
    ours, others = _images(mine, strength), _images(theirs, 0.0 if base else strength)
    for pair in review.pairs:
        place = (pair.prompt_id, pair.seed)
        sides = {"left": pair.left_sha256, "right": pair.right_sha256}
        candidate = "left" if pair.left == "candidate" else "right"
        other = "right" if candidate == "left" else "left"
        expected = others.get(place) if pair.control else ours.get(place)
        if sides[candidate] != expected or sides[other] != others.get(place):
            return True
    return False


def _images(evaluation: Evaluation, strength: float) -> dict[tuple[str, int], str]:
    return {
        (cell.prompt_id, cell.seed): cell.image_sha256
        for cell in evaluation.cells
        if cell.strength == strength
    }


def _lacking(found: Preference, counted: Counted, rule: BlindRule) -> list[str]:
    people = len(counted.reviews)
    checks = (
        (people < rule.reviewers, f"{people} of {rule.reviewers} people answered"),
        (found.pairs < rule.pairs, f"{found.pairs} of {rule.pairs} pairs were judged"),
        (
            found.pairs > 0 and found.low <= rule.above,
            f"that is a share of at least {found.low:.0%}, needs more than {rule.above:.0%}",
        ),
    )
    return [words for holds, words in checks if holds]


def _said(found: Preference, counted: Counted, against: str, rule: BlindRule) -> str:
    if not counted.reviews:
        return f"nobody compared it blindly with {against}"
    who = ", ".join(one.reviewer for one in counted.reviews)
    words = f"{who} preferred it to {against} in {found.wins} of {found.pairs} pairs"
    words += f" ({found.ties} no difference)" if found.ties else ""
    if found.low > rule.above:
        words += f", a share of at least {found.low:.0%}"
    if found.agreement is not None:
        words += f", agreement {found.agreement:.2f}"
    return words
