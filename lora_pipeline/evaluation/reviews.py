"""Reviews: a person's verdict, bound to the digests of what was seen."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from lora_pipeline.evaluation.grid import problems_of_grid
from lora_pipeline.evaluation.records import Cell, Evaluation, Review
from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.foundation.errors import EvaluationIncompleteError

_NAMED = 3

# What a reviewer is asked about: each sign says that the LoRA learnt its images, not its subject.
SIGNS: dict[str, str] = {
    "copies_training_image": "Does a cell repeat the composition of a training image?",
    "ignores_prompt": "Does a cell ignore what its prompt asks for?",
    "style_stuck": "Does the style stay where another one was asked for?",
    "leaks_without_trigger": "Does the subject show where the trigger word is not given?",
    "burnt": "Are contrast or colours burnt, or are there artefacts?",
    "text_or_logo_from_data": "Is there a logo, watermark or text that nobody asked for?",
    "little_variety": "Do the seeds look alike?",
}


def review_digest(review: Review) -> str:
    """Return the digest of a review: of all its fields but the digest itself."""
    return digest_of(replace(review, digest="").to_dict())


def sealed(review: Review) -> Review:
    """Return the review with its digest."""
    return replace(review, digest=review_digest(review))


def is_unchanged(review: Review) -> bool:
    """Return whether a review is still what was written."""
    return review.digest == review_digest(review)


def require_complete(evaluation: Evaluation, *, command: str) -> None:
    """Check that there is a whole grid to judge.

    Args:
        evaluation: What is to be judged.
        command: The command that completes it.

    Raises:
        EvaluationIncompleteError: When cells are missing or failed, or the record is not what
            was rendered; names them and the command.
    """
    problems = problems_of_grid(evaluation)
    if not problems:
        return
    missing = [cell for cell in evaluation.cells if cell.status != "done"]
    named = f": {_words(missing)}" if missing else ""
    raise EvaluationIncompleteError(
        f"evaluation {evaluation.id} cannot be judged, {problems[-1]}{named}", hint=command
    )


def _words(cells: Sequence[Cell]) -> str:
    shown = [
        f"{cell.prompt_id} seed {cell.seed} at {cell.strength:g}"
        + (f" ({cell.error})" if cell.error else "")
        for cell in sorted(cells, key=lambda cell: cell.status != "failed")[:_NAMED]
    ]
    more = [f"{len(cells) - _NAMED} more"] if len(cells) > _NAMED else []
    return "; ".join([*shown, *more])
