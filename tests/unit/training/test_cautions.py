"""What is unusual is said, each with its code; what is usual is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.catalog.records import CheckpointLicense
from lora_pipeline.training.cautions import Caution, Subject, cautions_about, trainer_notes
from lora_pipeline.training.plan import StagedImage, TrainingData
from lora_pipeline.training.records import Recipe

FREE = CheckpointLicense(id="Apache-2.0", commercial_loras="yes")


def usual(**changes: Any) -> Recipe:
    return Recipe(
        **{"steps": 1000, "batch_size": 2, "resolution": 512, "save_every": 250, **changes}
    )


def images(
    count: int, caption: str = "flt, a flat icon {}", size: int = 512, repeats: int = 1
) -> TrainingData:
    staged = tuple(
        StagedImage(f"{number}.png", caption.format(number), repeats, size, size)
        for number in range(count)
    )
    return TrainingData("icons", "sha256:0", Path("/staging"), staged)


def subject(**changes: Any) -> Subject:
    values: dict[str, Any] = {
        "recipe": usual(), "data": images(40), "trigger_word": "flt", "license": FREE,
        "recommended": (30, 60), "native_resolution": 512, "asset_types": ("ui_icon",),
        "held_out": 4,
    }  # fmt: skip
    return Subject(**{**values, **changes})


def test_usual_training_has_no_caution() -> None:
    assert cautions_about(subject()) == ()


@pytest.mark.parametrize(
    ("code", "changes", "words"),
    [
        ("few_images", {"data": images(10)}, "10 images; 30 to 60 are usual"),
        ("few_images", {"data": images(5), "recommended": None}, "5 images are few"),
        ("nothing_held_out", {"held_out": 0}, "copying cannot be told from learning"),
        ("flip_mirrors", {"recipe": usual(flip=True), "asset_types": ("logo",)}, "every logo"),
        ("steps_per_image_low", {"recipe": usual(steps=150)}, "looked at 8 times"),
        ("steps_per_image_high", {"recipe": usual(steps=4900)}, "invites memorising"),
        ("steps_unusual", {"recipe": usual(steps=6000)}, "100 to 5000 are usual"),
        ("steps_unusual", {"recipe": usual(steps=99)}, "99 steps"),
        ("learning_rate_unusual", {"recipe": usual(learning_rate=0.1)}, "learningRate 0.1"),
        ("learning_rate_unusual", {"recipe": usual(learning_rate=1e-7)}, "learningRate 1e-07"),
        ("batch_larger_than_set", {"recipe": usual(batch_size=41)}, "more than the 40 images"),
        ("no_checkpoints_kept", {"recipe": usual(save_every=None)}, "1000 steps without"),
        ("epochs_unused", {"recipe": usual(epochs=3)}, "epochs 3 is left aside"),
        ("warmup_unused", {"recipe": usual(warmup_steps=9)}, "warmupSteps does nothing"),
        ("rank_high_for_images", {"recipe": usual(rank=128)}, "can store them one by one"),
        ("alpha_scale_unusual", {"recipe": usual(alpha=1)}, "scales by 0.0625"),
        ("captions_empty", {"data": images(40, "")}, "40 of 40 captions are empty"),
        ("caption_length", {"data": images(40, "flt {}")}, "40 of 40 captions have fewer than 10"),
        ("caption_length", {"data": images(40, "flt, " + 500 * "x")}, "more than 500"),
        ("captions_alike", {"data": images(40, "flt, a flat icon")}, "all 40 captions"),
        ("no_trigger_word", {"trigger_word": ""}, "no trigger word"),
        ("trigger_missing", {"trigger_word": "fl"}, "40 of 40 captions lack the trigger word fl"),
        (
            "samples_without_trigger",
            {"recipe": usual(sample_every=100, sample_prompts=("flt, a cat", "a dog"))},
            "1 of 2 sample prompts",
        ),
        ("images_enlarged", {"data": images(40, size=128)}, "0.png 4.0 times"),
        ("resolution_unlike_checkpoint", {"native_resolution": 1024}, "trained at 1024 px"),
        ("license_unrecorded", {"license": None}, "licence is not recorded"),
        (
            "license_noncommercial",
            {"license": CheckpointLicense(id="X", commercial_loras="no")},
            "may not be used commercially (X)",
        ),
        ("license_unclear", {"license": CheckpointLicense(id="X")}, "is not recorded (X)"),
    ],
)  # fmt: skip
def test_what_is_unusual_is_said_with_its_code(
    code: str, changes: dict[str, Any], words: str
) -> None:
    found = {one.code: one.message for one in cautions_about(subject(**changes))}

    assert words in found.get(code, ""), found


def test_prodigy_has_a_learning_rate_of_its_own() -> None:
    assert cautions_about(subject(recipe=usual(optimizer="prodigy", learning_rate=1.0))) == ()


def test_a_trigger_of_several_signs_is_found_as_a_word() -> None:
    data = images(40, "a flt-x, icon {}")

    assert cautions_about(subject(data=data, trigger_word="flt-x")) == ()


def test_what_a_trainer_says_has_one_code() -> None:
    assert trainer_notes(["trained as x"]) == (Caution("trainer_note", "trained as x"),)
