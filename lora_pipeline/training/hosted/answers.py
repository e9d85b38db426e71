"""What answers of services say beside their status."""

from __future__ import annotations

import contextlib
import email.utils
import json
import math
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx2


def said_in(body: bytes) -> str:
    """Return what a refusal says, in one short line."""
    text = body[:2000].decode("utf-8", "replace").strip()
    with contextlib.suppress(ValueError):
        document = json.loads(body)
        if isinstance(document, dict):
            text = str(document.get("error") or document.get("message") or document.get("detail"))
    return "a page" if text.startswith("<") else " ".join(text.split())[:200]


def retry_after(answer: httpx2.Response) -> float | None:
    """Return how many seconds an answer asks to wait, or None when it does not say."""
    text = answer.headers.get("retry-after", "").strip()
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - time.time()
        except (TypeError, ValueError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
