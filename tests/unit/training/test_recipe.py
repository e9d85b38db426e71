"""Layers of settings: the later wins, every value knows its source, and nothing slips through."""

from __future__ import annotations

from typing import Any

import pytest

from lora_pipeline.foundation.errors import RecipeInvalidError
from lora_pipeline.training.recipe import (
    COMMAND_LINE,
    Layer,
    ResolvedRecipe,
    flag_of,
    parse_config,
    resolve_recipe,
)
from lora_pipeline.training.recipe_rules import RULES
from lora_pipeline.training.records import Recipe

PRESET = Layer("preset icons", {"rank": 16, "steps": 100, "learningRate": 1e-4}, "icons")


def flags(**values: Any) -> Layer:
    return Layer(COMMAND_LINE, values, flags=True)


def resolved(*layers: Layer) -> ResolvedRecipe:
    return resolve_recipe([PRESET, *layers])


def refused(*layers: Layer) -> RecipeInvalidError:
    with pytest.raises(RecipeInvalidError) as caught:
        resolved(*layers)
    return caught.value


def test_every_setting_of_a_recipe_has_a_rule_and_no_rule_is_left_over() -> None:
    assert set(RULES) == set(Recipe().to_dict())


def test_every_default_keeps_its_own_rule() -> None:
    for name, value in Recipe().to_dict().items():
        RULES[name].checked(value)


def test_later_layers_win_and_say_so() -> None:
    config = Layer("--config", {"rank": 8, "seed": 7})

    result = resolved(Layer("file r.yaml", {"rank": 4, "batchSize": 2}), config, flags(seed=9))

    assert (result.recipe.rank, result.recipe.batch_size, result.recipe.seed) == (8, 2, 9)
    assert result.sources["rank"] == "--config"
    assert result.sources["batchSize"] == "file r.yaml"
    assert result.sources["seed"] == "--seed on the command line"
    assert result.sources["steps"] == "preset icons"
    assert result.sources["flip"] == "default"


def test_explanation_lists_every_setting_in_order() -> None:
    explained = resolved().explain()

    assert [one["name"] for one in explained] == list(RULES)
    assert explained[3] == {"name": "rank", "value": 16, "from": "preset icons"}


def test_names_of_older_repositories_are_read() -> None:
    result = resolved(Layer("--config", {"lr": 0.001, "batch": 3}))

    assert (result.recipe.learning_rate, result.recipe.batch_size) == (0.001, 3)


def test_one_setting_under_two_names_is_refused() -> None:
    error = refused(Layer("--config", {"lr": 0.001, "learningRate": 0.002}))

    assert error.message == "lr and learningRate are the same setting"


def test_a_bad_flag_names_itself_and_what_the_preset_says() -> None:
    error = refused(flags(rank=0))

    assert error.message == "rank must be at least 1, got 0"
    assert error.source == "--rank on the command line (preset icons says 16)"
    assert error.hint == "leave --rank out, or lora preset show icons"


def test_a_bad_flag_with_another_name_is_called_as_it_was_typed() -> None:
    error = refused(flags(learningRate=0))

    assert error.message == "lr must be above 0, got 0"
    assert error.source == "--lr on the command line (preset icons says 0.0001)"


def test_a_bad_value_in_a_file_names_the_file() -> None:
    error = refused(Layer("file r.yaml", {"rank": 4000}))

    assert error.message == "rank must be at most 1024, got 4000"
    assert error.source == "file r.yaml (preset icons says 16)"


def test_an_unknown_setting_is_refused_with_the_near_one() -> None:
    error = refused(Layer("--config", {"learning_rate": 1}))

    assert error.message == "no setting 'learning_rate'"
    assert error.hint == "did you mean learningRate?"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("rank", 1.5, "must be a whole number, got 1.5"),
        ("rank", "16", "must be a whole number, got '16'"),
        ("rank", True, "must be a whole number, got True"),
        ("rank", None, "must have a value, got null"),
        ("resolution", 100, "must be a multiple of 8, got 100"),
        ("alpha", 0, "must be above 0, got 0"),
        ("learningRate", "1e-4", "must be a number, got '1e-4'"),
        ("learningRate", float("nan"), "must be a finite number, got nan"),
        ("learningRate", float("inf"), "must be a finite number, got inf"),
        ("captionDropout", 1.5, "must be at most 1, got 1.5"),
        ("captionDropout", -0.1, "must be at least 0, got -0.1"),
        ("seed", 2**32, "must be at most 4294967295, got 4294967296"),
        ("flip", "yes", "must be true or false, got 'yes'"),
        ("mixedPrecision", False, "must be one of no, fp16, bf16, got False"),
        ("quantize", 5, "must be one of 4, 8, got 5"),
        ("quantize", True, "must be one of 4, 8, got True"),
        ("optimizer", "sgd", "must be one of adamw, "),
        ("samplePrompts", "one", "must be a list of prompts, got 'one'"),
        ("samplePrompts", ["a\nb"], "must be prompts of one line"),
        ("samplePrompts", ["x"] * 17, "must be at most 16 prompts, got 17"),
        ("rank", ["x" * 100], "…"),
    ],
)
def test_values_that_break_their_rule_are_refused(name: str, value: Any, words: str) -> None:
    assert words in refused(Layer("--config", {name: value})).message


@pytest.mark.parametrize("name", ["steps", "alpha", "minSnrGamma", "quantize", "saveEvery"])
def test_null_takes_an_optional_setting_back(name: str) -> None:
    layers = [Layer("a", {name: 8, "epochs": 3}), Layer("b", {name: None})]

    assert resolved(*layers).recipe.to_dict()[name] is None


def test_epochs_of_a_later_layer_displace_the_steps_of_a_preset() -> None:
    result = resolved(flags(epochs=10))

    assert (result.recipe.steps, result.recipe.epochs) == (None, 10)
    assert result.sources["steps"] == "default"


def test_steps_of_a_later_layer_displace_epochs() -> None:
    result = resolved(Layer("a", {"epochs": 10}), flags(steps=50))

    assert (result.recipe.steps, result.recipe.epochs) == (50, None)


def test_both_in_one_layer_are_kept() -> None:
    result = resolved(Layer("a", {"epochs": 10, "steps": 20}))

    assert (result.recipe.steps, result.recipe.epochs) == (20, 10)


def test_without_any_length_training_is_refused() -> None:
    with pytest.raises(RecipeInvalidError, match="how long to train"):
        resolve_recipe([flags(rank=4)])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"warmupSteps": 200}, "warmupSteps must be at most steps (100), got 200"),
        ({"textEncoderLearningRate": 1e-4}, "needs trainTextEncoder"),
        ({"sampleEvery": 10}, "needs samplePrompts"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    values: dict[str, Any], words: str
) -> None:
    assert words in refused(Layer("--config", values)).message


def test_the_warm_up_of_a_preset_is_fitted_to_fewer_steps() -> None:
    preset = Layer("preset long", {"steps": 900, "warmupSteps": 50}, "long")

    result = resolve_recipe([preset, flags(steps=20)])

    assert result.recipe.warmup_steps == 20
    assert result.sources["warmupSteps"] == "preset long, shortened to steps"


@pytest.mark.parametrize(
    ("data", "values"),
    [
        (b'{"rank": 8}', {"rank": 8}),
        (
            b"rank: 8\nlr: 1e-4\nmixedPrecision: no\n",
            {"rank": 8, "lr": 1e-4, "mixedPrecision": "no"},
        ),
    ],
)
def test_a_configuration_is_json_or_yaml(data: bytes, values: dict[str, Any]) -> None:
    assert parse_config(data, "file r.yaml") == values


@pytest.mark.parametrize(
    "data", [b"[1, 2]", b"rank", b"{", b'{"rank": NaN}', b'{"a": 1, "a": 2}', b"a: 1\na: 2", b""]
)
def test_what_is_no_configuration_is_refused_with_its_source(data: bytes) -> None:
    with pytest.raises(RecipeInvalidError) as caught:
        parse_config(data, "--config on the command line")

    assert "--config on the command line" in (caught.value.source or caught.value.message)


def test_flags_are_named_as_the_command_line_has_them() -> None:
    assert (flag_of("learningRate"), flag_of("batchSize"), flag_of("rank")) == (
        "--lr", "--batch", "--rank",
    )  # fmt: skip
