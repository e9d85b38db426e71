"""``kill -9`` at every single write, and at many moments: nothing is lost, the next run completes.

Afterwards every record still reads, the manifest is the old one, the new one or not there, and
running the command again ends as if nothing had happened.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_pipeline.catalog.records import Asset, Spec
from lora_pipeline.datasets.records import Manifest
from lora_pipeline.datasets.staging.folder import (
    stage_manifest,
    staging_folder,
    unfinished_stagings,
    verify_staging,
)
from lora_pipeline.workspace.layout import Scope
from tests.support.dataset_builders import PROJECT, studio
from tests.support.workspace_builders import REPOSITORY, invoke, reopen

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="SIGKILL is a signal of POSIX systems"),
]
BUILD = ["dataset", "build", "icons", "--tag", "style:flat"]
AGAIN = ["dataset", "build", "icons", "--trigger", "nctyicon"]
STAGE = ["dataset", "stage", "icons"]
MANIFEST = Path("data/projects/neon_city/datasets/icons.json")
MOST_WRITES = 60


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return studio(tmp_path_factory.mktemp("template") / "studio", icons=3, git=False).root


@pytest.fixture
def folder(tmp_path: Path, template: Path) -> Path:
    return shutil.copytree(template, tmp_path / "studio")


def interrupted(folder: Path, argv: list[str]) -> Iterator[int]:
    """Run a command in ``folder`` again and again, killed one write later each time."""
    for at in range(1, MOST_WRITES):
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.die_at_write", str(at), str(folder), *argv],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            check=False,
        )
        if done.returncode != -signal.SIGKILL:
            assert done.returncode == 0, done.stdout + done.stderr
            return
        yield at
    pytest.fail(f"more than {MOST_WRITES} writes")


def readable(folder: Path) -> list[Manifest]:
    """Read every record there is, as ``lora validate`` does; return the manifests."""
    workspace, scope = reopen(folder), Scope(PROJECT)
    assert len(list(workspace.records.all(Asset, scope))) == 3
    assert len(list(workspace.records.all(Spec, scope))) == 3
    return [one.record for one in workspace.records.all(Manifest, scope)]


def completes(folder: Path, argv: list[str]) -> None:
    answer = invoke(argv, folder)
    assert answer.exit_code == 0, answer.stdout + answer.stderr


def test_a_first_build_killed_at_every_write_leaves_the_manifest_or_nothing(folder: Path) -> None:
    moments = 0
    for moments in interrupted(folder, BUILD):  # noqa: B007 - counted
        manifests = readable(folder)
        assert len(manifests) <= 1
        assert all(len(one.items) == 3 for one in manifests)
        (folder / MANIFEST).unlink(missing_ok=True)

    assert moments >= 4
    completes(folder, BUILD)
    assert len(readable(folder)[0].items) == 3


def test_a_build_again_killed_at_every_write_leaves_the_old_or_the_new_manifest(
    folder: Path,
) -> None:
    completes(folder, BUILD)
    before = (folder / MANIFEST).read_bytes()
    triggers = set()

    for _ in interrupted(folder, AGAIN):
        triggers.add(readable(folder)[0].caption_rule.trigger_word)
        (folder / MANIFEST).write_bytes(before)

    assert triggers == {"", "nctyicon"}
    completes(folder, AGAIN)
    assert readable(folder)[0].caption_rule.trigger_word == "nctyicon"


def test_a_staging_killed_at_every_write_is_whole_or_not_there(folder: Path) -> None:
    completes(folder, BUILD)
    record = readable(folder)[0]
    workspace = reopen(folder)
    target = staging_folder(workspace, record)
    moments = 0

    for moments in interrupted(folder, STAGE):  # noqa: B007 - counted
        assert readable(folder) == [record]
        if target.exists():
            assert verify_staging(target) == []
            shutil.rmtree(target)

    assert moments >= 6
    assert stage_manifest(workspace, record).folder == target
    assert verify_staging(target) == []
    assert unfinished_stagings(workspace) == []


def test_mending_a_staging_killed_at_every_write_can_always_be_done_again(folder: Path) -> None:
    completes(folder, BUILD)
    completes(folder, STAGE)
    record = readable(folder)[0]
    target = staging_folder(reopen(folder), record)

    for _ in interrupted(folder, STAGE):
        if target.exists() and not verify_staging(target):
            (target / "000001.txt").write_text("changed")
        completes(folder, STAGE)
        assert verify_staging(target) == []
        (target / "000001.txt").write_text("changed")

    completes(folder, STAGE)
    assert verify_staging(target) == []
    assert unfinished_stagings(reopen(folder)) == []


@pytest.mark.parametrize("argv", [BUILD, STAGE], ids=["build", "stage"])
def test_killed_after_any_time_it_can_be_completed(folder: Path, argv: list[str]) -> None:
    completes(folder, BUILD)
    for tenths in range(1, 10, 2):
        if argv == BUILD:
            (folder / MANIFEST).unlink(missing_ok=True)
        else:
            shutil.rmtree(folder / ".lora" / "staging", ignore_errors=True)
        process = subprocess.Popen(
            [sys.executable, "-m", "lora_pipeline", *argv],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=tenths / 10)
        process.kill()
        process.wait()

        assert all(len(one.items) == 3 for one in readable(folder))
        completes(folder, argv)

    document = json.loads((folder / MANIFEST).read_text())
    assert len(document["items"]) == 3
