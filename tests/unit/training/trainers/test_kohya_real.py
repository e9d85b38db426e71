"""The real sd-scripts, when it is there: LORA_TEST_KOHYA names a checkout with its environment.

    LORA_TEST_KOHYA         checkout of sd-scripts
    LORA_TEST_KOHYA_PYTHON  Python that has its requirements
    LORA_TEST_KOHYA_BASE    an SD 1.5 checkpoint: safetensors file or diffusers folder
    LORA_TEST_KOHYA_TOKENIZERS  folder that holds openai_clip-vit-large-patch14

Real geometry on a CPU: a minute or two, and 7 GB of memory.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from lora_pipeline.training.trainers.kohya_ss import KOHYA_SS
from lora_pipeline.training.weights import inspect_weights
from tests.support.trainer_requests import make_request, run_plan, settings_with

_NAMES = (
    "LORA_TEST_KOHYA", "LORA_TEST_KOHYA_PYTHON", "LORA_TEST_KOHYA_BASE",
    "LORA_TEST_KOHYA_TOKENIZERS",
)  # fmt: skip
# Read here, because no LORA_ variable reaches a test.
_GIVEN = {name: os.environ.get(name, "") for name in _NAMES}
_MISSING = [name for name, value in _GIVEN.items() if not value]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(_MISSING), reason=f"not set: {', '.join(_MISSING)}"),
]


def test_the_real_program_takes_the_plan_and_trains(tmp_path: Path) -> None:
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
    done = run_plan(KOHYA_SS, plan, request.run_folder)
    assert done.status == 0, done.text
    assert done.progress[-1].step == plan.total_steps
    found = KOHYA_SS.collect(plan, request.run_folder)
    assert [one.step for one in found.checkpoints] == [1, 2]
    assert found.final is not None
    report = inspect_weights(found.final.path)
    assert (report.problems, report.rank) == ((), 4)
    assert report.metadata["ss_training_comment"].endswith(request.run_id)
