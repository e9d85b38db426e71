"""Services that only somebody with an account can reach, through the real command line.

Nobody has run these against the real services: they were written from the services' documents
and tried against the servers of ``tests/support``. The first run may find that a service, or a
test, is otherwise. They cost money, so each runs only where ``LORA_LIVE`` names it:

    LORA_LIVE           what to run, such as replicate,comfyui: replicate, fal, runpod, azure_ml,
                        modal, ai_toolkit_server (a job that is cancelled); draw_replicate,
                        draw_fal, comfyui, a1111 (a test scene); huggingface (a private repository)
    LORA_LIVE_SETTINGS  a config/local.json with what these need: addresses, models, prices
    LORA_LIVE_BASE      base model, as file or folder, that jobs and scenes are for; a service has
                        its own, so for replicate and fal none is needed
    LORA_LIVE_ARCHITECTURE  what it is, where its files do not tell; flux1 without a base
    LORA_LIVE_LORA      a LoRA of that base, which scenes are drawn with
    LORA_LIVE_REPO      ORG/NAME at Hugging Face, private or not there yet; it stays there

Tokens stand in the variables that the settings name (REPLICATE_API_TOKEN, FAL_KEY,
RUNPOD_API_KEY, HF_TOKEN, …). CONTRIBUTING.md says what each does and costs.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.dataset_builders import PROJECT, studio
from tests.support.hosted_builders import flux_base
from tests.support.release_builders import LORA as PUBLISHED
from tests.support.release_builders import active_studio
from tests.support.training_builders import DATASET, LORA
from tests.support.workspace_builders import Answer, run_lora

TRAINERS = ("replicate", "fal", "runpod", "azure_ml", "modal", "ai_toolkit_server")
# What LORA_LIVE calls it, and what the command line calls it.
RENDERERS = {
    "draw_replicate": "replicate", "draw_fal": "fal", "comfyui": "comfyui", "a1111": "a1111",
}  # fmt: skip
_STARTS_WITHIN_S = 1800.0
_CAPS = "spending: {maxPerRun: 5, maxPerProject: 5}\n"
# Read here, because no LORA_ variable reaches a test; tokens are passed on with all the rest.
_GIVEN = {name: value for name, value in os.environ.items() if name.startswith("LORA_LIVE")}
_WANTED = frozenset(filter(None, _GIVEN.get("LORA_LIVE", "").replace(" ", "").split(",")))
_ENVIRONMENT = {key: value for key, value in os.environ.items() if not key.startswith("LORA_")}

pytestmark = pytest.mark.live


def wanted(name: str, *needed: str) -> Any:
    """Return a parameter that is skipped unless it was asked for with all that it needs."""
    missing = [one for one in needed if not _GIVEN.get(one)]
    reason = f"LORA_LIVE does not name {name}" if name not in _WANTED else f"not set: {missing}"
    skipped = pytest.mark.skipif(name not in _WANTED or bool(missing), reason=reason)
    return pytest.param(name, marks=skipped, id=name)


def lora(root: Path, *args: str) -> Answer:
    """Run the command line and expect that it went well."""
    line = ["--json", "--project", PROJECT, *args]
    answer = run_lora(line, root, _ENVIRONMENT, timeout_s=_STARTS_WITHIN_S)
    assert answer.exit_code == 0, f"{args}: {answer.stdout}\n{answer.stderr}"
    return answer


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A workspace of four drawn icons, with the person's settings and a cap of five dollars."""
    root = studio(tmp_path / "studio", icons=4, git=False).root
    (root / "config" / "pipeline.yaml").write_text(_CAPS, encoding="utf-8")
    given = _GIVEN.get("LORA_LIVE_SETTINGS")
    if given:
        shutil.copy(Path(given).expanduser(), root / "config" / "local.json")
    base = Path(_GIVEN.get("LORA_LIVE_BASE") or flux_base(tmp_path / "base"))
    architecture = _GIVEN.get("LORA_LIVE_ARCHITECTURE")
    told = ("--architecture", architecture) if architecture else ()
    lora(root, "checkpoint", "add", "live", "--path", str(base.expanduser().absolute()), *told,
         "--asset-type", "ui_icon")  # fmt: skip
    lora(root, "create", LORA, "--checkpoint", "live", "--asset-type", "ui_icon", "--trigger",
         "lvtst")  # fmt: skip
    return root


@pytest.mark.parametrize("trainer", [wanted(one) for one in TRAINERS])
def test_the_smallest_job_is_sent_is_found_and_is_cancelled(trainer: str, root: Path) -> None:
    lora(root, "setup", trainer, "--check")
    lora(root, "dataset", "build", DATASET, "--asset-type", "ui_icon", "--trigger", "lvtst")
    train = ["train", "--lora", LORA, "--dataset", DATASET, "--trainer", trainer, "--steps", "100"]
    plan = lora(root, *train, "--plan").document["data"]
    assert plan["estimate"]["cost"] is not None, "set its price in LORA_LIVE_SETTINGS"
    with begun(root, *train, "--yes-upload") as running:
        run = job_of(root, running)
        lora(root, "run", "cancel", run)
        running.wait(_STARTS_WITHIN_S)
    shown = lora(root, "run", "show", run).document["data"]
    assert shown["state"] == "cancelled", shown
    assert shown["run"]["externalJobId"]
    costs = lora(root, "run", "list").document["data"]["costs"]
    assert sum(one["paid"] + one["open"] for one in costs) <= 5


@pytest.mark.parametrize("name", [wanted(one, "LORA_LIVE_LORA") for one in RENDERERS])
def test_a_test_scene_is_drawn_with_the_lora_and_is_paid(name: str, root: Path) -> None:
    renderer = RENDERERS[name]
    weights = Path(_GIVEN["LORA_LIVE_LORA"]).expanduser().absolute()
    if not _GIVEN.get("LORA_LIVE_BASE"):
        shutil.rmtree(root.parent / "base")  # headers of our own, to which no LoRA fits
    lora(root, "release", "register", LORA, str(weights))
    checks = lora(root, "doctor").document["data"]["checks"]
    (row,) = [one for one in checks if one["name"] == f"renderer {renderer}"]
    assert row["state"] == "ok", row
    drawn = lora(
        root, "generate", "a red star", "--lora", LORA, "--release", "r1", "--renderer", renderer,
        "--width", "512", "--height", "512", "--steps", "4", "--output", "star.png",
        "--yes-upload",
    ).document["data"]  # fmt: skip
    assert (root / "star.png").read_bytes().startswith(b"\x89PNG")
    # Three probes and the scene, where it costs anything; a server of one's own does not.
    assert (drawn["spent"] or {"pictures": 4})["pictures"] == 4


@pytest.mark.parametrize("name", [wanted("huggingface", "LORA_LIVE_REPO")])
def test_a_release_is_published_and_found_there_byte_for_byte(name: str, tmp_path: Path) -> None:
    del name
    here = active_studio(tmp_path / "studio").root
    publish = ["release", "publish", PUBLISHED, "r1", "--repo", _GIVEN["LORA_LIVE_REPO"], "--json"]
    first, second = (
        run_lora([*publish, "--yes-upload"], here, _ENVIRONMENT, timeout_s=_STARTS_WITHIN_S)
        for _ in range(2)
    )
    assert first.exit_code == 0, f"{first.stdout}\n{first.stderr}"
    assert second.document["data"]["unchanged"]


@contextlib.contextmanager
def begun(root: Path, *args: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run the command line beside the test; it is ended as a person would, with Ctrl-C."""
    line = [sys.executable, "-m", "lora_pipeline", "--quiet", "--project", PROJECT, *args]
    with (root / "begun.log").open("wb") as log:
        running = subprocess.Popen(line, cwd=root, env=_ENVIRONMENT, stdout=log, stderr=log)
        try:
            yield running
        finally:
            if running.poll() is None:
                running.send_signal(2)
                running.wait(_STARTS_WITHIN_S)


def job_of(root: Path, running: subprocess.Popen[bytes]) -> str:
    """Wait until the service has the job, and return the run's id."""
    until = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < until and running.poll() is None:
        for path in root.glob(f"data/projects/{PROJECT}/runs/*.json"):
            with contextlib.suppress(ValueError):
                record = json.loads(path.read_bytes())
                if record.get("externalJobId"):
                    return str(record["id"])
        time.sleep(2)
    raise AssertionError(f"no job: {(root / 'begun.log').read_text(errors='replace')}")
