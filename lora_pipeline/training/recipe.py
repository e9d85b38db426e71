"""The recipe in force: layers of settings, the later winning, each value knowing its source.

Preset < configuration file < ``--config`` JSON < single flags. Pure: texts come in as bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from lora_pipeline.foundation import strict_json, strict_yaml
from lora_pipeline.foundation.errors import JsonInvalidError, RecipeInvalidError, RecordError
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.training.recipe_rules import RULES, BrokenRuleError
from lora_pipeline.training.records import Recipe

# Names that repositories and people use beside ours.
ALIASES = {"lr": "learningRate", "batch": "batchSize"}
COMMAND_LINE = "on the command line"
# The flag of a setting, where it is not --<name>.
FLAGS = {"learningRate": "--lr", "batchSize": "--batch"}
DEFAULT = "default"


class Layer(msgspec.Struct, frozen=True):
    """Settings from one place.

    Attributes:
        source: The place, as people read it: ``preset icons-sdxl``, ``--config …``.
        values: The settings that it gives.
        preset_id: Set for a preset, for the hint of an error.
        flags: True when every value is a flag of its own.
    """

    source: str
    values: Mapping[str, Any]
    preset_id: str = ""
    flags: bool = False

    def source_of(self, name: str) -> str:
        """Return where the value of a setting stands."""
        return f"{flag_of(name)} {COMMAND_LINE}" if self.flags else self.source


class ResolvedRecipe(msgspec.Struct, frozen=True):
    """A recipe with the source of each of its values.

    Attributes:
        recipe: The settings in force.
        sources: Setting to source; ``default`` where nobody said anything.
    """

    recipe: Recipe
    sources: Mapping[str, str]

    def explain(self) -> list[dict[str, Any]]:
        """Return every setting with value and source, JSON-ready, in the order of the rules."""
        values = self.recipe.to_dict()
        return [
            {"name": name, "value": values.get(name), "from": self.sources[name]} for name in RULES
        ]


@dataclass
class _Merged:
    values: dict[str, Any] = field(default_factory=dict)
    layers: dict[str, Layer] = field(default_factory=dict)


def flag_of(name: str) -> str:
    """Return the command-line flag of a setting."""
    return FLAGS.get(name, f"--{name}")


def parse_config(data: bytes, source: str) -> dict[str, Any]:
    """Return the settings that a configuration holds, as JSON or YAML.

    Raises:
        RecipeInvalidError: When it is neither, or no names and values.
    """
    try:
        if data.lstrip().startswith(b"{"):
            document = strict_json.loads(data, source)
        else:
            document = strict_yaml.loads(data, source)
    except JsonInvalidError as error:
        raise RecipeInvalidError(error.message, source=source) from error
    except RecordError as error:
        raise RecipeInvalidError(error.message, source=source) from error
    if not isinstance(document, dict):
        raise RecipeInvalidError(
            f"{source} must hold names and values",
            hint="--config '{\"rank\": 16}', or a file with lines such as rank: 16",
        )
    return document


def resolve_recipe(layers: Sequence[Layer]) -> ResolvedRecipe:
    """Return the recipe of layers, weakest first.

    A layer that gives ``epochs`` and no ``steps`` takes the steps of weaker layers away, and
    the other way round: the number that was said last counts.

    Raises:
        RecipeInvalidError: When a setting is unknown or breaks its rule; says where it stands.
    """
    merged = _Merged()
    for layer in layers:
        values = _canonical(layer)
        for one, other in (("steps", "epochs"), ("epochs", "steps")):
            if values.get(one) is not None and other not in values:
                merged.values.pop(other, None)
        for name, value in values.items():
            merged.values[name] = _checked(name, value, layer, merged)
            merged.layers[name] = layer
    _check_relations(merged)
    sources = {
        name: merged.layers[name].source_of(name) if name in merged.values else DEFAULT
        for name in RULES
    }
    if _shorten_warmup(merged):
        sources["warmupSteps"] += ", shortened to steps"
    return ResolvedRecipe(Recipe.from_dict(merged.values), sources)


def _canonical(layer: Layer) -> dict[str, Any]:
    values: dict[str, Any] = {}
    spelt: dict[str, str] = {}
    for given, value in layer.values.items():
        name = ALIASES.get(given, given)
        if name not in RULES:
            near = did_you_mean(str(given), [*RULES, *ALIASES])
            raise RecipeInvalidError(
                f"no setting {given!r}",
                source=layer.source,
                hint=f"did you mean {near}?" if near else "lora preset show lists all settings",
            )
        if name in values:
            raise RecipeInvalidError(
                f"{spelt[name]} and {given} are the same setting",
                source=layer.source,
                hint="give one of them",
            )
        values[name], spelt[name] = value, given
    return values


def _checked(name: str, value: Any, layer: Layer, weaker: _Merged) -> Any:
    try:
        return RULES[name].checked(value)
    except BrokenRuleError as error:
        below = weaker.layers.get(name) if name in weaker.values else None
        raise RecipeInvalidError(
            f"{_spoken(name, layer)} {error.message}",
            source=_source(name, layer, below, weaker),
            hint=_hint(name, layer, below),
        ) from error


def _spoken(name: str, layer: Layer) -> str:
    return flag_of(name).removeprefix("--") if layer.flags else name


def _source(name: str, layer: Layer, below: Layer | None, weaker: _Merged) -> str:
    where = layer.source_of(name)
    return f"{where} ({below.source} says {weaker.values[name]})" if below else where


def _hint(name: str, layer: Layer, below: Layer | None) -> str | None:
    preset = below.preset_id if below else ""
    show = f"lora preset show {preset}" if preset else ""
    leave = f"leave {flag_of(name)} out" if layer.flags else f"leave {name} out"
    if below is None and not layer.flags:
        return f"{name}: {RULES[name].summary}"
    return f"{leave}, or {show}" if show else leave


def _check_relations(merged: _Merged) -> None:
    values = merged.values
    if values.get("steps") is None and values.get("epochs") is None:
        raise RecipeInvalidError(
            "nothing says how long to train",
            hint="--steps N, --epochs N, or --preset ID (lora preset list)",
        )
    steps, warmup = values.get("steps"), values.get("warmupSteps", 0)
    if steps is not None and warmup > steps and not merged.layers["warmupSteps"].preset_id:
        raise _relation("warmupSteps", f"must be at most steps ({steps}), got {warmup}", merged)
    if values.get("textEncoderLearningRate") and not values.get("trainTextEncoder"):
        raise _relation("textEncoderLearningRate", "needs trainTextEncoder to be true", merged)
    if values.get("sampleEvery") and not values.get("samplePrompts"):
        raise _relation("sampleEvery", "needs samplePrompts", merged)


def _shorten_warmup(merged: _Merged) -> bool:
    """Fit the warm-up of a preset to fewer steps: who asks for 20 steps does not mean its 50."""
    steps, warmup = merged.values.get("steps"), merged.values.get("warmupSteps", 0)
    if steps is None or warmup <= steps:
        return False
    merged.values["warmupSteps"] = steps
    return True


def _relation(name: str, message: str, merged: _Merged) -> RecipeInvalidError:
    layer = merged.layers[name]
    return RecipeInvalidError(
        f"{_spoken(name, layer)} {message}",
        source=layer.source_of(name),
        hint=_hint(name, layer, None),
    )
