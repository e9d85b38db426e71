from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.catalog_builders import add_asset, add_catalogs, draw_icon
from tests.support.workspace_builders import invoke, make_workspace, tree_digest


@pytest.fixture
def studio(tmp_path: Path) -> Path:
    workspace = make_workspace(tmp_path / "studio", project="neon_city", git=False)
    add_catalogs(workspace, "neon_city")
    add_asset(
        workspace, "neon_city", draw_icon(tmp_path / "a.png"), tags=("style:flat", "colr:red")
    )
    return tmp_path / "studio"


def test_show_lists_words_and_how_often_art_uses_them(studio: Path) -> None:
    data = invoke(["catalog", "show", "--json"], studio).document["data"]

    assert [one["id"] for one in data["assetTypes"]] == ["ui_icon"]
    assert data["used"] == {
        "tags": {"colr:red": 1, "style:flat": 1},
        "assetTypes": {"ui_icon": 1},
    }


def test_tag_of_art_that_no_catalog_has_is_a_warning_with_what_was_meant(studio: Path) -> None:
    answer = invoke(["catalog", "show"], studio)

    assert "colr:red (did you mean color:red?)" in answer.stdout
    assert "style (one)" in answer.stdout
    assert "flat 1, neon" in answer.stdout


def test_unknown_checkpoint_is_an_error(studio: Path) -> None:
    answer = invoke(["catalog", "show", "--checkpoint", "sdxl", "--json"], studio)

    assert (answer.exit_code, answer.error["code"]) == (3, "record_not_found")


def test_show_writes_nothing(studio: Path) -> None:
    before = tree_digest(studio)

    invoke(["catalog", "show"], studio)

    assert tree_digest(studio) == before
