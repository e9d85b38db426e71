"""The condition about withdrawn images: each must have been answered for, as its project allows.

An answer counts when a person gave it who may give it, when nobody changed it, when it is about
these weights and this very withdrawal, and when the project of the image still allows it.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from lora_pipeline.catalog.records import ANSWERS
from lora_pipeline.catalog.rights.training import days_after
from lora_pipeline.releases.answers import answer_digest
from lora_pipeline.releases.evidence.facts import (
    GivenAnswer,
    ReleaseEvidence,
    TrainedManifest,
    Unproven,
    WithdrawnImage,
)
from lora_pipeline.releases.evidence.people import is_no_person
from lora_pipeline.releases.gate.decision import Condition
from lora_pipeline.releases.gate.verdicts import not_committed, own_work
from lora_pipeline.releases.history import active_after
from lora_pipeline.releases.records import GatePolicy, WithdrawalAnswer

CONDITION = "withdrawals"
_NAMED = 3


class JudgedImage(msgspec.Struct, frozen=True):
    """A withdrawn image and what was decided about it.

    Attributes:
        image: The image.
        answer: The answer that counts, or None.
        doubt: Why there is none, or empty when nobody answered.
        unproven: True when an answer could not be judged here.
        until: The end of the term, when it is to be trained anew.
    """

    image: WithdrawnImage
    answer: WithdrawalAnswer | None = None
    doubt: str = ""
    unproven: bool = False
    until: str = ""


def withdrawals_answered(evidence: ReleaseEvidence, policy: GatePolicy) -> Condition | None:
    """Every withdrawn image of the manifest was answered for; None when there is none."""
    judged = judge_withdrawals(evidence, policy)
    if not judged:
        return None
    trained = evidence.manifest
    of = len(trained.manifest.items) if isinstance(trained, TrainedManifest) else 0
    count = f"{len(judged)} of {of} withdrawn"
    unanswered = [one for one in judged if one.answer is None]
    if not unanswered:
        return Condition(CONDITION, CONDITION, "pass", f"{count}, {_decided(judged)}")
    some = f"{len(unanswered)} " if len(unanswered) < len(judged) else ""
    words = f"{count}, {some}not answered for: {_named(unanswered)}"
    only_unproven = all(one.unproven for one in unanswered)
    return Condition(CONDITION, CONDITION, "not_proven" if only_unproven else "fail", words)


def judge_withdrawals(evidence: ReleaseEvidence, policy: GatePolicy) -> list[JudgedImage]:
    """Return every withdrawn image of a release with the answer that counts for it."""
    if isinstance(evidence.rights, Unproven):
        return []
    return [_judged(evidence, policy, image) for image in evidence.rights.withdrawn]


def answers_allowed(evidence: ReleaseEvidence) -> tuple[str, ...]:
    """Return which answers may be given for a release's withdrawn images, the strictest first.

    A term to retrain is only for the release that is in use.
    """
    if isinstance(evidence.rights, Unproven) or not evidence.rights.withdrawn:
        return ()
    mildest = min(ANSWERS.index(one.on_withdrawal) for one in evidence.rights.withdrawn)
    in_use = active_after(evidence.lora.history) == evidence.release.id
    return tuple(one for one in ANSWERS[: mildest + 1] if one != "retrain" or in_use)


def term_of(images: Sequence[WithdrawnImage]) -> str:
    """Return until when a release with these images may stay in use before it is trained anew."""
    return min(days_after(one.since, one.retrain_within_days) for one in images)


def _judged(evidence: ReleaseEvidence, policy: GatePolicy, image: WithdrawnImage) -> JudgedImage:
    doubt, unproven = "", False
    # The last word counts; an earlier one stands where the last one does not.
    given = sorted(evidence.answers, key=lambda one: (one.answer.created_at, one.answer.id))
    for one in reversed(given):
        if not _is_about(one.answer, image):
            continue
        found = _doubt(evidence, policy, one) or _not_allowed(evidence, one.answer, image)
        if found is None:
            until = _until(one.answer, image) if one.answer.answer == "retrain" else ""
            return JudgedImage(image, one.answer, until=until)
        doubt = doubt or (found.reason if isinstance(found, Unproven) else found)
        unproven = unproven or isinstance(found, Unproven)
    return JudgedImage(image, doubt=doubt, unproven=unproven)


def _is_about(answer: WithdrawalAnswer, image: WithdrawnImage) -> bool:
    return any((one.asset_id, one.since) == (image.asset_id, image.since) for one in answer.images)


def _doubt(
    evidence: ReleaseEvidence, policy: GatePolicy, given: GivenAnswer
) -> str | Unproven | None:
    answer, release = given.answer, evidence.release
    who = answer.answered_by
    if is_no_person(who):
        return f"{who} is no person"
    if answer_digest(answer) != answer.digest or given.rewritten:
        return f"the answer of {who} was edited"
    if answer.weights_sha256 != (release.weights.sha256 if release.weights else ""):
        return f"the answer of {who} is about other weights"
    if answer.manifest_hash != release.training.get("manifestHash"):
        return f"the answer of {who} is about another manifest"
    return own_work(evidence, policy, who, "answer for it") or not_committed(
        evidence, policy, who, given, "answer"
    )


def _not_allowed(
    evidence: ReleaseEvidence, answer: WithdrawalAnswer, image: WithdrawnImage
) -> str | None:
    """Return why the project of an image, or the time, does not allow an answer."""
    who, allowed = answer.answered_by, image.on_withdrawal
    if answer.answer == "keep":
        if allowed == "keep":
            return None
        return f"{who} would keep it, and the project's policy is to {allowed}"
    if allowed == "stop":
        return f"{who} would retrain it, and the project's policy is to stop"
    # The history is chained; the pointer alone is one line that anybody can edit.
    if active_after(evidence.lora.history) != evidence.release.id:
        return f"{who} would retrain it: a term is only for the release in use"
    until = _until(answer, image)
    if until <= (evidence.today or evidence.now):
        return f"the term that {who} gave ended on {until[:10]}"
    return None


def _until(answer: WithdrawalAnswer, image: WithdrawnImage) -> str:
    return min(answer.until, days_after(image.since, image.retrain_within_days))


def _decided(judged: Sequence[JudgedImage]) -> str:
    answers = {one.answer.id: one.answer for one in judged if one.answer is not None}
    parts = []
    for answer in answers.values():
        mine = [one for one in judged if one.answer is not None and one.answer.id == answer.id]
        until = min((one.until for one in mine if one.until), default="")
        verb = f"to be trained anew by {until[:10]}, says" if until else "kept by"
        parts.append(f"{verb} {answer.answered_by} on {answer.created_at[:10]} ({answer.reason})")
    return "; ".join(parts)


def _named(unanswered: Sequence[JudgedImage]) -> str:
    shown = [
        f"{one.image.asset_id} {one.image.text}" + (f" ({one.doubt})" if one.doubt else "")
        for one in unanswered[:_NAMED]
    ]
    more = [f"{len(unanswered) - _NAMED} more"] if len(unanswered) > _NAMED else []
    return "; ".join([*shown, *more])
