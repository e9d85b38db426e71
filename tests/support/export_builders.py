"""Workspaces with a manifest to export, and new ones to import what was exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lora_pipeline.catalog.records import Asset
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace
from tests.support.catalog_builders import add_asset, add_catalogs, draw_icon
from tests.support.workspace_builders import invoke, make_workspace, reopen

PROJECT = "neon_city"
RULE = ("--caption", "tags+spec+title", "--trigger", "nctyicon", "--held-out", "0.3")
_TAGS = (
    ("style:flat", "shape:circle", "color:red"),
    ("style:neon", "color:blue"),
    ("color:green", "shape:star"),
)


def studio_with_dataset(folder: Path, art: Path, *, count: int = 8) -> Path:
    """Return a workspace with a manifest ``icons`` of described, licensed, approved images."""
    make_workspace(folder, project=PROJECT, git=False)
    workspace = reopen(folder)
    add_catalogs(workspace, PROJECT)
    for number in range(count):
        add_asset(
            workspace,
            PROJECT,
            draw_icon(art / f"icon-{number:03}.png", seed=number),
            title=f"=Icon, {number}" if number == 0 else f'Icon "{number}"',
            tags=_TAGS[number % len(_TAGS)],
            spec_tags=("shape:square",) if number == 1 else (),
            license="CC0-1.0" if number % 2 else "",
            author="Åsa 猫",
            rating=number % 6,
            prompt="a red circle" if number == 2 else "",
        )
    built = invoke(["dataset", "build", "icons", "--asset-type", "ui_icon", *RULE], folder)
    assert built.exit_code == 0, built.stderr
    return folder


def manifest_of(folder: Path, dataset_id: str = "icons") -> dict[str, Any]:
    """Return the document of a manifest."""
    path = folder / f"data/projects/{PROJECT}/datasets/{dataset_id}.json"
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document


def empty_studio(folder: Path) -> Path:
    """Return a workspace with the same words and no art."""
    make_workspace(folder, project=PROJECT, git=False)
    add_catalogs(reopen(folder), PROJECT)
    return folder


def withdraw_first(workspace: Workspace) -> Asset:
    """Withdraw the first asset and return it."""
    from lora_pipeline.catalog.assets.changes import withdraw

    loaded = next(iter(workspace.records.all(Asset, Scope(PROJECT))))
    changes = Changes(workspace)
    now = workspace.now()
    changed = withdraw(loaded.record, reason="the artist asked", at=now, by="ana@studio.example")
    assert isinstance(changed, Asset)
    changes.update(loaded, changed)
    changes.apply()
    return changed
