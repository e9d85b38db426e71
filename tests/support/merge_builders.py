"""Studios in real Git repositories, whose branches are merged by the drivers of the program."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from lora_pipeline.datasets.records import Manifest
from lora_pipeline.workspace.root import Workspace
from tests.support.catalog_builders import add_asset, draw_icon
from tests.support.dataset_builders import PROJECT, studio
from tests.support.workspace_builders import commit_all, git, invoke

FILE = f"data/projects/{PROJECT}/datasets/icons.json"


def studio_with_drivers(folder: Path, *, icons: int = 3) -> Workspace:
    """Return a studio with a built manifest, in a repository that shows and merges records."""
    workspace = studio(folder, icons=icons)
    lora(folder, "dataset", "build", "icons", "--asset-type", "ui_icon", "--trigger", "nctyicon")
    lora(folder, "git", "install")
    commit_all(folder, "Base")
    return workspace


def copied(origin: Path, folder: Path) -> Path:
    """Return a copy of a studio with its repository and the settings of its clone."""
    shutil.copytree(origin, folder, symlinks=True)
    return folder


def lora(folder: Path, *arguments: str) -> str:
    """Run a command that must succeed, and return what it printed."""
    answer = invoke(list(arguments), folder)
    assert answer.exit_code == 0, answer.stdout + answer.stderr
    return answer.stdout


def add_icon(workspace: Workspace, seed: int, *tags: str) -> str:
    """Add one more approved icon; return its asset id."""
    art = draw_icon(workspace.root.parent / f"more-{seed}.png", seed=seed)
    chosen = tags or ("style:flat", "color:red")
    return add_asset(workspace, PROJECT, art, title=f"More {seed}", tags=chosen).id


def branch(folder: Path, name: str, start: str = "main") -> None:
    """Begin a branch and go to it."""
    git(folder, "checkout", "--quiet", "-b", name, start)


def build_and_commit(folder: Path, *options: str) -> None:
    """Build the manifest again and commit everything."""
    lora(folder, "dataset", "build", "icons", *options)
    commit_all(folder, "Built again")


def try_git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Git, whatever it comes to."""
    return subprocess.run(
        ["git", *arguments],
        cwd=folder,
        capture_output=True,
        check=False,
        encoding="utf-8",
        env={**os.environ, "GIT_EDITOR": "true"},
    )


def manifest_of(workspace: Workspace) -> Manifest:
    """Return the manifest as it stands on disk."""
    return workspace.records.read(Manifest, workspace.scope(), "icons").record
