"""Which images are held out of training: decided by each image's own digest."""

from __future__ import annotations

import hashlib

from lora_pipeline.datasets.records import Split, SplitRule

_SCALE = 1 << 64


def split_of(sha256: str, rule: SplitRule) -> Split:
    """Return the side that an image stands on.

    It depends on the image and the rule alone. So an image never changes sides because others
    came or went, and what one release was judged by, the next one is not trained on.
    """
    if rule.held_out <= 0:
        return "train"
    drawn = hashlib.sha256(f"{rule.salt}\n{sha256}".encode()).digest()
    return "held_out" if int.from_bytes(drawn[:8], "big") < rule.held_out * _SCALE else "train"
