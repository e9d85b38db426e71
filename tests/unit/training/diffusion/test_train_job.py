"""The child as a process of its own: its messages, its exit status and its manners."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from lora_pipeline.training.diffusion.job import Job, JobImage
from lora_pipeline.training.records import Recipe
from lora_pipeline.training.weights.inspection import inspect_weights
from tests.support.tiny_checkpoint import make_tiny_flux1
from tests.support.workspace_builders import REPOSITORY

pytestmark = pytest.mark.train


def run_child(folder: Path, job: Job) -> tuple[int, list[dict[str, Any]], str]:
    """Run a job and return exit status, messages and standard error."""
    (folder / "job.json").write_text(job.to_text())
    done = subprocess.run(
        [sys.executable, "-P", "-m", "lora_pipeline.training.diffusion.train_job", "job.json"],
        cwd=folder,
        env={"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "PATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def a_job(folder: Path, checkpoint: Path) -> Job:
    from PIL import Image

    Image.new("RGB", (32, 32), (200, 30, 60)).save(folder / "000001.png")
    return Job(
        checkpoint=str(checkpoint),
        architecture="flux1",
        images_folder=str(folder),
        images=(JobImage(name="000001.png", caption="trg", repeats=1, width=32, height=32),),
        output_folder=str(folder / "output"),
        output_name="w",
        total_steps=2,
        recipe=Recipe(steps=2, resolution=32, rank=2),
        metadata={},
        device="cpu",
    )


def test_every_line_of_its_output_is_a_message_and_the_last_one_names_the_file(
    tmp_path: Path,
) -> None:
    status, messages, errors = run_child(tmp_path, a_job(tmp_path, make_tiny_flux1(tmp_path / "m")))

    assert (status, errors) == (0, "")
    assert [message["event"] for message in messages][-2:] == ["saved", "finished"]
    assert inspect_weights(tmp_path / "output" / messages[-1]["file"]).problems == ()


def test_what_stops_it_is_told_in_a_message_and_an_exit_status(tmp_path: Path) -> None:
    status, messages, errors = run_child(tmp_path, a_job(tmp_path, tmp_path / "nowhere"))

    assert (status, errors) == (3, "")
    assert messages[-1]["event"] == "error"
    assert messages[-1]["code"] == "checkpoint_unreadable"
    assert not (tmp_path / "output").exists()


def test_a_job_that_is_none_is_told(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lora_pipeline.training.diffusion.train_job", "none.json"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 3
    assert json.loads(done.stdout)["code"] == "file_missing"
