"""The user's own run file and extra arguments: honoured where they are the user's to set."""

from __future__ import annotations

import pytest

from lora_pipeline.foundation.errors import RecipeInvalidError
from lora_pipeline.training.trainers.kohya_options import (
    FORBIDDEN_KEYS,
    FREE_KEYS,
    PIPELINE_KEYS,
    RECIPE_KEYS,
    check_extra_arguments,
    merge_user_file,
)
from lora_pipeline.training.trainers.kohya_toml import Value

OURS: dict[str, Value] = {
    "network_dim": 16,
    "output_dir": "/run",
    "optimizer_args": ["weight_decay=0.01"],
}


def test_every_key_belongs_to_one_side_only() -> None:
    groups = [frozenset(RECIPE_KEYS), PIPELINE_KEYS, FORBIDDEN_KEYS, FREE_KEYS]
    assert sum(len(group) for group in groups) == len(frozenset().union(*groups))


def test_keys_of_the_user_are_taken_from_any_section() -> None:
    merged = merge_user_file(OURS, {"clip_skip": 2, "memory": {"blocks_to_swap": 9}}, "my.toml")
    assert merged.options == {**OURS, "clip_skip": 2, "blocks_to_swap": 9}
    assert merged.warnings == ()


def test_a_conflict_with_the_recipe_is_named_and_the_recipe_wins() -> None:
    merged = merge_user_file(OURS, {"network_dim": 32}, "my.toml")
    assert merged.options["network_dim"] == 16
    assert merged.warnings == ("my.toml: network_dim = 32 is not used: the recipe says rank (16)",)


def test_what_agrees_with_the_recipe_is_no_conflict() -> None:
    assert merge_user_file(OURS, {"network_dim": 16}, "my.toml").warnings == ()


def test_folders_and_names_stay_the_pipelines() -> None:
    merged = merge_user_file(OURS, {"output_dir": "/elsewhere"}, "my.toml")
    assert merged.options["output_dir"] == "/run"
    assert merged.warnings == ("my.toml: output_dir is not used: the pipeline sets it",)


def test_a_misspelt_key_is_passed_on_with_a_warning() -> None:
    merged = merge_user_file(OURS, {"clip_skp": 2}, "my.toml")
    assert merged.options["clip_skp"] == 2
    assert "did you mean clip_skip?" in merged.warnings[0]


def test_lists_are_joined_and_the_recipes_entries_stay() -> None:
    theirs = {"optimizer_args": ["betas=0.9,0.99", "weight_decay=0.1"]}
    merged = merge_user_file(OURS, theirs, "my.toml")
    assert merged.options["optimizer_args"] == ["weight_decay=0.01", "betas=0.9,0.99"]
    assert merged.warnings == (
        "my.toml: weight_decay=0.1 in optimizer_args is not used: the recipe sets it",
    )


@pytest.mark.parametrize(
    "document",
    [{"huggingface_token": "hf_abc"}, {"wandb": {"log_with": "wandb"}}, {"async_upload": True}],
)
def test_what_would_send_data_away_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(RecipeInvalidError, match=r"my\.toml: .* would send data out"):
        merge_user_file(OURS, document, "my.toml")


def test_extra_arguments_of_the_user_pass() -> None:
    check_extra_arguments(["--clip_skip", "2", "--log_with", "tensorboard", "--lowram"])


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("--network_dim=32", "would contradict the recorded recipe"),
        ("--output_dir", "is the pipeline's to set"),
        ("--output_d", "is the pipeline's to set"),
        ("--optimizer_args", "would replace what the recipe sets"),
        ("--huggingface_repo_id=x", "would send data out"),
        ("--log_with=wandb", "would send data out"),
    ],
)
def test_extra_arguments_cannot_say_what_the_record_says(argument: str, words: str) -> None:
    with pytest.raises(RecipeInvalidError, match=words) as caught:
        check_extra_arguments([argument])
    assert caught.value.hint
