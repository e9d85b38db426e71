"""How well `lora dataset check` tells good pictures from bad, and what it costs.

Draws clean pictures of three kinds from fixed seeds, plants one defect at a time, and prints
for every defect how many are found (recall), how many clean pictures are called defective, and
what measuring costs. ``docs/checks.md`` shows a run of it.

    python benchmarks/checks.py [--count 100] [--size 256]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from PIL import Image

from lora_pipeline.datasets.checks.checking import check_pictures
from lora_pipeline.datasets.checks.findings import CheckFinding, Picture
from lora_pipeline.datasets.checks.thresholds import Profile, Thresholds
from lora_pipeline.foundation.digests import digest_file
from lora_pipeline.workspace.root import Workspace, open_workspace
from tests.support import checks_builders as pictures

Drawn = Image.Image
Change = Callable[[Drawn], Drawn]
ALONE: list[tuple[str, str, Change]] = [
    ("blurred, sigma 1.5", "blurred", lambda image: pictures.blurred(image, 1.5)),
    ("blurred, sigma 2", "blurred", lambda image: pictures.blurred(image, 2)),
    ("blurred, sigma 3", "blurred", lambda image: pictures.blurred(image, 3)),
    ("enlarged 2 times, smooth", "enlarged blurred", lambda image: pictures.enlarged(image, 2)),
    ("enlarged 3 times, smooth", "enlarged blurred", lambda image: pictures.enlarged(image, 3)),
    ("enlarged 4 times, smooth", "enlarged blurred", lambda image: pictures.enlarged(image, 4)),
    ("enlarged 4 times, by repeating", "enlarged", pictures.pixelated),
    ("JPEG 10, saved as PNG", "jpeg_artefacts", lambda image: pictures.recompressed(image, 10)),
    ("JPEG 30, saved as PNG", "jpeg_artefacts", lambda image: pictures.recompressed(image, 30)),
    ("JPEG 50, saved as PNG", "jpeg_artefacts", lambda image: pictures.recompressed(image, 50)),
    ("JPEG 85, saved as PNG (fine)", "jpeg_artefacts", lambda i: pictures.recompressed(i, 85)),
    ("frame of 12 px", "border", pictures.framed),
    ("bars above and below", "border", pictures.letterboxed),
]
COPIES: list[tuple[str, Change]] = [
    ("saved as JPEG 10", pictures.recompressed),
    ("half the size", lambda i: i.resize((i.width // 2, i.height // 2), Image.Resampling.LANCZOS)),
    ("blurred, sigma 3", pictures.blurred),
    ("15 % more light", pictures.brighter),
    ("in a frame", pictures.framed),
    ("bars above and below", pictures.letterboxed),
    ("cropped by 4 % all round", lambda i: pictures.cropped(pictures.on(i), 0.04)),
    ("cropped by 8 % all round", lambda i: pictures.cropped(pictures.on(i), 0.08)),
    ("cropped by 16 % at a corner", lambda i: pictures.cropped(pictures.on(i), 0.08, (0, 0))),
    ("cropped by 8 % and JPEG 30", lambda i: pictures.recompressed(pictures.cropped(i, 0.08), 30)),
    ("cropped by 20 %, off the middle", lambda i: pictures.cropped(i, 0.1, (0.5, 1.5))),
    ("with other colours (no copy)", pictures.recoloured),
    ("mirrored (no copy)", lambda i: i.transpose(Image.Transpose.FLIP_LEFT_RIGHT)),
]


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100, help="pictures of each kind")
    parser.add_argument("--size", type=int, default=256, help="pixels of a side")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bench = _Bench(Path(folder), options.count, options.size)
        bench.single()
        bench.copies()
        bench.marks()
        bench.cost()
    return 0


class _Bench:
    def __init__(self, folder: Path, count: int, size: int) -> None:
        (folder / "data" / "shared").mkdir(parents=True)
        self._workspace: Workspace = open_workspace(folder)
        self._count, self._size = count, size
        self._clean = {
            kind: [draw(seed, size) for seed in range(count)]
            for kind, draw in pictures.KINDS.items()
        }

    def single(self) -> None:
        """Print recall and false alarms of what is judged image by image."""
        print(f"| defect, {self._count} pictures each | icons | photos | paintings |")
        print("|---|---|---|---|")
        for name, codes, change in ALONE:
            found = [
                self._with_code([change(one) for one in drawn], codes)
                for drawn in self._clean.values()
            ]
            print(f"| {name} | {' | '.join(f'{one:.0%}' for one in found)} |")
        every = "blurred enlarged jpeg_artefacts border transparent one_colour near_duplicate"
        found = [self._with_code(drawn, every) for drawn in self._clean.values()]
        print(f"| clean: any finding | {' | '.join(f'{one:.0%}' for one in found)} |\n")

    def copies(self) -> None:
        """Print how many copies are found, and how many strangers are taken for one."""
        print("| copy | icons | photos | paintings |")
        print("|---|---|---|---|")
        strangers = 0
        for name, change in COPIES:
            row = []
            for drawn in self._clean.values():
                every = [*drawn, *map(change, drawn)]
                found = self._check(every, "near_duplicate same_pixels")
                groups = [sorted(int(one.name) for one in each.pictures) for each in found]
                right = [each for each in groups if each == [each[0], each[0] + len(drawn)]]
                strangers += len(groups) - len(right)
                row.append(f"{len(right) / len(drawn):.0%}")
            print(f"| {name} | {' | '.join(row)} |")
        print(f"\ngroups with strangers: {strangers}\n")

    def marks(self) -> None:
        """Print from which share of marked pictures on the mark is found."""
        print("| share with a mark in the corner | photos found | others named |")
        print("|---|---|---|")
        photos = self._clean["photo"]
        for share in (0.0, 0.2, 0.4, 0.6, 1.0):
            marked = round(share * len(photos))
            every = [pictures.signed(one) for one in photos[:marked]] + photos[marked:]
            named = {
                int(one.name)
                for each in self._check(every, "repeated_corner")
                for one in each.pictures
            }
            right = len([one for one in named if one < marked])
            told = f"{right / marked:.0%}" if marked else "-"
            print(f"| {share:.0%} | {told} | {len(named) - right} |")
        print()

    def cost(self) -> None:
        """Print what one picture costs, cold and known."""
        print("| size | cold, ms a picture | known, ms a picture |")
        print("|---|---|---|")
        for size in (64, 256, 512, 1024):
            drawn = [pictures.photo(10_000 + seed, size) for seed in range(20)]
            saved = self._save(drawn, f"cost-{size}")
            taken = []
            for _ in range(2):
                start = time.perf_counter()
                self._judge(saved)
                taken.append((time.perf_counter() - start) * 1000 / len(saved))
            print(f"| {size} | {taken[0]:.1f} | {taken[1]:.2f} |")

    def _with_code(self, drawn: Sequence[Drawn], codes: str) -> float:
        named = {one.name for each in self._check(drawn, codes) for one in each.pictures}
        return len(named) / len(drawn)

    def _check(self, drawn: Sequence[Drawn], codes: str) -> list[CheckFinding]:
        findings = self._judge(self._save(drawn, "now"))
        return [one for one in findings if one.code in codes.split()]

    def _judge(self, saved: list[Picture]) -> Sequence[CheckFinding]:
        return check_pictures(
            self._workspace, saved, Profile(), Thresholds(), trained_on=len(saved)
        ).findings

    def _save(self, drawn: Sequence[Drawn], folder: str) -> list[Picture]:
        saved = []
        for number, image in enumerate(drawn):
            path = pictures.save(image, self._workspace.data_root / folder / f"{number}.png")
            relative = path.relative_to(self._workspace.data_root).as_posix()
            saved.append(Picture(f"A{number}", str(number), relative, digest_file(path).sha256))
        return saved


if __name__ == "__main__":
    sys.exit(main())
