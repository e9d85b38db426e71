"""Secrets do not reach logs; ordinary words do."""

from __future__ import annotations

import pytest

from lora_pipeline.foundation.redaction import HIDDEN, redacted


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("using hf_abcdefghijklmnop", "abcdefghijklmnop"),
        ("r8_1234567890abcdef", "1234567890abcdef"),
        ("ghp_abcdefghijkl", "abcdefghijkl"),
        ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN7"),
        ("https://kim:hunter22@host/x.git", "hunter22"),
        ("Authorization: Bearer abcdef.ghijkl", "abcdef.ghijkl"),
        ("api_key=abcdef123", "abcdef123"),
        ('{"password": "correct horse"}', "correct"),
        ("WANDB token: 0123456789", "0123456789"),
        ("my own secret word", "own secret word"),
    ],
)
def test_secrets_are_hidden(text: str, secret: str) -> None:
    found = redacted(text, ["own secret word"])

    assert secret not in found
    assert HIDDEN in found


@pytest.mark.parametrize(
    "text",
    [
        "steps: 5%|5 | 1/20 [00:01<00:19, avr_loss=0.123]",
        "77 tokens in the caption",
        "token_string = 3",
        "saving checkpoint: /work/out/x.safetensors",
        "a sketch-like drawing",
    ],
)
def test_ordinary_words_stay(text: str) -> None:
    assert redacted(text) == text
