"""``lora migrate``: older forms come to the present one, whole, once, and after a backup."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.datasets.records import CaptionRule, Manifest
from lora_pipeline.operations.workspace.migrations.registry import MIGRATIONS, NEVER
from lora_pipeline.operations.workspace.migrations.steps import (
    Facts,
    captions_into_rule,
    local_path_into_weights,
    named_schema,
    namespaced_tags,
    plain_digests,
)
from lora_pipeline.workspace.layout import Scope
from tests.support.catalog_builders import add_asset, add_catalogs, draw_icon
from tests.support.release_builders import active_studio
from tests.support.workspace_builders import invoke, make_workspace, reopen, tree_digest

PROJECT = "neon_city"
TIME = "2026-01-01T00:00:00.000Z"
HEX = "0123456789abcdef" * 4
NO_FACTS = Facts()
RULE = CaptionRule().to_dict()


@pytest.mark.parametrize(
    ("step", "before", "after"),
    [
        (plain_digests, {"items": [{"sha256": f"sha256:{HEX}"}, {"sha256": HEX.upper()}]},
         {"items": [{"sha256": HEX}, {"sha256": HEX}]}),
        (plain_digests, {"releases": [{"sha256": "abc"}]}, {"releases": [{"sha256": "abc"}]}),
        (captions_into_rule,
         {"selection": {"captionStrategy": "tags+spec", "includePromptTokens": True, "note": "n",
                        "tags": []}},
         {"selection": {"tags": []}, "provenance": {"notes": "n"},
          "captionRule": RULE | {"strategy": "tags+spec", "includePromptTokens": True}}),
        (captions_into_rule, {"selection": {"note": "n"}, "provenance": {"notes": "mine"}},
         {"selection": {}, "provenance": {"notes": "mine"}}),
        (local_path_into_weights, {"releases": [{"localPath": "/m/a.safetensors", "sha256": HEX}]},
         {"releases": [{"sha256": HEX, "weights":
                        {"kind": "absolute", "path": "/m/a.safetensors", "sha256": HEX}}]}),
        (local_path_into_weights, {"releases": [{"localPath": "C:\\m\\a.safetensors"}]},
         {"releases": [{"weights": {"kind": "absolute", "path": "C:\\m\\a.safetensors"}}]}),
        (local_path_into_weights, {"supportedAssetTypes": [], "localPath": "models/a"},
         {"supportedAssetTypes": [], "weights": {"kind": "repo_relative", "path": "models/a"}}),
        (local_path_into_weights, {"releases": [{"localPath": "../a"}]},
         {"releases": [{"localPath": "../a"}]}),
        (local_path_into_weights, {"releases": [{"localPath": "a", "weights": {"kind": "x"}}]},
         {"releases": [{"weights": {"kind": "x"}}]}),
        (named_schema("spec"), {"id": "a"}, {"schema": "spec/v1", "id": "a"}),
    ],
)  # fmt: skip
def test_a_step_is_a_pure_function_and_the_same_when_done_twice(
    step: Any, before: dict[str, Any], after: dict[str, Any]
) -> None:
    given = json.dumps(before)

    assert step(before, NO_FACTS) == after
    assert json.dumps(before) == given
    assert step(after, NO_FACTS) == after


def test_a_tag_without_a_group_gets_that_of_the_catalog() -> None:
    facts = Facts({"Flat Design": "style"})

    assert namespaced_tags({"tags": ["Flat Design", "color:red", "odd"]}, facts) == {
        "tags": ["style:flat_design", "color:red", "odd"]
    }
    catalog = {"groups": [{"id": "style", "tags": [{"id": "Flat Design"}, {"id": "style:neon"}]}]}
    assert namespaced_tags(catalog, facts) == {
        "groups": [{"id": "style", "tags": [{"id": "style:flat_design"}, {"id": "style:neon"}]}]
    }


def test_no_migration_touches_a_verdict() -> None:
    assert {"review", "withdrawal-answer", "blind-plan", "blind-review", "waiver"} == NEVER
    assert all(not NEVER & set(migration.steps) for migration in MIGRATIONS)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Return a workspace with a manifest, a LoRA and a checkpoint of the base format."""
    root = tmp_path / "studio"
    workspace = make_workspace(root, git=False, project=PROJECT)
    add_catalogs(workspace, PROJECT)
    asset = add_asset(workspace, PROJECT, draw_icon(tmp_path / "a.png"))
    variant = asset.versions[0].variants[0]
    write(root, "datasets/old.json", {
        "id": "old", "scope": "project", "projectId": PROJECT, "createdAt": TIME,
        "updatedAt": TIME,
        "selection": {"source": "assets", "status": "approved",
                      "variantPolicy": "primary|selected|first", "assetTypes": ["ui_icon"],
                      "checkpoints": [], "tags": [], "tagMode": "all",
                      "captionStrategy": "tags+spec+title", "includeSpecTags": True,
                      "includePromptTokens": True, "note": "Dataset builder with filters."},
        "items": [{"assetId": asset.id, "assetVersionId": asset.versions[0].id,
                   "variantId": variant.id, "path": variant.original_path, "caption": "flat",
                   "tags": ["style:flat"]}],
    })  # fmt: skip
    write(root, "loras/marks.json", {
        "id": "marks", "name": "Marks", "createdAt": TIME, "updatedAt": TIME, "scope": "project",
        "checkpointId": "sd15", "assetTypes": ["ui_icon"],
        "releases": [{"id": "r1", "createdAt": TIME, "status": "candidate",
                      "localPath": "/models/marks.safetensors", "sha256": HEX}],
    })  # fmt: skip
    write(root, "checkpoints/sd15.json", {
        "id": "sd15", "name": "SD 1.5", "createdAt": TIME, "updatedAt": TIME,
        "supportedAssetTypes": ["ui_icon"], "localPath": "/models/sd15.safetensors",
    })  # fmt: skip
    return root


def write(root: Path, relative: str, document: dict[str, Any]) -> None:
    path = root / "data/projects" / PROJECT / relative
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), encoding="utf-8")


def read(root: Path, relative: str) -> dict[str, Any]:
    path = root / "data/projects" / PROJECT / relative
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def test_what_waits_is_counted_and_what_cannot_is_told_with_the_way_out(old: Path) -> None:
    before = tree_digest(old)

    facts = invoke(["migrate", "list", "--json"], old).document["data"]

    assert {one["id"]: one["records"] for one in facts["migrations"]} == {
        "plain-digests": 0, "namespaced-tags": 0, "captions-into-rule": 1,
        "local-path-into-weights": 2, "named-schema": 1,
    }  # fmt: skip
    assert facts["waiting"] == 3
    assert {(one["where"].rpartition("/")[2], one["fix"]) for one in facts["stuck"]} == {
        ("old.json", "lora dataset build old"),
        ("sd15.json", "lora checkpoint add sd15 --path PATH, in place of this record"),
    }
    assert tree_digest(old) == before


def test_records_come_to_the_present_form_after_a_backup(old: Path) -> None:
    before = tree_digest(old / "data")

    answer = invoke(["migrate", "run", "--json"], old)

    assert answer.exit_code == 0, answer.stdout
    manifest = read(old, "datasets/old.json")
    assert manifest["captionRule"]["strategy"] == "tags+spec+title"
    assert "captionStrategy" not in manifest["selection"]
    assert read(old, "loras/marks.json")["schema"] == "lora/v1"
    assert read(old, "loras/marks.json")["releases"][0]["weights"]["kind"] == "absolute"
    assert read(old, "checkpoints/sd15.json")["weights"]["path"] == "/models/sd15.safetensors"
    reopen(old).records.read(Manifest, Scope(PROJECT), "old")
    backup = answer.document["data"]["backup"]
    assert invoke(["backup", "restore", backup, "--replace"], old).exit_code == 0
    assert tree_digest(old / "data") == before


def test_running_again_is_no_change_and_makes_no_backup(old: Path) -> None:
    invoke(["migrate", "run"], old)
    before = tree_digest(old)

    answer = invoke(["migrate", "run", "--json"], old)

    assert answer.document["data"]["records"] == 0
    assert answer.document["data"]["backup"] == ""
    assert tree_digest(old) == before


def test_one_migration_alone_is_done(old: Path) -> None:
    invoke(["migrate", "run", "captions-into-rule"], old)

    assert "captionRule" in read(old, "datasets/old.json")
    assert "localPath" in read(old, "loras/marks.json")["releases"][0]


def test_a_dry_run_lists_the_files_and_writes_none(old: Path) -> None:
    before = tree_digest(old)

    answer = invoke(["migrate", "run", "--dry-run", "--json"], old)

    assert len(answer.document["written"]) == 3
    assert tree_digest(old) == before


def test_an_unknown_migration_is_answered_with_a_near_one(old: Path) -> None:
    answer = invoke(["migrate", "run", "named-shema", "--json"], old)

    assert answer.exit_code == 3
    assert answer.error["code"] == "argument_invalid"
    assert answer.error["hint"] == "did you mean named-schema?"


def test_what_an_active_release_rests_on_is_not_touched(tmp_path: Path) -> None:
    studio = active_studio(tmp_path / "studio")
    [review] = studio.path("review", "x").parent.glob("*.json")
    specs = sorted(studio.path("spec", "x").parent.glob("*.json"))
    for path in specs:
        document = json.loads(path.read_text())
        del document["schema"]
        path.write_text(json.dumps(document))
    before = review.read_bytes()

    answer = invoke(["migrate", "run", "--json"], studio.root)

    assert answer.document["data"]["migrations"] == {"named-schema": 3}
    assert review.read_bytes() == before
    assert invoke(["validate", "--require-images"], studio.root).exit_code == 0


def test_a_record_that_is_no_json_stops_nothing(old: Path) -> None:
    (old / "data/projects" / PROJECT / "loras/broken.json").write_text("{")

    assert invoke(["migrate", "run", "--json"], old).document["data"]["records"] == 3
