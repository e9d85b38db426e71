"""Render what a grid lacks: image first, record after it, and nothing twice.

An interruption at any moment leaves a valid record, and a line for each cell that was finished
since it was written (``drawn_log``); running again takes these over and renders the rest. No
image is taken on trust: it is decoded, measured and hashed before a cell counts as done, and a
cell that failed says why.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from lora_pipeline.evaluation.drawn_log import DrawnCell, DrawnLog, lines_of_sweeps
from lora_pipeline.evaluation.effect import CONSTANT
from lora_pipeline.evaluation.grid import problems_of_grid, strength_words
from lora_pipeline.evaluation.pace import remember_pace, work_of
from lora_pipeline.evaluation.pixels import is_constant, read_pixels
from lora_pipeline.evaluation.records import Cell, CellStatus, Evaluation, RendererIdentity
from lora_pipeline.evaluation.renderers.interface import (
    CellRequest,
    Renderer,
    RenderSession,
    RenderSource,
)
from lora_pipeline.foundation.errors import (
    ImageRefusedError,
    IntegrityError,
    LockedError,
    RendererError,
)
from lora_pipeline.foundation.events import Event
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.lock import workspace_lock
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import ObjectStore, open_store

# The record is written at most this often, so that quick cells do not wait for the disk; and so
# seldom that a long one, which takes its time to write, costs 2 % of the drawing.
_SAVE_EVERY_S = 2.0
_SAVE_SHARE = 50
_MOST_CRASHES = 3

# Entered with the private folder while pictures are drawn in it: counts what they cost.
Paying = Callable[[Path], contextlib.AbstractContextManager[object]]


@dataclass
class GridReport:
    """What one rendering came to, in cells.

    Attributes:
        rendered: Drawn and verified now.
        reused: Taken from an earlier evaluation that drew the same with the same program.
        kept: Done before.
        failed: Tried now without a usable image.
        restarted: Why every cell was drawn again, or empty.
        stopped: Why the rest was not tried, or empty.
        cautions: What a person should know about how it was drawn.
    """

    rendered: int = 0
    reused: int = 0
    kept: int = 0
    failed: int = 0
    restarted: str = ""
    stopped: str = ""
    cautions: tuple[str, ...] = ()


def render_grid(
    workspace: Workspace,
    loaded: Loaded[Evaluation],
    renderer: Renderer,
    source: RenderSource,
    *,
    donors: Sequence[Evaluation] = (),
    takes_swept: bool = False,
    limit: int | None = None,
    paying: Paying = contextlib.nullcontext,
) -> tuple[Loaded[Evaluation], GridReport]:
    """Render the cells that have no image and return the record as it then stands.

    Args:
        workspace: Where the record and the store are.
        loaded: The evaluation; one that is complete is never given here.
        renderer: What draws.
        source: Base and LoRA, verified.
        donors: Other evaluations whose cells may be taken over.
        takes_swept: Whether those of sweeps on this machine may be, too.
        limit: Most cells to draw now.
        paying: Counts what is paid for.

    Raises:
        LockedError: When another process renders this evaluation.
        RendererError: When the models cannot be loaded or the LoRA does not apply.
        RecordConflictError: When the record was changed meanwhile.
    """
    with (
        private_folder(workspace, loaded.record_id) as folder,
        paying(folder),
        _Grid(workspace, loaded, DrawnLog(folder)).saved_at_the_end() as grid,
    ):
        grid.take_up_drawn()
        grid.forget_lost_images()
        crashes = 0
        while todo := grid.todo(limit):
            words = f"{len(todo)} cells to draw, {renderer.name} loads base and LoRA"
            workspace.events(Event("started", "grid", words))
            with renderer.open(source, workspace.settings, folder) as session:
                grid.begin(session.identity, donors, takes_swept=takes_swept)
                grid.render(session, folder, limit)
                grid.report.cautions = tuple(session.cautions)
            if grid.todo(limit):
                crashes += 1
                if crashes == _MOST_CRASHES:
                    grid.report.stopped = f"the renderer ended {crashes} times"
                    break
    pace = grid.pace
    if pace is not None:
        remember_pace(workspace, renderer.name, pace)
    return grid.loaded, grid.report


class _Grid:
    """The cells of an evaluation on their way to being done."""

    def __init__(self, workspace: Workspace, loaded: Loaded[Evaluation], log: DrawnLog) -> None:
        self.loaded = loaded
        self.report = GridReport()
        self._workspace = workspace
        self._log = log
        self._store = open_store(workspace)
        self._cells = {cell.id: cell for cell in loaded.record.cells}
        self._identity = loaded.record.renderer
        self._tried: set[str] = set()
        self._saved_at = time.monotonic()
        self._saving_s = 0.0
        self._drawing_s = 0.0

    @property
    def pace(self) -> float | None:
        """Seconds for a million pixels and one step, as measured; None when nothing was drawn."""
        cells = list(self._cells.values())
        if not self.report.rendered or not cells:
            return None
        return self._drawing_s / self.report.rendered / work_of(cells[0])

    def todo(self, limit: int | None) -> list[Cell]:
        """Return the cells that are to be drawn now."""
        waiting = [
            cell
            for cell in self._cells.values()
            if cell.status != "done" and cell.id not in self._tried
        ]
        return waiting if limit is None else waiting[: max(0, limit - len(self._tried))]

    def take_up_drawn(self) -> None:
        """Take over what an interrupted rendering had drawn since it wrote the record."""
        for line in self._log.read():
            cell = self._cells.get(line.id)
            alike = self._identity is not None and self._identity.fingerprint == line.fingerprint
            if alike and cell is not None and cell.status != "done":
                self._set(cell, line.status, image_sha256=line.image_sha256, error=line.error)

    def forget_lost_images(self) -> None:
        """Make every cell pending whose image is not, or no longer whole, in the store."""
        for cell in list(self._cells.values()):
            if cell.status == "done" and not is_stored(self._store, cell.image_sha256):
                self._set(cell, "pending")
        self.report.kept = self._count("done")

    def begin(
        self, identity: RendererIdentity, donors: Sequence[Evaluation], *, takes_swept: bool
    ) -> None:
        """Hold the grid to one program on one machine, and take over what it drew before."""
        before = self._identity
        if before and before.fingerprint != identity.fingerprint and self._count("done"):
            self.report.restarted = (
                f"{before.name} {before.version} on {before.device or 'another machine'} drew "
                f"the first cells, {identity.name} {identity.version} on {identity.device} "
                "draws now; images of both cannot be compared"
            )
            self.report.kept = 0
            for cell in list(self._cells.values()):
                self._set(cell, "pending")
        self._identity = identity
        swept = lines_of_sweeps(self._workspace.runtime) if takes_swept else []
        alike = [(one.id, one.image_sha256) for one in images_of(donors, identity)]
        alike += [
            (line.id, line.image_sha256)
            for line in swept
            if line.fingerprint == identity.fingerprint and line.status == "done"
        ]
        for cell_id, sha256 in alike:
            own = self._cells.get(cell_id)
            if own is None or own.status != "pending":
                continue
            if is_stored(self._store, sha256):
                self._set(own, "done", image_sha256=sha256)
                self.report.reused += 1
        # What is drawn from now on is told by lines that rest on this record.
        self.save()

    def render(self, session: RenderSession, folder: Path, limit: int | None) -> None:
        """Draw until everything was tried or the session ended."""
        target = folder / "cell.png"
        todo = self.todo(limit)
        for number, cell in enumerate(todo, start=1):
            words = f"{cell.prompt_id}, seed {cell.seed}, {strength_words(cell.strength)}"
            self._workspace.events(
                Event("progress", "grid", words, step=number - 1, total=len(todo), unit="cells")
            )
            self._tried.add(cell.id)
            began = time.monotonic()
            try:
                sha256 = draw_cell(session, cell, target, self._store)
            except (RendererError, ImageRefusedError) as error:
                self._tell(cell, "failed", error=error.message[:400])
                self.report.failed += 1
                self._workspace.events(Event("warning", "grid", f"{words}: {error.message}"))
            else:
                self._tell(cell, "done", image_sha256=sha256)
                self.report.rendered += 1
                self._drawing_s += time.monotonic() - began
            if saving_is_due(time.monotonic() - self._saved_at, self._saving_s):
                self.save()
            if not session.alive:
                return
        self._workspace.events(
            Event("progress", "grid", step=len(todo), total=len(todo), unit="cells")
        )

    def save(self) -> None:
        """Write the record as the cells now stand."""
        began = time.monotonic()
        record = self.loaded.record
        cells = tuple(self._cells[cell.id] for cell in record.cells)
        touched = any(cell.status != "pending" for cell in cells)
        # Cells with one id are one image, wherever they stand in the grid.
        placed = tuple(
            msgspec.structs.replace(
                old, status=new.status, image_sha256=new.image_sha256, error=new.error, effect=None
            )
            for old, new in zip(record.cells, cells, strict=True)
        )
        changed = msgspec.structs.replace(
            record,
            cells=placed,
            status="running" if touched else "pending",
            renderer=self._identity,
            metrics=None,
            result_digest="",
            sheet_sha256="",
        )
        self.loaded = save_evaluation(self._workspace, self.loaded, changed)
        self._log.clear()
        self._saved_at = time.monotonic()
        self._saving_s = self._saved_at - began

    @contextlib.contextmanager
    def saved_at_the_end(self) -> Iterator[_Grid]:
        """Save however the block ends, so that finished cells are kept."""
        try:
            yield self
        finally:
            self.save()
            self._log.remove()

    def _tell(
        self, cell: Cell, status: CellStatus, *, image_sha256: str = "", error: str = ""
    ) -> None:
        """Set a cell that was drawn, and make that durable."""
        self._set(cell, status, image_sha256=image_sha256, error=error)
        fingerprint = self._identity.fingerprint if self._identity else ""
        self._log.append(
            DrawnCell(
                id=cell.id,
                fingerprint=fingerprint,
                status=status,
                image_sha256=image_sha256,
                error=error,
            )
        )

    def _set(
        self, cell: Cell, status: CellStatus, *, image_sha256: str = "", error: str = ""
    ) -> None:
        self._cells[cell.id] = msgspec.structs.replace(
            cell, status=status, image_sha256=image_sha256, error=error, effect=None
        )

    def _count(self, status: CellStatus) -> int:
        return sum(cell.status == status for cell in self._cells.values())


def saving_is_due(since_s: float, took_s: float) -> bool:
    """Return whether to write the record, by the time since it was written and what that took."""
    return since_s > max(_SAVE_EVERY_S, _SAVE_SHARE * took_s)


def save_evaluation(
    workspace: Workspace, loaded: Loaded[Evaluation], record: Evaluation
) -> Loaded[Evaluation]:
    """Write an evaluation that was read before, when it differs, and return it as it stands.

    Raises:
        RecordConflictError: When it was changed meanwhile.
    """
    if record == loaded.record:
        return loaded
    changes = Changes(workspace)
    changes.update(loaded, msgspec.structs.replace(record, updated_at=workspace.now()))
    changes.apply()
    return workspace.records.read(Evaluation, loaded.scope, loaded.record_id)


def draw_cell(session: RenderSession, cell: Cell, target: Path, store: ObjectStore) -> str:
    """Draw one cell, check its picture, put it into the store, and return its digest.

    Raises:
        RendererError, ImageRefusedError: When no usable picture came.
    """
    target.unlink(missing_ok=True)
    try:
        session.render(_request(cell), target)
        pixels = read_pixels(target, width=cell.width, height=cell.height)
        if is_constant(pixels):
            raise RendererError(CONSTANT)
        return store.put_file(target)
    finally:
        target.unlink(missing_ok=True)


def _request(cell: Cell) -> CellRequest:
    return CellRequest(
        cell_id=cell.id,
        prompt=cell.prompt,
        negative=cell.negative,
        seed=cell.seed,
        strength=cell.strength,
        width=cell.width,
        height=cell.height,
        steps=cell.steps,
        guidance=cell.guidance,
        sampler=cell.sampler,
    )


def images_of(donors: Sequence[Evaluation], identity: RendererIdentity) -> Iterator[Cell]:
    """Yield the cells of other evaluations that the same program drew."""
    for donor in donors:
        drawn_alike = donor.renderer and donor.renderer.fingerprint == identity.fingerprint
        # Only what proves to be unchanged is taken over.
        if drawn_alike and not problems_of_grid(donor):
            yield from donor.cells


def is_stored(store: ObjectStore, sha256: str) -> bool:
    """Return whether a picture is in the store, and whole."""
    try:
        store.open_path(sha256)
    except IntegrityError:
        return False
    return True


@contextlib.contextmanager
def private_folder(workspace: Workspace, evaluation_id: str) -> Iterator[Path]:
    """Hold an evaluation for the time of the block, and give the folder that it is drawn in.

    Raises:
        LockedError: When another process draws it.
    """
    folder = workspace.runtime / "render" / evaluation_id
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(workspace_lock(folder, timeout_s=0))
        except LockedError as error:
            raise LockedError(
                f"evaluation {evaluation_id} is being rendered by another process",
                hint="wait for it to end",
            ) from error
        yield folder
