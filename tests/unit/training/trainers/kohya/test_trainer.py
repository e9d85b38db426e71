"""Plans for sd-scripts, and what becomes of them when they run."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lora_pipeline.foundation.errors import RecipeInvalidError
from lora_pipeline.foundation.process import OutputLine
from lora_pipeline.training.plan import Plan, TrainingRequest
from lora_pipeline.training.trainers.interface import TrainingProgress
from lora_pipeline.training.trainers.kohya.families import FAMILIES
from lora_pipeline.training.trainers.kohya.options import KNOWN_KEYS
from lora_pipeline.training.trainers.kohya.trainer import KOHYA_SS, split_extra_arguments
from lora_pipeline.training.weights.inspection import inspect_weights
from lora_pipeline.workspace.settings import Settings, read_settings
from tests.support.fake_trainer_programs import SdScripts, make_sd_scripts
from tests.support.trainer_requests import (
    RUN_ID,
    make_request,
    paper_request,
    run_plan,
    settings_with,
)
from tests.support.workspace_builders import commit_all, git, make_repository


@pytest.fixture
def scripts(tmp_path: Path) -> SdScripts:
    return make_sd_scripts(tmp_path / "trainers")


@pytest.fixture
def here(tmp_path: Path, scripts: SdScripts) -> Settings:
    return settings_with(
        tmp_path / "workspace",
        trainers__kohya_ss__home=str(scripts.home),
        trainers__kohya_ss__tokenizerCache=str(scripts.tokenizers),
        trainers__kohya_ss__device="cpu",
    )


@pytest.fixture
def nothing(tmp_path: Path) -> Settings:
    return settings_with(tmp_path / "workspace")


def content(plan: Plan, name: str) -> str:
    return next(file.content for file in plan.files if file.path == name)


def options(plan: Plan) -> dict[str, Any]:
    return tomllib.loads(content(plan, "run.toml"))


def request_for(tmp_path: Path, architecture: str, **changes: Any) -> TrainingRequest:
    family = FAMILIES[architecture]
    return make_request(tmp_path, architecture, **{"companions": family.required, **changes})


# Plans


@pytest.mark.parametrize("architecture", sorted(FAMILIES))
def test_a_run_file_holds_only_keys_that_sd_scripts_knows(
    architecture: str, tmp_path: Path, nothing: Settings
) -> None:
    plan = KOHYA_SS.prepare(request_for(tmp_path, architecture), nothing, "unknown")
    assert options(plan).keys() <= KNOWN_KEYS


def test_the_same_request_gives_the_same_plan(tmp_path: Path, here: Settings) -> None:
    request = request_for(tmp_path, "sd15")
    first = KOHYA_SS.prepare(request, here, "git:1")
    assert first.digest == KOHYA_SS.prepare(request, here, "git:1").digest


@pytest.mark.parametrize(("alpha", "written"), [(None, 4), (2.0, 2.0)])
def test_alpha_is_always_written(
    alpha: float | None, written: float, tmp_path: Path, nothing: Settings
) -> None:
    request = request_for(tmp_path, "sdxl", recipe={"alpha": alpha})
    assert options(KOHYA_SS.prepare(request, nothing, "x"))["network_alpha"] == written


def test_without_the_program_there_is_a_plan_that_says_so(
    tmp_path: Path, nothing: Settings
) -> None:
    plan = KOHYA_SS.prepare(request_for(tmp_path, "sdxl"), nothing, "unknown")
    assert plan.argv[0] == "python"
    assert "sd-scripts/sdxl_train_network.py" in plan.argv
    assert any("lora setup kohya_ss" in warning for warning in plan.warnings)


def test_a_trained_text_encoder_has_its_own_rate_and_is_not_cached(
    tmp_path: Path, nothing: Settings
) -> None:
    recipe = {"train_text_encoder": True, "text_encoder_learning_rate": 5e-5}
    plan = KOHYA_SS.prepare(request_for(tmp_path, "sdxl", recipe=recipe), nothing, "x")
    assert options(plan)["text_encoder_lr"] == [5e-5]
    assert not {"network_train_unet_only", "cache_text_encoder_outputs"} & options(plan).keys()


def test_caption_dropout_keeps_text_encoder_outputs_uncached(
    tmp_path: Path, nothing: Settings
) -> None:
    request = request_for(tmp_path, "sdxl", recipe={"caption_dropout": 0.1})
    plan = KOHYA_SS.prepare(request, nothing, "x")
    assert "cache_text_encoder_outputs" not in options(plan)
    dataset = tomllib.loads(content(plan, "dataset.toml"))["datasets"][0]
    assert dataset["subsets"][0]["caption_dropout_rate"] == 0.1


def test_a_constant_schedule_is_given_no_warm_up(tmp_path: Path, nothing: Settings) -> None:
    plan = KOHYA_SS.prepare(request_for(tmp_path, "sdxl", recipe={"warmup_steps": 2}), nothing, "x")
    assert "lr_warmup_steps" not in options(plan)
    assert any("warmupSteps is not used" in warning for warning in plan.warnings)


def test_epochs_become_steps_that_count_repeats_batches_and_accumulation(
    tmp_path: Path, nothing: Settings
) -> None:
    recipe = {"steps": None, "epochs": 3, "batch_size": 2, "gradient_accumulation": 2}
    request = request_for(tmp_path, "sd15", recipe=recipe, repeats=(5, 4))
    plan = KOHYA_SS.prepare(request, nothing, "x")
    assert plan.total_steps == 7  # 27 images shown, 4 in a step
    assert options(plan)["max_train_steps"] == 7


def test_images_of_one_size_need_no_buckets(tmp_path: Path, nothing: Settings) -> None:
    plan = KOHYA_SS.prepare(request_for(tmp_path, "sd15"), nothing, "x")
    dataset = tomllib.loads(content(plan, "dataset.toml"))["datasets"][0]
    assert dataset["enable_bucket"] is False
    assert dataset["resolution"] == [64, 64]


def test_images_of_other_sizes_are_put_into_buckets(tmp_path: Path, nothing: Settings) -> None:
    request = request_for(tmp_path, "sd15", sizes=((64, 64), (128, 64)))
    dataset = tomllib.loads(content(KOHYA_SS.prepare(request, nothing, "x"), "dataset.toml"))[
        "datasets"
    ][0]
    assert dataset["enable_bucket"] is True
    assert dataset["min_bucket_reso"] == 64


def test_several_repeat_counts_get_a_list_of_images_each(tmp_path: Path, nothing: Settings) -> None:
    request = request_for(tmp_path, "sd15", repeats=(3, 1))
    plan = KOHYA_SS.prepare(request, nothing, "x")
    subsets = tomllib.loads(content(plan, "dataset.toml"))["datasets"][0]["subsets"]
    assert [subset["num_repeats"] for subset in subsets] == [1, 3]
    listed = json.loads(content(plan, "images-3x.json"))
    assert list(listed.values()) == [{"caption": "neon icon, a red circle"}]


@settings(max_examples=60, deadline=None)
@given(
    prompt=st.text(alphabet="ab \"'#\\{}[]=,é日-—$`;&", min_size=1, max_size=20),
    folder=st.text(alphabet="ab \"'#{}[]=,é日-$`;&", min_size=1, max_size=20),
)
def test_prompts_captions_and_paths_reach_the_files_as_they_are(prompt: str, folder: str) -> None:
    request = paper_request(Path("/studio") / f"x{folder}", "sd15", prompt)
    plan = KOHYA_SS.prepare(request, read_settings(Path("/nowhere"), {}), "x")
    subsets = tomllib.loads(content(plan, "dataset.toml"))["datasets"][0]["subsets"]
    assert {subset["image_dir"] for subset in subsets} == {request.data.folder.as_posix()}
    assert json.loads(content(plan, "sample-prompts.json"))[0]["prompt"] == prompt
    captions = json.loads(content(plan, "images-2x.json"))
    assert [one["caption"] for one in captions.values()] == [prompt]
    assert options(plan)["output_dir"] == (request.run_folder / "output").as_posix()


# What is asked for


def test_an_architecture_that_it_does_not_train_is_refused(
    tmp_path: Path, nothing: Settings
) -> None:
    with pytest.raises(RecipeInvalidError, match="kohya_ss does not train zimage"):
        KOHYA_SS.prepare(make_request(tmp_path, "zimage"), nothing, "x")


def test_another_name_of_an_architecture_is_told(tmp_path: Path, nothing: Settings) -> None:
    with pytest.raises(RecipeInvalidError) as caught:
        KOHYA_SS.prepare(make_request(tmp_path, "sd2"), nothing, "x")
    assert caught.value.hint == "say architecture sd21 in the checkpoint"


def test_a_missing_companion_is_named(tmp_path: Path, nothing: Settings) -> None:
    request = make_request(tmp_path, "flux1", companions=("clip_l", "ae"))
    with pytest.raises(RecipeInvalidError, match="kohya_ss needs t5xxl to train flux1"):
        KOHYA_SS.prepare(request, nothing, "x")


@pytest.mark.parametrize(
    ("architecture", "recipe", "words"),
    [
        ("flux1", {"min_snr_gamma": 5.0}, "would ignore minSnrGamma"),
        ("sd3", {"noise_offset": 0.1}, "would ignore noiseOffset"),
        ("chroma", {"train_text_encoder": True}, "trains no text encoder of chroma"),
        ("flux1", {"target_convolutions": True}, "finds no convolutions in flux1"),
        ("sdxl", {"quantize": 4}, "has no 4-bit base models"),
        ("sdxl", {"quantize": 8}, "quantises only with mixed precision"),
        ("anima", {"quantize": 8, "mixed_precision": "bf16"}, "cannot quantise anima"),
        ("sd15", {"mixed_precision": "fp16"}, "cannot train in fp16 on a CPU"),
        ("sd15", {"optimizer": "adamw8bit"}, "has adamw8bit only for CUDA"),
    ],
)
def test_what_sd_scripts_cannot_do_is_refused_before_anything_starts(
    architecture: str, recipe: dict[str, Any], words: str, tmp_path: Path, here: Settings
) -> None:
    with pytest.raises(RecipeInvalidError, match=words) as caught:
        KOHYA_SS.prepare(request_for(tmp_path, architecture, recipe=recipe), here, "x")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--clip_skip", "2"), ((), ("--clip_skip", "2"))),
        (("--cpu", "--", "--clip_skip", "2"), (("--cpu",), ("--clip_skip", "2"))),
        (("--main_process_port", "2", "--"), (("--main_process_port", "2"), ())),
    ],
)
def test_extra_arguments_are_for_the_launcher_before_two_dashes(
    arguments: tuple[str, ...], expected: tuple[tuple[str, ...], tuple[str, ...]]
) -> None:
    assert split_extra_arguments(arguments) == expected


def test_the_users_own_file_is_honoured_and_conflicts_are_named(
    tmp_path: Path, nothing: Settings
) -> None:
    own = tmp_path / "own.toml"
    own.write_text('clip_skip = 2\nnetwork_dim = 99\noutput_dir = "/x"\n', encoding="utf-8")
    request = request_for(tmp_path, "sd15", config_file=own)
    plan = KOHYA_SS.prepare(request, nothing, "x")
    assert options(plan)["clip_skip"] == 2
    assert options(plan)["network_dim"] == 4
    named = [warning for warning in plan.warnings if warning.startswith("own.toml")]
    assert named == [
        "own.toml: network_dim = 99 is not used: the recipe says rank (4)",
        "own.toml: output_dir is not used: the pipeline sets it",
    ]


def test_a_file_that_is_no_toml_is_refused_by_name(tmp_path: Path, nothing: Settings) -> None:
    own = tmp_path / "own.toml"
    own.write_text('{"network_dim": 4}', encoding="utf-8")
    with pytest.raises(RecipeInvalidError, match=r"own\.toml is no TOML"):
        KOHYA_SS.prepare(request_for(tmp_path, "sd15", config_file=own), nothing, "x")


# Health


def test_a_complete_installation_is_healthy(here: Settings) -> None:
    assert KOHYA_SS.health(here) is None


def test_a_machine_without_it_is_sent_to_the_setup(nothing: Settings) -> None:
    problem = KOHYA_SS.health(nothing)
    assert problem is not None
    assert problem.message == "sd-scripts is not set up on this machine"
    assert problem.hint == "lora setup kohya_ss"


def test_the_checkout_of_kohya_ss_is_understood(tmp_path: Path) -> None:
    make_sd_scripts(tmp_path / "kohya_ss")
    here = settings_with(tmp_path / "ws", trainers__kohya_ss__home=str(tmp_path / "kohya_ss"))
    assert KOHYA_SS.health(here) is None


def test_a_folder_without_scripts_is_named(tmp_path: Path) -> None:
    here = settings_with(tmp_path / "ws", trainers__kohya_ss__home=str(tmp_path))
    problem = KOHYA_SS.health(here)
    assert problem is not None
    assert "no sd-scripts checkout is there" in problem.message


def test_missing_modules_are_named(tmp_path: Path) -> None:
    scripts = make_sd_scripts(tmp_path / "x", modules=("torch", "toml"))
    here = settings_with(tmp_path / "ws", trainers__kohya_ss__home=str(scripts.home))
    problem = KOHYA_SS.health(here)
    assert problem is not None
    assert "lacks torchvision, accelerate, transformers" in problem.message


def test_the_version_is_the_commit_of_the_checkout(scripts: SdScripts, here: Settings) -> None:
    assert KOHYA_SS.version(here) == "unknown"
    make_repository(scripts.home)
    commit_all(scripts.home, "Start")
    commit = git(scripts.home, "rev-parse", "HEAD").strip()
    assert KOHYA_SS.version(here) == f"git:{commit[:12]}"


def test_a_checkout_inside_another_repository_has_not_its_commit(
    tmp_path: Path, here: Settings
) -> None:
    make_repository(tmp_path)
    commit_all(tmp_path, "Start")
    assert KOHYA_SS.version(here) == "unknown"


# Lines


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("steps:   0%|          | 0/6 [00:00<?, ?it/s]", (0, 6, None)),
        ("steps:  33%|███▎      | 2/6 [00:30<01:00, 15.15s/it, avr_loss=1.07]", (2, 6, 1.07)),
        ("steps: 100%|██████████| 6/6 [00:30<00:00,  2.1it/s, avr_loss=nan]", (6, 6, None)),
        (
            "steps:  50%|█████     | 3/6 [00:30<00:30, 2.1it/s, Keys Scaled=0, avr_loss=0.114]",
            (3, 6, 0.114),
        ),
    ],
)
def test_progress_is_read_from_the_bar_of_the_training(
    text: str, expected: tuple[int, int, float | None]
) -> None:
    assert KOHYA_SS.read_line(OutputLine("stderr", text)) == TrainingProgress(*expected)


@pytest.mark.parametrize(
    "text",
    [
        "100%|██████████| 3/3 [00:00<00:00, 12.13it/s]",
        "validation steps:  50%|█████     | 1/2 [00:01<00:01, val_avg_loss=0.1]",
        "epoch 1/5",
        "saving checkpoint: /run/output/x-step00000002.safetensors",
        "",
    ],
)
def test_other_bars_and_lines_are_no_progress(text: str) -> None:
    assert KOHYA_SS.read_line(OutputLine("stderr", text)) is None


# Runs


def test_a_run_trains_and_leaves_weights_that_carry_the_run(tmp_path: Path, here: Settings) -> None:
    request = request_for(tmp_path, "sd15", recipe={"save_every": 2, "rank": 4})
    plan = KOHYA_SS.prepare(request, here, "x")
    done = run_plan(KOHYA_SS, plan, request.run_folder)
    assert done.status == 0, done.text
    assert done.progress[-1] == TrainingProgress(4, 4, 0.3)
    found = KOHYA_SS.collect(plan, request.run_folder)
    assert [one.step for one in found.checkpoints] == [2, 4]
    assert found.final is not None
    report = inspect_weights(found.final.path)
    assert report.problems == ()
    assert report.rank == 4
    assert report.metadata["ss_training_comment"] == f"lora-pipeline run {RUN_ID}"


@pytest.mark.parametrize("architecture", ["sdxl", "flux1", "chroma", "hunyuan_image", "anima"])
def test_the_scripts_of_other_architectures_take_their_plans(
    architecture: str, tmp_path: Path, here: Settings
) -> None:
    request = request_for(tmp_path, architecture)
    plan = KOHYA_SS.prepare(request, here, "x")
    assert run_plan(KOHYA_SS, plan, request.run_folder).status == 0
    assert KOHYA_SS.collect(plan, request.run_folder).final is not None


def test_several_repeat_counts_and_sample_prompts_run_as_planned(
    tmp_path: Path, here: Settings
) -> None:
    prompt = 'neon icon "quoted" --n blur --w 8 # {a|b} é'
    recipe = {"sample_every": 2, "sample_prompts": (prompt,)}
    request = request_for(tmp_path, "sd15", recipe=recipe, repeats=(3, 1))
    plan = KOHYA_SS.prepare(request, here, "x")
    done = run_plan(KOHYA_SS, plan, request.run_folder)
    assert done.status == 0, done.text
    assert f"prompt: {prompt}" in done.text
    assert "num train images * repeats / 学習画像の数×繰り返し回数: 4" in done.text  # noqa: RUF001
    assert {step.total for step in done.progress} == {4}


@pytest.mark.parametrize(
    ("mode", "code"),
    [("out-of-memory", "out_of_memory"), ("silent", "no_output")],
)
def test_a_failed_run_says_why_and_leaves_nothing_that_counts(
    mode: str, code: str, tmp_path: Path, here: Settings, scripts: SdScripts
) -> None:
    scripts.fail_with(mode)
    request = request_for(tmp_path, "sd15")
    plan = KOHYA_SS.prepare(request, here, "x")
    done = run_plan(KOHYA_SS, plan, request.run_folder)
    error = KOHYA_SS.explain(done.lines, done.status)
    assert error.code == code
    assert "CalledProcessError" not in error.message
    assert error.hint
    assert KOHYA_SS.collect(plan, request.run_folder).final is None


def test_an_empty_folder_is_a_failure_although_the_script_ends_with_0(
    tmp_path: Path, here: Settings
) -> None:
    request = request_for(tmp_path, "sd15")
    plan = KOHYA_SS.prepare(request, here, "x")
    for path in request.data.folder.iterdir():
        path.unlink()
    done = run_plan(KOHYA_SS, plan, request.run_folder)
    assert done.status == 0
    assert KOHYA_SS.explain(done.lines, done.status).code == "dataset_empty"


def test_a_broken_image_is_told_from_the_error_above_the_launchers(
    tmp_path: Path, here: Settings
) -> None:
    request = request_for(tmp_path, "sd15")
    (request.data.folder / "000001.png").write_bytes(b"not an image")
    plan = KOHYA_SS.prepare(request, here, "x")
    done = run_plan(KOHYA_SS, plan, request.run_folder)
    error = KOHYA_SS.explain(done.lines, done.status)
    assert done.status == 1
    assert error.code == "image_unreadable"


def test_missing_tokenizers_are_told_offline(tmp_path: Path, scripts: SdScripts) -> None:
    here = settings_with(tmp_path / "ws", trainers__kohya_ss__home=str(scripts.home))
    request = request_for(tmp_path, "sd15")
    plan = KOHYA_SS.prepare(request, here, "x")
    assert any("tokenizerCache is not set" in warning for warning in plan.warnings)
    done = run_plan(KOHYA_SS, plan, request.run_folder)
    error = KOHYA_SS.explain(done.lines, done.status)
    assert error.code == "model_unavailable"
    assert "trainers.kohya_ss.tokenizerCache" in error.hint


def test_weights_behind_a_link_are_not_collected(tmp_path: Path, here: Settings) -> None:
    request = request_for(tmp_path, "sd15")
    plan = KOHYA_SS.prepare(request, here, "x")
    elsewhere = tmp_path / "other.safetensors"
    elsewhere.write_bytes(b"x")
    (request.run_folder / "output").mkdir()
    (request.run_folder / plan.expected_output).symlink_to(elsewhere)
    assert KOHYA_SS.collect(plan, request.run_folder).final is None


# ---- masks


def test_masks_are_conditioning_images_and_weigh_the_loss(tmp_path: Path, here: Settings) -> None:
    request = make_request(tmp_path, "sdxl", masked=True, recipe={"flip": True})

    plan = KOHYA_SS.prepare(request, here, "1")

    dataset = tomllib.loads(content(plan, "dataset.toml"))
    (subset,) = dataset["datasets"][0]["subsets"]
    assert options(plan)["masked_loss"] is True
    assert subset["image_dir"] == request.data.folder.as_posix()
    assert subset["conditioning_data_dir"] == (request.data.folder / "masks").as_posix()
    assert "metadata_file" not in subset  # sd-scripts takes either the one or the other
    unmasked = KOHYA_SS.prepare(make_request(tmp_path / "b", "sdxl"), here, "1")
    assert "masked_loss" not in options(unmasked)
    assert "conditioning_data_dir" not in content(unmasked, "dataset.toml")


def test_masks_with_several_repeat_counts_are_refused(tmp_path: Path, here: Settings) -> None:
    request = make_request(tmp_path, "sdxl", masked=True, repeats=[1, 3])

    with pytest.raises(RecipeInvalidError) as caught:
        KOHYA_SS.prepare(request, here, "1")

    assert "masked by alpha" in caught.value.message
    assert caught.value.hint == (
        "lora dataset build icons --alpha background, or lora train --trainer diffusers"
    )


def test_masks_that_sd_scripts_would_stretch_are_told(tmp_path: Path, here: Settings) -> None:
    small = make_request(
        tmp_path, "sd15", masked=True, recipe={"resolution": 32}, sizes=[(32, 32), (32, 20)]
    )
    plan = KOHYA_SS.prepare(small, here, "1")

    assert any("stretches masks" in one and "1 of 2" in one for one in plan.warnings)


@pytest.mark.parametrize("key", ["masked_loss", "alpha_mask"])
def test_whether_masks_count_is_not_for_the_user_s_file(
    key: str, tmp_path: Path, here: Settings
) -> None:
    file = tmp_path / "own.toml"
    file.write_text(f"{key} = false\n")
    request = make_request(tmp_path, "sdxl", masked=True, config_file=file)

    plan = KOHYA_SS.prepare(request, here, "1")

    assert options(plan)["masked_loss"] is True
    assert f"own.toml: {key} is not used: the pipeline sets it" in plan.warnings
