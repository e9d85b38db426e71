"""Plans for ai-toolkit, and what it prints and leaves."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from lora_pipeline.foundation.errors import PipelineError, RecipeInvalidError
from lora_pipeline.foundation.process import OutputLine, child_environment, run
from lora_pipeline.training.plan import Plan, TrainingRequest
from lora_pipeline.training.trainers.ai_toolkit.models import MODELS, choose_model
from lora_pipeline.training.trainers.ai_toolkit.server import AI_TOOLKIT_SERVER
from lora_pipeline.training.trainers.ai_toolkit.trainer import AI_TOOLKIT
from lora_pipeline.training.trainers.interface import Continuation, TrainingProgress
from lora_pipeline.workspace.settings import Settings, read_settings
from tests.support.trainer_requests import make_request, paper_request, settings_with
from tests.support.training_builders import write_lora

# A checkpoint's name for each of ai-toolkit's models.
NAMES = {"flux2_klein_4b": "flux2-klein-base-4b", "flux2_klein_9b": "klein_9b"}
FULL = {
    "resolution": 1024, "steps": 200, "rank": 16, "mixed_precision": "bf16", "save_every": 50,
    "sample_every": 100, "sample_prompts": ("neon icon, a moon",), "low_memory": True,
    "gradient_checkpointing": True, "optimizer": "adamw8bit", "caption_dropout": 0.05,
}  # fmt: skip
BAR = "neon_icons-r3:  50%|#####     | 2/4 [00:05<00:05,  2.56s/it, lr: 1.0e-04 loss: 1.093e+00]"


@pytest.fixture
def nothing(tmp_path: Path) -> Settings:
    return read_settings(tmp_path, {})


def request_for(tmp_path: Path, arch: str = "zimage", **changes: Any) -> TrainingRequest:
    values = {"checkpoint": "base", "checkpoint_id": NAMES.get(arch, arch), **changes}
    return make_request(tmp_path, MODELS[arch].architecture, **values)


def process_of(plan: Plan) -> dict[str, Any]:
    (process,) = yaml.safe_load(plan.files[0].content)["config"]["process"]
    assert isinstance(process, dict)
    return process


def planned(request: TrainingRequest, here: Settings) -> dict[str, Any]:
    return process_of(AI_TOOLKIT.prepare(request, here, "0.12.26"))


# ---- plans


def test_alpha_is_always_written_because_its_own_default_is_one(
    tmp_path: Path, nothing: Settings
) -> None:
    request = request_for(tmp_path, "sd15", recipe={"rank": 8, "alpha": None})
    assert planned(request, nothing)["network"] == {"type": "lora", "linear": 8, "linear_alpha": 8}
    half = request_for(tmp_path, "sd15", recipe={"rank": 8, "alpha": 4.0})
    assert planned(half, nothing)["network"]["linear_alpha"] == 4.0


def test_a_linear_schedule_falls_to_zero_instead_of_rising(
    tmp_path: Path, nothing: Settings
) -> None:
    request = request_for(tmp_path, recipe={"lr_scheduler": "linear"})
    train = planned(request, nothing)["train"]
    assert train["lr_scheduler_params"] == {"start_factor": 1.0, "end_factor": 0.0}


def test_a_training_adapter_is_loaded_and_its_absence_is_said(
    tmp_path: Path, nothing: Settings
) -> None:
    request = request_for(tmp_path, checkpoint_id="z_image_turbo")
    bare = AI_TOOLKIT.prepare(request, nothing, "0.12.26")
    base = replace(request.checkpoint, training_adapter=Path("/models/turbo_adapter.safetensors"))
    plan = AI_TOOLKIT.prepare(replace(request, checkpoint=base), nothing, "0.12.26")

    assert any("seems to be distilled" in words for words in bare.warnings)
    assert process_of(plan)["model"]["assistant_lora_path"] == str(base.training_adapter)
    assert not any("distilled" in words for words in plan.warnings)


def test_images_of_each_repeat_count_come_from_a_list_of_their_own(
    tmp_path: Path, nothing: Settings
) -> None:
    request = request_for(tmp_path, captions=("a é", "b", "c"), repeats=(1, 2, 1))
    plan = AI_TOOLKIT.prepare(request, nothing, "0.12.26")
    lists = {file.path: json.loads(file.content) for file in plan.files[1:]}
    assert {path: len(images) for path, images in lists.items()} == {
        "images-1x.json": 2,
        "images-2x.json": 1,
    }
    assert lists["images-1x.json"][str(request.data.folder / "000001.png")] == {"caption": "a é"}
    assert all(file.content.isascii() for file in plan.files[1:])
    assert [one["num_repeats"] for one in process_of(plan)["datasets"]] == [1, 2]


def test_on_the_cpu_accelerate_is_told_so(tmp_path: Path) -> None:
    here = settings_with(tmp_path / "ws", trainers__ai_toolkit__device="cpu")
    plan = AI_TOOLKIT.prepare(request_for(tmp_path, "sd15"), here, "0.12.26")
    assert plan.environment["ACCELERATE_USE_CPU"] == "true"
    assert process_of(plan)["datasets"][0]["num_workers"] == 0
    with pytest.raises(RecipeInvalidError, match="adamw8bit needs a GPU"):
        AI_TOOLKIT.prepare(
            request_for(tmp_path, "sd15", recipe={"optimizer": "adamw8bit"}), here, "0.12.26"
        )


@pytest.mark.parametrize(
    ("arch", "recipe", "words"),
    [
        ("zimage", {"train_text_encoder": True}, "trains no text encoder of zimage"),
        ("flux", {"target_convolutions": True}, "finds no convolutions"),
        ("flux", {"min_snr_gamma": 5.0}, "without SNR"),
        ("flux2", {"noise_offset": 0.1}, "without SNR"),
        ("zimage", {"rank": 8, "alpha": 4.0}, "alpha equal to rank"),
        ("sdxl", {"quantize": 8}, "does not quantize"),
        ("sd15", {"optimizer": "lion"}, "lion_pytorch"),
        ("sd15", {"optimizer": "prodigy", "learning_rate": 1e-4}, "learning rate of 1"),
        ("sd15", {"max_grad_norm": 0.0}, "limits gradients"),
    ],
)
def test_what_it_cannot_do_is_refused_and_not_ignored(
    arch: str, recipe: dict[str, Any], words: str, tmp_path: Path, nothing: Settings
) -> None:
    with pytest.raises(RecipeInvalidError) as caught:
        planned(request_for(tmp_path, arch, recipe=recipe), nothing)
    assert words in caught.value.message
    assert caught.value.hint


def test_a_warm_up_that_it_does_not_have_is_said(tmp_path: Path, nothing: Settings) -> None:
    recipe = {"lr_scheduler": "cosine", "warmup_steps": 2}
    plan = AI_TOOLKIT.prepare(request_for(tmp_path, recipe=recipe), nothing, "0.12.26")
    assert any("warmupSteps 2 is not used" in words for words in plan.warnings)


def test_arguments_are_refused(tmp_path: Path, nothing: Settings) -> None:
    with pytest.raises(RecipeInvalidError, match="no arguments"):
        planned(request_for(tmp_path, extra_arguments=("-r",)), nothing)


@pytest.mark.parametrize("text", ["a ${HOME} b", "[name] icon", "[trigger], a moon"])
def test_what_it_would_replace_in_a_job_is_refused(
    text: str, tmp_path: Path, nothing: Settings
) -> None:
    recipe = {"sample_every": 2, "sample_prompts": (text,)}
    with pytest.raises(RecipeInvalidError, match="would replace"):
        planned(request_for(tmp_path, recipe=recipe), nothing)


def test_a_klein_of_unknown_size_is_refused(tmp_path: Path) -> None:
    request = make_request(tmp_path, "flux2", checkpoint="base", checkpoint_id="klein")
    with pytest.raises(RecipeInvalidError, match="which size"):
        choose_model(request.checkpoint, None)
    assert choose_model(request.checkpoint, "flux2_klein_9b").arch == "flux2_klein_9b"
    with pytest.raises(RecipeInvalidError, match=r"says model\.arch zimage"):
        choose_model(request.checkpoint, "zimage")


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab1e-4 \"'#\\{}[]:=,é日-—%`;&*!|>\n", min_size=1, max_size=20))
def test_texts_reach_the_job_as_they_are(text: str) -> None:
    root = Path("/studio")
    request = paper_request(root, "sd15", text)
    plan = AI_TOOLKIT.prepare(request, read_settings(root, {}), "0.12.26")
    assert process_of(plan)["sample"]["samples"] == [{"prompt": text}]
    captions = [list(json.loads(file.content).values()) for file in plan.files[1:]]
    assert {"caption": text} in [one for many in captions for one in many]


# ---- the user's own job


def with_file(tmp_path: Path, text: str, **changes: Any) -> TrainingRequest:
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    return request_for(tmp_path, config_file=path, **changes)


def test_the_users_job_sets_what_the_recipe_does_not_speak_of(
    tmp_path: Path, nothing: Settings
) -> None:
    text = """
    job: extension
    config:
      name: theirs
      process:
        - type: sd_trainer
          train: {timestep_type: shift, lr: 1.0, steps: 9999, batchsize: 3}
          model: {qtype: "uint3|x", name_or_path: other/model}
          datasets: [{resolution: [32, 64], folder_path: /theirs}]
    """
    plan = AI_TOOLKIT.prepare(with_file(tmp_path, text), nothing, "0.12.26")
    process = process_of(plan)
    assert process["train"]["timestep_type"] == "shift"
    assert process["train"]["lr"] == 1e-4
    assert process["datasets"][0]["resolution"] == [32, 64]
    said = "\n".join(plan.warnings)
    assert "own.yaml: train.lr is not used: the recipe says learningRate" in said
    assert "train.batchsize is not used" in said
    assert "did you mean batch_size?" in said
    assert "datasets.folder_path is not used: the pipeline sets it" in said
    assert "model.name_or_path is not used: the pipeline sets it" in said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("save: {push_to_hub: true}", "would send data"),
        ("logging: {use_wandb: true}", "would send data"),
        ("datasets: [{resolution: [512, 768]}]", "the recipe says resolution 64"),
        ("datasets: [{resolution: [64, big]}]", "different whole numbers"),
        ("datasets: [{}, {}]", "one entry"),
        ("config: {process: [{}, {}]}", "one process"),
        ("- 1", "names and values"),
        ("a: !!python/object:os.system {}", "not valid YAML"),
    ],
)
def test_a_users_job_that_cannot_be_honoured_is_refused(
    text: str, words: str, tmp_path: Path, nothing: Settings
) -> None:
    with pytest.raises(RecipeInvalidError) as caught:
        planned(with_file(tmp_path, text), nothing)
    assert words in caught.value.message


def test_a_server_is_told_where_its_models_are(tmp_path: Path, nothing: Settings) -> None:
    with pytest.raises(RecipeInvalidError) as caught:
        AI_TOOLKIT_SERVER.prepare(request_for(tmp_path), nothing, "unknown")
    assert "modelsRoot" in (caught.value.hint or "")

    text = "model: {name_or_path: Tongyi-MAI/Z-Image}"
    plan = AI_TOOLKIT_SERVER.prepare(with_file(tmp_path, text), nothing, "unknown")

    (process,) = json.loads(plan.files[0].content)["config"]["process"]
    assert process["model"]["name_or_path"] == "Tongyi-MAI/Z-Image"
    assert any("not proven" in words for words in plan.warnings)
    assert not any("is not used" in words for words in plan.warnings)


# ---- what it prints and leaves


def test_only_the_bar_of_training_is_progress() -> None:
    assert AI_TOOLKIT.read_line(OutputLine("stderr", BAR)) == TrainingProgress(2, 4, 1.093)
    for text in ("Caching latents: 50%|##  | 1/2 [00:00<00:00,  1.43it/s]", "Saving at step 2"):
        assert AI_TOOLKIT.read_line(OutputLine("stderr", text)) is None


def test_saves_of_steps_are_told_from_the_final_one(tmp_path: Path, nothing: Settings) -> None:
    request = request_for(tmp_path)
    plan = AI_TOOLKIT.prepare(request, nothing, "0.12.26")
    final = request.run_folder / plan.expected_output
    final.parent.mkdir(parents=True)
    for name in (final.name, f"{final.stem}_000000002.safetensors", "other_000000002.safetensors"):
        (final.parent / name).write_bytes(b"x")
    found = AI_TOOLKIT.collect(plan, request.run_folder)
    assert found.final is not None
    assert found.final.path == final
    assert [(one.path.name, one.step) for one in found.checkpoints] == [
        (f"{final.stem}_000000002.safetensors", 2)
    ]


@pytest.mark.parametrize(
    ("lines", "status", "code", "words"),
    [
        (["Job stopped"], 0, "no_output", "stopped before"),
        (["Error running job: no such key", "KeyError: 'x'"], 1, "trainer_failed", "no such key"),
        (
            ["Error running job: x", "OOM during training step 3 times"],
            1,
            "out_of_memory",
            "memory",
        ),
        (["AssertionError: no images found in /x"], 1, "dataset_empty", "no images"),
    ],
)
def test_a_failure_is_told_by_what_it_printed(
    lines: list[str], status: int, code: str, words: str
) -> None:
    error = AI_TOOLKIT.explain([OutputLine("stdout", line) for line in lines], status)
    assert error.code == code
    assert words in error.message


# ---- where it is


def test_health_says_what_is_missing(tmp_path: Path) -> None:
    def problem(**values: str) -> str:
        found = AI_TOOLKIT.health(settings_with(tmp_path / "ws", **values))
        assert found is not None
        assert found.hint
        return found.message

    home = tmp_path / "toolkit"
    assert "not set up" in problem()
    assert "no ai-toolkit checkout" in problem(trainers__ai_toolkit__home=str(home))
    (home / "toolkit").mkdir(parents=True)
    (home / "run.py").touch()
    (home / "toolkit" / "config_modules.py").touch()
    (home / "version.py").write_text('VERSION = "0.12.26"\n')
    assert "no Python environment" in problem(trainers__ai_toolkit__home=str(home))
    here = settings_with(
        tmp_path / "ws", trainers__ai_toolkit__home=str(home), trainers__ai_toolkit__device="tpu"
    )
    assert AI_TOOLKIT.version(settings_with(tmp_path / "ws")) == "unknown"
    assert "no device" in (AI_TOOLKIT.health(here) or pytest.fail("healthy")).message


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "no server is named"),
        ({"baseUrl": "gpu-box:8675"}, "no address"),
        ({"baseUrl": "http://u:p@127.0.0.1"}, "more than host"),
        ({"baseUrl": "http://127.0.0.1:1", "gpu": "first"}, "gpu"),
        ({"baseUrl": "http://127.0.0.1:1", "tokenVariable": "s3cret value"}, "no name"),
        ({"baseUrl": "http://gpu-box:8675"}, "does not hold the server's token"),
    ],
)
def test_a_server_that_is_not_set_up_is_said(
    values: dict[str, str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("httpx2")
    monkeypatch.delenv("AI_TOOLKIT_AUTH", raising=False)
    try:
        here = settings_with(
            tmp_path / "ws", **{f"trainers__ai_toolkit_server__{k}": v for k, v in values.items()}
        )
        problem = AI_TOOLKIT_SERVER.health(here)
        said = problem.message if problem else ""
    except PipelineError as error:  # the settings themselves refuse a password
        said, words = error.message, "secret"
    assert words in said


# ---- going on


def saved_run(request: TrainingRequest, plan: Plan, *, state_is_newer: bool) -> Path:
    """Write what a run of this plan leaves when it is killed after step 2; returns its folder."""
    earlier = request.run_folder.with_name("earlier")
    final = earlier / plan.expected_output
    save = write_lora(final.with_name(f"{final.stem}_000000002.safetensors"))
    state = final.with_name("optimizer.pt")
    state.write_bytes(b"state")
    os.utime(save, (1000, 1000))
    os.utime(state, (1001, 1001) if state_is_newer else (999, 999))
    return earlier


def test_it_goes_on_from_the_last_save_of_an_interrupted_run(
    tmp_path: Path, nothing: Settings
) -> None:
    request = request_for(tmp_path)
    plan = AI_TOOLKIT.prepare(request, nothing, "0.12.26")
    earlier = saved_run(request, plan, state_is_newer=True)

    going_on = AI_TOOLKIT.carry_over(plan, earlier, request.run_folder)
    assert going_on == Continuation(2, plan)

    folder = (request.run_folder / plan.expected_output).parent
    assert sorted(path.name for path in folder.iterdir()) == [
        "neon_icons-r3_000000002.safetensors",
        "optimizer.pt",
    ]


@pytest.mark.parametrize("broken", ["no save", "cut short", "state of an earlier step"])
def test_without_a_sound_save_it_begins_anew(
    broken: str, tmp_path: Path, nothing: Settings
) -> None:
    request = request_for(tmp_path)
    plan = AI_TOOLKIT.prepare(request, nothing, "0.12.26")
    earlier = saved_run(request, plan, state_is_newer=broken != "state of an earlier step")
    (save,) = earlier.rglob("*.safetensors")
    if broken == "no save":
        save.unlink()
    elif broken == "cut short":
        save.write_bytes(save.read_bytes()[:-7])
        os.utime(save, (1000, 1000))

    assert AI_TOOLKIT.carry_over(plan, earlier, request.run_folder) is None

    assert list(request.run_folder.iterdir()) == []


def test_without_the_extra_it_says_which_one_and_plans_all_the_same(tmp_path: Path) -> None:
    """In a Python of its own, where the client is not found."""
    program = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "httpx2":
            raise ModuleNotFoundError(name)
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name == "httpx2" else found(name, *a)
sys.meta_path.insert(0, Missing())
from pathlib import Path
from lora_pipeline.training.trainers.registry import TRAINERS
from lora_pipeline.workspace.settings import read_settings
print(TRAINERS["ai_toolkit_server"].health(read_settings(Path(sys.argv[1]), {})).hint)
"""
    here = Path(__file__).resolve().parents[4]
    done = run(
        [sys.executable, "-c", program, str(tmp_path)],
        environment=child_environment({"PYTHONPATH": str(here)}),
        timeout_s=60,
    )
    assert done.stdout.strip() == "pip install 'lora-pipeline[hosted]'", done.stderr
