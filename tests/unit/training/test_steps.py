"""Steps, epochs and looks."""

from __future__ import annotations

import pytest

from lora_pipeline.training.records import Recipe
from lora_pipeline.training.steps import looks_per_image, total_steps


@pytest.mark.parametrize(
    ("recipe", "steps"),
    [
        (Recipe(steps=7, epochs=100), 7),
        (Recipe(epochs=3), 30),
        (Recipe(epochs=3, batch_size=4), 8),
        (Recipe(epochs=3, batch_size=2, gradient_accumulation=5), 3),
        (Recipe(epochs=1, batch_size=100), 1),
    ],
)
def test_steps_win_and_epochs_are_counted_in_images(recipe: Recipe, steps: int) -> None:
    assert total_steps(recipe, images_per_epoch=10) == steps


def test_looks_are_steps_times_images_of_a_step() -> None:
    recipe = Recipe(steps=100, batch_size=2, gradient_accumulation=2)

    assert looks_per_image(recipe, images_per_epoch=40) == 10.0
