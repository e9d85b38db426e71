"""The user's own run file and extra arguments: honoured where they are the user's to set."""

from __future__ import annotations

import pytest

from lora_pipeline.foundation.errors import RecipeInvalidError
from lora_pipeline.training.trainers.kohya.options import (
    FORBIDDEN_KEYS,
    FREE_KEYS,
    PIPELINE_KEYS,
    RECIPE_KEYS,
    check_extra_arguments,
    merge_user_file,
)
from lora_pipeline.training.trainers.kohya.toml import Value

SD15 = "train_network.py"
OURS: dict[str, Value] = {
    "network_dim": 16,
    "output_dir": "/run",
    "optimizer_args": ["weight_decay=0.01"],
}


def test_every_key_belongs_to_one_side_only() -> None:
    groups = [frozenset(RECIPE_KEYS), PIPELINE_KEYS, FORBIDDEN_KEYS, FREE_KEYS]
    assert sum(len(group) for group in groups) == len(frozenset().union(*groups))


def test_keys_of_the_user_are_taken_from_any_section() -> None:
    merged = merge_user_file(OURS, {"clip_skip": 2, "memory": {"lowram": True}}, "my.toml", SD15)
    assert merged.options == {**OURS, "clip_skip": 2, "lowram": True}
    assert merged.warnings == ()


def test_a_conflict_with_the_recipe_is_named_and_the_recipe_wins() -> None:
    merged = merge_user_file(OURS, {"network_dim": 32}, "my.toml", SD15)
    assert merged.options["network_dim"] == 16
    assert merged.warnings == ("my.toml: network_dim = 32 is not used: the recipe says rank (16)",)


def test_what_agrees_with_the_recipe_is_no_conflict() -> None:
    assert merge_user_file(OURS, {"network_dim": 16}, "my.toml", SD15).warnings == ()


def test_folders_and_names_stay_the_pipelines() -> None:
    merged = merge_user_file(OURS, {"output_dir": "/elsewhere"}, "my.toml", SD15)
    assert merged.options["output_dir"] == "/run"
    assert merged.warnings == ("my.toml: output_dir is not used: the pipeline sets it",)


def test_a_misspelt_key_is_passed_on_with_a_warning() -> None:
    merged = merge_user_file(OURS, {"clip_skp": 2}, "my.toml", SD15)
    assert merged.options["clip_skp"] == 2
    assert "did you mean clip_skip?" in merged.warnings[0]


def test_lists_are_joined_and_the_recipes_entries_stay() -> None:
    theirs = {"optimizer_args": ["betas=0.9,0.99", "weight_decay=0.1"]}
    merged = merge_user_file(OURS, theirs, "my.toml", SD15)
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
        merge_user_file(OURS, document, "my.toml", SD15)


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


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("clip_skip", "two", "must be a whole number"),
        ("clip_skip", True, "must be a whole number"),
        ("min_timestep", 1.5, "must be a whole number"),
        ("lowram", "yes", "must be true or false"),
        ("huber_c", "0.1", "must be a number"),
        ("lr_scheduler_args", "T_max=9", "must be a list"),
        ("caption_prefix", 7, "must be a text"),
        ("loss_type", "l3", "must be one of huber, l1, l2, smooth_l1"),
        ("max_token_length", 100, "must be one of 150, 225"),
    ],
)
def test_a_value_of_another_kind_is_refused_by_name(key: str, value: object, words: str) -> None:
    with pytest.raises(RecipeInvalidError) as caught:
        merge_user_file(OURS, {key: value}, "my.toml", SD15)
    assert caught.value.message.startswith(f"my.toml: {key} = ")
    assert words in caught.value.message


def test_an_option_of_another_script_is_named_and_left_out() -> None:
    document = {"guidance_scale": 1.0, "blocks_to_swap": 9}
    merged = merge_user_file(OURS, document, "my.toml", SD15)
    assert merged.options == OURS
    assert merged.warnings == (
        "my.toml: guidance_scale is not used: train_network.py does not know it",
        "my.toml: blocks_to_swap is not used: train_network.py does not know it",
    )


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({"blocks_to_swap": 9, "cpu_offload_checkpointing": True}, "exclude each other"),
        ({"random_crop": True}, "random_crop and cacheLatents exclude each other"),
        ({"v_pred_like_loss": 0.5, "v_parameterization": True}, "exclude each other"),
        ({"adaptive_noise_scale": 0.1}, "needs noiseOffset"),
    ],
)
def test_options_that_exclude_each_other_are_refused_before_a_model_is_loaded(
    document: dict[str, object], words: str
) -> None:
    with pytest.raises(RecipeInvalidError, match=words):
        merge_user_file({"cache_latents": True}, document, "my.toml", "flux_train_network.py")


def test_captions_that_change_are_not_encoded_once() -> None:
    ours: dict[str, Value] = {"cache_text_encoder_outputs": True}
    document = {"shuffle_caption": True}
    merged = merge_user_file(ours, document, "my.toml", "sdxl_train_network.py")
    assert merged.options == {"cache_text_encoder_outputs": False, "shuffle_caption": True}
    assert merged.warnings[0].startswith("my.toml: shuffle_caption needs the text encoder")
