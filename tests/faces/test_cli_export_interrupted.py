"""``kill -9`` at every single write of an export: the next one completes it, and it is the same."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.export_builders import studio_with_dataset
from tests.support.workspace_builders import REPOSITORY, invoke, tree_digest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="SIGKILL is a signal of POSIX systems"),
]
MOST_WRITES = 80


@pytest.mark.parametrize("form", ["--originals", "--normalised"])
def test_export_that_is_killed_anywhere_is_completed_by_the_next_one(
    tmp_path: Path, form: str
) -> None:
    studio = studio_with_dataset(tmp_path / "studio", tmp_path / "art", count=4)
    target = tmp_path / "out"
    argv = ["dataset", "export", "icons", "--format", "kohya", "--to", str(target), form,
            "--split", "all"]  # fmt: skip
    assert invoke(argv, studio).exit_code == 0
    whole = tree_digest(target)
    at = 1
    while True:
        shutil.rmtree(target)
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.die_at_write", str(at), str(target), *argv],
            cwd=studio,
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
            capture_output=True,
            check=False,
        )
        if done.returncode != -signal.SIGKILL:
            assert done.returncode == 0, done.stdout + done.stderr
            break
        answer = invoke(argv, studio)
        assert answer.exit_code == 0, (at, answer.stderr)
        left = tree_digest(target)
        assert {k: v for k, v in left.items() if ".lora-tmp-" not in k} == whole
        at += 1
        assert at < MOST_WRITES
    assert at > 10
