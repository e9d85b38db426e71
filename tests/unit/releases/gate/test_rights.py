from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from lora_pipeline.catalog.records import OnWithdrawal
from lora_pipeline.releases.answers import is_unchanged, sealed
from lora_pipeline.releases.evidence.facts import (
    GivenAnswer,
    ReleaseEvidence,
    RightsFacts,
    Unproven,
    WithdrawnImage,
)
from lora_pipeline.releases.gate.judge import decide
from lora_pipeline.releases.gate.rights import (
    answers_allowed,
    judge_withdrawals,
    term_of,
    withdrawals_answered,
)
from lora_pipeline.releases.history import extended
from lora_pipeline.releases.records import AnsweredImage, HistoryEntry, WithdrawalAnswer
from tests.support.gate_builders import (
    ANA,
    KIM,
    LEE,
    LORA,
    MANIFEST_HASH,
    NOW,
    STANDARD,
    WEIGHTS,
    evidence,
)

SINCE = "2026-02-20T12:00:00Z"
IN_USE = replace(
    LORA,
    active_release_id="r7",
    history=extended((), HistoryEntry(event="promoted", at=NOW, by=KIM, release_id="r7")),
)


def image(
    asset_id: str = "A", *, allowed: OnWithdrawal = "keep", days: int = 30, since: str = SINCE
) -> WithdrawnImage:
    return WithdrawnImage(asset_id, since, f"withdrawn on {since[:10]}", allowed, days)


def given(decision: str = "keep", *, number: int = 1, **values: Any) -> GivenAnswer:
    """Return a sealed answer about image A; ``values`` replace its fields."""
    until = {"until": "2026-03-10T12:00:00Z"} if decision == "retrain" else {}
    record = WithdrawalAnswer(
        id=f"01ANSWER{number}",
        lora_id="ui_icons",
        release_id="r7",
        answer=decision,  # type: ignore[arg-type]
        reason="contract 17 covers it",
        answered_by=KIM,
        created_at=NOW,
        weights_sha256=WEIGHTS,
        manifest_hash=MANIFEST_HASH,
        images=(AnsweredImage(asset_id="A", since=SINCE),),
        digest="",
        **until,
    )
    return GivenAnswer(sealed(replace(record, **values)), committed_by=KIM)


def asked(
    *answers: GivenAnswer, images: tuple[WithdrawnImage, ...] = (), **values: Any
) -> ReleaseEvidence:
    facts = RightsFacts(withdrawn=images or (image(),))
    options: dict[str, Any] = {"lora": IN_USE, "rights": facts, "answers": answers, "today": NOW}
    return evidence(**(options | values))


def test_without_a_withdrawal_nothing_is_asked() -> None:
    assert withdrawals_answered(evidence(), STANDARD) is None
    assert withdrawals_answered(evidence(rights=Unproven("lost")), STANDARD) is None
    assert answers_allowed(evidence()) == ()


def test_a_withdrawal_that_nobody_answered_for_refuses() -> None:
    condition = withdrawals_answered(asked(), STANDARD)

    assert condition is not None
    assert (condition.id, condition.status) == ("withdrawals", "fail")
    assert condition.reason == "1 of 1 withdrawn, not answered for: A withdrawn on 2026-02-20"
    assert not decide(asked(), STANDARD).passed


def test_an_answer_that_the_project_allows_lets_the_gate_pass() -> None:
    decision = decide(asked(given()), STANDARD)

    assert decision.passed
    assert decision.condition("withdrawals").reason == (
        f"1 of 1 withdrawn, kept by {KIM} on 2026-03-01 (contract 17 covers it)"
    )
    assert decision.condition("rights").reason == "nothing denied of 1"


REFUSED: list[tuple[str, GivenAnswer, dict[str, Any], str]] = [
    ("policy stops", given(), {"images": (image(allowed="stop"),)},
     "the project's policy is to stop"),
    ("policy retrains", given(), {"images": (image(allowed="retrain"),)},
     "the project's policy is to retrain"),
    ("policy stops a term", given("retrain"), {"images": (image(allowed="stop"),)},
     "would retrain it, and the project's policy is to stop"),
    ("term of what is not in use", given("retrain"), {"lora": LORA},
     "a term is only for the release in use"),
    ("pointer without history", given("retrain"),
     {"lora": replace(LORA, active_release_id="r7")}, "a term is only for the release in use"),
    ("term is over", given("retrain"), {"today": "2026-03-10T12:00:00Z"}, "ended on 2026-03-10"),
    ("term of the policy is over", given("retrain", until="2027-01-01T00:00:00Z"),
     {"images": (image(days=9),)}, "ended on 2026-03-01"),
    ("trainer answers", given(answered_by=LEE), {}, f"{LEE} trained r7 and cannot answer for it"),
    ("bot answers", given(answered_by="studio-bot@studio"), {}, "is no person"),
    ("other weights", given(weights_sha256="9" * 64), {}, "is about other weights"),
    ("other manifest", given(manifest_hash="sha256:" + "9" * 64), {}, "is about another manifest"),
    ("other image", given(images=(AnsweredImage(asset_id="B", since=SINCE),)), {},
     "not answered for: A withdrawn on 2026-02-20"),
    ("other withdrawal of the image",
     given(images=(AnsweredImage(asset_id="A", since="2026-01-01T00:00:00Z"),)), {},
     "not answered for: A withdrawn on 2026-02-20"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("answer", "values", "words"), [one[1:] for one in REFUSED], ids=[one[0] for one in REFUSED]
)
def test_an_answer_that_does_not_count_is_told_with_its_reason(
    answer: GivenAnswer, values: dict[str, Any], words: str
) -> None:
    condition = withdrawals_answered(asked(answer, **values), STANDARD)

    assert condition is not None
    assert condition.status == "fail"
    assert words in condition.reason


@pytest.mark.parametrize(
    "field",
    ["reason", "answered_by", "created_at", "until", "answer", "images"],
)
def test_an_answer_that_was_edited_does_not_count(field: str) -> None:
    changed: dict[str, Any] = {
        "reason": "other", "answered_by": ANA, "created_at": "2026-03-02T12:00:00Z",
        "until": "2027-01-01T00:00:00Z", "answer": "keep",
        "images": (AnsweredImage(asset_id="A", since=SINCE),) * 2,
    }  # fmt: skip
    edited = replace(given("retrain").answer, **{field: changed[field]})

    assert not is_unchanged(edited)
    condition = withdrawals_answered(asked(GivenAnswer(edited, committed_by=KIM)), STANDARD)
    assert condition is not None
    assert "was edited" in condition.reason


def test_an_answer_of_which_git_holds_another_content_does_not_count() -> None:
    rewritten = GivenAnswer(given().answer, committed_by=KIM, rewritten=True)

    condition = withdrawals_answered(asked(rewritten), STANDARD)

    assert condition is not None
    assert condition.status == "fail"


def test_who_trained_it_may_answer_where_the_policy_lets_them_approve() -> None:
    solo = replace(STANDARD, reviewer_is_not_trainer=False)

    condition = withdrawals_answered(asked(given(answered_by=LEE)), solo)

    assert condition is not None
    assert condition.passed


@pytest.mark.parametrize(
    ("by", "status"),
    [(KIM, "pass"), ("", "fail"), (ANA, "fail"), (Unproven("shallow"), "not_proven")],
)
def test_where_reviews_must_be_committed_by_the_reviewer_so_must_answers(
    by: str | Unproven, status: str
) -> None:
    strict = replace(STANDARD, reviews_committed_by_reviewer=True)
    answer = GivenAnswer(given().answer, committed_by=by)

    condition = withdrawals_answered(asked(answer), strict)

    assert condition is not None
    assert condition.status == status


def test_a_term_is_said_with_its_end() -> None:
    condition = withdrawals_answered(asked(given("retrain")), STANDARD)

    assert condition is not None
    assert condition.passed
    assert f"to be trained anew by 2026-03-10, says {KIM}" in condition.reason


def test_a_further_withdrawal_is_another_question() -> None:
    condition = withdrawals_answered(asked(given(), images=(image(), image("B"))), STANDARD)

    assert condition is not None
    assert condition.status == "fail"
    assert "2 of 1 withdrawn, 1 not answered for: B" in condition.reason


def test_the_last_word_on_an_image_counts() -> None:
    first = given("retrain", created_at="2026-02-25T12:00:00Z")
    last = given("keep", number=2)

    [judged] = judge_withdrawals(asked(last, first), STANDARD)

    assert judged.answer == last.answer


def test_an_earlier_answer_stands_where_the_last_one_does_not_count() -> None:
    first = given("keep", created_at="2026-02-25T12:00:00Z")
    last = given("keep", number=2, answered_by=LEE)

    [judged] = judge_withdrawals(asked(first, last), STANDARD)

    assert judged.answer == first.answer


def test_the_strictest_project_decides_what_may_be_answered() -> None:
    both = (image(), image("B", allowed="retrain"))

    assert answers_allowed(asked(images=both)) == ("stop", "retrain")
    assert answers_allowed(asked()) == ("stop", "retrain", "keep")
    assert answers_allowed(asked(lora=LORA)) == ("stop", "keep")
    assert answers_allowed(asked(images=(image(allowed="stop"),))) == ("stop",)


def test_the_term_is_that_of_the_image_whose_project_waits_least() -> None:
    images = (image(days=30), image("B", days=5), image("C", days=30, since="2026-02-22T12:00:00Z"))

    assert term_of(images) == "2026-02-25T12:00:00Z"
