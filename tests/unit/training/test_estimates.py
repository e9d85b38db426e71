"""What is unusual is said; what is usual is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.catalog.records import CheckpointLicense
from lora_pipeline.training.estimates import Estimate, estimate
from lora_pipeline.training.plan import StagedImage, TrainingData
from lora_pipeline.training.records import Recipe

FREE = CheckpointLicense(id="Apache-2.0", commercial_loras="yes")
USUAL = Recipe(steps=1000, rank=16, batch_size=2, resolution=512)


def images(count: int, caption: str = "flt, icon", size: int = 512) -> TrainingData:
    staged = tuple(StagedImage(f"{number}.png", caption, 1, size, size) for number in range(count))
    return TrainingData("icons", "sha256:0", Path("/staging"), staged)


def estimated(
    recipe: Recipe = USUAL,
    data: TrainingData | None = None,
    trigger: str = "flt",
    license_: CheckpointLicense | None = FREE,
    recommended: tuple[int, int] | None = (30, 60),
) -> Estimate:
    return estimate(
        recipe, data or images(40), trigger_word=trigger, license=license_, recommended=recommended
    )


def test_usual_training_has_no_warning() -> None:
    found = estimated()

    assert found.warnings == ()
    assert (found.images, found.images_per_epoch, found.steps, found.looks) == (40, 40, 1000, 50)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": images(10)}, "10 images; 30 to 60 are usual"),
        ({"data": images(5), "recommended": None}, "5 images are few"),
        ({"recipe": Recipe(steps=50, resolution=512)}, "looked at 1 times"),
        ({"recipe": Recipe(steps=20_000, resolution=512)}, "invites memorising"),
        ({"recipe": Recipe(steps=1000, epochs=3, resolution=512)}, "epochs 3 is left aside"),
        ({"recipe": Recipe(steps=1000, rank=128, resolution=512)}, "can store them one by one"),
        ({"recipe": Recipe(steps=1000, alpha=1, resolution=512)}, "scales by 0.0625"),
        (
            {"recipe": Recipe(steps=1000, warmup_steps=9, resolution=512)},
            "warmupSteps does nothing",
        ),
        ({"trigger": ""}, "no trigger word"),
        ({"trigger": "fl"}, "40 of 40 captions lack the trigger word fl"),
        ({"data": images(40, size=128)}, "40 images are smaller than 512 px"),
        ({"license_": None}, "licence is not recorded"),
        (
            {"license_": CheckpointLicense(id="X", commercial_loras="no")},
            "may not be used commercially (X)",
        ),
        ({"license_": CheckpointLicense(id="X")}, "is not recorded (X)"),
    ],
)
def test_what_is_unusual_is_said(changes: dict[str, object], words: str) -> None:
    found = estimated(**changes)  # type: ignore[arg-type]

    assert any(words in warning for warning in found.warnings), found.warnings


def test_a_trigger_of_several_signs_is_found_as_a_word() -> None:
    assert estimated(data=images(40, "a flt-x, icon"), trigger="flt-x").warnings == ()
