"""Plans for mflux-train, and what becomes of them when they run."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from lora_pipeline.foundation.errors import (
    RecipeInvalidError,
    TrainerUnavailableError,
    WeightsRefusedError,
)
from lora_pipeline.foundation.process import OutputLine
from lora_pipeline.training.plan import Plan, TrainingRequest
from lora_pipeline.training.trainers.interface import TrainingProgress
from lora_pipeline.training.trainers.mflux.models import MODELS
from lora_pipeline.training.trainers.mflux.trainer import MFLUX
from lora_pipeline.training.weights.inspection import inspect_weights
from lora_pipeline.workspace.settings import Settings, read_settings
from tests.support.fake_trainer_programs import Mflux, make_mflux
from tests.support.trainer_requests import (
    make_request,
    paper_request,
    run_plan,
    settings_with,
)

# A checkpoint's name for each of mflux's models.
NAMES = {
    "z-image": "z_image", "z-image-turbo": "z_image_turbo",
    "flux2-klein-base-4b": "flux2_klein_base_4b", "flux2-klein-base-9b": "klein-base-9B",
    "flux2-klein-4b": "flux2_klein_4b", "flux2-klein-9b": "flux2_klein_9b",
    "ernie-image": "ernie_image", "ernie-image-turbo": "ernie_turbo",
    "krea-2": "krea2_turbo", "krea-2-raw": "krea2_raw",
}  # fmt: skip


UNKNOWN = (
    "own.json: training_loop.batchsize is not used: "
    "mflux does not know it; did you mean batch_size?"
)


@pytest.fixture
def program(tmp_path: Path) -> Mflux:
    return make_mflux(tmp_path / "trainers")


@pytest.fixture
def here(tmp_path: Path, program: Mflux) -> Settings:
    return settings_with(tmp_path / "ws", trainers__mflux__program=str(program.program))


@pytest.fixture
def nothing(tmp_path: Path) -> Settings:
    return settings_with(tmp_path / "ws", trainers__mflux__program="/nowhere/mflux-train")


def request_for(tmp_path: Path, alias: str = "z-image", **changes: Any) -> TrainingRequest:
    values = {"checkpoint": "base", "checkpoint_id": NAMES[alias], **changes}
    return make_request(tmp_path, MODELS[alias].architecture, **values)


def document(plan: Plan) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(plan.files[0].content)
    return loaded


# Plans


def test_steps_become_whole_epochs_and_the_difference_is_said(
    tmp_path: Path, nothing: Settings
) -> None:
    request = request_for(tmp_path, recipe={"steps": 5}, captions=("a", "b", "c"))
    plan = MFLUX.prepare(request, nothing, "0.24.0")
    assert document(plan)["training_loop"]["num_epochs"] == 2
    assert plan.total_steps == 6
    assert "mflux trains whole epochs: 6 steps instead of 5" in plan.warnings


def test_equal_repeats_become_epochs(tmp_path: Path, nothing: Settings) -> None:
    request = request_for(tmp_path, recipe={"steps": None, "epochs": 2}, repeats=(3, 3))
    plan = MFLUX.prepare(request, nothing, "0.24.0")
    assert document(plan)["training_loop"]["num_epochs"] == 6
    assert plan.total_steps == 12


def test_previews_are_told_from_training_by_their_number_of_steps(
    tmp_path: Path, nothing: Settings
) -> None:
    request = request_for(tmp_path, "z-image-turbo", recipe={"steps": 9}, captions=("a",))
    plan = MFLUX.prepare(request, nothing, "0.24.0")
    assert plan.total_steps == 9
    assert document(plan)["steps"] == 10


def test_no_alpha_is_written_when_the_scale_is_one(tmp_path: Path, nothing: Settings) -> None:
    for alpha in (None, 4.0):
        plan = MFLUX.prepare(
            request_for(tmp_path, recipe={"alpha": alpha, "rank": 4}), nothing, "0.24.0"
        )
        assert "alpha" not in document(plan)["lora_layers"]["targets"][0]


def test_older_versions_get_no_key_that_they_refuse(tmp_path: Path, nothing: Settings) -> None:
    plan = MFLUX.prepare(request_for(tmp_path), nothing, "0.18.1")
    assert document(plan)["optimizer"].keys() == {"name", "learning_rate"}
    assert "gradient_checkpointing" not in document(plan)


def test_an_unknown_version_is_taken_for_the_one_this_was_written_for(
    tmp_path: Path, nothing: Settings
) -> None:
    plan = MFLUX.prepare(request_for(tmp_path), nothing, "unknown")
    assert "optimizer_params" in document(plan)["optimizer"]
    assert any("lora setup mflux" in warning for warning in plan.warnings)


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab \"'#\\{}[]=,é日-—$`;&\n", min_size=1, max_size=20))
def test_paths_reach_the_configuration_as_they_are(name: str) -> None:
    request = paper_request(Path("/studio") / f"x{name}", "krea2", "a", checkpoint="raw")
    with_equal_repeats = request_with_equal_repeats(request)
    plan = MFLUX.prepare(with_equal_repeats, read_settings(Path("/nowhere"), {}), "0.24.0")
    assert document(plan)["data"] == str(request.data.folder)
    assert document(plan)["model_path"] == str(request.checkpoint.path)


def request_with_equal_repeats(request: TrainingRequest) -> TrainingRequest:
    from msgspec.structs import replace

    images = tuple(replace(image, repeats=1) for image in request.data.images)
    return replace(request, data=replace(request.data, images=images))


# What is asked for


def test_flux1_is_refused_because_its_training_was_removed(
    tmp_path: Path, nothing: Settings
) -> None:
    with pytest.raises(RecipeInvalidError, match=r"training was removed in mflux 0\.16") as caught:
        MFLUX.prepare(make_request(tmp_path, "flux1"), nothing, "0.24.0")
    assert caught.value.hint == "lora train --trainer kohya_ss"


def test_other_architectures_are_refused_with_those_that_it_trains(
    tmp_path: Path, nothing: Settings
) -> None:
    with pytest.raises(RecipeInvalidError, match="it trains zimage, flux2, ernie_image, krea2"):
        MFLUX.prepare(make_request(tmp_path, "sdxl"), nothing, "0.24.0")


def test_a_checkpoint_whose_size_nothing_says_is_refused(tmp_path: Path, nothing: Settings) -> None:
    request = make_request(tmp_path, "flux2", checkpoint="base", checkpoint_id="flux2_dev")
    with pytest.raises(RecipeInvalidError, match="nothing says which one") as caught:
        MFLUX.prepare(request, nothing, "0.24.0")
    assert "flux2-klein-base-4b" in str(caught.value.hint)


def test_a_single_file_is_refused_as_base_model(tmp_path: Path, nothing: Settings) -> None:
    request = request_for(tmp_path, checkpoint="base.safetensors")
    with pytest.raises(RecipeInvalidError, match="not as single files"):
        MFLUX.prepare(request, nothing, "0.24.0")


def test_different_repeats_are_refused(tmp_path: Path, nothing: Settings) -> None:
    with pytest.raises(RecipeInvalidError, match="repeats some 3 times and others 1 times"):
        MFLUX.prepare(request_for(tmp_path, repeats=(3, 1)), nothing, "0.24.0")


def test_extra_arguments_are_refused(tmp_path: Path, nothing: Settings) -> None:
    with pytest.raises(RecipeInvalidError, match="takes everything from its configuration"):
        MFLUX.prepare(request_for(tmp_path, extra_arguments=("--low-ram",)), nothing, "0.24.0")


@pytest.mark.parametrize(
    "recipe",
    [
        {"train_text_encoder": True},
        {"target_convolutions": True},
        {"caption_dropout": 0.1},
        {"flip": True},
        {"min_snr_gamma": 5.0},
        {"noise_offset": 0.1},
        {"optimizer": "prodigy"},
        {"lr_scheduler": "linear"},
        {"gradient_accumulation": 2},
    ],
)
def test_what_mflux_cannot_do_is_refused_before_anything_starts(
    recipe: dict[str, Any], tmp_path: Path, nothing: Settings
) -> None:
    with pytest.raises(RecipeInvalidError, match=r"^mflux ") as caught:
        MFLUX.prepare(request_for(tmp_path, recipe=recipe), nothing, "0.24.0")
    assert caught.value.hint


@pytest.mark.parametrize(
    "recipe", [{"lr_scheduler": "cosine"}, {"alpha": 2.0}, {"optimizer": "adafactor"}]
)
def test_what_only_newer_versions_can_do_is_refused_of_older_ones(
    recipe: dict[str, Any], tmp_path: Path, nothing: Settings
) -> None:
    request = request_for(tmp_path, recipe=recipe)
    MFLUX.prepare(request, nothing, "0.24.0")
    with pytest.raises(RecipeInvalidError, match=r"only since 0\.24"):
        MFLUX.prepare(request, nothing, "0.20.3")


def test_the_users_own_file_is_honoured_and_conflicts_are_named(
    tmp_path: Path, nothing: Settings
) -> None:
    own = tmp_path / "own.json"
    own.write_text(
        json.dumps(
            {
                "guidance": 2.5,
                "seed": 1,
                "data": "/elsewhere",
                "training_loop": {"timestep_low": 3, "batchsize": 2},
                "lora_layers": {
                    "targets": [{"module_path": "cap_embedder.1", "rank": 99, "alpha": 1}]
                },
            }
        ),
        encoding="utf-8",
    )
    plan = MFLUX.prepare(request_for(tmp_path, config_file=own), nothing, "0.24.0")
    made = document(plan)
    assert (made["guidance"], made["training_loop"]["timestep_low"]) == (2.5, 3)
    assert made["lora_layers"]["targets"] == [{"module_path": "cap_embedder.1", "rank": 4}]
    assert [warning for warning in plan.warnings if warning.startswith("own.json")] == [
        "own.json: seed is not used: the recipe says seed",
        "own.json: data is not used: the pipeline sets it",
        UNKNOWN,
    ]


def test_the_users_file_says_which_model_a_checkpoint_is(tmp_path: Path, nothing: Settings) -> None:
    own = tmp_path / "own.json"
    own.write_text('{"model": "flux2-klein-base-9b"}', encoding="utf-8")
    request = make_request(
        tmp_path, "flux2", checkpoint="base", checkpoint_id="ours", config_file=own
    )
    targets = document(MFLUX.prepare(request, nothing, "0.24.0"))["lora_layers"]["targets"]
    assert {target["blocks"]["end"] for target in targets} == {8, 24}


# Health and versions


def test_a_complete_installation_is_healthy(here: Settings) -> None:
    assert MFLUX.health(here) is None
    assert MFLUX.version(here) == "0.24.0"


def test_a_program_that_is_not_there_is_named(nothing: Settings) -> None:
    problem = MFLUX.health(nothing)
    assert problem is not None
    assert "/nowhere/mflux-train" in problem.message
    assert problem.hint == "lora setup mflux"


def test_a_version_before_the_new_configuration_is_refused(tmp_path: Path) -> None:
    old = make_mflux(tmp_path / "old", version="0.15.5")
    here = settings_with(tmp_path / "ws", trainers__mflux__program=str(old.program))
    problem = MFLUX.health(here)
    assert problem is not None
    assert problem.message.startswith("mflux 0.15 is too old")
    with pytest.raises(TrainerUnavailableError, match=r"mflux 0\.15 is too old"):
        MFLUX.prepare(request_for(tmp_path), here, "0.15.5")


# Lines


def test_progress_is_read_from_the_bar_without_label() -> None:
    line = OutputLine("stderr", " 67%|██████▋   | 4/6 [00:00<?, ?it/s]")
    assert MFLUX.read_line(line) == TrainingProgress(4, 6)


@pytest.mark.parametrize(
    "text",
    ["Fetching 5 files:  20%|██        | 1/5 [00:00<?, ?it/s]", "Training config validated."],
)
def test_other_lines_are_no_progress(text: str) -> None:
    assert MFLUX.read_line(OutputLine("stderr", text)) is None


# Runs


@pytest.mark.parametrize("alias", sorted(MODELS))
def test_a_run_trains_every_model_and_its_lora_is_taken_out_of_the_zip(
    alias: str, tmp_path: Path, here: Settings
) -> None:
    request = request_for(tmp_path, alias, recipe={"save_every": 2})
    plan = MFLUX.prepare(request, here, "0.24.0")
    done = run_plan(MFLUX, plan, request.run_folder)
    assert done.status == 0, done.text
    found = MFLUX.collect(plan, request.run_folder)
    assert [one.step for one in found.checkpoints] == [2]
    assert found.final is not None
    assert found.final.path == request.run_folder / plan.expected_output
    report = inspect_weights(found.final.path)
    assert (report.problems, report.rank) == ((), 4)
    assert report.metadata["mflux_version"] == "0.24.0"


def test_the_weights_are_as_old_as_the_training(tmp_path: Path, here: Settings) -> None:
    request = request_for(tmp_path)
    plan = MFLUX.prepare(request, here, "0.24.0")
    run_plan(MFLUX, plan, request.run_folder)
    final = MFLUX.collect(plan, request.run_folder).final
    zips = list((request.run_folder / "mflux" / "checkpoints").glob("*4_checkpoint.zip"))
    assert final is not None
    assert final.path.stat().st_mtime_ns == zips[0].stat().st_mtime_ns


def test_a_scale_that_mflux_does_not_export_is_put_into_the_weights(
    tmp_path: Path, here: Settings
) -> None:
    plain = request_for(tmp_path / "one", recipe={"rank": 4})
    halved = request_for(tmp_path / "two", recipe={"rank": 4, "alpha": 2.0})
    tensors = []
    for request in (plain, halved):
        plan = MFLUX.prepare(request, here, "0.24.0")
        assert run_plan(MFLUX, plan, request.run_folder).status == 0
        final = MFLUX.collect(plan, request.run_folder).final
        assert final is not None
        tensors.append(load_file(final.path))
        before = final.path.read_bytes()
        MFLUX.collect(plan, request.run_folder)
        assert final.path.read_bytes() == before
    for name, tensor in tensors[0].items():
        factor = 0.5 if "lora_B" in name else 1.0
        assert numpy.array_equal(tensors[1][name], tensor * numpy.float32(factor))


def test_a_second_attempt_is_read_from_its_own_folder(tmp_path: Path, here: Settings) -> None:
    request = request_for(tmp_path)
    plan = MFLUX.prepare(request, here, "0.24.0")
    run_plan(MFLUX, plan, request.run_folder)
    first = request.run_folder / "mflux" / "checkpoints"
    (first / "0000004_checkpoint.zip").rename(first / "0000099_checkpoint.zip")
    run_plan(MFLUX, plan, request.run_folder)
    assert len(list(request.run_folder.glob("mflux*"))) == 2
    final = MFLUX.collect(plan, request.run_folder).final
    zips = list(request.run_folder.glob("mflux_*/checkpoints/0000004_checkpoint.zip"))
    assert final is not None
    assert final.path.stat().st_mtime_ns == zips[0].stat().st_mtime_ns


@pytest.mark.parametrize(
    ("mode", "code"), [("out-of-memory", "out_of_memory"), ("stopped", "no_output")]
)
def test_a_failed_run_says_why_and_leaves_nothing_that_counts(
    mode: str, code: str, tmp_path: Path, here: Settings, program: Mflux
) -> None:
    program.fail_with(mode)
    request = request_for(tmp_path)
    plan = MFLUX.prepare(request, here, "0.24.0")
    done = run_plan(MFLUX, plan, request.run_folder)
    error = MFLUX.explain(done.lines, done.status)
    assert error.code == code
    assert error.hint
    assert MFLUX.collect(plan, request.run_folder).final is None


def test_a_zip_that_was_cut_off_does_not_count(
    tmp_path: Path, here: Settings, program: Mflux
) -> None:
    program.fail_with("cut-off")
    request = request_for(tmp_path)
    plan = MFLUX.prepare(request, here, "0.24.0")
    assert run_plan(MFLUX, plan, request.run_folder).status == 0
    assert MFLUX.collect(plan, request.run_folder).final is None


def test_a_missing_caption_is_told(tmp_path: Path, here: Settings) -> None:
    request = request_for(tmp_path)
    (request.data.folder / "000001.txt").unlink()
    plan = MFLUX.prepare(request, here, "0.24.0")
    done = run_plan(MFLUX, plan, request.run_folder)
    assert MFLUX.explain(done.lines, done.status).code == "caption_missing"


@pytest.mark.parametrize(
    ("index", "words"),
    [
        ('{"files": {"lora_adapter": "../outside.safetensors"}}', "names no LoRA file"),
        ('{"files": {}}', "names no LoRA file"),
        ('{"files": {"lora_adapter": "gone.safetensors"}}', r"holds no gone\.safetensors"),
        ("not json", "is not JSON"),
    ],
)
def test_a_zip_that_names_no_lora_safely_is_refused(
    index: str, words: str, tmp_path: Path, nothing: Settings
) -> None:
    request = request_for(tmp_path)
    plan = MFLUX.prepare(request, nothing, "0.24.0")
    folder = request.run_folder / "mflux" / "checkpoints"
    folder.mkdir(parents=True)
    with zipfile.ZipFile(folder / "0000004_checkpoint.zip", "w") as archive:
        archive.writestr("checkpoint.json", index)
    with pytest.raises(WeightsRefusedError, match=words):
        MFLUX.collect(plan, request.run_folder)
    assert not (request.run_folder / "output").exists()


def test_masks_are_refused_because_mflux_would_ignore_them(tmp_path: Path) -> None:
    request = make_request(
        tmp_path, "zimage", checkpoint="z_image", checkpoint_id="z_image", masked=True
    )

    with pytest.raises(RecipeInvalidError) as caught:
        MFLUX.prepare(request, settings_with(tmp_path / "workspace"), "0.24.0")

    assert caught.value.message == (
        "mflux weighs no loss by masks, and the rule of the dataset is alpha mask"
    )
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("lora dataset build icons --alpha background")


# ---- going on


def test_it_goes_on_from_the_last_whole_checkpoint_and_writes_to_its_own_folder(
    tmp_path: Path, here: Settings
) -> None:
    request = request_for(tmp_path, recipe={"steps": 6, "save_every": 2})
    plan = MFLUX.prepare(request, here, "0.24.0")
    run_plan(MFLUX, plan, request.run_folder)
    saved = request.run_folder / "mflux" / "checkpoints"
    (saved / "0000006_checkpoint.zip").unlink()
    cut = saved / "0000004_checkpoint.zip"
    cut.write_bytes(cut.read_bytes()[:-40])
    again = tmp_path / "again"

    going_on = MFLUX.carry_over(plan, request.run_folder, again)

    assert going_on is not None
    moved = again / "mflux" / "checkpoints" / "0000002_checkpoint.zip"
    assert (going_on.step, going_on.bar) == (2, None)
    assert going_on.plan.argv == (plan.argv[0], "--resume", str(moved))
    with zipfile.ZipFile(moved) as archive, zipfile.ZipFile(saved / moved.name) as before:
        assert archive.namelist() == before.namelist()
        config = json.loads(archive.read("0000002_config.json"))
        weights = "0000002_adapter.safetensors"
        assert archive.read(weights) == before.read(weights)
    assert config["checkpoint"]["output_path"] == str(again / "mflux")
    assert config["training_loop"] == json.loads(plan.files[0].content)["training_loop"]
    assert [one.step for one in MFLUX.collect(plan, again).checkpoints] == [2]


def test_without_a_whole_checkpoint_it_begins_anew(tmp_path: Path, here: Settings) -> None:
    request = request_for(tmp_path)
    plan = MFLUX.prepare(request, here, "0.24.0")

    assert MFLUX.carry_over(plan, request.run_folder, tmp_path / "again") is None
    assert not (tmp_path / "again").exists()
