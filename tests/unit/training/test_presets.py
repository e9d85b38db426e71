"""The presets that ship are sound, and the one that fits is chosen."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import RecordInvalidError, RecordNotFoundError
from lora_pipeline.foundation.schemas import violations_of
from lora_pipeline.training.presets import (
    all_presets,
    choose_preset,
    preset_layer,
    read_preset,
)
from lora_pipeline.training.recipe import resolve_recipe
from lora_pipeline.training.recipe_rules import RULES
from lora_pipeline.training.records import Preset
from lora_pipeline.workspace.root import Workspace
from tests.support.workspace_builders import make_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "studio", git=False)


def test_every_shipped_preset_is_a_sound_recipe(workspace: Workspace) -> None:
    presets = all_presets(workspace)

    assert len(presets) >= 7
    for preset in presets:
        resolve_recipe([preset_layer(preset)])


def test_every_reason_is_about_a_setting(workspace: Workspace) -> None:
    for preset in all_presets(workspace):
        assert set(preset.reasons) <= set(RULES)
        assert preset.reasons


@pytest.mark.parametrize(
    ("architecture", "asset_type", "resolution", "expected"),
    [
        ("sd15", "ui_icon", 64, "demo-64"),
        ("sd15", "ui_icon", 512, "icons-sd15"),
        ("sd15", "ui_icon", 0, "icons-sd15"),
        ("sd15", "character", 0, "style-sd15"),
        ("sdxl", "ui_icon", 1024, "icons-sdxl"),
        ("sdxl", "character", 0, "style-sdxl"),
        ("flux1", "logo", 1024, "icons-flux1"),
        ("flux1", "character", 0, "style-flux1"),
        ("flux2", "ui_icon", 0, "style-flux2"),
        ("zimage", "ui_icon", 0, "style-zimage"),
        ("wan", "ui_icon", 0, None),
    ],
)
def test_the_preset_that_fits_is_chosen(
    workspace: Workspace, architecture: str, asset_type: str, resolution: int, expected: str | None
) -> None:
    chosen = choose_preset(
        all_presets(workspace),
        architecture=architecture,
        asset_types=[asset_type],
        resolution=resolution,
    )

    assert (chosen.id if chosen else None) == expected


def test_a_workspace_s_own_preset_wins_over_the_shipped_one(workspace: Workspace) -> None:
    own = workspace.root / "config" / "presets" / "icons-sdxl.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("id: icons-sdxl\nsummary: Ours\nrecipe:\n  steps: 5\n")

    assert read_preset(workspace, "icons-sdxl").recipe == {"steps": 5}


def test_an_unknown_preset_names_the_near_one(workspace: Workspace) -> None:
    with pytest.raises(RecordNotFoundError) as caught:
        read_preset(workspace, "icon-sdxl")

    assert caught.value.hint == "did you mean icons-sdxl?"


def test_a_preset_with_an_unknown_setting_is_refused(workspace: Workspace) -> None:
    own = workspace.root / "config" / "presets" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("id: mine\nsummary: Ours\nrecipe:\n  stepz: 5\n")

    with pytest.raises(RecordInvalidError, match="did you mean 'steps'"):
        read_preset(workspace, "mine")


def test_schema_and_rules_agree_on_what_is_too_much() -> None:
    preset = Preset(id="x", summary="x", recipe={"rank": 1025})

    assert violations_of(preset.to_dict(), "preset/v1")
