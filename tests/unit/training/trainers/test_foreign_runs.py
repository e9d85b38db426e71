"""Runs of foreign programs as the pipeline supervises them: what is recorded of each ending."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.foundation.events import Event
from lora_pipeline.foundation.process import Supervised, child_environment
from lora_pipeline.training.outcome import Outcome
from lora_pipeline.training.supervision import supervise
from lora_pipeline.training.trainers.interface import Trainer
from lora_pipeline.training.trainers.kohya.trainer import KOHYA_SS
from lora_pipeline.training.trainers.mflux.trainer import MFLUX
from tests.support.fake_trainer_programs import make_mflux, make_sd_scripts
from tests.support.trainer_requests import make_request, settings_with, write_files


def run_with(
    trainer: Trainer, tmp_path: Path, *, mode: str = "", empty: bool = False, **recipe: Any
) -> tuple[Outcome, list[Event]]:
    """Return what a supervised run came to, and its events."""
    if trainer is KOHYA_SS:
        scripts = make_sd_scripts(tmp_path / "trainers")
        scripts.fail_with(mode)
        here = settings_with(
            tmp_path / "ws",
            trainers__kohya_ss__home=str(scripts.home),
            trainers__kohya_ss__tokenizerCache=str(scripts.tokenizers),
        )
        request = make_request(tmp_path, "sd15", recipe=recipe)
    else:
        program = make_mflux(tmp_path / "trainers")
        program.fail_with(mode)
        here = settings_with(tmp_path / "ws", trainers__mflux__program=str(program.program))
        request = make_request(
            tmp_path, "zimage", recipe=recipe, checkpoint="base", checkpoint_id="z_image"
        )
    plan = trainer.prepare(request, here, trainer.version(here))
    if empty:
        shutil.rmtree(request.data.folder)
    events: list[Event] = []
    outcome = supervise(
        plan, trainer, request.checkpoint, request.run_folder, events=events.append,
        idle_timeout_s=60,
    )  # fmt: skip
    return outcome, events


def test_a_run_of_sd_scripts_brings_verified_weights(tmp_path: Path) -> None:
    outcome, events = run_with(KOHYA_SS, tmp_path, save_every=2)
    assert outcome.error is None
    assert outcome.final is not None
    assert [one.step for one in outcome.checkpoints] == [2, 4]
    assert (outcome.steps_done, outcome.final_loss) == (4, 0.3)
    steps = [event.step for event in events if event.type == "progress"]
    assert steps == sorted(steps, key=lambda step: step or 0)


def test_previews_of_mflux_do_not_count_as_steps(tmp_path: Path) -> None:
    outcome, events = run_with(MFLUX, tmp_path, sample_every=2)
    assert outcome.error is None
    assert outcome.final is not None
    assert outcome.steps_done == 4
    assert outcome.final_loss == pytest.approx(0.6)
    assert {event.total for event in events if event.type == "progress"} == {4}


@pytest.mark.parametrize(
    ("trainer", "mode", "code"),
    [
        (KOHYA_SS, "out-of-memory", "out_of_memory"),
        (KOHYA_SS, "silent", "no_output"),
        (KOHYA_SS, "nan", "weights_refused"),
        (KOHYA_SS, "untrained", "weights_refused"),
        (MFLUX, "out-of-memory", "out_of_memory"),
        (MFLUX, "stopped", "no_output"),
        (MFLUX, "cut-off", "no_output"),
        (MFLUX, "untrained", "weights_refused"),
    ],
)
def test_a_failure_is_recorded_with_its_class_and_what_to_do(
    trainer: Trainer, mode: str, code: str, tmp_path: Path
) -> None:
    outcome, _ = run_with(trainer, tmp_path, mode=mode)
    assert outcome.final is None
    assert outcome.error is not None
    assert outcome.error.code == code
    assert outcome.error.message
    assert outcome.error.hint


def test_a_program_that_ends_well_without_images_is_told_as_such(tmp_path: Path) -> None:
    outcome, _ = run_with(KOHYA_SS, tmp_path, empty=True)
    assert outcome.status == 0
    assert outcome.error is not None
    assert outcome.error.code == "dataset_empty"


@pytest.mark.skipif(sys.platform == "win32", reason="process groups and flock are POSIX's")
def test_stopping_a_run_stops_the_script_below_its_launcher_too(tmp_path: Path) -> None:
    import fcntl

    scripts = make_sd_scripts(tmp_path / "trainers")
    scripts.fail_with("hang")
    here = settings_with(
        tmp_path / "ws",
        trainers__kohya_ss__home=str(scripts.home),
        trainers__kohya_ss__tokenizerCache=str(scripts.tokenizers),
    )
    request = make_request(tmp_path, "sd15", recipe={"save_every": 1})
    plan = KOHYA_SS.prepare(request, here, "x")
    write_files(plan, request.run_folder)
    environment = child_environment(plan.environment)
    with Supervised(plan.argv, cwd=plan.cwd, environment=environment) as running:
        for line in running.lines(idle_timeout_s=60):
            step = KOHYA_SS.read_line(line)
            if step is not None and step.step == 2:
                break
    with (request.run_folder / "output" / "alive").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the script held it as long as it lived
    found = KOHYA_SS.collect(plan, request.run_folder)
    assert found.final is None
    assert found.checkpoints[0].step == 1
