"""From a folder of pictures to an active release, through the real program and real Git.

The checkpoint is very small and random, the training is real; what is asserted is what a studio
relies on: what is in Git afterwards, what was refused, and that everything validates.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.catalog_builders import draw_icons
from tests.support.workspace_builders import Answer, git, run_lora

pytestmark = pytest.mark.train

SUITE = """
id: small_icon
summary: Few cells of few steps
assetTypes: [ui_icon]
prompts:
  - {id: heart, text: "{trigger}, a red heart icon", kind: in_domain}
  - {id: tree, text: "{trigger}, a green tree icon", kind: novel_context}
  - {id: without, text: "a purple circle icon", kind: no_trigger}
seeds: [11, 23]
strengths: [0.8, 1.0]
render: {width: 64, height: 64, steps: 4, guidance: 3.0}
"""
ARTIST, LEAD = "mira@studio.example", "kim@studio.example"


def lora(folder: Path, *argv: str, actor: str = ARTIST, expects: int = 0) -> Answer:
    """Run one command as ``actor`` and check its exit code."""
    answer = run_lora(
        [*argv, "--json", "--as", actor], folder, env={"OMP_NUM_THREADS": "1"}, timeout_s=600
    )
    assert answer.exit_code == expects, f"{argv}: {answer.stdout}{answer.stderr}"
    return answer


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A studio's repository with a trained candidate and its grid."""
    pytest.importorskip("torch")
    from tests.support.tiny_checkpoint import make_tiny_sd15

    home = tmp_path_factory.mktemp("acceptance")
    art = home / "art"
    draw_icons(art, count=12)
    checkpoint = make_tiny_sd15(home / "tiny")
    folder = home / "studio"
    folder.mkdir()
    lora(folder, "init")
    (folder / "config" / "suites").mkdir(parents=True, exist_ok=True)
    (folder / "config" / "suites" / "small_icon.yaml").write_text(SUITE)
    git(folder, "config", "user.name", "Mira")
    git(folder, "config", "user.email", ARTIST)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Start")
    lora(folder, "project", "create", "neon_city", "--commit")
    lora(folder, "suite", "use", "small_icon", "--asset-type", "ui_icon", "--commit")
    lora(
        folder, "checkpoint", "add", "tiny", "--path", str(checkpoint), "--asset-type", "ui_icon",
        "--commit",
    )  # fmt: skip
    lora(
        folder, "asset", "import", str(art), "--asset-type", "ui_icon", "--tag", "style:flat",
        "--add-tags", "--license", "CC0-1.0", "--rights", "allowed", "--commit",
    )  # fmt: skip
    lora(folder, "asset", "approve", "--status", "review", "--commit", actor=LEAD)
    lora(
        folder, "dataset", "build", "icons", "--asset-type", "ui_icon", "--tag", "style:flat",
        "--trigger", "flticon", "--commit",
    )  # fmt: skip
    lora(
        folder, "create", "icons", "--checkpoint", "tiny", "--asset-type", "ui_icon",
        "--trigger", "flticon", "--commit",
    )  # fmt: skip
    lora(
        folder, "train", "--lora", "icons", "--dataset", "icons", "--trainer", "diffusers",
        "--resolution", "64", "--steps", "12", "--rank", "4", "--lr", "0.01", "--commit",
    )  # fmt: skip
    lora(folder, "eval", "grid", "icons", "r1", "--commit")
    return folder


def test_promotion_is_refused_before_a_review(studio: Path) -> None:
    answer = lora(studio, "promote", "icons", "r1", expects=1)

    assert answer.error["code"] == "gate_refused"


def test_manifest_names_every_image_on_one_line(studio: Path) -> None:
    path = studio / "data/projects/neon_city/datasets/icons.json"
    items = json.loads(path.read_text())["items"]
    lines = path.read_text().splitlines()

    assert len(items) == 12
    assert sum('"assetId"' in line for line in lines) == 12


def test_release_is_bound_to_manifest_and_run(studio: Path) -> None:
    base = studio / "data/projects/neon_city"
    manifest = json.loads((base / "datasets/icons.json").read_text())
    release = json.loads((base / "loras/icons.json").read_text())["releases"][0]
    run = json.loads((base / "runs" / f"{release['training']['runId']}.json").read_text())

    assert release["training"]["manifestHash"] == manifest["contentHash"]
    assert run["manifestHash"] == manifest["contentHash"]
    assert run["state"] == "ready"


def test_review_by_another_person_and_the_gate_lead_to_an_active_release(studio: Path) -> None:
    lora(studio, "eval", "approve", "icons", "r1", "--comment", "fine", "--commit", actor=LEAD)
    lora(studio, "promote", "icons", "r1", "--commit", actor=LEAD)
    resolved = lora(studio, "resolve", "icons").document
    validated = lora(studio, "validate").document

    assert resolved["data"]["releaseId"] == "r1"
    assert validated["success"] is True
    assert git(studio, "status", "--porcelain").strip() == ""
