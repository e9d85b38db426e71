from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from msgspec.structs import replace as with_fields

from lora_pipeline.evaluation.records import Evaluation
from lora_pipeline.evaluation.rendering import private_folder
from lora_pipeline.foundation.errors import LockedError, RecordNotFoundError
from lora_pipeline.operations.evaluation.evaluation_tidy import (
    cleanup_evaluations,
    normalize_evaluations,
)
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace
from tests.support.evaluation_builders import (
    PROJECT,
    SCOPE,
    add_subject,
    files_below,
    make_evaluation,
)
from tests.support.grid_rendering import render
from tests.support.workspace_builders import make_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path, git=False, project=PROJECT)


def added(workspace: Workspace, record: Evaluation) -> Loaded[Evaluation]:
    changes = Changes(workspace)
    changes.create(record, SCOPE, record.id)
    changes.apply()
    return workspace.records.read(Evaluation, SCOPE, record.id)


def base_format(workspace: Workspace, outputs: int, status: str) -> Path:
    path = workspace.records.path("evaluation", SCOPE, "01JNMG7Z9S0000000000000007")
    path.parent.mkdir(parents=True, exist_ok=True)
    listed = ", ".join('{"prompt": "a"}' for _ in range(outputs))
    path.write_text(
        '{"id": "01JNMG7Z9S0000000000000007", "loraId": "ui_icons", "releaseId": "r1", '
        f'"createdAt": "2026-03-01T12:00:00Z", "status": "{status}", '
        f'"prompts": ["a", "b"], "outputs": [{listed}]}}\n'
    )
    return path


def whole_and_unfinished(workspace: Workspace) -> tuple[Loaded[Evaluation], Loaded[Evaluation]]:
    """Return a whole grid, and an older one of the same release that was never finished."""
    add_subject(workspace)
    render(workspace)
    [whole] = workspace.records.all(Evaluation, SCOPE)
    cells = tuple(
        replace(cell, status="pending", image_sha256="", effect=None) for cell in whole.record.cells
    )
    older = replace(
        whole.record,
        id="01JNMG7Z9S0000000000000008",
        created_at="2026-01-01T12:00:00Z",
        status="pending",
        cells=cells,
        metrics=None,
        result_digest="",
        sheet_sha256="",
        outputs=(),
    )
    return whole, added(workspace, older)


@pytest.mark.parametrize(
    ("outputs", "said", "is_"),
    [(0, "complete", "pending"), (1, "complete", "running"), (2, "running", "complete")],
)
def test_a_record_of_the_base_format_is_judged_by_its_outputs(
    workspace: Workspace, outputs: int, said: str, is_: str
) -> None:
    path = base_format(workspace, outputs, said)
    result = normalize_evaluations(workspace)
    assert [(one["from"], one["to"]) for one in result.data["changed"]] == [(said, is_)]
    loaded = workspace.records.read(Evaluation, SCOPE, path.stem)
    assert loaded.record.status == is_
    assert b'"schema"' not in path.read_bytes()
    assert normalize_evaluations(workspace).data["changed"] == []


def test_a_grid_without_any_cell_is_pending(workspace: Workspace) -> None:
    added(workspace, make_evaluation(status="running"))
    normalize_evaluations(workspace)
    [loaded] = workspace.records.all(Evaluation, SCOPE)
    assert loaded.record.status == "pending"


def test_a_dry_run_corrects_nothing(workspace: Workspace) -> None:
    path = base_format(workspace, 0, "complete")
    before = path.read_bytes()
    result = normalize_evaluations(with_fields(workspace, dry_run=True))
    assert len(result.data["changed"]) == 1
    assert path.read_bytes() == before


def test_an_unfinished_grid_beside_a_newer_whole_one_goes(workspace: Workspace) -> None:
    whole, older = whole_and_unfinished(workspace)
    result = cleanup_evaluations(workspace)
    assert [one["evaluationId"] for one in result.data["removed"]] == [older.record_id]
    assert workspace.records.ids(Evaluation, SCOPE) == [whole.record_id]
    assert cleanup_evaluations(workspace).data["removed"] == []


def test_a_dry_run_removes_nothing(workspace: Workspace) -> None:
    whole_and_unfinished(workspace)
    before = files_below(workspace.data_root)
    result = cleanup_evaluations(with_fields(workspace, dry_run=True))
    assert len(result.data["removed"]) == 1
    assert files_below(workspace.data_root) == before


def test_what_another_record_names_stays(workspace: Workspace) -> None:
    whole, older = whole_and_unfinished(workspace)
    folder = whole.path.parent.parent / "reviews"
    folder.mkdir()
    for number, one in enumerate((whole, older)):
        (folder / f"{number}.json").write_text(f'{{"evaluationId": "{one.record_id}"}}')
    assert cleanup_evaluations(workspace).data["kept"][0]["evaluationId"] == older.record_id
    refused: Any = cleanup_evaluations(workspace, whole.record_id)
    assert refused.refusal.code == "evaluation_in_use"
    assert len(workspace.records.ids(Evaluation, SCOPE)) == 2


def test_one_that_is_named_goes_with_its_sheet(workspace: Workspace) -> None:
    whole, _ = whole_and_unfinished(workspace)
    assert whole.path.with_suffix(".webp").is_file()
    cleanup_evaluations(workspace, whole.record_id)
    assert not whole.path.exists()
    assert not whole.path.with_suffix(".webp").exists()
    assert not (workspace.runtime / "render" / whole.record_id).exists()


def test_one_that_is_being_rendered_stays(workspace: Workspace) -> None:
    _, older = whole_and_unfinished(workspace)
    with private_folder(workspace, older.record_id), pytest.raises(LockedError):
        cleanup_evaluations(workspace)
    assert older.path.is_file()


def test_an_evaluation_that_is_not_there_is_said(workspace: Workspace) -> None:
    with pytest.raises(RecordNotFoundError, match="no evaluation"):
        cleanup_evaluations(workspace, "01JNMG7Z9S0000000000000009")
