"""Presets: named recipes, listed and shown with the reasons for their numbers."""

from __future__ import annotations

from lora_pipeline.foundation.result import Result
from lora_pipeline.training.presets import FAMILY, all_presets, preset_layer, read_preset
from lora_pipeline.training.recipe import Layer, resolve_recipe
from lora_pipeline.training.recipe_rules import RULES
from lora_pipeline.training.records import Recipe
from lora_pipeline.workspace.definitions import read_definition
from lora_pipeline.workspace.root import Workspace


def list_presets(workspace: Workspace, *, architecture: str = "") -> Result:
    """List the named recipes, the workspace's own and those that ship.

    Args:
        workspace: Its own presets stand in ``config/presets``.
        architecture: Only those for this architecture.

    Raises:
        RecordInvalidError: When a preset is not valid.
    """
    rows = [
        {
            "presetId": preset.id,
            "summary": preset.summary,
            "architectures": list(preset.architectures),
            "assetTypes": list(preset.asset_types),
            "source": read_definition(workspace, FAMILY, preset.id).source,
        }
        for preset in all_presets(workspace)
        if not architecture or architecture in preset.architectures or not preset.architectures
    ]
    return Result(
        data={"presets": rows},
        reasoning=f"{len(rows)} presets",
        suggestions=(f"lora preset show {rows[0]['presetId']}",) if rows else ("lora preset list",),
    )


def show_preset(workspace: Workspace, preset: str = "") -> Result:
    """Show a preset: every setting with its value and the reason for it.

    Args:
        workspace: Its own presets stand in ``config/presets``.
        preset: Its id; without one all settings are shown with their defaults.

    Raises:
        RecordNotFoundError: When there is none of that id; names a near one.
        RecordInvalidError: When it is not valid.
        RecipeInvalidError: When a setting of it breaks its rule.
    """
    if not preset:
        return _defaults()
    found = read_preset(workspace, preset)
    # A preset of a workspace may leave the length to the command line.
    length = () if {"steps", "epochs"} & set(found.recipe) else (Layer("default", {"steps": 1}),)
    resolved = resolve_recipe([*length, preset_layer(found)])
    said = set(found.recipe)
    settings = [
        {
            **one,
            "reason": found.reasons.get(one["name"], ""),
            "summary": RULES[one["name"]].summary,
            "set": one["name"] in said,
        }
        for one in resolved.explain()
        if not (length and one["name"] == "steps")
    ]
    return Result(
        data={
            "presetId": found.id,
            "summary": found.summary,
            "architectures": list(found.architectures),
            "assetTypes": list(found.asset_types),
            "settings": settings,
            "source": read_definition(workspace, FAMILY, found.id).source,
        },
        reasoning=f"{found.id}: {found.summary}",
        suggestions=(f"lora train --lora ID --dataset ID --preset {found.id} --plan",),
    )


def _defaults() -> Result:
    values = Recipe().to_dict()
    settings = [
        {"name": name, "value": values[name], "from": "default", "reason": "",
         "summary": rule.summary, "set": False}
        for name, rule in RULES.items()
    ]  # fmt: skip
    return Result(
        data={"presetId": None, "summary": "Every setting and its default", "architectures": [],
              "assetTypes": [], "settings": settings, "source": "default"},
        reasoning=f"{len(settings)} settings",
        suggestions=("lora preset list",),
    )  # fmt: skip
