"""The real sd-scripts, when a checkout is there, from plan to weights and through what goes wrong.

    LORA_TEST_KOHYA         checkout of sd-scripts
    LORA_TEST_KOHYA_PYTHON  Python that has its requirements
    LORA_TEST_KOHYA_BASE    besides, for the real sizes: an SD 1.5 checkpoint, file or folder
    LORA_TEST_KOHYA_TOKENIZERS  and a folder that holds openai_clip-vit-large-patch14

The first two suffice: checkpoints of random weights are made here, and sd-scripts is told smaller
sizes (``tests/support/tiny_kohya.py``). Half a minute on a CPU for each run, most of it imports;
the real sizes take a minute or two and 7 GB of memory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from lora_pipeline.foundation.process import Supervised, child_environment
from lora_pipeline.training.plan import Plan, TrainingRequest
from lora_pipeline.training.trainers.kohya.trainer import KOHYA_SS
from lora_pipeline.training.weights.inspection import inspect_weights
from lora_pipeline.workspace.settings import Settings
from tests.support import tiny_kohya
from tests.support.trainer_requests import make_request, run_plan, settings_with, write_files

_NAMES = (
    "LORA_TEST_KOHYA", "LORA_TEST_KOHYA_PYTHON", "LORA_TEST_KOHYA_BASE",
    "LORA_TEST_KOHYA_TOKENIZERS",
)  # fmt: skip
# Read here, because no LORA_ variable reaches a test.
_GIVEN = {name: os.environ.get(name, "") for name in _NAMES}
_MISSING = [name for name in _NAMES[:2] if not _GIVEN[name]]
_MISSING_BASE = [name for name in _NAMES if not _GIVEN[name]]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.train,
    pytest.mark.skipif(bool(_MISSING), reason=f"not set: {', '.join(_MISSING)}"),
]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the small checkout, its tokenizers and its checkpoints."""
    folder = tmp_path_factory.mktemp("small")
    tiny_kohya.make_small_scripts(folder / "scripts", Path(_GIVEN["LORA_TEST_KOHYA"]))
    tiny_kohya.make_tokenizers(folder / "tokenizers")
    tiny_kohya.make_sd15(folder / "sd15")
    tiny_kohya.make_sdxl(folder / "sdxl")
    return folder


@pytest.fixture
def here(small: Path, tmp_path: Path) -> Settings:
    return settings_with(
        tmp_path / "ws",
        trainers__kohya_ss__home=str(small / "scripts"),
        trainers__kohya_ss__python=_GIVEN["LORA_TEST_KOHYA_PYTHON"],
        trainers__kohya_ss__tokenizerCache=str(small / "tokenizers"),
        trainers__kohya_ss__device="cpu",
    )


@pytest.fixture
def planned(small: Path, here: Settings, tmp_path: Path) -> Callable[..., Any]:
    def plan(architecture: str, **changes: Any) -> tuple[TrainingRequest, Plan]:
        made = make_request(tmp_path, architecture, **changes)
        request = replace(made, checkpoint=replace(made.checkpoint, path=small / architecture))
        return request, KOHYA_SS.prepare(request, here, "unknown")

    return plan


CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "samples, states and a text encoder": (
        "sd15",
        {
            "recipe": {
                "save_every": 2, "sample_every": 4, "sample_prompts": ('a "moon" --n 1e-4',),
                "train_text_encoder": True, "target_convolutions": True, "alpha": 2.0,
                "lr_scheduler": "cosine", "warmup_steps": 1, "caption_dropout": 0.1, "flip": True,
                "min_snr_gamma": 5.0, "noise_offset": 0.05,
            },
        },
    ),
    "several repeat counts": ("sd15", {"repeats": (1, 3), "recipe": {"mixed_precision": "bf16"}}),
    "masks": ("sd15", {"masked": True, "recipe": {"cache_latents": False}}),
    "SDXL": ("sdxl", {"recipe": {"gradient_checkpointing": True}}),
    "SDXL with its text encoders": ("sdxl", {"recipe": {"train_text_encoder": True, "steps": 2}}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_real_program_takes_the_plan_and_trains(case: str, planned: Callable[..., Any]) -> None:
    architecture, changes = CASES[case]
    request, plan = planned(architecture, **changes)

    done = run_plan(KOHYA_SS, plan, request.run_folder, idle_timeout_s=300)

    assert done.status == 0, done.text
    assert done.progress[-1].step == plan.total_steps
    found = KOHYA_SS.collect(plan, request.run_folder)
    assert [one.step for one in found.checkpoints] == ([2, 4] if "samples" in case else [])
    assert found.final is not None
    report = inspect_weights(found.final.path)
    assert (report.problems, report.rank) == ((), 4)
    assert architecture in report.architectures
    assert report.metadata["ss_training_comment"].endswith(request.run_id)
    staged = {path.suffix for path in request.data.folder.rglob("*.*")}
    assert staged == {".png", ".txt"}, "it wrote beside the staged images"


# Three batches a pass and eleven steps: the last pass is not a whole one. With two batches a step
# a pass has two steps, and only states from which whole passes are left are gone on from.
@pytest.mark.parametrize(
    ("accumulation", "save_every", "killed", "step"), [(1, 4, 8, 8), (2, 3, 9, 9), (2, 4, 8, None)]
)
def test_a_run_that_was_killed_goes_on_and_takes_the_steps_that_are_left(
    accumulation: int,
    save_every: int,
    killed: int,
    step: int | None,
    planned: Callable[..., Any],
    tmp_path: Path,
) -> None:
    request, plan = planned(
        "sd15",
        captions=("a", "b", "c"),
        recipe={
            "steps": 11, "save_every": save_every, "lr_scheduler": "cosine",
            "gradient_accumulation": accumulation,
        },
    )  # fmt: skip
    earlier = request.run_folder
    _run_until_saved(plan, earlier, f"*-step{killed:08d}-state/random_states_0.pkl")
    again = tmp_path / "again"
    again.mkdir()

    going_on = KOHYA_SS.carry_over(plan, earlier, again)

    if step is None:
        assert going_on is None
        return
    assert going_on is not None
    assert going_on.step == step
    argv = tuple(str(one).replace(str(earlier), str(again)) for one in going_on.plan.argv)
    here = replace(
        going_on.plan,
        argv=argv,
        files=tuple(
            replace(one, content=one.content.replace(str(earlier), str(again)))
            for one in going_on.plan.files
        ),
    )
    done = run_plan(KOHYA_SS, here, again)
    assert done.status == 0, done.text
    steps = [going_on.counted(one) for one in done.progress]
    assert (steps[0].step, steps[-1].step, steps[-1].total) == (step, 11, 11)
    found = KOHYA_SS.collect(plan, again)
    assert found.final is not None
    # What it saves after that is by its own count: from -5 on, -3 is the last step.
    saved = [4, 8] if accumulation == 1 else [3, 6, 9, 11]
    assert [one.step for one in found.checkpoints] == saved


def _run_until_saved(plan: Plan, folder: Path, pattern: str) -> None:
    write_files(plan, folder)
    environment = child_environment(plan.environment)
    with (
        (folder / "log.txt").open("w", encoding="utf-8") as log,
        Supervised(plan.argv, cwd=plan.cwd, environment=environment) as running,
    ):
        for line in running.lines(idle_timeout_s=120):
            log.write(f"{line.text}\n")
            log.flush()
            if any((folder / "output").glob(pattern)):
                return


def test_a_caption_that_it_does_not_take_is_told(planned: Callable[..., Any]) -> None:
    request, plan = planned("sd15", captions=("a", "b"))
    (request.data.folder / "000002.txt").write_bytes(b"")

    done = run_plan(KOHYA_SS, plan, request.run_folder)

    error = KOHYA_SS.explain(done.lines, done.status)
    assert (done.status, error.code) == (1, "caption_missing"), done.text
    assert KOHYA_SS.collect(plan, request.run_folder).final is None


def test_no_image_is_a_failure_although_it_ends_well(planned: Callable[..., Any]) -> None:
    request, plan = planned("sd15")
    for path in request.data.folder.iterdir():
        path.unlink()

    done = run_plan(KOHYA_SS, plan, request.run_folder)

    assert done.status == 0
    assert KOHYA_SS.explain(done.lines, done.status).code == "dataset_empty", done.text


def test_an_image_that_is_cut_short_is_told(planned: Callable[..., Any]) -> None:
    request, plan = planned("sd15")
    image = request.data.folder / "000001.png"
    image.write_bytes(image.read_bytes()[:40])

    done = run_plan(KOHYA_SS, plan, request.run_folder)

    assert done.status != 0
    assert KOHYA_SS.explain(done.lines, done.status).code == "image_unreadable", done.text


def test_a_missing_tokenizer_is_told_without_asking_the_network(
    planned: Callable[..., Any], small: Path
) -> None:
    request, plan = planned("sd15")
    nowhere = replace(
        plan,
        files=tuple(
            replace(one, content=one.content.replace(str(small / "tokenizers"), "/nowhere"))
            for one in plan.files
        ),
    )

    done = run_plan(KOHYA_SS, nowhere, request.run_folder)

    error = KOHYA_SS.explain(done.lines, done.status)
    assert done.status == 1
    assert error.code == "model_unavailable", done.text
    assert "tokenizerCache" in error.hint


@pytest.mark.skipif(bool(_MISSING_BASE), reason=f"not set: {', '.join(_MISSING_BASE)}")
def test_a_checkpoint_of_real_size_is_trained(tmp_path: Path) -> None:
    here = settings_with(
        tmp_path / "ws",
        trainers__kohya_ss__home=_GIVEN["LORA_TEST_KOHYA"],
        trainers__kohya_ss__python=_GIVEN["LORA_TEST_KOHYA_PYTHON"],
        trainers__kohya_ss__tokenizerCache=_GIVEN["LORA_TEST_KOHYA_TOKENIZERS"],
        trainers__kohya_ss__device="cpu",
    )
    made = make_request(tmp_path, "sd15", recipe={"steps": 2, "save_every": 1})
    base = replace(made.checkpoint, path=Path(_GIVEN["LORA_TEST_KOHYA_BASE"]))
    request = replace(made, checkpoint=base)
    assert KOHYA_SS.health(here) is None
    plan = KOHYA_SS.prepare(request, here, KOHYA_SS.version(here))
    done = run_plan(KOHYA_SS, plan, request.run_folder, idle_timeout_s=600)
    assert done.status == 0, done.text
    assert done.progress[-1].step == plan.total_steps
    found = KOHYA_SS.collect(plan, request.run_folder)
    assert [one.step for one in found.checkpoints] == [1, 2]
    assert found.final is not None
    report = inspect_weights(found.final.path)
    assert (report.problems, report.rank) == ((), 4)
