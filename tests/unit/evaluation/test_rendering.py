from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lora_pipeline.evaluation.drawn_log import DrawnCell, DrawnLog
from lora_pipeline.evaluation.finishing import finish_evaluation
from lora_pipeline.evaluation.grid import missing_cells, problems_of_grid
from lora_pipeline.evaluation.records import Evaluation
from lora_pipeline.evaluation.renderers.interface import CellRequest, LoraFile, RenderSource
from lora_pipeline.evaluation.rendering import GridReport, render_grid, saving_is_due
from lora_pipeline.foundation.errors import LockedError, RecordConflictError
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.lock import workspace_lock
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.settings import Settings
from lora_pipeline.workspace.store import open_store
from tests.support.evaluation_builders import (
    PROJECT,
    SCOPE,
    add_subject,
    files_below,
    make_evaluation,
    make_identity,
    noise,
    png_of,
)
from tests.support.fake_renderer import FakeRenderer, FakeSession
from tests.support.store_builders import put_bytes
from tests.support.workspace_builders import REPOSITORY, make_workspace

replace = msgspec.structs.replace
Rendered = tuple[Loaded[Evaluation], GridReport]
SOURCE = RenderSource(Path("base"), "sd15", (LoraFile(Path("lora"), "1" * 64),))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path, git=False, project=PROJECT)


def created(workspace: Workspace, **changes: Any) -> Loaded[Evaluation]:
    record = make_evaluation(renderer=None, **changes)
    writes = Changes(workspace)
    writes.create(record, SCOPE, record.id)
    writes.apply()
    return workspace.records.read(Evaluation, SCOPE, record.id)


def render(
    workspace: Workspace, loaded: Loaded[Evaluation], renderer: FakeRenderer, **options: Any
) -> Rendered:
    return render_grid(workspace, loaded, renderer, SOURCE, **options)


def statuses(loaded: Loaded[Evaluation]) -> list[str]:
    return [cell.status for cell in loaded.record.cells]


def test_every_cell_gets_its_image_in_the_order_of_the_grid(workspace: Workspace) -> None:
    renderer = FakeRenderer()
    loaded, report = render(workspace, created(workspace), renderer)
    assert set(statuses(loaded)) == {"done"}
    assert [cell.cell_id for cell in renderer.drawn] == [cell.id for cell in loaded.record.cells]
    assert (report.rendered, report.kept, report.failed) == (12, 0, 0)
    assert all(open_store(workspace).has(cell.image_sha256) for cell in loaded.record.cells)


def test_the_record_on_disk_is_what_is_returned(workspace: Workspace) -> None:
    loaded, _ = render(workspace, created(workspace), FakeRenderer())
    assert workspace.records.read(Evaluation, SCOPE, loaded.record_id) == loaded
    assert loaded.record.renderer is not None
    assert loaded.record.status == "running"


def test_nothing_is_left_in_the_private_folder_but_the_log(workspace: Workspace) -> None:
    render(workspace, created(workspace), FakeRenderer())
    left = files_below(workspace.runtime / "render")
    assert {Path(path).name for path in left} == {"lock", "renderer.log"}


def test_a_limit_leaves_the_rest_for_the_next_call(workspace: Workspace) -> None:
    loaded, _ = render(workspace, created(workspace), FakeRenderer(), limit=5)
    assert statuses(loaded).count("done") == 5
    again = FakeRenderer()
    loaded, report = render(workspace, loaded, again)
    assert (len(again.drawn), report.kept) == (7, 5)
    assert not missing_cells(loaded.record)


def test_an_image_that_was_lost_is_drawn_again(workspace: Workspace) -> None:
    loaded, _ = render(workspace, created(workspace), FakeRenderer())
    lost = loaded.record.cells[3]
    open_store(workspace).path(lost.image_sha256).unlink()
    again = FakeRenderer()
    loaded, _ = render(workspace, loaded, again)
    assert [cell.cell_id for cell in again.drawn] == [lost.id]
    assert loaded.record.cells[3].image_sha256 == lost.image_sha256


def test_an_image_that_was_damaged_is_drawn_again_and_mended(workspace: Workspace) -> None:
    loaded, _ = render(workspace, created(workspace), FakeRenderer())
    path = open_store(workspace).path(loaded.record.cells[3].image_sha256)
    path.write_bytes(b"damaged")
    again = FakeRenderer()
    render(workspace, loaded, again)
    assert len(again.drawn) == 1
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("black", "it shows one colour only"),
        ("wrong_size", "the image is 16 x 32, asked for 32 x 32"),
        ("truncated", "the image cannot be read, it is damaged or no PNG"),
        ("no_file", "there is no image"),
        ("refuses", "out of memory"),
    ],
)
def test_a_cell_without_a_usable_image_fails_with_its_reason(
    workspace: Workspace, fault: str, words: str
) -> None:
    loaded, report = render(workspace, created(workspace), FakeRenderer(fault=fault))
    failed = [cell for cell in loaded.record.cells if cell.status == "failed"]
    assert {cell.error for cell in failed} == {words}
    assert [cell.strength > 0 for cell in failed] == [True] * 8
    assert report.failed == 8
    assert not any(cell.image_sha256 for cell in failed)


def test_failed_cells_alone_are_tried_again(workspace: Workspace) -> None:
    loaded, _ = render(workspace, created(workspace), FakeRenderer(fault="black"))
    again = FakeRenderer()
    loaded, report = render(workspace, loaded, again)
    assert (len(again.drawn), report.kept) == (8, 4)
    assert not missing_cells(loaded.record)


def test_a_crash_costs_one_cell_and_the_rest_is_drawn_in_a_new_session(
    workspace: Workspace,
) -> None:
    renderer = FakeRenderer(crash_at=4, crashes=1)
    loaded, report = render(workspace, created(workspace), renderer)
    assert statuses(loaded) == ["done"] * 3 + ["failed"] + ["done"] * 8
    assert renderer.opened == 2
    assert "ended unexpectedly" in loaded.record.cells[3].error
    assert report.stopped == ""


def test_a_renderer_that_keeps_crashing_is_given_up(workspace: Workspace) -> None:
    renderer = FakeRenderer(crash_at=1)
    loaded, report = render(workspace, created(workspace), renderer)
    assert renderer.opened == 3
    assert report.stopped == "the renderer ended 3 times"
    assert statuses(loaded) == ["failed"] * 3 + ["pending"] * 9


def test_another_version_draws_everything_anew_and_that_is_said(workspace: Workspace) -> None:
    loaded, _ = render(workspace, created(workspace), FakeRenderer(), limit=5)
    newer = FakeRenderer(version="2.0")
    loaded, report = render(workspace, loaded, newer)
    assert len(newer.drawn) == 12
    assert "fake 1.0 on cpu drew the first cells, fake 2.0" in report.restarted
    assert loaded.record.renderer is not None
    assert loaded.record.renderer.version == "2.0"


def completed(workspace: Workspace, renderer: FakeRenderer | None = None) -> Evaluation:
    loaded, _ = render(workspace, created(workspace), renderer or FakeRenderer())
    record = finish_evaluation(workspace, loaded, trigger_word="trg").loaded.record
    loaded.path.unlink()
    return record


def test_base_cells_are_taken_from_an_earlier_evaluation(workspace: Workspace) -> None:
    donor = completed(workspace)
    other = make_evaluation()
    cells = tuple(
        replace(cell, id=f"{number:016x}") if cell.strength else cell
        for number, cell in enumerate(other.cells)
    )
    renderer = FakeRenderer()
    loaded, report = render(workspace, created(workspace, cells=cells), renderer, donors=[donor])
    assert report.reused == 4
    assert all(cell.strength > 0 for cell in renderer.drawn)
    assert not missing_cells(loaded.record)


@pytest.mark.parametrize("fault", ["edited", "other version", "images lost"])
def test_nothing_is_taken_from_an_evaluation_that_does_not_prove_itself(
    workspace: Workspace, fault: str
) -> None:
    donor = completed(workspace, FakeRenderer(version="0.9" if fault == "other version" else "1.0"))
    if fault == "edited":
        donor = replace(donor, cells=(replace(donor.cells[0], effect=0.5), *donor.cells[1:]))
    if fault == "images lost":
        for sha256 in open_store(workspace).all():
            open_store(workspace).path(sha256).unlink()
    renderer = FakeRenderer()
    _, report = render(workspace, created(workspace), renderer, donors=[donor])
    assert (report.reused, len(renderer.drawn)) == (0, 12)


def test_two_at_once_on_one_evaluation_are_refused(workspace: Workspace) -> None:
    loaded = created(workspace)
    before = loaded.path.read_bytes()
    with (
        workspace_lock(workspace.runtime / "render" / loaded.record_id, timeout_s=0),
        pytest.raises(LockedError, match="is being rendered by another process"),
    ):
        render(workspace, loaded, FakeRenderer())
    assert loaded.path.read_bytes() == before


class Meddling(FakeRenderer):
    """Somebody edits the record, or presses Ctrl-C, at the fourth cell."""

    path: Path | None = None

    @contextlib.contextmanager
    def open(self, source: RenderSource, settings: Settings, folder: Path) -> Iterator[FakeSession]:
        with super().open(source, settings, folder) as session:
            draw = session.render

            def render(cell: CellRequest, target: Path) -> None:
                if len(self.drawn) == 3:
                    if self.path is None:
                        raise KeyboardInterrupt
                    document = json.loads(self.path.read_text())
                    self.path.write_text(json.dumps({**document, "notes": "by hand"}))
                draw(cell, target)

            session.render = render  # type: ignore[method-assign]
            yield session


def test_an_interruption_keeps_the_finished_cells(workspace: Workspace) -> None:
    loaded = created(workspace)
    with pytest.raises(KeyboardInterrupt):
        render(workspace, loaded, Meddling())
    stored = workspace.records.read(Evaluation, SCOPE, loaded.record_id)
    assert statuses(stored) == ["done"] * 3 + ["pending"] * 9


def test_a_record_that_somebody_edits_meanwhile_is_not_overwritten(workspace: Workspace) -> None:
    loaded = created(workspace)
    renderer = Meddling()
    renderer.path = loaded.path
    with pytest.raises(RecordConflictError):
        render(workspace, loaded, renderer)
    assert json.loads(loaded.path.read_text())["notes"] == "by hand"


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
@pytest.mark.parametrize(
    ("cells", "saving"), [(1, "always"), (7, "always"), (2, "at_the_end"), (12, "at_the_end")]
)
def test_a_killed_rendering_leaves_a_valid_record_and_the_next_one_completes_it(
    tmp_path: Path, cells: int, saving: str
) -> None:
    workspace = make_workspace(tmp_path, git=False, project=PROJECT)
    sha256 = add_subject(workspace)
    with subprocess.Popen(
        [sys.executable, "-m", "tests.support.fake_renderer", str(tmp_path), saving],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        for _ in range(cells):
            assert child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        child.wait()
    [evaluation_id] = workspace.records.ids(Evaluation, SCOPE)
    loaded = workspace.records.read(Evaluation, SCOPE, evaluation_id)
    log = DrawnLog(workspace.runtime / "render" / evaluation_id)
    kept = statuses(loaded).count("done") + len(log.read())
    assert kept >= cells - 1
    assert saving == "always" or statuses(loaded).count("done") == 0
    renderer = FakeRenderer()
    source = RenderSource(
        tmp_path / "models" / "base.safetensors", "sd15", (LoraFile(tmp_path, sha256),)
    )
    loaded, _ = render_grid(workspace, loaded, renderer, source)
    assert len(renderer.drawn) == 12 - kept
    finished = finish_evaluation(workspace, loaded, trigger_word="trg").loaded.record
    assert problems_of_grid(finished) == []


def interrupted(workspace: Workspace, *lines: DrawnCell, tail: bytes = b"") -> Loaded[Evaluation]:
    """Return a grid of which nothing is recorded, with these lines beside it."""
    loaded = created(workspace)
    write = Changes(workspace)
    write.update(loaded, replace(loaded.record, renderer=make_identity()))
    write.apply()
    folder = workspace.runtime / "render" / loaded.record_id
    folder.mkdir(parents=True)
    for line in lines:
        DrawnLog(folder).append(line)
    with (folder / "drawn.jsonl").open("ab") as stream:
        stream.write(tail)
    return workspace.records.read(Evaluation, SCOPE, loaded.record_id)


def drawn_line(workspace: Workspace, number: int, version: str = "1.0") -> DrawnCell:
    """Return the line of a cell whose picture is in the store."""
    cell = make_evaluation().cells[number]
    sha256 = put_bytes(open_store(workspace), png_of(noise(number)))
    fingerprint = make_identity(version).fingerprint
    return DrawnCell(id=cell.id, fingerprint=fingerprint, status="done", image_sha256=sha256)


def test_what_was_drawn_since_the_record_was_written_is_taken_over(workspace: Workspace) -> None:
    lines = [drawn_line(workspace, 0), drawn_line(workspace, 1)]
    renderer = FakeRenderer()
    loaded, report = render(workspace, interrupted(workspace, *lines), renderer)
    assert (len(renderer.drawn), report.kept) == (10, 2)
    assert loaded.record.cells[0].image_sha256 == lines[0].image_sha256
    assert not (workspace.runtime / "render" / loaded.record_id / "drawn.jsonl").exists()


@pytest.mark.parametrize("tail", [b'{"id": "0123', b"\x00\x00\n", b'{"id": 3}\n', b"[]\n"])
def test_a_line_that_was_cut_off_counts_for_nothing(workspace: Workspace, tail: bytes) -> None:
    renderer = FakeRenderer()
    render(workspace, interrupted(workspace, drawn_line(workspace, 0), tail=tail), renderer)
    assert len(renderer.drawn) == 11


def test_lines_of_another_program_are_not_taken_over(workspace: Workspace) -> None:
    renderer = FakeRenderer()
    loaded = interrupted(workspace, drawn_line(workspace, 0, version="0.9"))
    _, report = render(workspace, loaded, renderer)
    assert (len(renderer.drawn), report.kept) == (12, 0)


def test_a_line_whose_picture_is_gone_is_drawn_again(workspace: Workspace) -> None:
    line = drawn_line(workspace, 0)
    open_store(workspace).path(line.image_sha256).unlink()
    renderer = FakeRenderer()
    render(workspace, interrupted(workspace, line), renderer)
    assert len(renderer.drawn) == 12


@pytest.mark.parametrize(
    ("since_s", "took_s", "due"),
    [(1.9, 0.0, False), (2.1, 0.01, True), (49.0, 1.0, False), (51.0, 1.0, True)],
)
def test_a_record_that_takes_long_to_write_is_written_seldom(
    since_s: float, took_s: float, due: bool
) -> None:
    assert saving_is_due(since_s, took_s) is due
