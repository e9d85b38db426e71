from __future__ import annotations

from pathlib import Path

from tests.support.workspace_builders import invoke, make_workspace


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
