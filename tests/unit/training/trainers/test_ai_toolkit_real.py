"""The real ai-toolkit, when it is there: LORA_TEST_AI_TOOLKIT names a checkout.

    LORA_TEST_AI_TOOLKIT         checkout of ostris/ai-toolkit
    LORA_TEST_AI_TOOLKIT_PYTHON  Python that has its requirements

The checkpoint has random weights and is made here. A minute on a CPU, most of it imports. An
environment without a GPU must have no triton: ai-toolkit then asks for a driver on import.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace

from lora_pipeline.training.trainers.ai_toolkit.trainer import AI_TOOLKIT
from lora_pipeline.training.weights.inspection import inspect_weights
from tests.support.tiny_checkpoint import make_tiny_sd15
from tests.support.trainer_requests import make_request, run_plan, settings_with

_NAMES = ("LORA_TEST_AI_TOOLKIT", "LORA_TEST_AI_TOOLKIT_PYTHON")
# Read here, because no LORA_ variable reaches a test.
_GIVEN = {name: os.environ.get(name, "") for name in _NAMES}
_MISSING = [name for name, value in _GIVEN.items() if not value]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.train,
    pytest.mark.skipif(bool(_MISSING), reason=f"not set: {', '.join(_MISSING)}"),
]


def test_the_real_program_takes_the_plan_trains_and_goes_on_from_its_save(tmp_path: Path) -> None:
    here = settings_with(
        tmp_path / "ws",
        trainers__ai_toolkit__home=_GIVEN["LORA_TEST_AI_TOOLKIT"],
        trainers__ai_toolkit__python=_GIVEN["LORA_TEST_AI_TOOLKIT_PYTHON"],
        trainers__ai_toolkit__device="cpu",
    )
    made = make_request(
        tmp_path, "sd15", captions=("a é", "b", "c"), repeats=(1, 2, 1),
        recipe={
            "steps": 4, "save_every": 2, "alpha": 2.0, "lr_scheduler": "linear",
            "caption_dropout": 0.1, "flip": True, "target_convolutions": True,
            "sample_every": 2, "sample_prompts": ('a "moon": 1e-4',),
        },
    )  # fmt: skip
    base = replace(made.checkpoint, path=make_tiny_sd15(tmp_path / "base"))
    request = replace(made, checkpoint=base)
    assert AI_TOOLKIT.health(here) is None
    plan = AI_TOOLKIT.prepare(request, here, AI_TOOLKIT.version(here))

    done = run_plan(AI_TOOLKIT, plan, request.run_folder)

    assert done.status == 0, done.text
    assert done.progress[-1].step == plan.total_steps
    found = AI_TOOLKIT.collect(plan, request.run_folder)
    assert [one.step for one in found.checkpoints] == [2]
    assert found.final is not None
    report = inspect_weights(found.final.path)
    assert (report.problems, report.rank) == ((), 4)
    assert '"step": 4' in report.metadata["training_info"]
    staged = {path.suffix for path in request.data.folder.iterdir()}
    assert staged == {".png", ".txt"}, "it wrote beside the staged images"

    found.final.path.unlink()  # as a run that was killed after its save leaves it
    again = run_plan(AI_TOOLKIT, plan, request.run_folder)

    assert again.status == 0, again.text
    assert AI_TOOLKIT.collect(plan, request.run_folder).final is not None
    assert min(step.step for step in again.progress) >= 2
    shutil.rmtree(request.run_folder)
