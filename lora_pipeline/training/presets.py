"""Presets: named recipes, the workspace's own before those that ship, and which one fits."""

from __future__ import annotations

from collections.abc import Sequence

from lora_pipeline.training.recipe import Layer
from lora_pipeline.training.records import Preset
from lora_pipeline.workspace.definitions import definition_ids, read_definition
from lora_pipeline.workspace.root import Workspace

FAMILY = "presets"
# Side length in pixels that an architecture was trained at, where its record does not say.
USUAL_RESOLUTION = {
    "sd15": 512, "sd21": 768, "sdxl": 1024, "sd3": 1024, "flux1": 1024, "flux2": 1024,
    "zimage": 1024,
}  # fmt: skip


def read_preset(workspace: Workspace, preset_id: str) -> Preset:
    """Return one preset.

    Raises:
        RecordNotFoundError: When there is none of that id; names a near one.
        RecordInvalidError: When its file is not valid.
    """
    return Preset.from_dict(read_definition(workspace, FAMILY, preset_id).document)


def all_presets(workspace: Workspace) -> list[Preset]:
    """Return every preset, sorted by id.

    Raises:
        RecordInvalidError: At the first file that is not valid.
    """
    return [read_preset(workspace, one) for one in definition_ids(workspace, FAMILY)]


def choose_preset(
    presets: Sequence[Preset],
    *,
    architecture: str,
    asset_types: Sequence[str],
    resolution: int,
) -> Preset | None:
    """Return the preset that fits a LoRA best, or None when none is for its architecture.

    One for its asset type wins over one for any; among them the one whose resolution is nearest
    to the base model's own, then the first by id. Pure.
    """
    wanted = resolution or USUAL_RESOLUTION.get(architecture, 0)
    fitting = [
        preset
        for preset in presets
        if architecture in preset.architectures
        and (not preset.asset_types or set(preset.asset_types) & set(asset_types))
    ]

    def misfit(preset: Preset) -> tuple[int, bool, str]:
        distance = abs(int(preset.recipe.get("resolution", wanted)) - wanted)
        # A preset for half the size or less is for another base model, whatever its asset type.
        return (0 if 2 * distance <= wanted else distance, not preset.asset_types, preset.id)

    return min(fitting, key=misfit, default=None)


def preset_layer(preset: Preset) -> Layer:
    """Return a preset as the weakest layer of a recipe."""
    return Layer(f"preset {preset.id}", preset.recipe, preset_id=preset.id)
