"""What comes back from a blind page: a file that a browser wrote, and nobody has checked yet."""

from __future__ import annotations

from typing import ClassVar

from lora_pipeline.evaluation.blind.records import BlindAnswer
from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import RecordInvalidError
from lora_pipeline.foundation.record import Record
from lora_pipeline.foundation.schemas import require_valid

MAX_BYTES = 8 * 1024 * 1024


class BlindAnswers(Record, frozen=True, kw_only=True):
    """Answers by pair; ``shown`` holds what the browser computed over the pictures it had."""

    KIND: ClassVar[str] = "blind-answers"

    plan_id: str
    content_digest: str
    answers: tuple[BlindAnswer, ...]
    shown: dict[str, tuple[str, ...]]
    comment: str = ""


def parse_answers(data: bytes, name: str) -> BlindAnswers:
    """Return the answers that a file holds.

    Raises:
        RecordInvalidError: When it is too long, no strict JSON, or breaks its schema.
    """
    if len(data) > MAX_BYTES:
        raise RecordInvalidError(f"{name} is longer than answers can be")
    document = strict_json.loads(data, name)
    require_valid(document, f"{BlindAnswers.KIND}/v1", name)
    return BlindAnswers.from_dict(document)
