"""Secrets taken out of text before it is kept: logs, records, messages."""

from __future__ import annotations

import re
from collections.abc import Sequence

HIDDEN = "[hidden]"
_TOKEN = re.compile(
    r"\b(?:hf_|r8_|gh[pousr]_|github_pat_|glpat-|xox[abprs]-|sk-|AKIA|ASIA|AIza)[A-Za-z0-9_-]{8,}"
)
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)")
_NAMED = re.compile(
    r"(?i)\b((?:api[_-]?key|access[_-]?token|auth[_-]?token|secret|password|token)[\"']?\s*[:=]\s*"
    r"[\"']?|authorization:\s*(?:bearer|basic)\s+|\bbearer\s+)([^\s\"',;&]{6,})"
)
_SHORTEST_SECRET = 6


def redacted(text: str, secrets: Sequence[str] = ()) -> str:
    """Return text without tokens, passwords in addresses, and the given secrets."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            text = text.replace(secret, HIDDEN)
    text = _TOKEN.sub(HIDDEN, text)
    text = _IN_ADDRESS.sub(HIDDEN, text)
    return _NAMED.sub(rf"\g<1>{HIDDEN}", text)
