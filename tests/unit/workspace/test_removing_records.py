"""Removing records: after all writes, and never what somebody changed meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.catalog.records import Project
from lora_pipeline.foundation.errors import RecordConflictError
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace
from tests.support.workspace_builders import make_workspace, reopen


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path, git=False, project="neon_city")


def project(workspace: Workspace) -> Loaded[Project]:
    return workspace.records.read(Project, Scope("neon_city"), "project")


def test_a_record_and_a_file_beside_it_are_removed(workspace: Workspace) -> None:
    loaded = project(workspace)
    picture = loaded.path.with_suffix(".webp")
    picture.write_bytes(b"picture")
    changes = Changes(workspace)
    changes.remove(loaded)
    changes.remove_file(picture)
    written = changes.apply()

    assert not loaded.path.exists()
    assert not picture.exists()
    assert written == [
        "data/projects/neon_city/project.json",
        "data/projects/neon_city/project.webp",
    ]


def test_a_record_that_somebody_changed_meanwhile_stays(workspace: Workspace) -> None:
    loaded = project(workspace)
    changes = Changes(workspace)
    changes.remove(loaded)
    loaded.path.write_bytes(loaded.path.read_bytes() + b"\n")

    with pytest.raises(RecordConflictError):
        changes.apply()
    assert loaded.path.exists()


def test_a_dry_run_removes_nothing(workspace: Workspace) -> None:
    loaded = project(workspace)
    changes = Changes(reopen(workspace.root, dry_run=True))
    changes.remove(loaded)

    assert changes.apply() == ["data/projects/neon_city/project.json"]
    assert loaded.path.exists()
