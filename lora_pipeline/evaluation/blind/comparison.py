"""Blind comparison: pairs in a hidden order, a commitment to it, and what the answers come to.

Pure: chance is handed in, nothing is read or written.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import msgspec
from msgspec.structs import replace

from lora_pipeline.evaluation.blind.answers import BlindAnswers
from lora_pipeline.evaluation.blind.records import (
    BlindPair,
    BlindPlan,
    BlindReview,
    Side,
)
from lora_pipeline.evaluation.records import Cell, Evaluation
from lora_pipeline.evaluation.suites import TRAINING_CAPTION
from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.foundation.errors import ArgumentInvalidError, EvaluationIncompleteError

# Asked of every pair, in this order. The first is the one that the gate counts.
QUESTIONS: dict[str, str] = {
    "better": "Which one would you use?",
    "prompt": "Which one follows the prompt better?",
    "sound": "Which one is technically cleaner?",
}
HEADLINE = "better"
_PER_REPEAT = 8  # pairs for each that is shown a second time
_PER_CONTROL = 16  # pairs for each that shows one image twice
_FEW = 4  # below this nobody's constancy can be told


class Matched(msgspec.Struct, frozen=True):
    """Two cells of one prompt and seed: the candidate's and the opponent's."""

    candidate: Cell
    opponent: Cell


def matched_cells(
    candidate: Evaluation, opponent: Evaluation, *, strength: float, base: bool
) -> list[Matched]:
    """Return the cells that are compared, in the order of the grid.

    Training captions are left out: of what was learnt by heart nobody should be asked whether
    it is better.

    Args:
        candidate: The grid of the candidate.
        opponent: The grid of what it is compared with; for the base the same grid.
        strength: At which strength.
        base: Whether it is compared with the base instead of another release.

    Raises:
        EvaluationIncompleteError: When the grids were not drawn alike, so that another
            difference than that of the weights would be judged.
    """
    if not base:
        _require_alike(candidate, opponent)
    suite = candidate.suite
    learnt = {one.id for one in suite.prompts if one.kind == TRAINING_CAPTION} if suite else set()
    others = {
        (cell.prompt_id, cell.seed): cell
        for cell in opponent.cells
        if cell.strength == (0.0 if base else strength)
    }
    return [
        Matched(cell, others[cell.prompt_id, cell.seed])
        for cell in candidate.cells
        if cell.strength == strength
        and cell.prompt_id not in learnt
        and (cell.prompt_id, cell.seed) in others
    ]


def nearest_strength(evaluation: Evaluation, wanted: float) -> float:
    """Return the strength of a grid that is nearest to the one in use; of two the higher."""
    strengths = {cell.strength for cell in evaluation.cells if cell.strength > 0}
    return min(strengths, key=lambda one: (abs(one - wanted), -one))


def chosen(matched: Sequence[Matched], count: int | None) -> list[Matched]:
    """Return at most ``count`` of the pairs, of every prompt as many as of the others."""
    if count is None or count >= len(matched):
        return list(matched)
    by_prompt: dict[str, list[Matched]] = defaultdict(list)
    for one in matched:
        by_prompt[one.candidate.prompt_id].append(one)
    turns = max(len(group) for group in by_prompt.values())
    ordered = [group[turn] for turn in range(turns) for group in by_prompt.values()
               if turn < len(group)]  # fmt: skip
    kept = {id(one) for one in ordered[:count]}
    return [one for one in matched if id(one) in kept]


def draw_order(matched: Sequence[Matched], chance: random.Random) -> tuple[BlindPair, ...]:
    """Return the pairs in the order of the page: shuffled, sides drawn, repeats and controls in.

    A repeat comes as late as it can, with its sides exchanged. A control shows one image of
    the opponent twice: who prefers one of two equal images is guessing.
    """
    pairs = [_drawn(one, chance) for one in matched]
    chance.shuffle(pairs)
    enough = len(pairs) >= _FEW
    repeats = pairs[: -(-len(pairs) // _PER_REPEAT)] if enough else []
    controls = chance.sample(pairs, -(-len(pairs) // _PER_CONTROL)) if enough else []
    later = [_exchanged(pair) for pair in repeats] + [_doubled(pair) for pair in controls]
    half = len(pairs) // 2
    second = pairs[half:] + later
    chance.shuffle(second)
    numbered = [
        replace(pair, id=f"p{number:03d}")
        for number, pair in enumerate([*pairs[:half], *second], start=1)
    ]
    firsts = {_what(pair): pair.id for pair in numbered if not (pair.repeat_of or pair.control)}
    return tuple(
        replace(pair, repeat_of=firsts[_what(pair)]) if pair.repeat_of else pair
        for pair in numbered
    )


def commitment(plan_id: str, nonce: str, pairs: Sequence[BlindPair]) -> str:
    """Return the digest that binds an order without telling it."""
    return digest_of({"planId": plan_id, "nonce": nonce, "pairs": [one.to_dict() for one in pairs]})


def content_digest(
    plan_id: str, questions: Mapping[str, str], shown: Mapping[str, Sequence[str]]
) -> str:
    """Return the digest of what a page shows: the questions, and the bytes of every picture."""
    pictures = {pair: list(digests) for pair, digests in shown.items()}
    return digest_of({"planId": plan_id, "questions": dict(questions), "pictures": pictures})


def sealed_plan(plan: BlindPlan) -> BlindPlan:
    """Return the plan with its digest."""
    return replace(plan, digest=plan_digest(plan))


def plan_digest(plan: BlindPlan) -> str:
    """Return the digest of a plan: of all its fields but the digest itself."""
    return digest_of(replace(plan, digest="").to_dict())


def sealed_review(review: BlindReview) -> BlindReview:
    """Return the review with its digest."""
    return replace(review, digest=blind_review_digest(review))


def blind_review_digest(review: BlindReview) -> str:
    """Return the digest of a blind review: of all its fields but the digest itself."""
    return digest_of(replace(review, digest="").to_dict())


def require_answers(answers: BlindAnswers, plan: BlindPlan, pairs: Sequence[BlindPair]) -> None:
    """Check that answers are to this page, to all of it, and that its pictures were shown.

    Raises:
        ArgumentInvalidError: When they are not; names the pair.
    """
    if answers.content_digest != plan.content_digest:
        raise ArgumentInvalidError("the answers are to other pictures than those of the page")
    if content_digest(plan.id, plan.questions, answers.shown) != plan.content_digest:
        raise ArgumentInvalidError(
            "the browser did not have the pictures of the page: they were exchanged, or it "
            "could not compute their digests"
        )
    wanted, given = [one.id for one in pairs], [one.pair for one in answers.answers]
    if sorted(wanted) != sorted(given):
        lost = [one for one in wanted if one not in given] or given
        raise ArgumentInvalidError(
            f"{len(set(given) & set(wanted))} of {len(wanted)} pairs were answered, not {lost[0]}"
        )
    for one in answers.answers:
        if HEADLINE not in one.said or not set(one.said) <= set(plan.questions):
            raise ArgumentInvalidError(f"{one.pair} has no answer to {HEADLINE!r}")
        if one.seen_ms <= 0:
            raise ArgumentInvalidError(f"{one.pair} was answered without being looked at")


def problem_of(review: BlindReview, plan: BlindPlan | None) -> str:
    """Return why a blind review is not what its plan promised, or empty.

    Whoever has both records can tell: the order is the one that was committed to, so no side
    was exchanged after the answers were known.
    """
    who = review.reviewer
    if plan is None:
        return f"the plan of the blind review of {who} is not there"
    promised = (plan.content_digest, plan.against, plan.binding)
    checks = (
        (blind_review_digest(review) == review.digest, f"the blind review of {who} was edited"),
        (
            plan_digest(plan) == plan.digest == review.plan_digest,
            f"the plan of the blind review of {who} was edited",
        ),
        (
            commitment(plan.id, review.nonce, review.pairs) == plan.commitment,
            f"the order of the blind review of {who} is not the one that was committed to",
        ),
        (
            (review.content_digest, review.against, review.binding) == promised,
            f"the blind review of {who} is about other images than its plan",
        ),
        (
            sorted(one.pair for one in review.answers) == sorted(one.id for one in review.pairs),
            f"the blind review of {who} does not answer every pair",
        ),
    )
    return next((words for holds, words in checks if not holds), "")


def preferences(review: BlindReview, question: str = HEADLINE) -> dict[tuple[str, int], int]:
    """Return what was preferred by prompt and seed: 1 the candidate, -1 the opponent, 0 neither.

    Repeats and controls are about the reviewer, not about the candidate: they don't count.
    """
    said = {one.pair: one.said.get(question) for one in review.answers}
    return {
        (pair.prompt_id, pair.seed): _sign(pair, said[pair.id])
        for pair in review.pairs
        if not (pair.repeat_of or pair.control) and said.get(pair.id)
    }


def constancy(review: BlindReview) -> tuple[int, int]:
    """Return how many of the checks of attention a reviewer met, and how many there were.

    A repeat is met by the same preference, a control by a tie.
    """
    said = {one.pair: one.said.get(HEADLINE) for one in review.answers}
    by_id = {pair.id: pair for pair in review.pairs}
    met = [one for one in _checks(review, by_id, said) if one]
    return len(met), sum(1 for pair in review.pairs if pair.repeat_of or pair.control)


def _checks(
    review: BlindReview, by_id: Mapping[str, BlindPair], said: Mapping[str, str | None]
) -> Iterator[bool]:
    for pair in review.pairs:
        if pair.control:
            yield said.get(pair.id) == "tie"
        elif pair.repeat_of in by_id:
            first = by_id[pair.repeat_of]
            yield _sign(pair, said.get(pair.id)) == _sign(first, said.get(first.id))


def _sign(pair: BlindPair, said: str | None) -> int:
    if said not in ("left", "right"):
        return 0
    return 1 if (said == "left") == (pair.left == "candidate") else -1


def _drawn(one: Matched, chance: random.Random) -> BlindPair:
    left: Side = chance.choice(("candidate", "opponent"))
    mine, other = one.candidate.image_sha256, one.opponent.image_sha256
    return BlindPair(
        id="",
        prompt_id=one.candidate.prompt_id,
        seed=one.candidate.seed,
        left=left,
        left_sha256=mine if left == "candidate" else other,
        right_sha256=other if left == "candidate" else mine,
    )


def _exchanged(pair: BlindPair) -> BlindPair:
    other: Side = "opponent" if pair.left == "candidate" else "candidate"
    return replace(
        pair,
        left=other,
        left_sha256=pair.right_sha256,
        right_sha256=pair.left_sha256,
        repeat_of="later",
    )


def _doubled(pair: BlindPair) -> BlindPair:
    same = pair.right_sha256 if pair.left == "candidate" else pair.left_sha256
    return replace(pair, left_sha256=same, right_sha256=same, control=True)


def _what(pair: BlindPair) -> tuple[str, int]:
    return pair.prompt_id, pair.seed


def _require_alike(candidate: Evaluation, opponent: Evaluation) -> None:
    renderers = (candidate.renderer, opponent.renderer)
    fingerprints = {one.fingerprint for one in renderers if one}
    for alike, what in (
        (candidate.suite_digest == opponent.suite_digest, "with another suite"),
        (candidate.checkpoint_digest == opponent.checkpoint_digest, "on another base model"),
        (len(fingerprints) == 1, "by another renderer, or on another machine"),
    ):
        if not alike:
            raise EvaluationIncompleteError(
                f"{opponent.release_id} was drawn {what}: its grid {opponent.id} cannot be "
                f"compared with {candidate.id}",
                hint=f"lora eval grid {opponent.lora_id} {opponent.release_id}",
            )
