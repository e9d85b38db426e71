"""``lora dataset croissant``: what it writes, and that mlcroissant reads it."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lora_pipeline.workspace.root import Workspace
from tests.support.catalog_builders import add_asset, add_catalogs, draw_icon
from tests.support.rights_builders import withdraw_asset
from tests.support.workspace_builders import Answer, invoke, make_workspace

PROJECT = "neon_city"
needs_mlcroissant = pytest.mark.skipif(
    importlib.util.find_spec("mlcroissant") is None, reason="needs the extra croissant"
)
# In a process of its own: it warns, and it logs.
READ = """
import json, sys, warnings
warnings.simplefilter("ignore")
import mlcroissant
found = mlcroissant.Dataset(sys.argv[1])
plain = lambda one: one.decode() if isinstance(one, bytes) else one
def value(one):
    if hasattr(one, "size") and hasattr(one, "mode"):
        return list(one.size)
    if isinstance(one, list):
        return [plain(each) for each in one]
    one = plain(one)
    return one.item() if hasattr(one, "item") else one
rows = [{k.split("/")[1]: value(v) for k, v in row.items()} for row in found.records("images")]
issues = found.metadata.ctx.issues
print(json.dumps({
    "rows": rows, "errors": sorted(issues.errors), "warnings": sorted(issues.warnings),
    "license": found.metadata.license, "limits": found.metadata.data_use_cases,
}))
"""


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Return a workspace with a dataset of six images in three formats, one of them held out."""
    made = make_workspace(tmp_path / "studio", project=PROJECT, git=False)
    add_catalogs(made, PROJECT)
    for seed in range(6):
        drawn = draw_icon(tmp_path / "art" / f"{seed}.png", seed=seed)
        if seed in (1, 2):
            other = drawn.with_suffix(".webp" if seed == 1 else ".jpg")
            Image.open(drawn).convert("RGB").save(other)
            drawn = other
        license_id = "CC-BY-4.0" if seed == 3 else "LicenseRef-Deal"
        add_asset(made, PROJECT, drawn, license=license_id, author="ana" if seed else "kim")
    built = invoke(
        ["dataset", "build", "icons", "--asset-type", "ui_icon", "--trigger", "nctyicon",
         "--held-out", "0.5", "--provenance-source", "commission", "--json"],
        made.root,
    )  # fmt: skip
    assert built.exit_code == 0, built.stdout
    return made


def croissant(workspace: Workspace, folder: Path, *options: str) -> Answer:
    arguments = ["dataset", "croissant", "icons", "--to", str(folder), "--json", *options]
    return invoke(arguments, workspace.root)


def description(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "croissant.json").read_text())
    return document


def items(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "items.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def manifest(workspace: Workspace) -> dict[str, Any]:
    path = workspace.data_root / "projects" / PROJECT / "datasets" / "icons.json"
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def test_the_description_says_what_the_manifest_says(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "out"

    answer = croissant(workspace, folder, "--url", "https://studio.example/icons")

    assert answer.exit_code == 0, answer.stdout
    assert answer.document["warnings"] == []
    said, known = description(folder), manifest(workspace)
    assert said["conformsTo"][0] == "http://mlcommons.org/croissant/1.1"
    assert (said["name"], said["identifier"]) == ("icons", known["contentHash"])
    assert said["license"] == ["https://spdx.org/licenses/CC-BY-4.0", "LicenseRef-Deal"]
    assert [one["name"] for one in said["creator"]] == ["ana", "kim"]
    assert said["publisher"]["name"] == "Neon City"
    assert said["prov:wasDerivedFrom"][-1]["prov:label"] == "commission"
    assert json.dumps(known["captionRule"]["triggerWord"]) in said["rai:dataAnnotationProtocol"][0]
    assert "stated as allowed for 6 of 6" in said["usageInfo"]["text"]
    rows = {row["assetId"]: row for row in items(folder)}
    for item in known["items"]:
        row = rows[item["assetId"]]
        for field in ("sha256", "caption", "tags", "license", "split", "repeats", "width"):
            assert row[field] == item[field], field


def test_the_digest_of_the_lines_is_that_of_the_description(
    workspace: Workspace, tmp_path: Path
) -> None:
    croissant(workspace, tmp_path / "out")

    [file] = description(tmp_path / "out")["distribution"]
    data = (tmp_path / "out" / "items.jsonl").read_bytes()
    assert file["sha256"] == hashlib.sha256(data).hexdigest()
    assert file["contentSize"] == f"{len(data)} B"


def test_images_go_along_only_when_asked_for_and_keep_their_bytes(
    workspace: Workspace, tmp_path: Path
) -> None:
    croissant(workspace, tmp_path / "without")
    croissant(workspace, tmp_path / "with", "--images")

    assert not (tmp_path / "without" / "images").exists()
    for row in items(tmp_path / "with"):
        data = (tmp_path / "with" / "images" / row["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row["sha256"]


def test_exporting_again_changes_no_byte(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    croissant(workspace, folder, "--images")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    again = croissant(workspace, folder, "--images")

    assert again.document["data"]["made"] is False
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_dry_run_writes_nothing(workspace: Workspace, tmp_path: Path) -> None:
    answer = croissant(workspace, tmp_path / "out", "--dry-run")

    assert answer.exit_code == 0
    assert not (tmp_path / "out").exists()


def test_a_folder_of_somebody_else_is_not_written_into(
    workspace: Workspace, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "croissant.json").write_text("mine")

    answer = croissant(workspace, folder)

    assert answer.exit_code == 1
    assert answer.error["code"] == "folder_taken"
    assert (folder / "croissant.json").read_text() == "mine"
    assert [path.name for path in folder.iterdir()] == ["croissant.json"]


def test_withdrawn_images_are_described_as_such_and_never_handed_on(
    workspace: Workspace, tmp_path: Path
) -> None:
    gone = withdraw_asset(workspace, PROJECT)

    refused = croissant(workspace, tmp_path / "with", "--images")
    told = croissant(workspace, tmp_path / "without")

    assert refused.exit_code == 1
    assert refused.error["code"] == "rights_forbid"
    assert not (tmp_path / "with").exists()
    assert told.exit_code == 0
    assert any("may not be handed on" in one for one in told.document["warnings"])
    rights = {row["assetId"]: row["trainingRight"] for row in items(tmp_path / "without")}
    assert rights[gone] == "withdrawn"
    text = description(tmp_path / "without")["usageInfo"]["text"]
    assert "allowed for 5 of 6 (withdrawn for 1)" in text


@pytest.mark.parametrize("url", ["studio.example/icons", "https://kim:secret@studio.example/x"])
def test_an_address_must_be_one_that_can_be_shown(
    workspace: Workspace, tmp_path: Path, url: str
) -> None:
    answer = croissant(workspace, tmp_path / "out", "--url", url)

    assert answer.exit_code == 3
    assert answer.error["code"] == "argument_invalid"
    assert not (tmp_path / "out").exists()


def test_words_of_people_cannot_break_the_description(workspace: Workspace, tmp_path: Path) -> None:
    path = workspace.data_root / "projects" / PROJECT / "assets"
    for asset in path.glob("*.json"):
        asset.write_text(asset.read_text().replace('"author": "ana"', '"author": "a\\"}, {na"'))

    answer = croissant(workspace, tmp_path / "out")

    assert answer.exit_code == 0, answer.stdout
    said = description(tmp_path / "out")
    assert 'a"}, {na' in [one["name"] for one in said["creator"]]
    assert said["citeAs"].count("{") == said["citeAs"].count("}")


@needs_mlcroissant
@pytest.mark.parametrize("options", [(), ("--images",)], ids=["described", "with images"])
def test_mlcroissant_finds_nothing_wrong_and_loads_every_record(
    workspace: Workspace, tmp_path: Path, options: tuple[str, ...]
) -> None:
    folder = tmp_path / "out"
    croissant(workspace, folder, "--url", "https://studio.example/icons", *options)

    done = subprocess.run(
        [sys.executable, "-c", READ, str(folder / "croissant.json")],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["errors"], found["warnings"]) == ([], [])
    assert "LicenseRef-Deal" in found["license"]
    known = {item["sha256"]: item for item in manifest(workspace)["items"]}
    assert {row["sha256"] for row in found["rows"]} == set(known)
    for row in found["rows"]:
        item = known[row["sha256"]]
        assert (row["caption"], row["tags"]) == (item["caption"], item["tags"])
        assert (row["split"], row["license"]) == (item["split"], item["license"])
        assert (row["width"], row["consentRecorded"]) == (item["width"], False)
        if options:
            assert row["image"] == [item["width"], item["height"]]


@needs_mlcroissant
def test_the_command_that_is_suggested_says_that_it_is_valid(
    workspace: Workspace, tmp_path: Path
) -> None:
    answer = croissant(
        workspace, tmp_path / "out", "--images", "--url", "https://studio.example/icons"
    )
    [suggested] = answer.document["suggestions"]
    program, *arguments = suggested.split()

    done = subprocess.run(
        [str(Path(sys.executable).with_name(program)), *arguments],
        capture_output=True, text=True, check=False,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower()
    assert "error" not in done.stderr.lower()
