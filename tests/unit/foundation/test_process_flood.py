"""A program that prints without end is slowed, not kept in memory, and can be stopped."""

from __future__ import annotations

import sys
from pathlib import Path

from lora_pipeline.foundation.process import Supervised, child_environment

FLOOD = "while True: print('x' * 100)"


def test_a_flooding_program_is_stopped_and_leaves_no_reader(tmp_path: Path) -> None:
    flood = Supervised([sys.executable, "-c", FLOOD], cwd=tmp_path, environment=child_environment())
    with flood:
        lines = flood.lines()
        first = [next(lines).text for _ in range(10_000)]

    assert set(first) == {"x" * 100}
    assert not any(reader.is_alive() for reader in flood._readers)
