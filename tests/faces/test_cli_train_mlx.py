"""Training on a folder that mflux-save wrote: mflux does, and every other trainer says no."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_pipeline.operations.datasets.dataset import build_dataset
from lora_pipeline.operations.releases.lora import create_lora
from tests.support.dataset_builders import PROJECT, studio
from tests.support.mlx_folders import write_mlx_folder
from tests.support.training_builders import DATASET, LORA
from tests.support.workspace_builders import invoke, tree_digest

PLAN = ["train", "--lora", LORA, "--dataset", DATASET, "--plan", "--steps", "6"]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    workspace = studio(tmp_path / "studio", icons=4, git=False)
    base = write_mlx_folder(tmp_path / "klein-base-4b-q4")
    added = ["checkpoint", "add", "klein_base_4b", "--path", str(base), "--asset-type", "ui_icon"]
    assert invoke(added, workspace.root).exit_code == 0
    build_dataset(workspace, DATASET, asset_types=("ui_icon",), trigger_word="flt", project=PROJECT)
    create_lora(
        workspace, LORA, checkpoint="klein_base_4b", asset_types=("ui_icon",), trigger="flt",
        project=PROJECT,
    )  # fmt: skip
    return workspace.root


def test_mflux_takes_it(here: Path) -> None:
    answer = invoke(["--json", *PLAN, "--trainer", "mflux"], here)
    assert answer.exit_code == 0, answer.stderr
    assert "klein-base-4b-q4" in json.dumps(answer.document["data"]["plan"])


@pytest.mark.parametrize("trainer", ["diffusers", "kohya_ss", "ai_toolkit", "fal"])
def test_another_trainer_says_what_it_is_and_what_to_do(here: Path, trainer: str) -> None:
    before = tree_digest(here / "data")
    answer = invoke(["--json", *PLAN, "--trainer", trainer], here)
    assert answer.exit_code == 3
    assert answer.error["message"] == (
        "checkpoint klein_base_4b was written by mflux 0.24.0, quantised to 4 bits; nothing but "
        "mflux reads it"
    )
    assert "--trainer mflux" in answer.error["hint"]
    assert tree_digest(here / "data") == before
