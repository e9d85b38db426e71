"""``lora rename``: everything or nothing, and never what a digest covers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.foundation.ids import new_ulid
from tests.support.catalog_builders import add_asset, add_catalogs, draw_icon
from tests.support.release_builders import (
    LORA,
    Studio,
    active_studio,
    copy_of,
    edit,
    make_studio,
)
from tests.support.workspace_builders import (
    Answer,
    add_project,
    commit_all,
    git,
    invoke,
    make_workspace,
    tree_digest,
)


@pytest.fixture(scope="module")
def active_template(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return active_studio(tmp_path_factory.mktemp("active") / "studio")


@pytest.fixture(scope="module")
def fresh_template(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return make_studio(tmp_path_factory.mktemp("fresh") / "studio")


@pytest.fixture
def active(active_template: Studio, tmp_path: Path) -> Studio:
    return copy_of(active_template, tmp_path / "studio")


@pytest.fixture
def fresh(fresh_template: Studio, tmp_path: Path) -> Studio:
    return copy_of(fresh_template, tmp_path / "studio")


def rename(studio: Studio, *arguments: str) -> Answer:
    return invoke(["rename", *arguments, "--json"], studio.root)


def read(studio: Studio, relative: str) -> Any:
    return json.loads((studio.root / "data/projects" / relative).read_text(encoding="utf-8"))


def valid(studio: Studio) -> list[dict[str, Any]]:
    answer = invoke(["validate", "--require-images", "--require-weights", "--json"], studio.root)
    found: list[dict[str, Any]] = answer.document["data"]["findings"]
    return [one for one in found if one["severity"] != "info"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("tag", "style:flat", "style:plane"),
        ("tag", "style:flat", "color:flat"),
        ("tag-group", "style", "look"),
        ("style", "flat", "plane"),
        ("scenario", "plain", "empty"),
        ("checkpoint", "tiny", "small"),
        ("style", "flat", "neon", "--merge"),
    ],
    ids=" ".join,
)
def test_an_active_release_stays_proven(active: Studio, arguments: tuple[str, ...]) -> None:
    commits = git(active.root, "rev-list", "--count", "HEAD")

    answer = rename(active, *arguments, "--commit")

    assert answer.exit_code == 0, answer.stdout
    assert valid(active) == []
    assert git(active.root, "status", "--porcelain") == ""
    assert int(git(active.root, "rev-list", "--count", "HEAD")) == int(commits) + 1


def test_a_dry_run_lists_every_file_and_writes_none(active: Studio) -> None:
    before = tree_digest(active.root)

    dry = rename(active, "checkpoint", "tiny", "small", "--dry-run")

    assert tree_digest(active.root) == before
    assert dry.document["dryRun"]
    wet = rename(active, "checkpoint", "tiny", "small")
    assert dry.document["written"] == wet.document["written"]
    assert set(wet.document["written"]) == {
        path
        for path in set(before) | set(tree_digest(active.root))
        if before.get(path) != tree_digest(active.root).get(path) and not path.startswith(".lora")
    }


def test_people_see_every_file_of_a_dry_run(active: Studio) -> None:
    said = invoke(["rename", "checkpoint", "tiny", "small", "--dry-run"], active.root).stdout

    assert said.startswith("would rename checkpoint tiny -> small\n")
    for path in rename(active, "checkpoint", "tiny", "small", "--dry-run").document["data"][
        "changed"
    ]:
        assert path["path"] in said


def test_what_a_manifest_was_built_from_stays_and_its_rule_follows(active: Studio) -> None:
    path = active.path("dataset", "icons")
    edit(path, '"tags": [],', '"tags": ["style:flat"],')
    items = read(active, "neon_city/datasets/icons.json")["items"]

    answer = rename(active, "tag", "style:flat", "style:plane")

    manifest = json.loads(path.read_text(encoding="utf-8"))
    assert manifest["selection"]["tags"] == ["style:plane"]
    assert manifest["items"] == items
    assert answer.document["data"]["keptItems"] == {
        "data/projects/neon_city/datasets/icons.json": 3
    }
    assert "a manifest is what was built" in answer.document["warnings"][0]
    assert valid(active) == []


@pytest.mark.parametrize(
    ("arguments", "codes", "message"),
    [
        (("lora", "icons", "marks"), {"bound_by_history", "bound_by_verdict"}, "keeps its id"),
        (("project", "neon_city", "neon"), {"bound_by_history", "bound_by_verdict"}, "its path"),
        (("asset-type", "ui_icon", "icon"), {"bound_by_grid"}, "was rendered for ui_icon"),
    ],
)
def test_what_evidence_binds_keeps_its_id(
    active: Studio, arguments: tuple[str, ...], codes: set[str], message: str
) -> None:
    before = tree_digest(active.root)

    answer = rename(active, *arguments)

    assert answer.exit_code == 1
    assert answer.error["code"] == "rename_bound"
    assert message in answer.error["message"]
    assert {one["code"] for one in answer.document["data"]["boundBy"]} == codes
    assert tree_digest(active.root) == before


@pytest.mark.parametrize("family", ["lora", "checkpoint", "project"])
def test_nothing_is_renamed_under_a_run(fresh: Studio, family: str) -> None:
    [run] = fresh.path("run", "x").parent.glob("*.json")
    edit(run, '"state": "ready"', '"state": "training"')
    old = {"lora": LORA, "checkpoint": "tiny", "project": "neon_city"}[family]

    answer = rename(fresh, family, old, "other")

    assert answer.exit_code == 1
    assert answer.document["data"]["boundBy"][0]["code"] == "run_under_way"


def test_a_lora_takes_its_runs_along(fresh: Studio) -> None:
    assert rename(fresh, "lora", "icons", "marks").exit_code == 0

    assert not fresh.path("lora", "icons").exists()
    [run] = fresh.path("run", "x").parent.glob("*.json")
    assert json.loads(run.read_text(encoding="utf-8"))["loraId"] == "marks"
    assert valid(fresh) == []


def test_a_project_moves_with_its_images_and_settings(fresh: Studio) -> None:
    (fresh.root / "config/pipeline.yaml").write_text("# ours\nproject: neon_city  # it\n")
    (fresh.root / "config/local.json").write_text('{"project": "neon_city"}\n')
    commit_all(fresh.root, "Settings")

    answer = rename(fresh, "project", "neon_city", "neon", "--commit")

    assert answer.exit_code == 0, answer.stdout
    assert not (fresh.root / "data/projects/neon_city").exists()
    assert (fresh.root / "config/pipeline.yaml").read_text() == "# ours\nproject: neon  # it\n"
    assert json.loads((fresh.root / "config/local.json").read_text()) == {"project": "neon"}
    assert git(fresh.root, "status", "--porcelain") == ""
    assert valid(fresh) == []


def test_an_asset_type_is_renamed_in_suites_too(fresh: Studio) -> None:
    assert rename(fresh, "asset-type", "ui_icon", "icon").exit_code == 0

    assert "assetTypes: [icon]\n" in (fresh.root / "config/suites/tiny.yaml").read_text()
    assert valid(fresh) == []


def test_an_asset_type_takes_its_tag_along(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, project="neon_city")
    add_catalogs(workspace, "neon_city")
    catalogs = workspace.data_root / "projects/neon_city/catalogs"
    tags = json.loads((catalogs / "tags.json").read_text())
    tags["groups"].append(
        {"id": "assetType", "label": "Type", "exclusive": True,
         "tags": [{"id": "assetType:ui_icon", "label": "Icon"}]}
    )  # fmt: skip
    (catalogs / "tags.json").write_text(json.dumps(tags))
    add_asset(
        workspace, "neon_city", draw_icon(tmp_path / "art/a.png"), tags=("assetType:ui_icon",)
    )

    invoke(["rename", "asset-type", "ui_icon", "icon"], tmp_path)

    assert "assetType:icon" in next((catalogs.parent / "assets").glob("*.json")).read_text()
    assert invoke(["validate"], tmp_path).exit_code == 0


def test_a_spelling_that_no_catalog_has_becomes_the_word_that_was_meant(fresh: Studio) -> None:
    asset = min(fresh.path("asset", "x").parent.glob("*.json"))
    edit(asset, '"style:flat"', '"style:flta"')

    answer = rename(fresh, "tag", "style:flta", "style:flat")

    assert answer.document["data"]["records"] == {"asset": 1}
    assert valid(fresh) == []


@pytest.mark.parametrize(
    ("arguments", "code", "message", "hint"),
    [
        (("style", "flta", "plane"), "record_not_found", "no style 'flta'", "did you mean flat?"),
        (("style", "flat", "neon"), "record_exists", "style neon is there already", "--merge"),
        (("style", "flat", "flat"), "argument_invalid", "is flat already", None),
        (("style", "flat", "Plane Style"), "argument_invalid", "must be a slug", "plane_style"),
        (("tag", "style:flat", "flat"), "argument_invalid", "group:value", "subject:flat"),
        (("tag", "style:flat", "lok:flat"), "argument_invalid", "no tag group lok",
         "lora catalog add tag-group lok"),
        (("style", "flat", "plane", "--merge"), "record_not_found", "to merge flat into", "leave"),
        (("tag-group", "style", "shape", "--merge"), "argument_invalid", "not merged", "free"),
        (("style", "flat", "plane", "--scope", "baseline"), "record_not_found", "in shared",
         "--project neon_city"),
        (("checkpoint", "tini", "x"), "record_not_found", "no checkpoint 'tini'", "mean tiny?"),
        (("project", "neon", "x"), "record_not_found", "no project 'neon'", "neon_city"),
    ],
)  # fmt: skip
def test_a_wrong_id_is_explained_and_nothing_is_written(
    fresh: Studio, arguments: tuple[str, ...], code: str, message: str, hint: str | None
) -> None:
    before = tree_digest(fresh.root / "data")

    answer = rename(fresh, *arguments)

    assert answer.exit_code == 3
    assert answer.error["code"] == code
    assert message in answer.error["message"]
    assert (hint or "") in (answer.error["hint"] or "")
    assert tree_digest(fresh.root / "data") == before


def test_two_tags_that_exclude_each_other_are_not_made(fresh: Studio) -> None:
    asset = min(fresh.path("asset", "x").parent.glob("*.json"))
    edit(asset, '"style:flat"', '"style:flat", "color:red"')
    before = tree_digest(fresh.root / "data")

    answer = rename(fresh, "tag", "color:red", "style:red")

    assert answer.exit_code == 1
    assert answer.error["code"] == "tags_exclusive"
    assert asset.name in answer.error["message"]
    assert tree_digest(fresh.root / "data") == before


def test_a_word_of_one_project_stays_what_it_is_in_another(fresh: Studio) -> None:
    add_project(fresh.workspace, "old_town")
    add_catalogs(fresh.workspace, "old_town")
    before = tree_digest(fresh.root / "data/projects/old_town")

    answer = invoke(["rename", "style", "flat", "plane", "--project", "neon_city"], fresh.root)

    assert answer.exit_code == 0
    assert tree_digest(fresh.root / "data/projects/old_town") == before


def test_a_shared_word_is_renamed_in_every_project(fresh: Studio) -> None:
    add_project(fresh.workspace, "old_town")
    home = fresh.root / "data/projects/neon_city/catalogs"
    shutil.copytree(home, fresh.root / "data/shared/catalogs")
    answer = rename(fresh, "style", "flat", "plane", "--scope", "baseline")

    assert answer.document["data"]["records"] == {"project": 2, "spec": 3, "styles": 2}
    assert valid(fresh) == []


def test_shared_models_keep_an_asset_type_that_others_still_use(fresh: Studio) -> None:
    add_project(fresh.workspace, "old_town")
    add_catalogs(fresh.workspace, "old_town")
    shared = fresh.root / "data/shared/checkpoints"
    shared.mkdir()
    shutil.copy(fresh.path("checkpoint", "tiny"), shared / "tiny.json")

    rename(fresh, "asset-type", "ui_icon", "icon", "--project", "neon_city")

    document = json.loads((shared / "tiny.json").read_text())
    assert document["supportedAssetTypes"] == ["ui_icon", "icon"]


def test_catalogs_of_a_checkpoint_move_with_it(fresh: Studio) -> None:
    catalogs = fresh.root / "data/projects/neon_city/catalogs"
    (catalogs / "checkpoints/tiny").mkdir(parents=True)
    shutil.copy(catalogs / "styles.json", catalogs / "checkpoints/tiny/styles.json")

    assert rename(fresh, "checkpoint", "tiny", "small").exit_code == 0

    assert (catalogs / "checkpoints/small/styles.json").is_file()
    assert not (catalogs / "checkpoints/tiny/styles.json").exists()
    assert valid(fresh) == []


def test_records_of_the_base_format_keep_their_form(fresh: Studio) -> None:
    spec = {
        "id": new_ulid(), "projectId": "neon_city", "createdAt": "2026-01-01T00:00:00Z",
        "updatedAt": "2026-01-01T00:00:00Z", "title": "Old", "assetType": "ui_icon",
        "style": "flat", "scenario": "plain", "prompt": {"positive": "a", "negative": ""},
    }  # fmt: skip
    path = fresh.path("spec", str(spec["id"]))
    path.write_text(json.dumps(spec), encoding="utf-8")

    rename(fresh, "style", "flat", "plane")

    assert json.loads(path.read_text()) == {**spec, "style": "plane"}


def test_a_suite_that_another_project_needs_stays_as_it_is(fresh: Studio) -> None:
    add_project(fresh.workspace, "old_town")
    add_catalogs(fresh.workspace, "old_town")
    suite = fresh.root / "config/suites/tiny.yaml"
    before = suite.read_bytes()

    answer = rename(fresh, "asset-type", "ui_icon", "icon", "--project", "neon_city")

    assert answer.exit_code == 0
    assert suite.read_bytes() == before
    assert any("config/suites/tiny.yaml stay" in one for one in answer.document["warnings"])
