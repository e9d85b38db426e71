"""Measure building datasets beside the tools that people use for it now, in one run.

    python benchmarks/datasets.py /data/bench --peers .venv-peers

Every tool gets the same PNG files (page cache warm) and does what it does: dvc, git and git-lfs
keep a second copy of the data, Hugging Face `datasets` writes a table, we write the manifest and
stage by hard link. Rounds take turns, so a busy machine is unfair to all alike, and medians are
compared: the peer's over ours. Nothing is deleted between rounds, only moved aside: on ext4
creating files just after deleting as many costs several times more.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from corpus import draw_corpus
from measuring import Cost, median, run
from studio import make_studio

LORA = (sys.executable, "-m", "lora_pipeline")
BUILD = (*LORA, "dataset", "build", "icons", "--quiet")
RULE = ("--asset-type", "ui_icon", "--tag", "style:flat", "--caption", "tags+spec")
FLOOR = """
import hashlib, os, sys, xxhash
paths = sorted(os.path.join(sys.argv[1], name) for name in os.listdir(sys.argv[1]))
def work(paths):
    buffer = bytearray(1 << 20)
    view = memoryview(buffer)
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        count = os.readv(descriptor, [buffer])
        os.close(descriptor)
        hashlib.sha256(view[:count]).digest(), xxhash.xxh3_128_digest(view[:count])
cores = len(os.sched_getaffinity(0))
children = []
for number in range(1, cores):
    child = os.fork()
    if child == 0:
        work(paths[number::cores])
        os._exit(0)
    children.append(child)
work(paths[::cores])
for child in children:
    os.waitpid(child, 0)
"""
LOAD = """
import sys
from datasets import load_dataset
print(load_dataset("imagefolder", data_dir=sys.argv[1], cache_dir=sys.argv[2], split="train"))
"""


@dataclass
class Bench:
    """The folders of one measurement, and what was measured.

    Attributes:
        folder: Where everything is written.
        count: Images.
        peers: Folder of a virtual environment with dvc and datasets, or None.
        costs: Every cost by case and tool, in the order of the rounds.
    """

    folder: Path
    count: int
    peers: Path | None
    costs: dict[tuple[str, str], list[Cost]] = field(default_factory=dict)
    _moved: int = 0

    @property
    def art(self) -> Path:
        """The corpus."""
        return self.folder / f"art-{self.count}"

    def note(self, case: str, tool: str, cost: Cost) -> None:
        """Keep one cost, and say it."""
        self.costs.setdefault((case, tool), []).append(cost)
        print(f"  {case:<14} {tool:<22} {cost.wall_s:8.3f} s  {cost.cpu_s:8.3f} CPU s", flush=True)

    def aside(self, path: Path) -> None:
        """Move a file or folder out of the way."""
        if path.exists():
            self._moved += 1
            target = self.folder / "aside"
            target.mkdir(exist_ok=True)
            path.rename(target / f"{self._moved:04}-{path.name}")


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="made; needs about 10 GB for 10,000 images")
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers", type=Path, help="virtual environment with dvc and datasets")
    parser.add_argument("--growth", type=int, nargs="*", default=[], help="counts to compare")
    arguments = parser.parse_args()
    bench = Bench(arguments.folder.resolve(), arguments.count, arguments.peers)
    bench.folder.mkdir(parents=True, exist_ok=True)
    if arguments.count:
        draw_corpus(bench.art, bench.count)
        ours = _studio(bench.folder / "ours", bench.art, 256)
        for number in range(arguments.rounds):
            print(f"round {number + 1}", flush=True)
            _cold(bench, ours, number)
            _warm(bench, ours)
        _print_ratios(bench)
    if arguments.growth:
        _growth(bench.folder, arguments.growth, arguments.rounds)


def _studio(folder: Path, art: Path, size: int) -> Path:
    if not folder.exists():
        make_studio(folder, sorted(art.iterdir()), size=size)
        run(("git", "init", "--quiet"), folder)
    return folder


def _cold(bench: Bench, ours: Path, number: int) -> None:
    for path in (ours / ".lora", ours / "data/projects/bench/datasets/icons.json"):
        bench.aside(path)
    bench.note("floor", "read and hash", run((sys.executable, "-c", FLOOR, str(bench.art)), ours))
    bench.note("cold", "lora", run((*BUILD, *RULE, "--stage"), ours))
    for tool, make in _PEERS.items():
        repository = bench.folder / f"{tool.replace(' ', '-')}-{number}"
        if repository.exists() or not make.there(bench):
            continue
        repository.mkdir()
        make.prepare(bench, repository)
        shutil.copytree(bench.art, repository / "art")
        bench.note("cold", tool, make.add(bench, repository))


def _warm(bench: Bench, ours: Path) -> None:
    number = max(int(path.name.rpartition("-")[2]) for path in bench.folder.glob("git-*[0-9]"))
    run(BUILD, ours)  # the first one after a change finds files too young to be believed
    run((*BUILD, "--stage"), ours)
    image = next((ours / "data/projects/bench/files/images").glob("*/original/*.png"))
    for _ in range(3):
        bench.note("unchanged", "lora", run(BUILD, ours))
        bench.note("unchanged", "lora --stage", run((*BUILD, "--stage"), ours))
        for case, tool, make, repository in _repositories(bench, number):
            bench.note("unchanged", case, tool(bench, repository))
            del make
    with _one_more_byte(image):
        bench.note("one changed", "lora", run(BUILD, ours))
    run(BUILD, ours)
    for name, make in _PEERS.items():
        repository = bench.folder / f"{name.replace(' ', '-')}-{number}"
        if repository.exists() and make.change_counts:
            with _one_more_byte(next((repository / "art").glob("*.png"))):
                bench.note("one changed", name, make.add(bench, repository))
            make.add(bench, repository)


def _repositories(
    bench: Bench, number: int
) -> Iterator[tuple[str, Callable[[Bench, Path], Cost], _Peer, Path]]:
    for name, make in _PEERS.items():
        repository = bench.folder / f"{name.replace(' ', '-')}-{number}"
        if repository.exists():
            for case, tool in make.again.items():
                yield case, tool, make, repository


class _one_more_byte:  # noqa: N801 - reads as a word where it is used
    """Append a byte to a file, and take it away again. The copy is not the linked original."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = path.stat().st_size

    def __enter__(self) -> None:
        alone = self._path.with_suffix(".new")
        shutil.copyfile(self._path, alone)
        with alone.open("ab") as stream:
            stream.write(b"x")
        alone.replace(self._path)

    def __exit__(self, *_: object) -> None:
        os.truncate(self._path, self._size)


@dataclass(frozen=True)
class _Peer:
    """How a peer is set up, and what is measured of it."""

    prepare: Callable[[Bench, Path], object]
    add: Callable[[Bench, Path], Cost]
    again: dict[str, Callable[[Bench, Path], Cost]]
    needs_environment: bool = False
    change_counts: bool = True

    def there(self, bench: Bench) -> bool:
        return not self.needs_environment or bench.peers is not None


def _program(*argv: str) -> Callable[[Bench, Path], Cost]:
    def call(bench: Bench, repository: Path) -> Cost:
        program = argv[0]
        if bench.peers is not None and program in ("dvc", "python"):
            program = str(bench.peers.resolve() / "bin" / program)
        return run((program, *argv[1:]), repository)

    return call


def _steps(*steps: Callable[[Bench, Path], object]) -> Callable[[Bench, Path], None]:
    def all_of_them(bench: Bench, repository: Path) -> None:
        for step in steps:
            step(bench, repository)

    return all_of_them


def _load(bench: Bench, repository: Path) -> Cost:
    assert bench.peers is not None  # noqa: S101 - see ``there``
    python = str(bench.peers.resolve() / "bin" / "python")
    offline = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(repository / "home")}
    return run((python, "-c", LOAD, str(repository / "art"), str(repository / "cache")),
               repository, offline)  # fmt: skip


_GIT = _program("git", "init", "--quiet")
_PEERS = {
    "dvc": _Peer(
        _steps(_GIT, _program("dvc", "init", "--quiet"),
               _program("dvc", "config", "core.analytics", "false")),
        _program("dvc", "add", "--quiet", "art"),
        {
            "dvc status": _program("dvc", "status"),
            "dvc add again": _program("dvc", "add", "--quiet", "art"),
        },
        needs_environment=True,
    ),
    "git": _Peer(
        _steps(_GIT, _program("git", "config", "core.compression", "0")),
        _program("git", "add", "art"),
        {"git status": _program("git", "status", "--short")},
        change_counts=False,
    ),
    "git lfs": _Peer(
        _steps(_GIT, _program("git", "lfs", "install", "--local"),
               _program("git", "lfs", "track", "*.png")),
        _program("git", "add", "art"),
        {},
        change_counts=False,
    ),
    "hf imagefolder": _Peer(
        lambda *_: None, _load, {"hf imagefolder again": _load}, needs_environment=True,
        change_counts=False,
    ),
}  # fmt: skip
_GOALS = (
    ("cold", "dvc", "lora", 4.0, 8.0),
    ("cold", "git lfs", "lora", 6.0, 10.0),
    ("cold", "hf imagefolder", "lora", 8.0, 15.0),
    ("cold", "git", "lora", 0.0, 0.0),
    ("unchanged", "dvc status", "lora", 10.0, 25.0),
    ("unchanged", "dvc add again", "lora", 15.0, 30.0),
    ("unchanged", "dvc status", "lora --stage", 0.0, 0.0),
    ("unchanged", "git status", "lora", 0.25, 0.5),
    ("unchanged", "hf imagefolder again", "lora", 0.0, 0.0),
    ("one changed", "dvc", "lora", 12.0, 25.0),
)


def _print_ratios(bench: Bench) -> None:
    cost = {key: median(costs) for key, costs in bench.costs.items()}
    print(f"\n{bench.count} PNG files, {os.cpu_count()} cores; ratios are the peer's over ours")
    print("| case | against | peer s (CPU) | ours s (CPU) | by the clock | by CPU | least · aim |")
    print("|---|---|---|---|---|---|---|")
    for case, tool, own, least, aim in _GOALS:
        if (case, tool) in cost and (case, own) in cost:
            peer, mine = cost[case, tool], cost[case, own]
            goal = f"{least:g}x · {aim:g}x" if least else ""
            _print_row(f"{case} ({own})" if own != "lora" else case, tool, peer, mine, goal)
    floor, cold = cost["floor", "read and hash"], cost["cold", "lora"]
    print(
        f"| cold | floor: read and hash | {floor.wall_s:.2f} ({floor.cpu_s:.2f}) | "
        f"{cold.wall_s:.2f} ({cold.cpu_s:.2f}) | we take {cold.wall_s / floor.wall_s:.2f}x | "
        f"{cold.cpu_s / floor.cpu_s:.2f}x | within 1.6x · 1.25x |"
    )
    print(f"peak memory of a process of ours: {cold.peak_mib:.0f} MiB cold")


def _print_row(case: str, tool: str, peer: Cost, mine: Cost, goal: str) -> None:
    print(
        f"| {case} | {tool} | {peer.wall_s:.3f} ({peer.cpu_s:.3f}) | "
        f"{mine.wall_s:.3f} ({mine.cpu_s:.3f}) | {peer.wall_s / mine.wall_s:.2f}x | "
        f"{peer.cpu_s / mine.cpu_s:.2f}x | {goal} |"
    )


def _growth(folder: Path, counts: list[int], rounds: int) -> None:
    """Print what an asset costs at several sizes, and the exponent of growth."""
    print("\n| assets | cold, CPU ms an asset | unchanged, CPU ms an asset | peak MiB |")
    print("|---|---|---|---|")
    found: dict[int, Cost] = {}
    for count in sorted(counts):
        art = folder / f"small-{count}"
        draw_corpus(art, count, size=32)
        ours = _studio(folder / f"ours-small-{count}", art, 32)
        cold, warm = [], []
        for number in range(rounds):
            bench = Bench(folder / f"growth-{count}-{number}", count, None)
            bench.folder.mkdir(exist_ok=True)
            for path in (ours / ".lora", ours / "data/projects/bench/datasets/icons.json"):
                bench.aside(path)
            cold.append(run((*BUILD, *RULE, "--stage"), ours))
            run(BUILD, ours)
            warm.append(run(BUILD, ours))
        found[count] = median(cold)
        unchanged = median(warm)
        print(
            f"| {count:,} | {found[count].cpu_s / count * 1000:.3f} | "
            f"{unchanged.cpu_s / count * 1000:.4f} | {found[count].peak_mib:.0f} |",
            flush=True,
        )
    low, high = min(found), max(found)
    if low < high:
        exponent = math.log(found[high].cpu_s / found[low].cpu_s) / math.log(high / low)
        print(f"cost grows with the number of assets to the power of {exponent:.2f}")


if __name__ == "__main__":
    main()
