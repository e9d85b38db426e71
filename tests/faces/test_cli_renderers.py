"""Renderers on other programs, through the real command line and a server of our own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.workspace.root import Workspace
from tests.support.evaluation_builders import BASE_MODEL, PROJECT, add_subject
from tests.support.fake_comfyui import FakeComfyUi
from tests.support.faulty_server import running
from tests.support.renderer_cases import write_sd15_lora
from tests.support.workspace_builders import invoke, make_workspace, tree_digest

pytest.importorskip("httpx2")
GRID = ["eval", "grid", "ui_icons", "--renderer", "comfyui"]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    workspace: Workspace = make_workspace(tmp_path / "studio", git=False, project=PROJECT)
    lora = write_sd15_lora(tmp_path / "lora.safetensors")
    add_subject(workspace, weights=lora.read_bytes())
    return workspace.root


@pytest.fixture
def server(here: Path) -> Iterator[FakeComfyUi]:
    models = here.parent / "ComfyUI" / "models"
    for name in ("checkpoints", "loras"):
        (models / name).mkdir(parents=True)
    (models / "checkpoints" / "base.safetensors").write_bytes(BASE_MODEL)
    fake = FakeComfyUi(models=models, output=models.parent / "output", looks=0)
    with running(fake):
        configure(here, fake.address, modelsRoot=str(models))
        yield fake


def configure(here: Path, address: str, **comfyui: str) -> None:
    document: dict[str, Any] = {
        "comfyui": {"baseUrl": address},
        "renderers": {"comfyui": comfyui},
    }
    (here / "config" / "local.json").write_text(json.dumps(document))


def test_a_grid_is_drawn_by_comfyui_and_says_with_what(here: Path, server: FakeComfyUi) -> None:
    answer = invoke([*GRID], here)
    assert answer.exit_code == 0, answer.stderr
    assert "12 of 12 cells" in answer.stdout
    assert "comfyui 0.3.64 on cpu" in answer.stdout
    shown = invoke(["--json", "eval", "show", "ui_icons"], here).document["data"]
    assert shown["renderer"]["details"]["comfyui"] == "0.3.64"
    assert shown["renderer"].get("unproven") is None
    assert shown["metrics"]["monotone"] is True
    assert server.number == 15  # twelve cells and three probes


def test_a_dry_run_asks_nobody_and_tells_the_time(here: Path, server: FakeComfyUi) -> None:
    before = tree_digest(here)
    answer = invoke([*GRID, "--dry-run"], here)
    assert answer.exit_code == 0
    assert "takes      2 minutes at 10 s a cell, which was never measured here" in answer.stdout
    assert "lora eval grid ui_icons r1 --renderer comfyui" in answer.stdout
    assert server.requests == []
    assert tree_digest(here) == before


def test_a_lora_without_effect_ends_with_an_error_and_leaves_nothing(
    here: Path, server: FakeComfyUi
) -> None:
    before = tree_digest(here / "data")
    server.fault = "no_effect"
    answer = invoke(["--json", *GRID], here)
    assert answer.exit_code == 3
    assert answer.error["code"] == "render_failed"
    assert "it is loaded, but it changes nothing" in answer.error["message"]
    assert tree_digest(here / "data") == before


def test_a_cell_that_fails_is_named_with_its_reason_and_tried_again_later(
    here: Path, server: FakeComfyUi
) -> None:
    assert invoke([*GRID, "--limit", "1"], here).exit_code == 0
    server.fault = "wrong_size"  # the probes are done, and taken up
    answer = invoke(["--json", *GRID], here)
    assert answer.exit_code == 1
    assert answer.error["code"] == "grid_incomplete"
    assert "4 of 12 cells have an image, 8 failed: the image is 32 x 16" in answer.error["message"]
    assert answer.error["hint"] == "lora eval grid ui_icons r1 --renderer comfyui"
    server.fault = ""
    assert invoke([*GRID], here).exit_code == 0


def test_a_server_on_another_machine_gets_nothing_without_a_yes(here: Path) -> None:
    configure(here, "http://render.studio.example:8188")
    before = tree_digest(here)
    answer = invoke(["--json", *GRID], here)
    assert answer.exit_code == 1
    assert answer.error["code"] == "upload_not_agreed"
    assert "would be sent to http://render.studio.example:8188" in answer.error["message"]
    assert tree_digest(here) == before


@pytest.mark.parametrize(
    ("address", "words"),
    [("", "comfyui.baseUrl"), ("ftp://127.0.0.1", "is no http address")],
)
def test_an_address_that_is_none_is_an_error_that_names_the_setting(
    here: Path, address: str, words: str
) -> None:
    configure(here, address)
    before = tree_digest(here)
    answer = invoke(["--json", *GRID], here)
    assert answer.exit_code == 3
    assert words in answer.error["message"]
    assert tree_digest(here) == before


def test_the_doctor_says_which_renderer_answers(here: Path, server: FakeComfyUi) -> None:
    def row() -> dict[str, Any]:
        checks = invoke(["--json", "doctor"], here).document["data"]["checks"]
        (found,) = [one for one in checks if one["name"] == "renderer comfyui"]
        return dict(found)

    assert (row()["state"], row()["message"]) == ("ok", f"ComfyUI 0.3.64 at {server.address}")
    server.misbehave("GET /system_stats", "html")
    answer = row()
    assert answer["state"] == "warn"
    assert "text/html instead of JSON" in answer["message"]
