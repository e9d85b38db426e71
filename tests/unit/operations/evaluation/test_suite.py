from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import RecordNotFoundError
from lora_pipeline.operations.evaluation.suite import list_suites, show_suite
from tests.support.evaluation_builders import PROJECT, add_subject
from tests.support.workspace_builders import make_workspace


def test_own_suites_and_those_that_ship_are_listed(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, git=False, project=PROJECT)
    add_subject(workspace)
    sources = {one["id"]: one["source"] for one in list_suites(workspace).data["suites"]}
    assert sources["tiny_icon"] == "config/suites/tiny_icon.yaml"
    assert sources["logo"] == "lora-pipeline/config/suites/logo.yaml"


def test_suites_are_listed_by_asset_type(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, git=False, project=PROJECT)
    found = list_suites(workspace, asset_type="ui_icon").data["suites"]
    assert [one["id"] for one in found] == ["demo_icon", "ui_icon"]


def test_a_suite_is_shown_with_its_digest(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, git=False, project=PROJECT)
    data = show_suite(workspace, "demo_icon").data
    assert data["cells"] == 36
    assert data["suite"]["render"]["width"] == 64
    assert data["digest"].startswith("sha256:")


def test_a_suite_that_is_not_there_names_a_near_one(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, git=False, project=PROJECT)
    with pytest.raises(RecordNotFoundError) as caught:
        show_suite(workspace, "demo_icons")
    assert caught.value.hint == "did you mean demo_icon?"
