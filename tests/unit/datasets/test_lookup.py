from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.datasets.lookup import find_manifest
from lora_pipeline.foundation.errors import PipelineError, RecordNotFoundError
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.root import Workspace
from tests.support.dataset_builders import PROJECT, manifest
from tests.support.workspace_builders import make_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    workspace = make_workspace(tmp_path / "studio", git=False, project=PROJECT)
    changes = Changes(workspace)
    changes.create(manifest(id="own"), Scope(PROJECT), "own")
    changes.create(manifest(id="both"), Scope(PROJECT), "both")
    shared = {"scope": "baseline", "project_id": ""}
    changes.create(manifest(id="both", **shared), SHARED, "both")
    changes.create(manifest(id="common", **shared), SHARED, "common")
    changes.apply()
    return workspace


@pytest.mark.parametrize(
    ("name", "scope"),
    [
        ("own", Scope(PROJECT)),
        ("both", Scope(PROJECT)),
        ("common", SHARED),
        ("data/projects/neon_city/datasets/own.json", Scope(PROJECT)),
        ("data/shared/datasets/both.json", SHARED),
    ],
)
def test_an_id_is_looked_for_in_the_project_then_shared_and_a_path_is_a_path(
    workspace: Workspace, name: str, scope: Scope
) -> None:
    assert find_manifest(workspace, Scope(PROJECT), name).scope == scope


@pytest.mark.parametrize(
    "name", ["none", "data/projects/neon_city/project.json", "/etc/passwd", "../x.json", "own.json"]
)
def test_whatever_is_no_manifest_is_not_found(workspace: Workspace, name: str) -> None:
    with pytest.raises(RecordNotFoundError):
        find_manifest(workspace, Scope(PROJECT), name)


def test_a_path_with_dots_does_not_lead_out(workspace: Workspace) -> None:
    with pytest.raises(PipelineError):
        find_manifest(workspace, Scope(PROJECT), "data/shared/datasets/../../../../x.json")
