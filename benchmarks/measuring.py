"""Run a program and say what it cost: wall time, CPU time of it and its children, peak memory."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """What one run, or the median of several, took.

    Attributes:
        wall_s: Seconds by the clock.
        cpu_s: Seconds of all cores, user and system, children included.
        peak_mib: Largest memory of one of its processes.
    """

    wall_s: float
    cpu_s: float
    peak_mib: float


def environment() -> dict[str, str]:
    """Return our environment with bytecode kept, as users have it."""
    wanted = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return wanted | {"LORA_IDENTITY": "bench@example.com", "GIT_CONFIG_GLOBAL": os.devnull}


def run(argv: Sequence[str], folder: Path, extra: Mapping[str, str] | None = None) -> Cost:
    """Run a program to its end and return what it cost.

    Raises:
        SystemExit: When it fails; its words are shown.
    """
    with (folder / ".bench-output").open("w+b") as output:
        started = time.perf_counter()
        process = subprocess.Popen(  # noqa: S603 - programs of this folder
            list(argv),
            cwd=folder,
            env=environment() | dict(extra or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            words = output.read().decode("utf-8", "replace")[-2000:]
            raise SystemExit(f"{' '.join(argv)} exited with {process.returncode}:\n{words}")
    (folder / ".bench-output").unlink()
    return Cost(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def median(costs: Sequence[Cost]) -> Cost:
    """Return the median of each figure."""
    return Cost(
        statistics.median(one.wall_s for one in costs),
        statistics.median(one.cpu_s for one in costs),
        max(one.peak_mib for one in costs),
    )
