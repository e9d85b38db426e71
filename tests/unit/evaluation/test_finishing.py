from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora_pipeline.evaluation.finishing import (
    effect_words,
    finish_evaluation,
    header_of,
    sheet_path,
    sheet_png,
)
from lora_pipeline.evaluation.grid import problems_of_grid
from lora_pipeline.evaluation.records import Evaluation, EvaluationMetrics
from lora_pipeline.evaluation.renderers.interface import LoraFile, RenderSource
from lora_pipeline.evaluation.rendering import render_grid
from lora_pipeline.foundation.errors import FileMissingError, RecordInvalidError
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import open_store
from tests.support.evaluation_builders import PROJECT, SCOPE, make_evaluation
from tests.support.fake_renderer import FakeRenderer
from tests.support.workspace_builders import make_workspace

SOURCE = RenderSource(Path("base"), "sd15", (LoraFile(Path("lora"), "1" * 64),))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path, git=False, project=PROJECT)


def rendered(workspace: Workspace, renderer: FakeRenderer | None = None) -> Loaded[Evaluation]:
    record = make_evaluation(renderer=None)
    writes = Changes(workspace)
    writes.create(record, SCOPE, record.id)
    writes.apply()
    loaded = workspace.records.read(Evaluation, SCOPE, record.id)
    return render_grid(workspace, loaded, renderer or FakeRenderer(), SOURCE)[0]


def test_a_whole_grid_is_measured_drawn_and_closed(workspace: Workspace) -> None:
    finished = finish_evaluation(workspace, rendered(workspace), trigger_word="trg")
    record = finished.loaded.record
    assert record.status == "complete"
    assert problems_of_grid(record) == []
    assert record.metrics is not None
    assert record.metrics.effect_mean == pytest.approx(0.083, abs=0.01)
    assert finished.written == (
        f"data/projects/neon_city/evals/{record.id}.webp",
        f"data/projects/neon_city/evals/{record.id}.json",
    )


def test_the_sheet_beside_the_record_is_the_one_it_names(workspace: Workspace) -> None:
    loaded = finish_evaluation(workspace, rendered(workspace), trigger_word="trg").loaded
    data = sheet_path(loaded).read_bytes()
    assert hashlib.sha256(data).hexdigest() == loaded.record.sheet_sha256
    assert len(data) <= 1_000_000


def test_a_grid_with_holes_gets_a_sheet_and_stays_open(workspace: Workspace) -> None:
    loaded = finish_evaluation(
        workspace, rendered(workspace, FakeRenderer(fault="black", only=("trg",))), trigger_word=""
    ).loaded
    assert loaded.record.status == "running"
    assert loaded.record.result_digest == ""
    assert loaded.record.metrics is not None
    assert loaded.record.metrics.constant_cells == 6
    assert sheet_path(loaded).is_file()


def test_images_are_named_in_the_words_of_the_base_format(workspace: Workspace) -> None:
    record = finish_evaluation(workspace, rendered(workspace), trigger_word="trg").loaded.record
    lora_cells = [cell.image_sha256 for cell in record.cells if cell.strength > 0]
    assert [entry["prompt"] for entry in record.outputs] == list(record.prompts)
    assert [image for entry in record.outputs for image in entry["images"]] == lora_cells


def test_finishing_twice_writes_nothing_the_second_time(workspace: Workspace) -> None:
    once = finish_evaluation(workspace, rendered(workspace), trigger_word="trg").loaded
    assert finish_evaluation(workspace, once, trigger_word="trg").written == ()


def test_an_image_that_is_gone_is_an_error_and_nothing_is_written(workspace: Workspace) -> None:
    loaded = rendered(workspace)
    before = loaded.path.read_bytes()
    open_store(workspace).path(loaded.record.cells[2].image_sha256).unlink()
    with pytest.raises(FileMissingError):
        finish_evaluation(workspace, loaded, trigger_word="trg")
    assert loaded.path.read_bytes() == before
    assert not sheet_path(loaded).exists()


def test_a_sheet_without_the_images_is_drawn_with_hatches(workspace: Workspace) -> None:
    loaded = finish_evaluation(workspace, rendered(workspace), trigger_word="trg").loaded
    whole = sheet_png(workspace, loaded.record, trigger_word="trg")
    for sha256 in open_store(workspace).all():
        open_store(workspace).path(sha256).unlink()
    holes = sheet_png(workspace, loaded.record, trigger_word="trg")
    with Image.open(io.BytesIO(whole)) as one, Image.open(io.BytesIO(holes)) as other:
        assert one.size == other.size
        assert not np.array_equal(np.asarray(one), np.asarray(other))


def test_an_evaluation_of_the_base_format_has_no_sheet(workspace: Workspace) -> None:
    old = Evaluation(id="e", lora_id="l", release_id="r", created_at="x", status="complete")
    with pytest.raises(RecordInvalidError, match="holds no rendered grid"):
        sheet_png(workspace, old, trigger_word="")


def test_the_header_says_what_was_judged_and_with_what() -> None:
    header = header_of(make_evaluation(), "")
    facts = dict(header.facts)
    assert header.title == "ui_icons  ·  r1"
    assert facts["trigger"] == "none"
    assert facts["checkpoint"] == "base64  ·  sha256:222222222222"
    assert facts["renderer"] == "fake 1.0  ·  on cpu"


def test_the_effect_is_told_from_the_highest_strength_down() -> None:
    metrics = EvaluationMetrics(
        effect_mean=0.07,
        effect_by_strength={"0.6": 0.04, "1": 0.07},
        effect_without_trigger=0.03,
    )
    assert effect_words(metrics) == (
        "0.070 at strength 1  ·  0.040 at strength 0.6  ·  0.030 without the trigger word"
    )
    assert effect_words(EvaluationMetrics()) == "not measured"
