"""``lora dataset …`` in tests."""

from __future__ import annotations

from pathlib import Path

from tests.support.workspace_builders import Answer, invoke


def lora(folder: Path, *argv: str) -> Answer:
    """Run ``lora dataset`` with further words."""
    return invoke(["dataset", *argv], folder)


def done(folder: Path, *argv: str) -> Answer:
    """Run ``lora dataset`` with further words; it must succeed."""
    answer = lora(folder, *argv)
    assert answer.exit_code == 0, answer.stdout + answer.stderr
    return answer
