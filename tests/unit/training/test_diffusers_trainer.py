"""The embedded trainer's plan, and what it reads of its child."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.foundation.errors import RecipeInvalidError
from lora_pipeline.foundation.process import OutputLine
from lora_pipeline.training.diffusion.job import Job, read_job
from lora_pipeline.training.plan import Plan
from lora_pipeline.training.trainers.diffusers_trainer import DIFFUSERS
from lora_pipeline.training.trainers.interface import Continuation, TrainingProgress
from lora_pipeline.workspace.settings import read_settings
from tests.support.trainer_requests import make_request
from tests.support.training_builders import write_lora

CAPTION = "neon icon, the unreleased hero"


def planned(folder: Path, settings: str = "{}", **options: object) -> Plan:
    (folder / "config").mkdir(exist_ok=True)
    (folder / "config" / "local.json").write_text(settings)
    architecture = str(options.pop("architecture", "sdxl"))
    request = make_request(folder, architecture, captions=[CAPTION], **options)  # type: ignore[arg-type]
    return DIFFUSERS.prepare(request, read_settings(folder, {}), "1")


def job_of(plan: Plan, folder: Path) -> Job:
    (file,) = plan.files
    (folder / "job.json").write_text(file.content)
    return read_job(folder / "job.json")


def test_the_child_is_told_everything_in_one_file(tmp_path: Path) -> None:
    plan = planned(tmp_path, recipe={"steps": 7})

    job = job_of(plan, tmp_path)
    assert job.total_steps == plan.total_steps == 7
    assert [image.caption for image in job.images] == [CAPTION]
    assert Path(job.checkpoint).name == "base.safetensors"
    assert plan.argv[1:4] == ("-P", "-m", "lora_pipeline.training.diffusion.train_job")


def test_device_and_threads_are_those_of_this_machine(tmp_path: Path) -> None:
    settings = json.dumps({"trainers": {"diffusers": {"device": "cpu", "threads": 3}}})

    job = job_of(planned(tmp_path, settings), tmp_path)

    assert (job.device, job.threads) == ("cpu", 3)


def test_the_child_is_told_of_masks_and_of_none_where_there_are_none(tmp_path: Path) -> None:
    (masked,) = job_of(planned(tmp_path, masked=True), tmp_path).images
    plain = planned(tmp_path)

    assert masked.mask == "masks/000001.png"
    assert '"mask"' not in plain.files[0].content


def test_a_single_file_is_described_by_its_companion(tmp_path: Path) -> None:
    job = job_of(planned(tmp_path, companions=["config"]), tmp_path)

    assert Path(job.config).name == "config.safetensors"


def test_metadata_tell_programs_what_they_need_and_nothing_of_the_studio(tmp_path: Path) -> None:
    plan = planned(tmp_path, recipe={"sample_prompts": ("the unreleased hero at night",)})

    metadata = job_of(plan, tmp_path).metadata

    assert metadata["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"
    assert metadata["ss_base_model_version"] == "sdxl_base_v1-0"
    assert metadata["modelspec.trigger_phrase"] == "neon icon"
    assert metadata["lora_pipeline.manifest_hash"].startswith("sha256:")
    told = json.dumps(metadata)
    assert "unreleased" not in told
    assert str(tmp_path) not in told


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"architecture": "zimage"}, "does not train zimage"),
        ({"architecture": ""}, "a checkpoint without architecture"),
        ({"recipe": {"quantize": 4}}, "does not quantize"),
        ({"recipe": {"optimizer": "prodigy"}}, "no optimizer prodigy"),
        ({"architecture": "flux1", "recipe": {"train_text_encoder": True}}, "transformer of flux1"),
        ({"architecture": "flux1", "recipe": {"min_snr_gamma": 5.0}}, "would ignore minSnrGamma"),
        ({"extra_arguments": ("--x",)}, "no arguments"),
        ({"config_file": Path("x.toml")}, "no configuration"),
    ],
)
def test_what_it_cannot_do_is_refused_before_anything_starts(
    options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeInvalidError, match=words) as caught:
        planned(tmp_path, **options)

    assert caught.value.hint


def test_half_precision_on_the_cpu_is_refused_where_the_device_is_known(tmp_path: Path) -> None:
    settings = json.dumps({"trainers": {"diffusers": {"device": "cpu"}}})

    with pytest.raises(RecipeInvalidError, match="needs a GPU"):
        planned(tmp_path, settings, recipe={"mixed_precision": "fp16"})


def test_an_unknown_device_is_a_problem_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "local.json").write_text(
        '{"trainers": {"diffusers": {"device": "gpu"}}}'
    )

    problem = DIFFUSERS.health(read_settings(tmp_path, {}))

    assert problem is not None
    assert "'gpu', no device" in problem.message


def test_steps_are_read_with_the_averaged_loss() -> None:
    text = '{"event":"step","step":3,"total":9,"loss":0.5,"average":0.75}'

    assert DIFFUSERS.read_line(OutputLine("stdout", text)) == TrainingProgress(3, 9, 0.75)
    assert DIFFUSERS.read_line(OutputLine("stderr", text)) is None


@pytest.mark.parametrize(
    "text",
    [
        '{"event":"step","step":"3","total":9}',
        '{"event":"step","step":3',
        '{"event":"saved","step":3}',
        '{"event":[]}',
    ],
)
def test_other_messages_are_no_progress(text: str) -> None:
    assert DIFFUSERS.read_line(OutputLine("stdout", text)) is None


def test_the_child_s_own_word_explains_a_failure() -> None:
    said = '{"event":"error","code":"diverged","message":"the loss became nan","hint":"lower it"}'

    error = DIFFUSERS.explain([OutputLine("stdout", said), OutputLine("stderr", "noise")], 3)

    assert (error.code, error.message, error.hint) == (
        "diverged",
        "the loss became nan",
        "lower it",
    )


def test_a_child_that_died_without_a_word_is_explained_by_its_last_lines() -> None:
    lines = [OutputLine("stderr", "torch.OutOfMemoryError: CUDA out of memory.")]

    assert DIFFUSERS.explain(lines, 1).code == "out_of_memory"
    assert DIFFUSERS.explain([], -9).code == "killed"


def test_kept_checkpoints_are_found_by_their_step(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    output = tmp_path / "run" / "output"
    output.mkdir(parents=True, exist_ok=True)
    for name in ("neon_icons-r3", "neon_icons-r3-step000200", "neon_icons-r3-stepx", "other"):
        (output / f"{name}.safetensors").touch()

    collected = DIFFUSERS.collect(plan, tmp_path / "run")

    assert collected.final is not None
    assert collected.final.path.name == "neon_icons-r3.safetensors"
    assert [(one.path.name, one.step) for one in collected.checkpoints] == [
        ("neon_icons-r3-step000200.safetensors", 200)
    ]


# ---- going on


def interrupted(folder: Path, plan: Plan, *, step: int) -> Path:
    """Write what a run of this plan left when it was killed after a step; returns its folder."""
    earlier = folder / "earlier"
    output = (earlier / plan.expected_output).parent
    stem = Path(plan.expected_output).stem
    for saved in (2, 4):
        write_lora(output / f"{stem}-step{saved:06}.safetensors")
    write_lora(earlier / "state.safetensors", metadata={"step": str(step)})
    return earlier


def test_it_goes_on_from_the_state_with_the_saves_up_to_it(tmp_path: Path) -> None:
    plan = planned(tmp_path, recipe={"steps": 9})
    earlier, again = interrupted(tmp_path, plan, step=3), tmp_path / "again"

    assert DIFFUSERS.carry_over(plan, earlier, again) == Continuation(3, plan)

    assert (again / "state.safetensors").is_file()
    assert [one.step for one in DIFFUSERS.collect(plan, again).checkpoints] == [2]


@pytest.mark.parametrize("broken", ["no state", "cut short", "of the last step"])
def test_without_a_usable_state_it_begins_anew(broken: str, tmp_path: Path) -> None:
    plan = planned(tmp_path, recipe={"steps": 9})
    earlier = interrupted(tmp_path, plan, step=9 if broken == "of the last step" else 3)
    state = earlier / "state.safetensors"
    if broken == "no state":
        state.unlink()
    elif broken == "cut short":
        state.write_bytes(state.read_bytes()[:-9])

    assert DIFFUSERS.carry_over(plan, earlier, tmp_path / "again") is None
    assert not (tmp_path / "again").exists()


def test_a_single_file_without_a_description_is_told(tmp_path: Path) -> None:
    (warning,) = planned(tmp_path).warnings
    assert "--companion config=FOLDER" in warning
    assert planned(tmp_path, companions=("config",)).warnings == ()
    (alone,) = planned(tmp_path, architecture="flux1").warnings
    assert alone.startswith("base.safetensors holds the transformer alone")


def test_a_state_is_kept_ten_times_when_no_checkpoints_are_asked_for(tmp_path: Path) -> None:
    assert job_of(planned(tmp_path, recipe={"steps": 95}), tmp_path).state_every == 10
    saving = planned(tmp_path, recipe={"steps": 95, "save_every": 7})
    assert job_of(saving, tmp_path).state_every == 7
