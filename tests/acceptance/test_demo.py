"""The demo is a test: every step is a real command with the exit code that the story tells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.workspace_builders import git, run_lora

pytestmark = [pytest.mark.train, pytest.mark.slow]

# Enough to show an effect above the gate's threshold, far fewer than the demo's own.
STEPS = "40"


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace that a short demo left behind."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("demo") / "demo"
    answer = run_lora(
        ["demo", str(folder), "--steps", STEPS, "--json"],
        folder.parent,
        env={"OMP_NUM_THREADS": "1"},
        timeout_s=900,
    )
    assert answer.exit_code == 0, answer.stdout + answer.stderr
    (folder / "answer.json").write_text(answer.stdout)
    return folder / "studio"


def test_demo_ends_every_step_as_it_says(demo: Path) -> None:
    steps = json.loads((demo.parent / "answer.json").read_text())["data"]["steps"]
    refused = [step["argv"][1] for step in steps if step["exitCode"] == 1]

    assert refused == ["promote", "promote", "validate"]


def test_demo_leaves_an_active_release_that_validates(demo: Path) -> None:
    answer = run_lora(["validate", "--json"], demo)

    assert answer.exit_code == 0, answer.stdout


def test_demo_leaves_a_picture_in_git_and_weights_outside_of_it(demo: Path) -> None:
    tracked = git(demo, "ls-files").splitlines()

    assert [path for path in tracked if path.endswith(".webp")]
    assert not [path for path in tracked if path.endswith(".safetensors")]
    assert git(demo, "status", "--porcelain").split() == ["??", "sheet.png"]


def test_demo_refuses_a_folder_that_holds_something_else(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("precious")

    answer = run_lora(["demo", "mine", "--replace", "--json"], tmp_path)

    assert answer.exit_code == 3
    assert answer.error["code"] == "argument_invalid"
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "precious"
