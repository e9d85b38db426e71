"""Draw the cells of a sweep: one session for each checkpoint, and no picture twice.

What was drawn is told in the lines of a folder of this machine alone (``drawn_log``): a sweep is
for choosing, and no record. The base cells are those of the release grid, so they are taken over
from evaluations, and evaluations take them over from here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from msgspec.structs import replace

from lora_pipeline.evaluation.drawn_log import DrawnCell, DrawnLog
from lora_pipeline.evaluation.records import Cell, Evaluation, RendererIdentity
from lora_pipeline.evaluation.renderers.interface import Renderer, RenderSession, RenderSource
from lora_pipeline.evaluation.rendering import (
    Paying,
    draw_cell,
    images_of,
    is_stored,
    private_folder,
)
from lora_pipeline.foundation.errors import ImageRefusedError, RendererError
from lora_pipeline.foundation.events import Event
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import open_store

_MOST_CRASHES = 3


class SweepPart(msgspec.Struct, frozen=True):
    """One checkpoint of a sweep.

    Attributes:
        step: Its step.
        sha256: Its weights.
        cells: What is drawn with it, base cells included.
        source: Base and checkpoint, verified.
    """

    step: int
    sha256: str
    cells: tuple[Cell, ...]
    source: RenderSource


@dataclass
class SweepReport:
    """What drawing came to.

    Attributes:
        rendered: Cells drawn now.
        reused: Cells that were there: from evaluations, or from an earlier call.
        failed: Cells tried now without a usable picture.
        fingerprint: Of what drew; empty when nothing did.
        cautions: What a person should know about how it was drawn.
    """

    rendered: int = 0
    reused: int = 0
    failed: int = 0
    fingerprint: str = ""
    cautions: tuple[str, ...] = ()
    identity: RendererIdentity | None = None


def sweep_folder(workspace: Workspace, run_id: str) -> Path:
    """Return where a sweep keeps its lines and its sheet."""
    return workspace.runtime / "render" / f"sweep-{run_id}"


def lacking_in_sweep(workspace: Workspace, run_id: str, parts: Sequence[SweepPart]) -> list[Cell]:
    """Return the cells that are still to be drawn, if the same program draws them as before."""
    lines = DrawnLog(sweep_folder(workspace, run_id)).read()
    known = _known(workspace, lines, lines[-1].fingerprint) if lines else {}
    return [cell for cell in _each(parts) if cell.id not in known]


def render_sweep(
    workspace: Workspace,
    run_id: str,
    parts: Sequence[SweepPart],
    renderer: Renderer,
    donors: Sequence[Evaluation],
    *,
    paying: Paying = contextlib.nullcontext,
) -> tuple[list[list[Cell]], SweepReport]:
    """Draw what is lacking, and return the cells of each part as they then stand.

    Raises:
        LockedError: When another process draws this sweep.
        RendererError: When the models cannot be loaded, a checkpoint does not apply, or the
            renderer is not the same from one checkpoint to the next.
    """
    with private_folder(workspace, f"sweep-{run_id}") as folder, paying(folder):
        wanted = {cell.id for cell in _each(parts)}
        sweep = _Sweep(workspace, folder, donors, wanted)
        sweep.render(parts, renderer)
    sweep.report.reused = len(set(sweep.known) & {one.id for one in _each(parts)})
    sweep.report.reused -= sweep.report.rendered
    return [[sweep.as_it_stands(cell) for cell in part.cells] for part in parts], sweep.report


@dataclass
class _Sweep:
    workspace: Workspace
    folder: Path
    donors: Sequence[Evaluation]
    wanted: set[str]
    known: dict[str, DrawnCell] = field(default_factory=dict)
    report: SweepReport = field(default_factory=SweepReport)
    _failed: dict[str, DrawnCell] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._log = DrawnLog(self.folder)
        self._log.mend()
        lines = self._log.read()
        if lines:
            self.report.fingerprint = lines[-1].fingerprint
            self.known = _known(self.workspace, lines, self.report.fingerprint)

    def render(self, parts: Sequence[SweepPart], renderer: Renderer) -> None:
        """Open a session for each part that lacks cells."""
        crashes = 0
        while crashes < _MOST_CRASHES:
            part = next((one for one in parts if self._todo(one)), None)
            if part is None:
                return
            words = f"step {part.step:,}: {renderer.name} loads base and checkpoint"
            self.workspace.events(Event("started", "grid", words))
            with renderer.open(part.source, self.workspace.settings, self.folder) as session:
                self._begin(session.identity)
                self._draw(part, session)
                self.report.cautions = tuple(session.cautions)
            crashes += bool(self._todo(part))

    def as_it_stands(self, cell: Cell) -> Cell:
        """Return a cell with what became of it."""
        line = self.known.get(cell.id) or self._failed.get(cell.id)
        if line is None:
            return cell
        return replace(cell, status=line.status, image_sha256=line.image_sha256, error=line.error)

    def _begin(self, identity: RendererIdentity) -> None:
        if self.report.identity is None and identity.fingerprint != self.report.fingerprint:
            self.report.fingerprint = identity.fingerprint
            self.known = _known(self.workspace, self._log.read(), identity.fingerprint)
        elif identity.fingerprint != self.report.fingerprint:
            raise RendererError(
                "the renderer is another one than for the checkpoint before: "
                "pictures of both cannot be compared",
                hint="run the same command again",
            )
        if self.report.identity is None:
            store = open_store(self.workspace)
            for cell in images_of(self.donors, identity):
                if cell.id not in self.wanted - set(self.known):
                    continue
                if is_stored(store, cell.image_sha256):
                    self.known[cell.id] = _line(cell, identity)
                    # Told here, too: asked again, the sweep need not load a model to know it.
                    self._log.append(self.known[cell.id])
        self.report.identity = identity

    def _draw(self, part: SweepPart, session: RenderSession) -> None:
        store = open_store(self.workspace)
        todo = self._todo(part)
        for number, cell in enumerate(todo, start=1):
            words = f"step {part.step:,}, {cell.prompt_id}, seed {cell.seed}"
            self.workspace.events(
                Event("progress", "grid", words, step=number, total=len(todo), unit="cells")
            )
            try:
                sha256 = draw_cell(session, cell, self.folder / "cell.png", store)
            except (RendererError, ImageRefusedError) as error:
                failed = replace(cell, status="failed", error=error.message[:400])
                self._failed[cell.id] = _line(failed, session.identity)
                self.report.failed += 1
                self.workspace.events(Event("warning", "grid", f"{words}: {error.message}"))
            else:
                done = replace(cell, status="done", image_sha256=sha256)
                self.known[cell.id] = _line(done, session.identity)
                self._log.append(self.known[cell.id])
                self.report.rendered += 1
            if not session.alive:
                return

    def _todo(self, part: SweepPart) -> list[Cell]:
        every = {cell.id: cell for cell in part.cells}
        return [
            cell
            for cell_id, cell in every.items()
            if cell_id not in self.known and cell_id not in self._failed
        ]


def _known(
    workspace: Workspace, lines: Sequence[DrawnCell], fingerprint: str
) -> dict[str, DrawnCell]:
    store = open_store(workspace)
    return {
        line.id: line
        for line in lines
        if line.fingerprint == fingerprint
        and line.status == "done"
        and is_stored(store, line.image_sha256)
    }


def _each(parts: Sequence[SweepPart]) -> list[Cell]:
    every: Mapping[str, Cell] = {cell.id: cell for part in parts for cell in part.cells}
    return list(every.values())


def _line(cell: Cell, identity: RendererIdentity) -> DrawnCell:
    return DrawnCell(
        id=cell.id,
        fingerprint=identity.fingerprint,
        status=cell.status,
        image_sha256=cell.image_sha256,
        error=cell.error,
    )
