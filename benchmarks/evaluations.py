"""What a large grid and a long history cost: cells by the thousand, releases by the thousand.

The first table renders grids of growing size with a renderer that only computes noise, so that
what remains is our own work for a cell: the picture checked, hashed and stored durably, the line
and the record written, the effect measured, the contact sheet drawn. The second one asks the
command line about the largest of them. The third asks about a LoRA with many releases, each
with an evaluation of 60 cells. ``docs/speed.md`` shows a run of it.

    python benchmarks/evaluations.py [--cells 100 1000 10000] [--releases 1000]
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from msgspec.structs import replace as replace_fields

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import measuring
import numpy as np
from msgspec.structs import replace

from lora_pipeline.evaluation.effect import summarise
from lora_pipeline.evaluation.grid import plan_cells, result_digest
from lora_pipeline.evaluation.records import Cell, Evaluation, RendererIdentity
from lora_pipeline.evaluation.renderers.interface import CellRequest, RenderSource
from lora_pipeline.evaluation.suites import read_suite
from lora_pipeline.foundation.canonical import digest_of_bytes
from lora_pipeline.operations.evaluation.evaluate import GridOptions, render_subject
from lora_pipeline.operations.evaluation.evaluation_subject import find_target, subject_of
from lora_pipeline.releases.records import Lora
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.root import Workspace, open_workspace
from lora_pipeline.workspace.settings import Settings
from lora_pipeline.workspace.store import open_store
from tests.support.evaluation_builders import (
    BASE_MODEL,
    CHECKPOINT,
    LORA,
    PROJECT,
    RELEASE,
    SCOPE,
    SUITE,
    add_subject,
    make_release,
)
from tests.support.fake_renderer import FakeRenderer, FakeSession
from tests.support.store_builders import put_bytes
from tests.support.workspace_builders import make_workspace

_SEEDS, _STRENGTHS = 10, (0.25, 0.5, 0.75, 1.0)
_OTHER = "r2"
_CELLS_A_PROMPT = _SEEDS * (1 + len(_STRENGTHS))
# A refusal is an answer, too.
_ASK = """\
import sys
from lora_pipeline.__main__ import main
try:
    main()
except SystemExit as ended:
    sys.exit(0 if ended.code in (0, 1, None) else ended.code)
"""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cells", type=int, nargs="+", default=[100, 1000, 10_000])
    parser.add_argument("--releases", type=int, default=1000)
    parser.add_argument("--render", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.render:
        return _render(options.render)
    with tempfile.TemporaryDirectory() as folder:
        largest = _grids(Path(folder), options.cells)
        _questions(f"{max(options.cells):,} cells", largest, [
            ["eval", "show", LORA],
            ["eval", "grid", LORA, "--dry-run"],
            ["eval", "show", LORA, "--png", "page.png", "--page", "2"],
            ["eval", "metrics", LORA],
            ["eval", "metrics", LORA],
            ["eval", "review", LORA, "--blind", "--pairs", "24", "--output", "blind.html"],
            ["eval", "approve", LORA, "--comment", "looked at it", "--dry-run"],
            ["release", "show", LORA, RELEASE],
            ["promote", LORA, RELEASE, "--dry-run"],
            ["validate"],
        ])  # fmt: skip
        _second_grid(largest)
        compare = ["eval", "compare", LORA, RELEASE, _OTHER]
        _questions(f"{max(options.cells):,} cells, two releases", largest, [compare])
        many = _history(Path(folder) / "history", options.releases)
        newest = f"r{options.releases - 1}"
        _questions(f"{options.releases:,} releases", many, [
            ["show", LORA],
            ["release", "list", LORA],
            ["release", "show", LORA, newest],
            ["release", "history", LORA],
            ["release", "diff", LORA, f"r{options.releases - 2}", newest],
            ["eval", "compare", LORA, f"r{options.releases - 2}", newest],
            ["eval", "show", LORA, newest],
            ["eval", "grid", LORA, newest, "--dry-run"],
            ["promote", LORA, newest, "--dry-run"],
            ["resolve", "--asset-type", SUITE],
            ["status", LORA],
            ["validate"],
        ])  # fmt: skip
    return 0


class _Coarse(FakeSession):
    """Draws squares in place of noise, which no picture format can shorten."""

    def _pixels(self, cell: CellRequest, fault: str) -> np.ndarray:
        small = replace_fields(cell, width=cell.width // 8, height=cell.height // 8)
        return np.kron(super()._pixels(small, fault), np.ones((8, 8, 1), np.uint8))


class _Renderer(FakeRenderer):
    """Opens sessions that draw squares."""

    @contextlib.contextmanager
    def open(self, source: RenderSource, settings: Settings, folder: Path) -> Iterator[FakeSession]:
        with super().open(source, settings, folder):
            yield _Coarse(self, source)


def _grids(folder: Path, sizes: list[int]) -> Path:
    place = folder
    print("| cells | seconds | CPU ms a cell | peak memory | record |")
    print("|---|---|---|---|---|")
    for cells in sizes:
        place = folder / f"grid{cells}"
        workspace = make_workspace(place, git=False, project=PROJECT)
        add_subject(workspace)
        _write_suite(workspace, cells // _CELLS_A_PROMPT)
        cost = measuring.run([sys.executable, __file__, "--render", str(place)], place)
        record = max(workspace.data_root.glob("projects/*/evals/*.json"))
        print(
            f"| {cells:,} | {cost.wall_s:.1f} | {1000 * cost.cpu_s / cells:.1f} "
            f"| {cost.peak_mib:.0f} MiB | {record.stat().st_size / 1e6:.2f} MB |",
            flush=True,
        )
    print()
    return place


def _questions(title: str, folder: Path, commands: list[list[str]]) -> None:
    print(f"| {title} | CPU seconds | peak memory |")
    print("|---|---|---|")
    for command in commands:
        cost = measuring.run([sys.executable, "-c", _ASK, *command], folder)
        words = " ".join(command)
        print(f"| `lora {words}` | {cost.cpu_s:.2f} | {cost.peak_mib:.0f} MiB |", flush=True)
    print()


def _render(folder: Path) -> int:
    workspace = open_workspace(folder)
    target = find_target(workspace, LORA, "", project=None, scope="project")
    subject = subject_of(workspace, target, suite_id="", prompts=())
    options = GridOptions(renderer="fake", yes=True)
    return 0 if render_subject(workspace, subject, options, {"fake": _Renderer()}).success else 1


def _second_grid(folder: Path) -> None:
    """Give another release the same grid, so that there is something to compare."""
    workspace = open_workspace(folder)
    loaded = workspace.records.read(Lora, SCOPE, LORA)
    drawn = next(workspace.records.each(Evaluation, SCOPE))
    sha256 = put_bytes(open_store(workspace), b"other weights")
    release = make_release(workspace, sha256, _OTHER, _time(1))
    again = replace(
        drawn, id="01JNMG7Z9S0000000000000000", release_id=_OTHER, weights_sha256=sha256
    )
    changes = Changes(workspace)
    changes.create(replace(again, result_digest=result_digest(again)), SCOPE, again.id)
    changes.update(loaded, replace(loaded.record, releases=(*loaded.record.releases, release)))
    changes.apply()


def _history(folder: Path, releases: int) -> Path:
    workspace = make_workspace(folder, git=False, project=PROJECT)
    add_subject(workspace)
    _write_suite(workspace, 2, seeds=10, strengths=(0.5, 1.0))
    loaded = workspace.records.read(Lora, SCOPE, LORA)
    suite = read_suite(workspace, SUITE)
    store = open_store(workspace)
    changes = Changes(workspace)
    made = []
    for number in range(releases):
        sha256 = put_bytes(store, f"weights {number}".encode())
        made.append(make_release(workspace, sha256, f"r{number}", _time(number)))
        cells = tuple(
            map(
                _drawn,
                plan_cells(
                    suite.suite,
                    trigger_word=loaded.record.trigger_word,
                    weights_sha256=sha256,
                    checkpoint_digest=digest_of_bytes(BASE_MODEL),
                ),
            )
        )
        record = Evaluation(
            id=f"01JNMG7Z9S00000000{number:08d}",
            lora_id=LORA,
            release_id=f"r{number}",
            created_at=_time(number),
            status="complete",
            prompts=tuple(dict.fromkeys(cell.prompt for cell in cells)),
            suite_id=SUITE,
            suite_digest=suite.digest,
            suite=suite.suite,
            weights_sha256=sha256,
            checkpoint_id=CHECKPOINT,
            checkpoint_digest=digest_of_bytes(BASE_MODEL),
            renderer=RendererIdentity(name="fake", version="1", fingerprint="sha256:" + "7" * 64),
            cells=cells,
            metrics=summarise(suite.suite, cells, 0),
            sheet_sha256="8" * 64,
        )
        changes.create(replace(record, result_digest=result_digest(record)), SCOPE, record.id)
    changes.update(loaded, replace(loaded.record, releases=tuple(made)))
    changes.apply()
    return folder


def _drawn(cell: Cell) -> Cell:
    effect = 0.1 * cell.strength if cell.strength else None
    return replace(cell, status="done", image_sha256=_sha256(cell.id), effect=effect)


def _write_suite(
    workspace: Workspace,
    prompts: int,
    seeds: int = _SEEDS,
    strengths: tuple[float, ...] = _STRENGTHS,
) -> None:
    lines = [
        f"id: {SUITE}",
        "summary: Many prompts, for measuring",
        f"assetTypes: [{SUITE}]",
        "prompts:",
        *(
            f'  - {{id: p{number}, kind: in_domain, text: "{{trigger}}, icon of thing {number}"}}'
            for number in range(prompts)
        ),
        f"seeds: {list(range(seeds))}",
        f"strengths: {list(strengths)}",
        "render: {width: 64, height: 64, steps: 4, guidance: 3.0}",
    ]
    file = workspace.root / "config" / "suites" / f"{SUITE}.yaml"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _sha256(words: str) -> str:
    return hashlib.sha256(words.encode()).hexdigest()


def _time(number: int) -> str:
    return f"2026-01-{1 + number // 1440:02d}T{number // 60 % 24:02d}:{number % 60:02d}:00Z"


if __name__ == "__main__":
    sys.exit(main())
