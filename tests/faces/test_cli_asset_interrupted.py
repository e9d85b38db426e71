"""``kill -9`` at every single write of an import: no record names bytes that are not there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lora_pipeline.catalog.records import Asset, Spec
from lora_pipeline.datasets.image_files import image_files
from lora_pipeline.foundation.digests import sha256_of_file
from lora_pipeline.workspace.layout import Scope
from tests.support.catalog_builders import draw_icons
from tests.support.workspace_builders import REPOSITORY, invoke, make_workspace, reopen

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="SIGKILL is a signal of POSIX systems"),
]
MOST_WRITES = 120


def interrupted(at: int, folder: Path, argv: list[str]) -> bool:
    """Run a command that is killed at its n-th write; return whether it came that far."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.die_at_write", str(at), str(folder), *argv],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        check=False,
    )
    if done.returncode != -signal.SIGKILL:
        assert done.returncode == 0, done.stdout + done.stderr
    return done.returncode == -signal.SIGKILL


def complete_assets(folder: Path) -> int:
    """Count the assets; each must have its spec and its very bytes."""
    workspace, scope = reopen(folder), Scope("neon_city")
    specs = {loaded.record_id for loaded in workspace.records.all(Spec, scope)}
    found = [loaded.record for loaded in workspace.records.all(Asset, scope)]
    for asset in found:
        variant = asset.versions[0].variants[0]
        assert asset.spec_id in specs
        assert variant.original is not None
        path = image_files(workspace).locate(variant.original_path)
        assert sha256_of_file(path) == variant.original.sha256
    return len(found)


def left_behind(folder: Path) -> list[str]:
    """Return copies, specs and temporary files that no asset names."""
    home = folder / "data/projects/neon_city"
    found = [loaded.record for loaded in reopen(folder).records.all(Asset, Scope("neon_city"))]
    assets, specs = {asset.id for asset in found}, {asset.spec_id for asset in found}
    stray = [path.name for path in (home / "files/images").glob("*") if path.name not in assets]
    stray += [path.name for path in (home / "specs").glob("*.json") if path.stem not in specs]
    return stray + [path.name for path in home.rglob(".lora-tmp-*")]


@pytest.mark.parametrize("in_place", [False, True])
def test_import_that_is_killed_anywhere_is_completed_by_the_next_one(
    tmp_path: Path, in_place: bool
) -> None:
    folder = tmp_path / "studio"
    make_workspace(folder, git=False)
    assert invoke(["project", "create", "neon_city"], folder).exit_code == 0
    (folder / "config/local.json").write_text(json.dumps({"assetsRoot": str(tmp_path)}))
    draw_icons(tmp_path / "art", 2)
    argv = ["asset", "import", str(tmp_path / "art"), "--asset-type", "ui_icon", "--tag", "x:y",
            "--add-tags", *(["--in-place"] if in_place else [])]  # fmt: skip
    at = 1
    while interrupted(at, folder, argv):
        assert complete_assets(folder) <= 2
        at += 1
        assert at < MOST_WRITES

    assert complete_assets(folder) == 2
    assert left_behind(folder) == []
    answer = invoke([*argv, "--json"], folder)
    assert answer.document["data"]["imported"] == 0
    assert answer.document["written"] == []
    assert at > 10
