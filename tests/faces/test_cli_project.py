from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.workspace.layout import SINGLES
from tests.support.catalog_builders import add_asset, add_catalogs, draw_icon
from tests.support.workspace_builders import git, invoke, make_workspace, reopen, tree_digest


@pytest.fixture
def studio(tmp_path: Path) -> Path:
    make_workspace(tmp_path / "studio")
    return tmp_path / "studio"


def test_create_writes_the_project_and_five_catalogs(studio: Path) -> None:
    answer = invoke(["project", "create", "neon_city", "--json"], studio)

    assert answer.exit_code == 0
    written = {f"data/projects/neon_city/{path}" for path in SINGLES.values()}
    assert set(answer.document["written"]) == written
    assert all((studio / path).is_file() for path in written)
    assert answer.document["data"]["project"]["name"] == "Neon City"


def test_project_stands_last_so_that_an_interruption_leaves_no_half_project(studio: Path) -> None:
    written = invoke(["project", "create", "neon_city", "--json"], studio).document["written"]

    assert written[-1] == "data/projects/neon_city/project.json"


def test_create_keeps_the_rules_that_were_given(studio: Path) -> None:
    answer = invoke(
        [
            "project", "create", "neon_city", "--name", "Neon City II", "--style", "neon",
            "--allow-license", "CC0-1.0", "--require-provenance", "--unknown-rights", "exclude",
            "--json",
        ],
        studio,
    )  # fmt: skip

    record = answer.document["data"]["project"]
    assert record["name"] == "Neon City II"
    assert record["defaults"] == {"style": "neon", "scenario": "plain"}
    assert record["rights"] == {
        "allowedLicenses": ["CC0-1.0"],
        "provenanceRequired": True,
        "unknownTraining": "exclude",
    }


def test_dry_run_writes_nothing_and_says_what_it_would(studio: Path) -> None:
    before = tree_digest(studio)

    answer = invoke(["project", "create", "neon_city", "--dry-run"], studio)

    assert answer.exit_code == 0
    assert "would write" in answer.stdout
    assert tree_digest(studio) == before


def test_commit_records_the_project_in_one_commit(studio: Path) -> None:
    invoke(["project", "create", "neon_city", "--commit", "--as", "ana@studio.example"], studio)

    assert git(studio, "log", "-1", "--format=%s").strip() == "Created project neon_city"
    assert git(studio, "status", "--porcelain").strip() == ""


def test_second_project_of_that_id_is_refused_and_nothing_changes(studio: Path) -> None:
    invoke(["project", "create", "neon_city"], studio)
    before = tree_digest(studio)

    answer = invoke(["project", "create", "neon_city", "--name", "Other", "--json"], studio)

    assert answer.exit_code == 3
    assert answer.error["code"] == "record_exists"
    assert answer.error["hint"] == "lora project show neon_city"
    assert tree_digest(studio) == before


@pytest.mark.parametrize("name", ["Neon City", "../up", "con", "", "x" * 64, "neon\n"])
def test_id_that_is_no_slug_is_refused_and_nothing_is_written(studio: Path, name: str) -> None:
    before = tree_digest(studio)

    answer = invoke(["project", "create", name, "--json"], studio)

    assert answer.exit_code == 3
    assert answer.error["code"] == "argument_invalid"
    assert tree_digest(studio) == before


def test_list_and_show_say_how_much_there_is(studio: Path, tmp_path: Path) -> None:
    invoke(["project", "create", "neon_city"], studio)
    add_asset(reopen(studio), "neon_city", draw_icon(tmp_path / "a.png"), status="review")

    listed = invoke(["project", "list", "--json"], studio).document["data"]["projects"]
    shown = invoke(["project", "show", "--json"], studio).document["data"]

    assert [(one["id"], one["asset"]) for one in listed] == [("neon_city", 1)]
    assert shown["assets"] == {"review": 1}
    assert shown["catalogs"]["assetTypes"] == 6


def test_show_for_people_says_where_the_art_stands(studio: Path, tmp_path: Path) -> None:
    invoke(["project", "create", "neon_city"], studio)
    workspace = reopen(studio)
    add_asset(workspace, "neon_city", draw_icon(tmp_path / "a.png"), status="review")
    add_asset(workspace, "neon_city", draw_icon(tmp_path / "b.png", seed=1), withdrawn_at=NOW)

    answer = invoke(["project", "show"], studio)

    assert "assets     1 approved · 1 review" in answer.stdout
    assert "withdrawn  1 asset" in answer.stdout
    assert "next  lora asset list --status review" in answer.stdout


NOW = "2026-03-01T12:00:00Z"


def test_unknown_project_names_the_near_one(studio: Path) -> None:
    invoke(["project", "create", "neon_city"], studio)

    answer = invoke(["project", "show", "neon_cty", "--json"], studio)

    assert answer.exit_code == 3
    assert answer.error["code"] == "record_not_found"
    assert answer.error["hint"] == "did you mean neon_city?"


def test_without_a_project_the_way_to_one_is_named(studio: Path) -> None:
    assert "next  lora project create ID" in invoke(["project", "list"], studio).stdout


def test_catalogs_that_somebody_wrote_before_are_kept(studio: Path) -> None:
    add_catalogs(reopen(studio), "neon_city")
    path = studio / "data/projects/neon_city/catalogs/tags.json"
    before = path.read_bytes()

    answer = invoke(["project", "create", "neon_city", "--json"], studio)

    assert answer.exit_code == 0
    assert path.read_bytes() == before
