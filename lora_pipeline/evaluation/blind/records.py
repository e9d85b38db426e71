"""Records of blind comparison: the plan that fixes it beforehand, and what a person said."""

from __future__ import annotations

from typing import ClassVar, Literal

from lora_pipeline.evaluation.records import ReviewBinding
from lora_pipeline.foundation.record import Part, Record

Side = Literal["candidate", "opponent"]


class Opponent(Part, frozen=True, kw_only=True):
    """What the candidate is compared with: another release, or the base without any LoRA."""

    kind: Literal["base", "release"]
    release_id: str = ""
    evaluation_id: str
    weights_sha256: str = ""
    result_digest: str


class BlindPlan(Record, frozen=True, kw_only=True):
    """One blind page: how many pairs, which questions, against what; fixed before it is answered.

    ``commitment`` is the digest of the order, which nobody can read until the answers are in.
    """

    KIND: ClassVar[str] = "blind-plan"

    id: str
    lora_id: str
    release_id: str
    evaluation_id: str
    created_at: str
    created_by: str
    binding: ReviewBinding
    against: Opponent
    strength: float
    pairs: int
    repeats: int = 0
    controls: int = 0
    questions: dict[str, str]
    content_digest: str
    commitment: str
    digest: str = ""


class BlindPair(Part, frozen=True, kw_only=True):
    """Two images side by side, and which of them is the candidate's.

    ``repeat_of`` names the pair that is shown a second time with its sides exchanged; a
    ``control`` shows one image twice.
    """

    id: str
    prompt_id: str
    seed: int
    left: Side
    left_sha256: str
    right_sha256: str
    repeat_of: str = ""
    control: bool = False


class BlindAnswer(Part, frozen=True, kw_only=True):
    """What was said of a pair, by question; the sides are those of the page."""

    pair: str
    said: dict[str, Literal["left", "right", "tie"]]
    seen_ms: int


class BlindReview(Record, frozen=True, kw_only=True):
    """One person's answers to a blind page, with the order that the plan had committed to."""

    KIND: ClassVar[str] = "blind-review"
    ONE_LINE_EACH: ClassVar[tuple[str, ...]] = ("pairs", "answers")

    id: str
    plan_id: str
    plan_digest: str
    lora_id: str
    release_id: str
    evaluation_id: str
    reviewer: str
    created_at: str
    binding: ReviewBinding
    against: Opponent
    content_digest: str
    nonce: str
    pairs: tuple[BlindPair, ...]
    answers: tuple[BlindAnswer, ...]
    comment: str = ""
    digest: str = ""
