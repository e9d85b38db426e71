"""The layers of a recipe, from what was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lora_pipeline.catalog.records import Checkpoint
from lora_pipeline.foundation.errors import ArgumentInvalidError, FileMissingError
from lora_pipeline.releases.records import Lora
from lora_pipeline.training.presets import all_presets, choose_preset, preset_layer, read_preset
from lora_pipeline.training.recipe import COMMAND_LINE, Layer, parse_config
from lora_pipeline.training.records import Preset
from lora_pipeline.workspace.root import Workspace


def flags_of(
    resolution: int | None,
    steps: int | None,
    epochs: int | None,
    rank: int | None,
    alpha: float | None,
    learning_rate: float | None,
    batch_size: int | None,
    seed: int | None,
) -> dict[str, Any]:
    """Return single settings by the names of the recipe; None where nothing was said."""
    return {
        "resolution": resolution,
        "steps": steps,
        "epochs": epochs,
        "rank": rank,
        "alpha": alpha,
        "learningRate": learning_rate,
        "batchSize": batch_size,
        "seed": seed,
    }


def recipe_layers(
    workspace: Workspace,
    lora: Lora,
    checkpoint: Checkpoint,
    *,
    preset: str,
    config_file: str,
    config: Mapping[str, Any],
    flags: Mapping[str, Any],
) -> tuple[list[Layer], str, bool]:
    """Return the layers of a recipe, weakest first.

    Args:
        workspace: Its presets stand before those that ship.
        lora: What is trained; a preset is chosen by its asset types.
        checkpoint: The base model; a preset is chosen by its architecture.
        preset: Id of a preset; empty for the one that fits.
        config_file: Recipe in a YAML or JSON file, or empty.
        config: Recipe as a document, or empty.
        flags: Single settings; None where nothing was said.

    Returns:
        The layers, the id of the preset or an empty text, and whether it was chosen here.

    Raises:
        RecordNotFoundError, RecordInvalidError: When the preset does not exist, or one is broken.
        RecipeInvalidError, FileMissingError, ArgumentInvalidError: When the file cannot be used.
    """
    used: Preset | None
    if preset:
        used = read_preset(workspace, preset)
    else:
        used = choose_preset(
            all_presets(workspace),
            architecture=checkpoint.architecture,
            asset_types=lora.asset_types,
            resolution=checkpoint.native_resolution,
        )
    layers = [] if used is None else [preset_layer(used)]
    if config_file:
        layers.append(_file_layer(config_file))
    if config:
        layers.append(Layer(f"--config {COMMAND_LINE}", config))
    given = {name: value for name, value in flags.items() if value is not None}
    layers.append(Layer(COMMAND_LINE, given, flags=True))
    return layers, used.id if used else "", not preset and used is not None


def _file_layer(name: str) -> Layer:
    path = Path(name)
    if path.suffix.lower() == ".toml":
        raise ArgumentInvalidError(
            f"--config-file takes a recipe in YAML or JSON, {path.name} is TOML",
            hint="a trainer's own configuration is given with --trainer-config",
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise FileMissingError(
            f"cannot read {path}: {error.strerror}", hint="--config-file RECIPE.yaml"
        ) from error
    source = f"file {path.name}"
    return Layer(source, parse_config(data, source))
