"""A step that changes many records as one, for tests that interrupt it."""

from __future__ import annotations

from pathlib import Path

from lora_pipeline.operations.workspace.rename import rename_id
from tests.support.catalog_builders import add_catalogs
from tests.support.workspace_builders import add_project, make_workspace, reopen

OLD, NEW = "old_town", "new_town"


def prepare(folder: Path) -> None:
    """Make a workspace with two projects."""
    workspace = make_workspace(folder, git=False, project="neon_city")
    add_catalogs(workspace, "neon_city")
    add_project(workspace, OLD)
    add_catalogs(workspace, OLD)
    (folder / "data/projects" / OLD / "files").mkdir()
    (folder / "data/projects" / OLD / "files" / "image.png").write_bytes(b"image")


def rename_style(folder: Path) -> None:
    """Rename a style: two records change."""
    rename_id(reopen(folder), "style", "flat", "plane", project="neon_city")


def rename_project(folder: Path) -> None:
    """Rename a project: its folder moves, and its record changes."""
    rename_id(reopen(folder), "project", OLD, NEW)
