"""How sd-scripts is told to go on, worked out without it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from lora_pipeline.training.plan import Plan
from lora_pipeline.training.trainers.interface import TrainingProgress
from lora_pipeline.training.trainers.kohya.trainer import KOHYA_SS
from tests.support.trainer_requests import make_folder, make_request, settings_with
from tests.support.training_builders import write_lora

STEM = "neon_icons-r3"


def planned(folder: Path, **recipe: object) -> Plan:
    """Return a plan of fourteen steps that saves after every third."""
    request = make_request(folder, "sd15", recipe={"steps": 14, "save_every": 3, **recipe})
    return KOHYA_SS.prepare(request, settings_with(folder / "workspace"), "unknown")


def run_that_saved(folder: Path, *steps: int, batches: int = 4) -> Path:
    """Write what a run left that was killed after these steps; returns its folder."""
    make_folder(folder)
    (folder / "log.txt").write_text(
        f"  num batches per epoch / 1epochのバッチ数: {batches}\n", encoding="utf-8"
    )
    for step in steps:
        write_lora(folder / "output" / f"{STEM}-step{step:08d}.safetensors")
        write_state(folder / "output" / f"{STEM}-step{step:08d}-state")
    return folder


def write_state(folder: Path) -> Path:
    """Write a whole state."""
    write_lora(folder / "model.safetensors")
    for name in ("optimizer.bin", "scheduler.bin", "random_states_0.pkl"):
        with zipfile.ZipFile(folder / name, "w") as archive:
            archive.writestr("archive/data.pkl", b"numbers" * 100)
    return folder


def told(argv: tuple[str, ...]) -> tuple[str, str]:
    """Return the state and the step that sd-scripts is told to begin at."""
    at = argv.index("--resume")
    assert argv[at + 2 : at + 4] == ("--skip_until_initial_step", "--initial_step")
    return Path(argv[at + 1]).name, argv[at + 4]


# Four batches an epoch: sd-scripts leaves out whole epochs, counts from the rest, and stops
# after the last epoch: of 16 steps in four epochs, 14 are wanted.
@pytest.mark.parametrize(
    ("step", "batches", "initial", "bar"),
    [
        (3, 4, "3", 11),  # in the first epoch: counted on
        (9, 4, "11", 11),  # 2 epochs left out, 3 steps of the third, and 5 are taken
        (12, 7, "12", 9),  # whole epochs: nothing is added
        (6, 100, "6", 8),  # less than an epoch in all
    ],
)
def test_it_takes_exactly_the_steps_that_are_left(
    step: int, batches: int, initial: str, bar: int, tmp_path: Path
) -> None:
    plan = planned(tmp_path)
    earlier = run_that_saved(tmp_path / "earlier", step, batches=batches)

    going_on = KOHYA_SS.carry_over(plan, earlier, tmp_path / "again")

    assert going_on is not None
    assert (going_on.step, going_on.bar) == (step, bar)
    assert told(going_on.plan.argv) == (f"{STEM}-step{step:08d}-state", initial)
    assert going_on.counted(TrainingProgress(2, bar, 0.5)) == TrainingProgress(step + 2, 14, 0.5)
    assert going_on.counted(TrainingProgress(2, 20)) == TrainingProgress(2, 20)


# Four batches a pass, two of them a step: two steps a pass. Of seven passes for 14 steps, 14 - S
# steps are whole passes where S is even; in the first pass it counts batches, so S is one.
@pytest.mark.parametrize(
    ("step", "batches", "initial", "bar"),
    [
        (12, 4, "6", 26),  # six passes left out, counted from minus 12
        (6, 4, "3", 20),
        (9, 10, "7", 20),  # five steps a pass: 14 - 9 is one pass
        (4, 20, "2", 10),  # in the first pass, four batches are left out
    ],
)
def test_with_accumulation_it_goes_on_where_whole_passes_are_left(
    step: int, batches: int, initial: str, bar: int, tmp_path: Path
) -> None:
    plan = planned(tmp_path, gradient_accumulation=2)
    earlier = run_that_saved(tmp_path / "earlier", step, step + 1, batches=batches)

    going_on = KOHYA_SS.carry_over(plan, earlier, tmp_path / "again")

    assert going_on is not None
    assert (going_on.step, going_on.bar) == (step, bar)
    assert told(going_on.plan.argv) == (f"{STEM}-step{step:08d}-state", initial)


def test_what_was_saved_while_it_counted_from_below_zero_has_the_steps_of_the_whole(
    tmp_path: Path,
) -> None:
    plan = planned(tmp_path, gradient_accumulation=2)
    first = run_that_saved(tmp_path / "first", 6)
    second = tmp_path / "second"
    KOHYA_SS.carry_over(plan, first, second)
    # It counts from minus six, and saves after every third step.
    run_that_saved(second, -3, 0)

    assert [one.step for one in KOHYA_SS.collect(plan, second).checkpoints] == [6, 9, 12]


def test_saves_of_all_runs_are_named_by_the_steps_of_the_whole_training(tmp_path: Path) -> None:
    plan = planned(tmp_path, steps=20)
    first = run_that_saved(tmp_path / "first", 3, 6, 9)
    second = tmp_path / "second"
    KOHYA_SS.carry_over(plan, first, second)
    # The second run counts from the ninth step as 1, so what it calls 4 is the twelfth.
    run_that_saved(second, 4)

    saved = KOHYA_SS.collect(plan, second).checkpoints
    again = KOHYA_SS.carry_over(plan, second, tmp_path / "third")

    assert [one.step for one in saved] == [3, 6, 9, 12]
    assert again is not None
    assert again.step == 12
    third = KOHYA_SS.collect(plan, tmp_path / "third").checkpoints
    assert [one.step for one in third] == [3, 6, 9, 12]


@pytest.mark.parametrize("broken", ["random_states_0.pkl", "optimizer.bin", "model.safetensors"])
def test_a_state_that_was_cut_short_is_passed_over(broken: str, tmp_path: Path) -> None:
    plan = planned(tmp_path)
    earlier = run_that_saved(tmp_path / "earlier", 3, 6)
    path = earlier / "output" / f"{STEM}-step00000006-state" / broken
    path.write_bytes(path.read_bytes()[:-30])

    going_on = KOHYA_SS.carry_over(plan, earlier, tmp_path / "again")

    assert going_on is not None
    assert going_on.step == 3


@pytest.mark.parametrize("reason", ["no state", "no log", "accumulation", "too near to the end"])
def test_what_cannot_be_gone_on_from_begins_anew(reason: str, tmp_path: Path) -> None:
    plan = planned(tmp_path, **({"gradient_accumulation": 2} if reason == "accumulation" else {}))
    steps = {"no state": (), "too near to the end": (12,), "accumulation": (5, 9)}.get(reason, (6,))
    earlier = run_that_saved(tmp_path / "earlier", *steps)
    if reason == "no log":
        (earlier / "log.txt").unlink()

    assert KOHYA_SS.carry_over(plan, earlier, tmp_path / "again") is None
    assert not (tmp_path / "again").exists()


def test_a_state_behind_a_link_is_not_taken(tmp_path: Path) -> None:
    plan = planned(tmp_path)
    earlier = run_that_saved(tmp_path / "earlier")
    elsewhere = write_state(tmp_path / "elsewhere")
    make_folder(earlier / "output")
    (earlier / "output" / f"{STEM}-step00000006-state").symlink_to(elsewhere)

    assert KOHYA_SS.carry_over(plan, earlier, tmp_path / "again") is None


@pytest.mark.parametrize(("accumulation", "kept"), [(1, 3), (2, 21)])
def test_more_states_are_kept_where_only_some_will_do(
    accumulation: int, kept: int, tmp_path: Path
) -> None:
    plan = planned(tmp_path, gradient_accumulation=accumulation)

    (run,) = [one.content for one in plan.files if one.path == "run.toml"]
    assert f"save_last_n_steps_state = {kept}\n" in run
