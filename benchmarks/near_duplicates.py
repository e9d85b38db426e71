"""What looking for near-duplicates costs, against comparing every picture with every other one.

Draws looks (the small pictures that are compared) of three kinds from a fixed seed: coloured
noise whose contrast lies in large forms, as in photographs, in yet larger ones, and in none, which
is the worst case. Both ways are measured in turns, in one process on one core; they must find
the same pairs. ``docs/checks.md`` shows a run of it.

    OMP_NUM_THREADS=1 python benchmarks/near_duplicates.py [--counts 2000 10000 30000]
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from lora_pipeline.datasets import near_duplicates
from lora_pipeline.datasets.close_vectors import Cells, CloseVectors, Places, correlated
from lora_pipeline.datasets.near_duplicates import Looks, Pairs, near_pairs

_SEED = 20240501
_KINDS = {"as photographs": 1.0, "soft": 2.0, "every cell by itself": 0.0}
_BLOCK = 256


class _EveryPair(CloseVectors):
    """Computes every product in full."""

    def pairs(
        self,
        parts: Cells,
        rows: Places,
        columns: Places,
        alike: float,
        *,
        ahead: bool = False,  # noqa: ARG002 - half of the products would do
    ) -> Iterator[tuple[Places, Places]]:
        left, right = _unit(parts[rows]), _unit(self._wholes[columns]).T
        for start in range(0, len(rows), _BLOCK):
            one, other = np.nonzero(left[start : start + _BLOCK] @ right >= alike - 1e-4)
            one, other = rows[start + one], columns[other]
            sure = correlated(parts[one], self._wholes[other], alike)
            yield one[sure], other[sure]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--counts", type=int, nargs="+", default=[2_000, 10_000])
    parser.add_argument("--kinds", nargs="+", choices=_KINDS, default=list(_KINDS))
    parser.add_argument("--without-every", action="store_true", help="measure our way alone")
    options = parser.parse_args()
    print("| looks | pictures | pairs | every pair, CPU s | as it is, CPU s | ratio |")
    print("|---|---|---|---|---|---|")
    for name in options.kinds:
        for count in options.counts:
            looks = draw(count, _KINDS[name])
            found, ours = _timed(lambda looks=looks: near_pairs(looks))
            if options.without_every:
                print(f"| {name} | {count:,} | {len(found)} | | {ours:.1f} | |", flush=True)
                continue
            every, theirs = _timed(lambda looks=looks: _plain(looks))
            if every != found:
                raise SystemExit(f"{name}, {count}: other pairs are found")
            print(
                f"| {name} | {count:,} | {len(found)} | {theirs:.1f} | {ours:.1f} "
                f"| {theirs / ours:.1f} |",
                flush=True,
            )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\npeak memory {peak:.0f} MiB")
    return 0


def draw(count: int, power: float) -> Looks:
    """Return looks of noise whose amplitude falls with its frequency; every tenth twice."""
    random = np.random.default_rng(_SEED)
    down, across = np.fft.fftfreq(32)[:, None], np.fft.rfftfreq(32)[None]
    falling = np.maximum(np.hypot(down, across), 1 / 32) ** -power
    looks = np.full((count, 16, 16, 4), 255, np.uint8)
    for start in range(0, count, 1000):
        some = min(1000, count - start)
        waves = random.normal(size=(some, 3, 32, 17)) + 1j * random.normal(size=(some, 3, 32, 17))
        waves += waves[:, :1]  # colours go together, by half
        shown = np.fft.irfft2(waves * falling)[..., :16, :16]
        shown /= shown.std(axis=(1, 2, 3), keepdims=True)
        shown = 128 + random.normal(0, 30, (some, 1, 1, 1)) + 45 * shown
        looks[start : start + some, ..., :3] = np.clip(shown, 0, 255).transpose(0, 2, 3, 1)
    looks[9::10] = looks[8 : len(looks) - 1 : 10][: len(looks[9::10])] // 8 * 8
    looks[..., 3] = 255
    return looks


def _plain(looks: Looks) -> Pairs:
    near_duplicates.CloseVectors = _EveryPair  # type: ignore[misc] - to be measured
    try:
        return near_pairs(looks)
    finally:
        near_duplicates.CloseVectors = CloseVectors  # type: ignore[misc]


def _timed(function: Callable[[], Pairs]) -> tuple[Pairs, float]:
    started = time.process_time()
    return function(), time.process_time() - started


def _unit(cells: Cells) -> np.ndarray:
    values = cells.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    length = np.sqrt((values * values).sum(axis=1, keepdims=True))
    return values / np.maximum(length, 1)


if __name__ == "__main__":
    sys.exit(main())
