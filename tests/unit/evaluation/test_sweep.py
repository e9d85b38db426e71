from __future__ import annotations

import numpy as np
import pytest
from msgspec.structs import replace

from lora_pipeline.evaluation.grid import plan_cells
from lora_pipeline.evaluation.records import Cell, SuitePrompt
from lora_pipeline.evaluation.sweep import (
    StepMeasure,
    advice,
    measure_step,
    sweep_suite,
    thinned,
)
from tests.support.evaluation_builders import make_suite

PROMPTS = (
    SuitePrompt(id="first", kind="in_domain", text="{trigger}"),
    SuitePrompt(id="second", kind="in_domain", text="{trigger}, too"),
    SuitePrompt(id="elsewhere", kind="novel_context", text="{trigger} there"),
    SuitePrompt(id="silent", kind="no_trigger", text="a thing"),
)


def measured(
    step: int, effect: float | None, variety: float | None = 1.0, leak: float | None = 0.0
) -> StepMeasure:
    return StepMeasure(step, "1" * 64, effect, leak, variety, 4, 4)


def test_a_sweep_takes_one_prompt_of_each_sort_two_seeds_and_the_highest_strength() -> None:
    suite = sweep_suite(make_suite(prompts=PROMPTS, seeds=(1, 2, 3)))
    assert [one.id for one in suite.prompts] == ["first", "elsewhere", "silent"]
    assert {one.seeds for one in suite.prompts} == {(1, 2)}
    assert suite.strengths == (1.0,)


def test_its_cells_are_part_of_the_release_grid() -> None:
    whole = make_suite(prompts=PROMPTS, seeds=(1, 2, 3))
    grids = [
        {
            cell.id
            for cell in plan_cells(
                suite,
                trigger_word="trg",
                weights_sha256="1" * 64,
                checkpoint_digest="sha256:" + "2" * 64,
            )
        }
        for suite in (whole, sweep_suite(whole))
    ]
    assert grids[1] < grids[0]


def test_prompts_that_were_asked_for_are_all_taken() -> None:
    suite = sweep_suite(make_suite(prompts=PROMPTS), every_prompt=True, strength=0.7)
    assert len(suite.prompts) == 4
    assert suite.strengths == (0.7,)


@pytest.mark.parametrize(
    ("count", "most", "kept"),
    [(3, 12, [1, 2, 3]), (6, 3, [2, 4, 6]), (7, 2, [4, 7]), (100, 4, [25, 50, 75, 100])],
)
def test_of_many_checkpoints_some_are_taken_evenly_and_the_last_one_always(
    count: int, most: int, kept: list[int]
) -> None:
    assert thinned(range(1, count + 1), most) == kept


def test_the_earliest_step_that_changes_nearly_as_much_is_advised() -> None:
    steps = [measured(100, 0.02), measured(200, 0.091), measured(300, 0.095), measured(400, 0.1)]
    found = advice(steps)
    assert found.step == 200
    assert found.words.startswith("step 200: effect 0.091, variety 100% of the base's; later")


def test_steps_whose_seeds_look_alike_are_not_advised_and_named() -> None:
    steps = [measured(100, 0.05, 0.95), measured(200, 0.09, 0.9), measured(300, 0.3, 0.4)]
    found = advice(steps)
    assert found.step == 200
    assert "from step 300 on the seeds look alike (40%)" in found.words


def test_a_step_that_shows_without_the_trigger_word_is_advised_with_a_caution() -> None:
    found = advice([measured(100, 0.01), measured(200, 0.1, leak=0.08)])
    assert found.step == 200
    assert found.words.endswith("; without the trigger word it changes 0.080, so it leaks")


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([], "fewer than two"),
        ([measured(1, 0.1)], "fewer than two"),
        ([measured(1, 0.1), measured(2, None)], "fewer than two"),
        ([measured(1, 0.0), measured(2, 0.0)], "no effect"),
        ([measured(1, 0.1, 0.3), measured(2, 0.2, 0.2)], "more alike than the base"),
    ],
)
def test_where_the_numbers_speak_for_no_step_none_is_advised(
    steps: list[StepMeasure], words: str
) -> None:
    found = advice(steps)
    assert found.step is None
    assert words in found.words


def flat(value: int) -> np.ndarray:
    return np.full((4, 4, 3), value, np.uint8)


def test_effect_leak_and_variety_are_measured_against_the_base() -> None:
    suite = sweep_suite(make_suite())
    cells = [
        replace(cell, status="done")
        for cell in plan_cells(
            suite, trigger_word="trg", weights_sha256="1" * 64, checkpoint_digest="d"
        )
    ]
    # heart: base 0 and 102, LoRA 51 and 102; bare: base 0, LoRA 0.
    shown = {("heart", 1): (0, 51), ("heart", 2): (102, 102), ("bare", 1): (0, 0)}

    def load(cell: Cell) -> np.ndarray:
        base, lora = shown.get((cell.prompt_id, cell.seed), (0, 0))
        return flat(lora if cell.strength else base)

    out, found = measure_step(100, "1" * 64, suite, cells, load)
    assert [cell.id for cell in out] == [cell.id for cell in cells]
    assert (found.effect, found.leak, found.variety) == (0.1, 0.0, 0.5)
    assert (found.cells, found.drawn) == (4, 4)


def test_cells_without_a_picture_are_passed_through_and_not_measured() -> None:
    suite = sweep_suite(make_suite())
    cells = plan_cells(suite, trigger_word="trg", weights_sha256="1" * 64, checkpoint_digest="d")
    out, found = measure_step(100, "1" * 64, suite, cells, lambda _: flat(0))
    assert out == list(cells)
    assert (found.effect, found.leak, found.variety, found.drawn) == (None, None, None, 0)
