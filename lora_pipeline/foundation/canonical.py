"""Canonical JSON and the digests taken over it (RFC 8785)."""

from __future__ import annotations

import hashlib
from typing import Any

from lora_pipeline.foundation.errors import JsonInvalidError

MAX_EXACT = 2**53 - 1  # the largest whole number that every reader of JSON keeps


def canonical_bytes(value: Any) -> bytes:
    """Return ``value`` in the form of RFC 8785: one spelling for one meaning.

    Raises:
        JsonInvalidError: When the value holds what JSON cannot say exactly (NaN, infinity,
            integers beyond 2**53, lone surrogates).
    """
    import rfc8785  # imported late: only commands that take digests need it

    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeEncodeError, RecursionError) as error:
        raise JsonInvalidError(f"value has no canonical JSON form: {error}") from error


def digest_of(value: Any) -> str:
    """Return ``sha256:<hex>`` over the canonical form of ``value``."""
    return f"sha256:{hashlib.sha256(canonical_bytes(value)).hexdigest()}"


def digest_of_bytes(data: bytes) -> str:
    """Return ``sha256:<hex>`` over ``data``."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def short(digest: str) -> str:
    """Return a digest as people read it: algorithm and twelve digits."""
    algorithm, _, hexdigest = digest.rpartition(":")
    return f"{algorithm}:{hexdigest[:12]}" if algorithm else hexdigest[:12]
