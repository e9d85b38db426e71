"""The program that starts ai-toolkit in containers, run as they run it, with a small run.py."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from lora_pipeline.training.trainers.ai_toolkit import start as ai_toolkit_start

RUN = """
import json, pathlib, sys
job = json.loads(pathlib.Path(sys.argv[1]).read_text())["config"]
process = job["process"][0]
print("loading", process["model"]["name_or_path"], flush=True)
images = pathlib.Path(process["datasets"][0]["folder_path"])
assert (images / "1.png").read_bytes() == b"picture"
(images / "_cache").mkdir()
made = pathlib.Path(process["training_folder"]) / job["name"]
made.mkdir(parents=True)
(made / f"{job['name']}_000000002.safetensors").write_bytes(b"half")
(made / f"{job['name']}.safetensors").write_bytes(b"whole")
(made / "optimizer.pt").write_bytes(b"no")
print("out of luck" if job["name"] == "bad" else "done")
sys.exit(job["name"] == "bad")
"""


def start(folder: Path, name: str = "lora-1") -> tuple[int, Path]:
    """Run the program as a container does and return its status and the output folder."""
    work, toolkit = folder / "work", folder / "toolkit"
    (work / "images").mkdir(parents=True)
    toolkit.mkdir()
    (work / "images" / "1.png").write_bytes(b"picture")
    (toolkit / "run.py").write_text(RUN)
    process = {
        "training_folder": "{TRAINING_FOLDER}",
        "datasets": [{"folder_path": "{DATASETS_FOLDER}/images"}],
        "model": {"name_or_path": "{MODELS_FOLDER}/base"},
    }
    job = {"config": {"name": name, "process": [process]}}
    (work / "job.json").write_text(json.dumps(job))
    (work / "start.py").write_bytes(Path(ai_toolkit_start.__file__).read_bytes())
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            str(work / "start.py"),
            str(work),
            str(folder / "out"),
            str(toolkit),
            "/models",
        ],
        check=False,
    )
    return done.returncode, folder / "out"


def test_it_trains_alone_and_leaves_weights_digests_log_and_how_it_ended(tmp_path: Path) -> None:
    status, out = start(tmp_path)

    files = json.loads((out / "files.json").read_text())["files"]
    ended = json.loads((out / "ended.json").read_text())
    assert (status, ended["status"]) == (0, 0)
    assert ended["seconds"] > 0
    assert [(one["name"], one["step"]) for one in files] == [
        ("lora-1.safetensors", None),
        ("lora-1_000000002.safetensors", 2),
    ]
    assert files[0]["sha256"] == hashlib.sha256(b"whole").hexdigest()
    assert (out / "lora-1.safetensors").read_bytes() == b"whole"
    assert (out / "log.txt").read_text().splitlines() == ["loading /models/base", "done"]


def test_what_it_was_given_is_not_written_to(tmp_path: Path) -> None:
    start(tmp_path)

    assert [path.name for path in (tmp_path / "work" / "images").iterdir()] == ["1.png"]


def test_a_training_that_fails_ends_with_its_status_and_keeps_its_log(tmp_path: Path) -> None:
    status, out = start(tmp_path, "bad")

    assert status == 1
    assert json.loads((out / "ended.json").read_text())["status"] == 1
    assert "out of luck" in (out / "log.txt").read_text()


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("{A}/x", "/a/x"),
        ("{A}", "/a"),
        ("{A}x", "{A}x"),
        ("say {A}", "say {A}"),
        ({"k": ["{A}", 1, None]}, {"k": ["/a", 1, None]}),
    ],
)
def test_only_a_folder_at_the_beginning_is_a_place(value: object, result: object) -> None:
    assert ai_toolkit_start.placed(value, {"{A}": "/a"}) == result
