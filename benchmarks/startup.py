"""Measure how long short commands take against `python -c pass`, side by side.

The two take turns, so that a busy machine is unfair to both alike; the medians are compared.
The workspace has a project and nothing else.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time

EMPTY = [sys.executable, "-c", "pass"]
LORA = [sys.executable, "-m", "lora_pipeline"]
COMMANDS = (
    "--help", "status", "asset list", "dataset list", "run list", "release list", "validate"
)  # fmt: skip


def timed(argv: list[str], folder: str) -> float:
    """Return how long a program takes, in seconds."""
    # Compiled bytecode is what users have; some machines switch it off.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    started = time.perf_counter()
    subprocess.run(argv, cwd=folder, env=environment, capture_output=True, check=False)  # noqa: S603
    return time.perf_counter() - started


def compare(argv: list[str], rounds: int, folder: str) -> tuple[float, float]:
    """Return the median seconds of an empty program and of ``argv``."""
    timed(EMPTY, folder), timed(argv, folder)  # the first run compiles and fills the cache
    pairs = [(timed(EMPTY, folder), timed(argv, folder)) for _ in range(rounds)]
    return statistics.median(one[0] for one in pairs), statistics.median(one[1] for one in pairs)


def main() -> None:
    """Print one line for each command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    print(f"{'command':<12} {'empty':>8} {'ours':>8} {'more':>8} {'ratio':>6}")
    with tempfile.TemporaryDirectory() as folder:
        timed([*LORA, "init", "--no-git"], folder)
        timed([*LORA, "project", "create", "icons"], folder)
        for name in COMMANDS:
            argv = [*LORA, *name.split()]
            empty, ours = compare(argv, rounds, folder)
            more = f"{(ours - empty) * 1000:+.0f} ms"
            ratio = ours / empty
            print(
                f"{name:<12} {empty * 1000:>5.0f} ms {ours * 1000:>5.0f} ms {more:>8} {ratio:>6.1f}"
            )


if __name__ == "__main__":
    main()
