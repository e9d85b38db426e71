"""Answers to withdrawals, with a clock: what counts today need not count tomorrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.foundation.errors import ArgumentInvalidError, StateError
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.releases.promote import promote_release, rollback_release
from lora_pipeline.operations.releases.release_answer import answer_withdrawal
from lora_pipeline.operations.releases.resolve import resolve_lora
from lora_pipeline.operations.workspace.validate import validate_workspace
from lora_pipeline.releases.records import WithdrawalAnswer
from tests.support.attacks import write_policy
from tests.support.release_builders import (
    ANA,
    KIM,
    LORA,
    SCOPE,
    TRAINER,
    Studio,
    active_studio,
    add_grid,
    add_review,
    at,
    copy_of,
    make_active,
)
from tests.support.rights_builders import allow, asset_ids, state, withdraw
from tests.support.workspace_builders import commit_all


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return active_studio(tmp_path_factory.mktemp("template") / "studio")


@pytest.fixture
def studio(template: Studio, tmp_path: Path) -> Studio:
    return copy_of(template, tmp_path / "studio")


def answer(studio: Studio, decision: Any, *, release: str = "r1", **options: Any) -> Result:
    values = {"reason": "contract 17 covers it"} | options
    return answer_withdrawal(studio.workspace, LORA, release, decision, **values)


def errors(studio: Studio) -> list[str]:
    found = validate_workspace(studio.workspace).data["findings"]
    return [one["code"] for one in found if one["severity"] == "error"]


def answers(studio: Studio) -> list[WithdrawalAnswer]:
    return [one.record for one in studio.workspace.records.all(WithdrawalAnswer, SCOPE)]


def test_validate_fails_until_the_answer_is_recorded_and_passes_after_it(studio: Studio) -> None:
    allow(studio, "keep")
    asset_id = withdraw(studio)

    assert errors(studio) == ["withdrawal_unanswered"]
    result = answer(studio, "keep")

    assert result.success
    assert errors(studio) == []
    [record] = answers(studio)
    assert (record.answered_by, record.created_at) == (ANA, "2026-03-01T12:00:00Z")
    assert record.reason == "contract 17 covers it"
    assert [one.asset_id for one in record.images] == [asset_id]
    assert resolve_lora(studio.workspace, LORA).data["releaseId"] == "r1"


def test_the_fix_of_the_finding_names_what_the_policy_allows(studio: Studio) -> None:
    allow(studio, "retrain")
    withdraw(studio)

    [found] = [
        one
        for one in validate_workspace(studio.workspace).data["findings"]
        if one["code"] == "withdrawal_unanswered"
    ]

    assert found["fix"] == f"lora release answer {LORA} r1 stop|retrain --reason …"


def test_what_the_policy_does_not_allow_is_refused_and_nothing_is_written(studio: Studio) -> None:
    withdraw(studio)

    result = answer(studio, "keep")

    assert result.refusal is not None
    assert result.refusal.code == "answer_refused"
    assert "the project's policy is to stop" in result.refusal.message
    assert result.refusal.hint == f"lora release answer {LORA} r1 stop --reason …"
    assert answers(studio) == []


def test_a_stricter_policy_ends_what_a_milder_one_allowed(studio: Studio) -> None:
    allow(studio, "keep")
    withdraw(studio)
    answer(studio, "keep")
    allow(studio, "stop")

    assert errors(studio) == ["withdrawal_unanswered"]
    assert resolve_lora(studio.workspace, LORA).refusal is not None


def test_stop_takes_the_release_out_of_use_and_needs_no_other_record(studio: Studio) -> None:
    withdraw(studio)

    result = answer(studio, "stop", reason="the artist asked")

    lora = studio.lora().record
    assert result.data["answer"] == "stop"
    assert (lora.active_release_id, lora.releases[0].status) == ("", "deprecated")
    assert (lora.history[-1].event, lora.history[-1].reason) == ("deprecated", "the artist asked")
    assert answers(studio) == []
    assert errors(studio) == []


def test_a_term_lets_the_release_stay_until_its_end_and_not_longer(studio: Studio) -> None:
    allow(studio, "retrain", days=30)  # withdrawn on 20 February
    withdraw(studio)

    result = answer(studio, "retrain")

    assert result.data["until"] == "2026-03-22T12:00:00Z"
    assert errors(studio) == []
    [found] = [
        one
        for one in validate_workspace(studio.workspace).data["findings"]
        if one["code"] == "withdrawal_answered"
    ]
    assert found["severity"] == "warning"
    assert "to be trained anew by 2026-03-22" in found["message"]
    later = at(studio, "2026-03-22T12:00:01+00:00")
    assert errors(later) == ["withdrawal_unanswered"]
    assert resolve_lora(later.workspace, LORA).refusal is not None


def test_a_term_cannot_be_given_again_when_it_is_over(studio: Studio) -> None:
    allow(studio, "retrain", days=5)
    withdraw(studio)  # its term ended on 25 February, and now it is 1 March

    result = answer(studio, "retrain")

    assert result.refusal is not None
    assert "ended on 2026-02-25" in result.refusal.message


def test_a_shorter_term_can_be_given_and_a_longer_one_not(studio: Studio) -> None:
    allow(studio, "retrain")
    withdraw(studio)

    assert answer(studio, "retrain", days=3).data["until"] == "2026-03-04T12:00:00Z"
    with pytest.raises(ArgumentInvalidError, match="the project's term on 2026-03-22"):
        answer(studio, "retrain", days=60)


def test_a_term_promotes_nothing(studio: Studio) -> None:
    allow(studio, "keep")
    withdraw(studio)
    add_review(studio, add_grid(studio, "r2"))

    refused = answer(studio, "retrain", release="r2")

    assert refused.refusal is not None
    assert "a term is only for the release in use" in refused.refusal.message
    decision = promote_release(studio.as_(ANA), LORA, "r2")
    assert decision.refusal is not None
    assert f"lora release answer {LORA} r2 stop|keep --reason …" in decision.suggestions


def test_a_candidate_is_promoted_once_it_was_answered_for(studio: Studio) -> None:
    allow(studio, "keep")
    withdraw(studio)
    add_review(studio, add_grid(studio, "r2"))
    assert promote_release(studio.workspace, LORA, "r2").refusal is not None

    answer(studio, "keep", release="r2")

    assert promote_release(studio.workspace, LORA, "r2").success
    assert errors(studio) == []


def test_nothing_is_rolled_back_to_what_nobody_answered_for(studio: Studio) -> None:
    make_active(studio, "r2")
    withdraw(studio)

    result = rollback_release(studio.workspace, LORA)

    assert result.refusal is not None
    assert "withdrawals" in result.refusal.message


def test_who_trained_the_release_cannot_answer_for_it(studio: Studio) -> None:
    allow(studio, "keep")
    withdraw(studio)

    result = answer_withdrawal(studio.as_(TRAINER), LORA, "r1", "keep", reason="mine")

    assert result.refusal is not None
    assert f"{TRAINER} trained r1 and cannot answer for it" in result.refusal.message
    assert "--as SOMEONE_ELSE" in str(result.refusal.hint)


def test_a_further_withdrawal_needs_a_further_answer(studio: Studio) -> None:
    allow(studio, "keep")
    withdraw(studio)
    answer(studio, "keep")
    withdraw(studio, 1)

    assert errors(studio) == ["withdrawal_unanswered"]
    answer(studio, "keep")
    assert errors(studio) == []
    assert [len(one.images) for one in answers(studio)] == [1, 2]


def test_the_same_answer_again_writes_nothing(studio: Studio) -> None:
    allow(studio, "keep")
    withdraw(studio)
    answer(studio, "keep")

    again = answer_withdrawal(studio.as_(KIM), LORA, "r1", "keep", reason="again")

    assert again.written == ()
    assert again.reasoning == f"{ANA} answered so already"
    assert len(answers(studio)) == 1


def test_a_licence_that_ended_asks_like_a_withdrawal(studio: Studio) -> None:
    allow(studio, "keep")
    state(studio, asset_ids(studio)[0], expires_on="2026-02-28")

    assert errors(studio) == ["withdrawal_unanswered"]
    answer(studio, "keep")
    assert errors(studio) == []
    # Withdrawing it as well is no further question: it began when the licence ended.
    withdraw(studio, at="2026-03-01T12:00:00Z")
    assert errors(studio) == []


def test_a_licence_that_ends_soon_is_told_and_can_be_answered_for_before(studio: Studio) -> None:
    allow(studio, "keep")
    state(studio, asset_ids(studio)[0], expires_on="2026-03-20")
    found = validate_workspace(studio.workspace).data["findings"]
    [warning] = [one for one in found if one["code"] == "license_ends_soon"]

    assert "its licence ends on 2026-03-20" in warning["message"]
    assert answer(studio, "keep").success
    assert errors(at(studio, "2026-03-21T00:00:00+00:00")) == []


def test_without_a_withdrawal_there_is_nothing_to_answer_for(studio: Studio) -> None:
    with pytest.raises(StateError, match="no image of r1 was withdrawn"):
        answer(studio, "keep")
    with pytest.raises(StateError, match="no image of r1 was withdrawn"):
        answer(studio, "stop")


@pytest.mark.parametrize(
    ("decision", "options", "words"),
    [
        ("keep", {"reason": "  "}, "why?"),
        ("keep", {"days": 3}, "days are for retrain"),
        ("retrain", {"days": 0}, "at least 1"),
    ],
)
def test_arguments_that_are_none(
    studio: Studio, decision: str, options: dict[str, Any], words: str
) -> None:
    allow(studio, "keep")
    withdraw(studio)

    with pytest.raises(ArgumentInvalidError, match=words):
        answer(studio, decision, **options)
    assert answers(studio) == []


def test_a_dry_run_answers_and_writes_nothing(studio: Studio) -> None:
    allow(studio, "keep")
    withdraw(studio)

    result = answer_withdrawal(
        studio.as_(ANA, dry_run=True), LORA, "r1", "keep", reason="contract 17"
    )

    assert result.dry_run
    assert len(result.written) == 1
    assert answers(studio) == []


def test_where_the_policy_asks_for_it_the_answer_must_be_committed_by_who_gave_it(
    studio: Studio,
) -> None:
    allow(studio, "keep")
    withdraw(studio)
    write_policy(studio, reviewsCommittedByReviewer=True)

    def unanswered() -> str:
        found = validate_workspace(studio.workspace).data["findings"]
        return "".join(one["message"] for one in found if one["code"] == "withdrawal_unanswered")

    result = answer_withdrawal(studio.as_(KIM), LORA, "r1", "keep", reason="contract 17")

    assert "counts an answer once" in result.warnings[0]
    assert f"the answer of {KIM} is not committed yet" in unanswered()
    commit_all(studio.root, "Answered")  # by ANA, whose repository it is
    assert f"the answer of {KIM} was committed by {ANA}" in unanswered()
    answer(studio, "keep")
    commit_all(studio.root, "Answered by who commits it")
    assert unanswered() == ""
