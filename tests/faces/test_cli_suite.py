from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.catalog.records import AssetTypes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace
from tests.support.catalog_builders import add_catalogs
from tests.support.workspace_builders import invoke, make_workspace, tree_digest


def test_list_shows_every_suite_with_its_cells(tmp_path: Path) -> None:
    make_workspace(tmp_path, git=False, project="neon_city")
    answer = invoke(["suite", "list"], tmp_path)
    assert answer.exit_code == 0
    assert "6 of 6 suites" in answer.stdout
    assert "demo_icon" in answer.stdout


def test_list_by_asset_type_leaves_others_out(tmp_path: Path) -> None:
    make_workspace(tmp_path, git=False, project="neon_city")
    answer = invoke(["suite", "list", "--asset-type", "logo", "--json"], tmp_path)
    assert [one["id"] for one in answer.document["data"]["suites"]] == ["logo"]


def test_list_of_an_asset_type_without_suite_is_empty(tmp_path: Path) -> None:
    make_workspace(tmp_path, git=False, project="neon_city")
    answer = invoke(["suite", "list", "--asset-type", "emblem"], tmp_path)
    assert (answer.exit_code, answer.stdout.strip()) == (0, "0 of 6 suites")


def test_show_has_prompts_seeds_and_settings(tmp_path: Path) -> None:
    make_workspace(tmp_path, git=False, project="neon_city")
    answer = invoke(["suite", "show", "demo_icon"], tmp_path)
    assert "64 x 64 px, 20 steps, guidance 3, sampler default" in answer.stdout
    assert "{trigger}, a yellow star icon" in answer.stdout


def test_a_suite_with_a_mistake_names_the_file_and_the_place(tmp_path: Path) -> None:
    make_workspace(tmp_path, git=False, project="neon_city")
    (tmp_path / "config" / "suites").mkdir()
    (tmp_path / "config" / "suites" / "mine.yaml").write_text("id: mine\nsummary: x\n")
    answer = invoke(["suite", "show", "mine"], tmp_path)
    assert answer.exit_code == 3
    assert "config/suites/mine.yaml: $: 'assetTypes' is missing" in answer.stderr


def test_a_suite_that_is_not_there_names_a_near_one(tmp_path: Path) -> None:
    make_workspace(tmp_path, git=False, project="neon_city")
    answer = invoke(["suite", "show", "logos", "--json"], tmp_path)
    assert (answer.exit_code, answer.error["hint"]) == (3, "did you mean logo?")


def studio(tmp_path: Path) -> Workspace:
    workspace = make_workspace(tmp_path, git=False, project="neon_city")
    add_catalogs(workspace, "neon_city")
    return workspace


def test_use_names_the_suite_in_the_catalog(tmp_path: Path) -> None:
    workspace = studio(tmp_path)
    answer = invoke(["suite", "use", "demo_icon"], tmp_path)
    record = workspace.records.read(AssetTypes, Scope("neon_city"), AssetTypes.KIND).record
    again = invoke(["suite", "use", "demo_icon", "--json"], tmp_path)
    assert answer.exit_code == 0
    assert answer.stdout.startswith("ui_icon of project neon_city is judged by suite demo_icon")
    assert [one.suite_id for one in record.asset_types] == ["demo_icon"]
    assert again.document["written"] == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["logo", "--asset-type", "ui_icon"], "suite logo is for logo, not ui_icon"),
        (["logo"], "the catalog of project neon_city has no asset type 'logo'"),
        (["demo_icon", "--scope", "baseline"], "has no asset type 'ui_icon'"),
        (["nothing"], "no suite 'nothing'"),
    ],
)
def test_use_refuses_what_does_not_fit_and_writes_nothing(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    studio(tmp_path)
    before = tree_digest(tmp_path / "data")
    answer = invoke(["suite", "use", *arguments, "--json"], tmp_path)
    assert answer.exit_code == 3
    assert words in answer.error["message"]
    assert tree_digest(tmp_path / "data") == before
