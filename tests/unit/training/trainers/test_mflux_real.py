"""The real mflux-train, when LORA_TEST_MFLUX names it: it checks every plan without a model."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lora_pipeline.foundation.process import child_environment, run
from lora_pipeline.training.trainers.mflux import MFLUX
from lora_pipeline.training.trainers.mflux_models import MODELS
from tests.support.trainer_requests import make_request, settings_with, write_files
from tests.unit.training.trainers.test_mflux import NAMES

# Read here, because no LORA_ variable reaches a test.
_PROGRAM = os.environ.get("LORA_TEST_MFLUX", "")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not _PROGRAM, reason="not set: LORA_TEST_MFLUX"),
]


@pytest.mark.parametrize("alias", sorted(MODELS))
@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"lr_scheduler": "cosine", "warmup_steps": 1, "alpha": 2.0, "optimizer": "adafactor"},
        {"optimizer": "lion", "low_memory": True, "quantize": 8, "save_every": 2},
    ],
)
def test_the_real_program_accepts_every_plan(
    alias: str, recipe: dict[str, object], tmp_path: Path
) -> None:
    here = settings_with(tmp_path / "ws", trainers__mflux__program=_PROGRAM)
    request = make_request(
        tmp_path,
        MODELS[alias].architecture,
        recipe=recipe,
        checkpoint="base",
        checkpoint_id=NAMES[alias],
    )
    assert MFLUX.health(here) is None
    plan = MFLUX.prepare(request, here, MFLUX.version(here))
    write_files(plan, request.run_folder)
    done = run([*plan.argv, "--dry-run"], environment=child_environment(plan.environment))
    assert done.status == 0, done.stderr
    assert "Training config validated." in done.stdout
