"""What pictures at a service cost: estimated, held against the caps, recorded, never lost."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.evaluation.orders import NAME
from tests.support.evaluation_builders import PROJECT, add_subject
from tests.support.fake_hosted_drawing import TOKEN, FakeReplicate
from tests.support.faulty_server import running
from tests.support.renderer_cases import TOKEN_VARIABLE, write_sd15_lora
from tests.support.workspace_builders import invoke, make_workspace, tree_digest

pytest.importorskip("httpx2")
GRID = ["eval", "grid", "ui_icons", "--renderer", "replicate", "--yes-upload"]
EXPENSES = Path("data", "projects", PROJECT, "expenses")


@dataclass
class DeadlyReplicate(FakeReplicate):
    """Replicate that ends whoever asks at a certain picture, before it answers."""

    victim: subprocess.Popen[bytes] | None = None
    deadly: int = 0

    def take(self, body: dict[str, Any]) -> str:
        job_id = super().take(body)
        if self.victim is not None and len(self.jobs) == self.deadly:
            self.victim.kill()
            self.victim.wait()
        return job_id


@pytest.fixture
def here(tmp_path: Path) -> Path:
    workspace = make_workspace(tmp_path / "studio", git=False, project=PROJECT)
    add_subject(workspace, weights=write_sd15_lora(tmp_path / "lora.safetensors").read_bytes())
    return workspace.root


@pytest.fixture
def server(here: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[DeadlyReplicate]:
    monkeypatch.setenv(TOKEN_VARIABLE, TOKEN)
    with running(DeadlyReplicate(looks=0)) as fake:
        local = {
            "trainers": {"replicate": {"baseUrl": fake.address, "tokenVariable": TOKEN_VARIABLE}},
        }
        (here / "config" / "local.json").write_text(json.dumps(local))
        cap(here, 100)
        yield fake


def cap(here: Path, whole: float, price: float = 0.03) -> None:
    (here / "config" / "pipeline.yaml").write_text(
        f"renderers:\n  replicate: {{model: studio/draws, pricePerImage: {price}}}\n"
        f"spending: {{maxPerProject: {whole}}}\n"
    )


def expenses(here: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted((here / EXPENSES).glob("*.json"))]


def killed_at(here: Path, server: DeadlyReplicate, picture: int) -> None:
    server.deadly = picture
    server.victim = subprocess.Popen(
        [sys.executable, "-m", "lora_pipeline", "--quiet", *GRID],
        cwd=here,
        env=dict(os.environ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    assert server.victim.wait(60) == -9
    server.victim = None


def test_what_a_grid_cost_is_recorded_and_shown(here: Path, server: DeadlyReplicate) -> None:
    answer = invoke(GRID, here)
    assert answer.exit_code == 0, answer.stderr
    assert "cost       0.45 USD for 15 pictures" in answer.stdout
    (one,) = expenses(here)
    assert (one["purpose"], one["service"], one["pictures"]) == ("grid", "replicate", 15)
    assert one["cost"]["actual"] == pytest.approx(0.03 * server.paid)
    assert one["cost"]["estimateBasis"] == "12 cells and 3 probes at the price that is set"
    assert "no bill" in one["cost"]["actualBasis"]
    assert not list(here.rglob(NAME))
    assert "0.45 USD for 15 pictures" in invoke(["eval", "show", "ui_icons"], here).stdout
    listed = invoke(["run", "list"], here).stdout
    assert "0.45 USD paid" in listed
    assert "of it      0.45 USD for 15 pictures" in listed
    assert "expenses/" not in invoke(["validate"], here).stdout


def test_what_was_spent_on_pictures_counts_against_the_cap_of_the_next_grid(
    here: Path, server: DeadlyReplicate
) -> None:
    cap(here, 0.8)
    assert invoke(GRID, here).exit_code == 0
    before, paid = tree_digest(here / "data"), server.paid
    answer = invoke(["--json", *GRID, "--again"], here)
    assert answer.exit_code == 1
    assert answer.error["code"] == "spending_cap"
    assert "the project has spent 0.45 USD, and may spend 0.80 USD" in answer.error["message"]
    assert (tree_digest(here / "data"), server.paid) == (before, paid)


def test_a_killed_grid_counts_with_its_estimate_until_what_it_ordered_is_counted(
    here: Path, server: DeadlyReplicate
) -> None:
    killed_at(here, server, 6)
    (one,) = expenses(here)
    assert "endedAt" not in one
    listed = invoke(["--json", "run", "list"], here).document["data"]["costs"]
    assert [(one["paid"], one["open"]) for one in listed] == [(0.0, 0.45)]
    # It is counted before the cap is asked: with the estimate there would be no room for the rest.
    cap(here, 0.7)
    assert invoke(GRID, here).exit_code == 0
    first, second = expenses(here)
    assert (first["pictures"], first["cost"]["actual"]) == (6, pytest.approx(0.18))
    assert first["pictures"] + second["pictures"] == server.paid
    shown = invoke(["--json", "eval", "show", "ui_icons"], here).document["data"]["spent"]
    assert shown["cost"] == pytest.approx(0.03 * server.paid)
    assert shown["open"] == 0.0


def test_what_a_killed_grid_cost_outlives_its_evaluation_and_its_files(
    here: Path, server: DeadlyReplicate
) -> None:
    killed_at(here, server, 5)
    (one,) = expenses(here)
    assert invoke(["eval", "cleanup", one["evaluationId"]], here).exit_code == 0
    (one,) = expenses(here)
    assert one["cost"]["actual"] == pytest.approx(0.15)


def test_files_that_are_lost_leave_the_estimate(here: Path, server: DeadlyReplicate) -> None:
    killed_at(here, server, 5)
    shutil.rmtree(here / ".lora" / "render")
    assert invoke(GRID, here).exit_code == 0
    first, _ = expenses(here)
    assert "endedAt" not in first
    (total,) = invoke(["--json", "run", "list"], here).document["data"]["costs"]
    assert total["open"] == pytest.approx(0.45)


def test_a_lora_without_effect_costs_its_three_probes_and_leaves_no_grid(
    here: Path, server: DeadlyReplicate
) -> None:
    server.fault = "no_effect"
    assert invoke(GRID, here).exit_code == 3
    (one,) = expenses(here)
    assert (one["pictures"], one["cost"]["actual"]) == (3, pytest.approx(0.09))
    assert not list((here / "data").rglob("evals/*.json"))


def test_a_service_that_refuses_every_picture_costs_nothing_and_leaves_no_record(
    here: Path, server: DeadlyReplicate
) -> None:
    before = tree_digest(here / "data")
    server.properties = {
        name: one for name, one in server.properties.items() if name != "guidance"
    } | {"guidance_scale": {"type": "number"}}
    server.misbehave("POST /v1/predictions", *["402"] * 20)
    assert invoke(GRID, here).exit_code == 3
    assert server.paid == 0
    assert tree_digest(here / "data") == before


def test_a_test_scene_is_paid_like_a_grid(here: Path, server: DeadlyReplicate) -> None:
    scene = ["generate", "a star", "--lora", "ui_icons", "--release", "r1"]
    answer = invoke([*scene, "--renderer", "replicate", "--yes-upload"], here)
    assert answer.exit_code == 0, answer.stderr
    assert "0.12 USD for 4 pictures" in answer.stdout
    (one,) = expenses(here)
    assert (one["purpose"], one["pictures"]) == ("scene", server.paid)
    cap(here, 0.2)
    answer = invoke(["--json", *GRID], here)
    assert answer.error["code"] == "spending_cap"
    assert server.paid == 4
