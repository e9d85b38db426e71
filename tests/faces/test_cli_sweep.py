from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.evaluation.records import Evaluation
from lora_pipeline.workspace.root import Workspace
from tests.support.evaluation_builders import LORA, PROJECT, SCOPE, add_subject, files_below
from tests.support.grid_rendering import render
from tests.support.workspace_builders import invoke, make_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = make_workspace(tmp_path, git=False, project=PROJECT)
    add_subject(workspace)
    return workspace


def test_a_sweep_without_kept_checkpoints_says_how_to_keep_some(workspace: Workspace) -> None:
    before = files_below(workspace.data_root)
    answer = invoke(["eval", "sweep", LORA, "--json"], workspace.root)
    assert answer.exit_code == 3
    assert answer.error["message"] == f"no run of {LORA} kept a checkpoint"
    assert "saveEvery" in answer.error["hint"]
    assert files_below(workspace.data_root) == before


def test_a_page_that_is_not_there_is_refused(workspace: Workspace) -> None:
    render(workspace)
    answer = invoke(
        ["eval", "show", LORA, "--png", "sheet.png", "--page", "2", "--json"], workspace.root
    )
    assert answer.exit_code == 3
    assert answer.error["message"] == "page must be from 1 to 1, got 2"
    assert not (workspace.root / "sheet.png").exists()


def test_cleanup_says_what_goes_and_a_dry_run_removes_nothing(workspace: Workspace) -> None:
    render(workspace)
    [evaluation_id] = workspace.records.ids(Evaluation, SCOPE)
    planned = invoke(["eval", "cleanup", evaluation_id, "--dry-run"], workspace.root)
    assert planned.exit_code == 0
    assert "1 evaluation would be removed" in planned.stdout
    assert workspace.records.ids(Evaluation, SCOPE) == [evaluation_id]
    done = invoke(["eval", "cleanup", evaluation_id], workspace.root)
    assert "1 evaluation removed" in done.stdout
    assert "lora store gc" in done.stdout
    assert workspace.records.ids(Evaluation, SCOPE) == []


def test_normalize_finds_nothing_to_do_where_all_is_well(workspace: Workspace) -> None:
    render(workspace)
    before = files_below(workspace.data_root)
    answer = invoke(["eval", "normalize"], workspace.root)
    assert answer.exit_code == 0
    assert "0 evaluations corrected" in answer.stdout
    assert files_below(workspace.data_root) == before
