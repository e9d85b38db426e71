"""Length, minutes and sizes, told by what earlier runs took."""

from __future__ import annotations

import pytest

from lora_pipeline.training.estimates import PastRun, duration_of, estimate, weights_size
from lora_pipeline.training.records import Recipe
from tests.unit.training.test_cautions import images, subject

SMALL = Recipe(steps=100, rank=8, resolution=512)


def past(
    seconds: float = 60.0,
    steps: int = 100,
    recipe: Recipe = SMALL,
    size: int = 0,
    *,
    here: bool = True,
) -> PastRun:
    return PastRun(seconds, steps, recipe, size, here)


def test_length_counts_repeats_and_batches() -> None:
    found = estimate(subject(recipe=Recipe(epochs=4, batch_size=2, resolution=512)))

    assert (found.images, found.images_per_epoch, found.steps, found.looks) == (40, 40, 80, 4)


def test_without_earlier_runs_nobody_invents_minutes() -> None:
    found = duration_of(SMALL, 100, [])

    assert (found.low, found.high) == (None, None)
    assert "no run of this trainer" in found.basis


def test_minutes_follow_steps_batch_and_pixels_of_earlier_runs() -> None:
    larger = Recipe(steps=200, rank=8, resolution=1024, batch_size=2)

    found = duration_of(larger, 200, [past()])

    # 0.6 s a step, 4 times the pixels, twice the batch, 200 steps: 16 minutes, give or take.
    assert (found.low, found.high) == (12.0, 20.0)
    assert found.basis == "1 earlier run on this machine"


def test_runs_of_this_machine_count_before_those_of_others() -> None:
    found = duration_of(SMALL, 100, [past(6000, here=False), past(60), past(120)])

    assert (found.low, found.high) == (0.8, 2.5)
    assert found.basis == "2 earlier runs on this machine"


def test_runs_of_other_machines_count_where_there_is_nothing_else_and_say_so() -> None:
    assert duration_of(SMALL, 100, [past(here=False)]).basis == "1 earlier run on other machines"


@pytest.mark.parametrize("broken", [past(seconds=0), past(steps=0)])
def test_a_run_that_tells_nothing_is_not_asked(broken: PastRun) -> None:
    assert duration_of(SMALL, 100, [broken]).low is None


def test_weights_grow_with_the_rank() -> None:
    assert weights_size(Recipe(steps=1, rank=32), [past(size=800)]) == 3200


def test_weights_of_another_shape_tell_nothing() -> None:
    with_text = Recipe(steps=1, rank=8, train_text_encoder=True)

    assert weights_size(with_text, [past(size=800)]) is None
    assert weights_size(SMALL, [past(size=0)]) is None


def test_images_of_several_repeats_count_as_often() -> None:
    assert estimate(subject(data=images(3, repeats=5))).images_per_epoch == 15
