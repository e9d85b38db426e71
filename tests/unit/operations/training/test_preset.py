"""Presets are listed and shown with their reasons."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import RecordNotFoundError
from lora_pipeline.operations.training.preset import list_presets, show_preset
from lora_pipeline.training.recipe_rules import RULES
from lora_pipeline.workspace.root import Workspace
from tests.support.workspace_builders import make_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "studio", git=False)


def test_presets_of_an_architecture_are_listed(workspace: Workspace) -> None:
    rows = list_presets(workspace, architecture="sdxl").data["presets"]

    assert [row["presetId"] for row in rows] == [
        "character-sdxl", "icons-sdxl", "product-sdxl", "style-sdxl", "texture-sdxl",
    ]  # fmt: skip
    assert all(row["summary"] for row in rows)


def test_a_workspace_s_own_preset_is_listed_with_its_file(workspace: Workspace) -> None:
    own = workspace.root / "config" / "presets" / "ours.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("id: ours\nsummary: Ours\nrecipe: {rank: 3}\n")

    rows = {row["presetId"]: row["source"] for row in list_presets(workspace).data["presets"]}

    assert rows["ours"] == "config/presets/ours.yaml"
    assert rows["icons-sdxl"].startswith("lora-pipeline/")


def test_a_preset_is_shown_with_the_reason_for_each_number(workspace: Workspace) -> None:
    settings = show_preset(workspace, "icons-sdxl").data["settings"]

    rank = next(one for one in settings if one["name"] == "rank")
    assert (rank["value"], rank["set"], rank["from"]) == (16, True, "preset icons-sdxl")
    assert "room" in rank["reason"]
    assert [one["name"] for one in settings] == list(RULES)


def test_a_preset_that_leaves_the_length_open_is_shown(workspace: Workspace) -> None:
    own = workspace.root / "config" / "presets" / "ours.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("id: ours\nsummary: Ours\nrecipe: {rank: 3}\n")

    names = [one["name"] for one in show_preset(workspace, "ours").data["settings"]]

    assert "steps" not in names


def test_without_an_id_every_setting_is_shown_with_its_default(workspace: Workspace) -> None:
    settings = show_preset(workspace).data["settings"]

    assert [one["name"] for one in settings] == list(RULES)
    assert all(one["summary"] for one in settings)


def test_an_unknown_preset_names_the_near_one(workspace: Workspace) -> None:
    with pytest.raises(RecordNotFoundError) as caught:
        show_preset(workspace, "icon-sdxl")

    assert caught.value.hint == "did you mean icons-sdxl?"
