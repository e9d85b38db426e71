"""Answers to withdrawals: what a person decided, sealed so that nobody changes it unseen."""

from __future__ import annotations

import msgspec

from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.releases.records import WithdrawalAnswer


def answer_digest(answer: WithdrawalAnswer) -> str:
    """Return the digest of an answer: of all its fields but the digest itself."""
    return digest_of(msgspec.structs.replace(answer, digest="").to_dict())


def sealed(answer: WithdrawalAnswer) -> WithdrawalAnswer:
    """Return the answer with its digest."""
    return msgspec.structs.replace(answer, digest=answer_digest(answer))


def is_unchanged(answer: WithdrawalAnswer) -> bool:
    """Return whether an answer is still what was written."""
    return answer.digest == answer_digest(answer)
