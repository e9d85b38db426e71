"""Blind comparison: a hidden order, a commitment to it, and what may be made of the answers."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from lora_pipeline.evaluation.blind.answers import BlindAnswers, parse_answers
from lora_pipeline.evaluation.blind.comparison import (
    QUESTIONS,
    Matched,
    chosen,
    commitment,
    constancy,
    content_digest,
    draw_order,
    matched_cells,
    nearest_strength,
    preferences,
    problem_of,
    require_answers,
    sealed_plan,
    sealed_review,
)
from lora_pipeline.evaluation.blind.records import (
    BlindAnswer,
    BlindPair,
    BlindPlan,
    BlindReview,
    Opponent,
)
from lora_pipeline.evaluation.records import RendererIdentity
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    EvaluationIncompleteError,
    PipelineError,
)
from tests.support.gate_builders import GRID, NOW, binding

PLAN, NONCE = "01JNAB0000000000000000000A", "0f" * 16


def order(seed: int = 1, count: int | None = None) -> tuple[BlindPair, ...]:
    found = matched_cells(GRID, GRID, strength=1.0, base=True)
    return draw_order(chosen(found, count), random.Random(seed))


def always(pairs: tuple[BlindPair, ...], side: str = "candidate") -> tuple[BlindAnswer, ...]:
    return tuple(
        BlindAnswer(
            pair=pair.id,
            said={"better": "tie" if pair.control else "left" if pair.left == side else "right"},
            seen_ms=900,
        )
        for pair in pairs
    )


def page(pairs: tuple[BlindPair, ...]) -> dict[str, tuple[str, ...]]:
    return {pair.id: (pair.left_sha256, pair.right_sha256) for pair in pairs}


def plan_of(pairs: tuple[BlindPair, ...]) -> BlindPlan:
    return sealed_plan(
        BlindPlan(
            id=PLAN, lora_id="ui_icons", release_id="r7", evaluation_id="01EVAL", created_at=NOW,
            created_by="ana@studio", binding=binding(),
            against=Opponent(
                kind="base", evaluation_id="01EVAL", result_digest=GRID.result_digest
            ),
            strength=1.0, pairs=4, questions=QUESTIONS,
            content_digest=content_digest(PLAN, QUESTIONS, page(pairs)),
            commitment=commitment(PLAN, NONCE, pairs),
        )
    )  # fmt: skip


def review_of(pairs: tuple[BlindPair, ...], /, **values: Any) -> BlindReview:
    plan = plan_of(pairs)
    review = BlindReview(
        id="01JNAB0000000000000000000B", plan_id=PLAN, plan_digest=plan.digest,
        lora_id="ui_icons", release_id="r7", evaluation_id="01EVAL", reviewer="kim@studio",
        created_at=NOW, binding=plan.binding, against=plan.against,
        content_digest=plan.content_digest, nonce=NONCE, pairs=pairs, answers=always(pairs),
    )  # fmt: skip
    return sealed_review(replace(review, **values))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_an_order_holds_every_pair_once_and_its_checks_beside(seed: int) -> None:
    pairs = order(seed)
    own = [pair for pair in pairs if not (pair.repeat_of or pair.control)]
    by_id = {pair.id: pair for pair in pairs}

    assert len({(pair.prompt_id, pair.seed) for pair in own}) == len(own) == 4
    assert [pair.id for pair in pairs] == [f"p{number:03d}" for number in range(1, len(pairs) + 1)]
    for pair in pairs:
        if pair.repeat_of:
            first = by_id[pair.repeat_of]
            assert (pair.left_sha256, pair.right_sha256) == (first.right_sha256, first.left_sha256)
            assert pair.left != first.left
            assert pair.id > first.id
        if pair.control:
            assert pair.left_sha256 == pair.right_sha256


def test_sides_are_drawn_for_every_pair() -> None:
    sides = {pair.left for seed in range(20) for pair in order(seed)}
    orders = {tuple(pair.seed for pair in order(seed)) for seed in range(20)}

    assert sides == {"candidate", "opponent"}
    assert len(orders) > 3


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["candidate", "opponent"]))
def test_who_always_prefers_one_side_is_understood_whatever_the_order(seed: int, side: str) -> None:
    pairs = order(seed)
    review = review_of(pairs, answers=always(pairs, side))
    met, checks = constancy(review)

    assert set(preferences(review).values()) == {1 if side == "candidate" else -1}
    assert len(preferences(review)) == 4
    assert met == checks == 2


def test_who_always_says_left_fails_the_checks() -> None:
    pairs = order()
    left = tuple(BlindAnswer(pair=one.id, said={"better": "left"}, seen_ms=9) for one in pairs)

    assert constancy(review_of(pairs, answers=left)) == (0, 2)


def test_fewer_pairs_are_taken_from_every_prompt_alike() -> None:
    found = matched_cells(GRID, GRID, strength=1.0, base=True)

    assert {one.candidate.prompt_id for one in chosen(found, 2)} == {"star", "plain"}
    assert chosen(found, None) == found
    assert chosen(found, 99) == found


def test_the_strength_in_use_is_compared_or_the_one_next_to_it() -> None:
    assert nearest_strength(GRID, 0.9) == 1.0
    assert nearest_strength(GRID, 0.6) == 0.5
    assert nearest_strength(GRID, 0.75) == 1.0


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"suite_digest": "sha256:" + "9" * 64}, "with another suite"),
        ({"checkpoint_digest": "sha256:" + "9" * 64}, "on another base model"),
        (
            {"renderer": RendererIdentity(name="x", version="1", fingerprint="g")},
            "another renderer",
        ),
    ],
)
def test_grids_that_were_not_drawn_alike_are_not_compared(
    change: dict[str, Any], words: str
) -> None:
    with pytest.raises(EvaluationIncompleteError, match=words):
        matched_cells(GRID, replace(GRID, **change), strength=1.0, base=False)


def test_a_review_that_is_what_its_plan_promised_has_no_problem() -> None:
    pairs = order()

    assert problem_of(review_of(pairs), plan_of(pairs)) == ""


def turned(pairs: tuple[BlindPair, ...]) -> tuple[BlindPair, ...]:
    first = pairs[0]
    other = "opponent" if first.left == "candidate" else "candidate"
    return (replace(first, left=other), *pairs[1:])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda _: {"comment": "", "digest": "sha256:" + "0" * 64}, "was edited"),
        (lambda pairs: {"pairs": turned(pairs)}, "not the one that was committed to"),
        (lambda _: {"nonce": "1" * 32}, "not the one that was committed to"),
        (lambda _: {"content_digest": "sha256:" + "9" * 64}, "about other images"),
        (lambda _: {"binding": binding(result_digest="sha256:" + "9" * 64)}, "other images"),
        (lambda pairs: {"answers": always(pairs)[1:]}, "does not answer every pair"),
        (lambda _: {"plan_digest": "sha256:" + "9" * 64}, "plan of the blind review"),
    ],
)
def test_a_review_that_differs_from_its_plan_says_how(change: Any, words: str) -> None:
    pairs = order()
    values = change(pairs)
    review = review_of(pairs, **{k: v for k, v in values.items() if k != "digest"})
    if "digest" in values:
        review = replace(review, digest=values["digest"])

    assert words in problem_of(review, plan_of(pairs))


def test_a_review_without_its_plan_is_worth_nothing() -> None:
    assert "is not there" in problem_of(review_of(order()), None)


def test_an_edited_plan_is_told() -> None:
    pairs = order()

    assert "was edited" in problem_of(review_of(pairs), replace(plan_of(pairs), pairs=2))


def test_the_commitment_tells_nothing_without_its_random_number() -> None:
    pairs = order()

    assert commitment(PLAN, NONCE, pairs) != commitment(PLAN, "1" * 32, pairs)
    assert commitment(PLAN, NONCE, pairs) != commitment(PLAN, NONCE, turned(pairs))


def answers(pairs: tuple[BlindPair, ...], **values: Any) -> BlindAnswers:
    given = BlindAnswers(
        plan_id=PLAN,
        content_digest=plan_of(pairs).content_digest,
        answers=always(pairs),
        shown=page(pairs),
    )
    return replace(given, **values)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda _: {"content_digest": "sha256:" + "9" * 64}, "other pictures"),
        (lambda pairs: {"shown": page(pairs) | {"p001": ("9" * 64, "9" * 64)}}, "were exchanged"),
        (lambda _: {"shown": {}}, "were exchanged"),
        (lambda pairs: {"answers": always(pairs)[:-1]}, "5 of 6 pairs were answered"),
        (lambda pairs: {"answers": (*always(pairs), always(pairs)[0])}, "6 of 6 pairs"),
        (
            lambda pairs: {"answers": (replace(always(pairs)[0], seen_ms=0), *always(pairs)[1:])},
            "without being looked at",
        ),
        (
            lambda pairs: {
                "answers": (
                    replace(always(pairs)[0], said={"better": "left", "mood": "tie"}),
                    *always(pairs)[1:],
                )
            },
            "no answer to 'better'",
        ),
    ],
)
def test_answers_that_are_not_to_the_whole_page_are_refused(change: Any, words: str) -> None:
    pairs = order()
    with pytest.raises(ArgumentInvalidError, match=words):
        require_answers(answers(pairs, **change(pairs)), plan_of(pairs), pairs)


def test_answers_to_the_whole_page_are_taken() -> None:
    pairs = order()

    require_answers(answers(pairs), plan_of(pairs), pairs)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"schema": "blind-answers/v2"}', b" " * (2**23 + 1)]
)
def test_a_file_that_no_page_saved_is_refused(data: bytes) -> None:
    with pytest.raises(PipelineError):
        parse_answers(data, "answers.json")


def test_few_pairs_have_no_checks() -> None:
    assert len(order(count=2)) == 2
    assert isinstance(matched_cells(GRID, GRID, strength=1.0, base=True)[0], Matched)
