"""The presets that ship are sound, and the one that fits is chosen."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from lora_pipeline.foundation.errors import (
    PipelineError,
    RecordInvalidError,
    RecordNotFoundError,
)
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
from lora_pipeline.training.steps import looks_per_image
from lora_pipeline.training.trainers.registry import TRAINERS
from lora_pipeline.workspace.root import Workspace
from tests.support.plan_cases import cases, settings_for_goldens
from tests.support.trainer_requests import make_request
from tests.support.workspace_builders import make_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "studio", git=False)


def test_every_shipped_preset_is_a_sound_recipe(workspace: Workspace) -> None:
    presets = all_presets(workspace)

    assert len(presets) >= 7
    for preset in presets:
        resolve_recipe([preset_layer(preset)])


def test_every_number_has_its_reason_and_every_reason_its_number(workspace: Workspace) -> None:
    for preset in all_presets(workspace):
        assert set(preset.reasons) == set(preset.recipe) <= set(RULES), preset.id


def test_reasons_count_right(workspace: Workspace) -> None:
    counted = 0
    for preset in all_presets(workspace):
        said = re.match(r"(\d+) looks at each of (\d+) images", preset.reasons.get("steps", ""))
        if said:
            recipe = resolve_recipe([preset_layer(preset)]).recipe
            assert looks_per_image(recipe, int(said.group(2))) == int(said.group(1)), preset.id
            counted += 1
    assert counted > 12


def test_every_architecture_that_a_trainer_trains_has_a_preset(workspace: Workspace) -> None:
    covered = {one for preset in all_presets(workspace) for one in preset.architectures}

    assert {one for trainer in TRAINERS.values() for one in trainer.architectures} <= covered


def test_every_preset_is_taken_by_a_trainer_for_each_of_its_architectures(
    workspace: Workspace, tmp_path: Path
) -> None:
    settings = settings_for_goldens(tmp_path / "settings")
    for preset in all_presets(workspace):
        recipe = resolve_recipe([preset_layer(preset)]).recipe
        for architecture in preset.architectures:
            takers = []
            for case in cases():
                if case.architecture != architecture or case.trainer == "manual":
                    continue
                request = replace(
                    make_request(tmp_path, architecture, **case.options), recipe=recipe
                )
                with contextlib.suppress(PipelineError):
                    TRAINERS[case.trainer].prepare(request, settings, "1.2.3")
                    takers.append(case.trainer)
            assert takers, f"{preset.id} on {architecture}"


@pytest.mark.parametrize(
    ("architecture", "asset_type", "resolution", "expected"),
    [
        ("sd15", "ui_icon", 64, "demo-64"),
        ("sd15", "ui_icon", 512, "icons-sd15"),
        ("sd15", "ui_icon", 0, "icons-sd15"),
        ("sd15", "character", 0, "character-sd15"),
        ("sd15", "illustration", 0, "style-sd15"),
        ("sdxl", "ui_icon", 1024, "icons-sdxl"),
        ("sdxl", "character", 0, "character-sdxl"),
        ("sdxl", "illustration", 0, "style-sdxl"),
        ("sdxl", "product", 0, "product-sdxl"),
        ("sdxl", "texture", 1024, "texture-sdxl"),
        ("flux1", "logo", 1024, "icons-flux1"),
        ("flux1", "character", 0, "character-flux1"),
        ("flux1", "illustration", 0, "style-flux1"),
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
