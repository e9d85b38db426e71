"""The real mflux-train, when LORA_TEST_MFLUX names it: every plan is checked, and one is trained.

Trained is a FLUX.2 klein of random weights and small widths, made here (``tiny_mflux.py``). On a
CPU that takes some minutes: most of it are the previews that mflux draws at begin and end.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from lora_pipeline.catalog.architecture import architecture_of_mlx
from lora_pipeline.catalog.checkpoints import digest_checkpoint, list_files
from lora_pipeline.foundation.events import discard
from lora_pipeline.foundation.process import Supervised, child_environment, run
from lora_pipeline.training.plan import Plan
from lora_pipeline.training.trainers.mflux.models import MODELS
from lora_pipeline.training.trainers.mflux.trainer import MFLUX
from lora_pipeline.training.weights.inspection import inspect_weights
from tests.support import tiny_mflux
from tests.support.trainer_requests import make_request, run_plan, settings_with, write_files
from tests.unit.training.trainers.mflux.test_trainer import NAMES

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


def test_what_the_real_program_saved_is_known_by_its_bytes_and_its_names(tmp_path: Path) -> None:
    for bits in (0, 4):
        python = Path(_PROGRAM).with_name("python")
        found = list_files(tiny_mflux.make_checkpoint(tmp_path / f"base{bits}", python, bits=bits))
        assert found.mlx is not None
        assert found.mlx.bits == (bits or None)
        assert architecture_of_mlx(found.mlx.tensors) == "flux2"
        assert digest_checkpoint(found, discard).bytes > 100_000


@pytest.mark.parametrize("bits", [0, 8])
def test_the_real_program_trains_is_killed_and_goes_on(bits: int, tmp_path: Path) -> None:
    python = Path(_PROGRAM).with_name("python")
    base = tiny_mflux.make_checkpoint(tmp_path / tiny_mflux.NAME, python, bits=bits)
    program = tiny_mflux.make_program(tmp_path / "bin", python)
    here = settings_with(tmp_path / "ws", trainers__mflux__program=str(program))
    own = tmp_path / "own.json"
    own.write_text('{"steps": 2}', encoding="utf-8")  # previews in two strokes
    made = make_request(
        tmp_path, "flux2", checkpoint="base", checkpoint_id=tiny_mflux.NAME, config_file=own,
        recipe={"steps": 6, "save_every": 2, "alpha": 2.0, "mixed_precision": "bf16"},
    )  # fmt: skip
    request = replace(made, checkpoint=replace(made.checkpoint, path=base))
    plan = MFLUX.prepare(request, here, MFLUX.version(here))
    again = tmp_path / "again"
    _run_until_step(plan, request.run_folder, 3)

    going_on = MFLUX.carry_over(plan, request.run_folder, again)

    assert going_on is not None
    # It goes on while we read what it prints, so that it may have saved once more.
    assert going_on.step in {2, 4}
    done = run_plan(MFLUX, going_on.plan, again, idle_timeout_s=600)
    assert done.status == 0, done.text
    steps = [one for one in done.progress if one.total == plan.total_steps]
    assert (steps[0].step, steps[-1].step) == (going_on.step, 6)
    found = MFLUX.collect(plan, again)
    assert found.final is not None
    assert [one.step for one in found.checkpoints] == [2, 4]
    report = inspect_weights(found.final.path)
    assert (report.problems, report.rank) == ((), 4)
    assert report.metadata["lora_pipeline.scale"] == "0.5"


def _run_until_step(plan: Plan, folder: Path, step: int) -> None:
    write_files(plan, folder)
    environment = child_environment(plan.environment)
    with Supervised(plan.argv, cwd=plan.cwd, environment=environment) as running:
        for line in running.lines(idle_timeout_s=600):
            told = MFLUX.read_line(line)
            if told is not None and told.total == plan.total_steps and told.step >= step:
                return
