from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.catalog.records import Asset
from tests.support.catalog_builders import add_asset, add_catalogs, draw_icon
from tests.support.workspace_builders import invoke, make_workspace

Studio = tuple[Path, Asset]


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    workspace = make_workspace(tmp_path / "studio", project="neon_city", git=False)
    add_catalogs(workspace, "neon_city")
    asset = add_asset(
        workspace,
        "neon_city",
        draw_icon(tmp_path / "a.png"),
        title="Crown",
        prompt="a crown",
        spec_tags=("shape:circle",),
        status="review",
    )
    return workspace.root, asset


def test_list_shows_specs_with_their_assets(studio: Studio) -> None:
    rows = invoke(["spec", "list", "--json"], studio[0]).document["data"]["specs"]

    assert [(row["title"], row["assetType"], row["assets"]) for row in rows] == [
        ("Crown", "ui_icon", 1)
    ]


def test_filter_that_leaves_nothing_is_named(studio: Studio) -> None:
    answer = invoke(["spec", "list", "--style", "falt", "--json"], studio[0])

    assert (answer.exit_code, answer.error["code"]) == (3, "selection_empty")
    assert answer.error["message"] == "no spec is left: style falt kept 0 of 1"
    assert answer.error["hint"] == "did you mean flat?"


def test_show_says_what_is_asked_for_and_what_came_of_it(studio: Studio) -> None:
    folder, asset = studio

    answer = invoke(["spec", "show", asset.spec_id], folder)

    assert "prompt     a crown" in answer.stdout
    assert f"asset      {asset.id} · review" in answer.stdout


def test_unknown_spec_is_an_error(studio: Studio) -> None:
    answer = invoke(["spec", "show", "nothing", "--json"], studio[0])

    assert (answer.exit_code, answer.error["code"]) == (3, "record_not_found")


def test_id_that_leaves_the_folder_is_refused(studio: Studio) -> None:
    answer = invoke(["spec", "show", "../project", "--json"], studio[0])

    assert answer.exit_code == 3
    assert answer.error["code"] == "argument_invalid"
