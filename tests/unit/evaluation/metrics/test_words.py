from __future__ import annotations

import pytest

from lora_pipeline.evaluation.metric_records import Compared, CopyCheck, Encoded, Encoder, LookAlike
from lora_pipeline.evaluation.metrics.words import (
    described,
    encoder_words,
    measured_facts,
    signed,
)
from lora_pipeline.evaluation.records import EvaluationMetrics

ENCODER = Encoder(name="sscd mixup", digest="sha256:" + "7" * 64, version="torch 2 · cpu")


def value(low: float | None, high: float | None, prompts: int = 8) -> Compared:
    return Compared(
        lora=0.6, base=0.5, difference=0.1, low=low, high=high, pairs=24, prompts=prompts
    )


def copies(similarity: float) -> CopyCheck:
    return CopyCheck(
        similarity=similarity, cell_id="c" * 16, asset_id="A1", cells=72, images=1,
        worth_a_look=3, base=0.31, encoder=ENCODER,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("low", "high", "prompts", "worth"),
    [
        (0.05, 0.15, 8, "nearer"),
        (-0.05, 0.15, 8, "no difference to the base that these prompts could show"),
        (None, None, 1, "one prompt says nothing about others"),
        (0.05, 0.15, 3, "from few prompts: a hint"),
    ],
)
def test_a_difference_is_worth_what_its_interval_allows(
    low: float | None, high: float | None, prompts: int, worth: str
) -> None:
    # Less distance is nearer, so the sign is turned.
    turned = (None, None) if low is None or high is None else (-high, -low)
    given = value(turned[0], turned[1], prompts)
    [told] = described(EvaluationMetrics(palette_distance=given))
    assert worth in told.worth


def test_a_value_is_said_with_base_interval_and_numbers() -> None:
    [told] = described(EvaluationMetrics(clip_text=Encoded(
        lora=0.312, base=0.298, difference=0.014, low=-0.003, high=0.031, pairs=24, prompts=1,
        encoder=ENCODER,
    )))  # fmt: skip
    minus = "\N{MINUS SIGN}"
    assert told.words == f"0.312, base 0.298: +0.014 ({minus}0.003 to +0.031), 24 pairs of 1 prompt"


@pytest.mark.parametrize(
    ("similarity", "worth"),
    [(0.8, "a copy"), (0.75, "3 cells worth a look"), (0.5, "worth a look"), (0.49, "no copy")],
)
def test_the_copy_check_says_what_its_thresholds_mean(similarity: float, worth: str) -> None:
    [told] = described(EvaluationMetrics(copies=copies(similarity)))
    assert worth in told.worth
    assert f"cell {'c' * 16} to asset A1, base 0.31, 72 cells with 1 image" in told.words


def test_cells_that_show_a_training_image_are_counted() -> None:
    nearest = LookAlike(
        similarity=1, cell_id="c" * 16, asset_id="A1", mirrored=True, cells=4, images=2, same=2
    )
    [told] = described(EvaluationMetrics(look_alike=nearest))
    assert "2 cells with a training image's picture" in told.worth
    assert "(mirrored)" in told.words


def test_what_was_not_computed_is_named_with_its_reason() -> None:
    [told] = described(EvaluationMetrics(not_proven={"copies": "setting x is not set"}))
    assert not told.proven
    assert (told.title, told.words) == ("copy check", "setting x is not set")


def test_encoders_are_named_once() -> None:
    given = Encoded(lora=1, base=1, difference=0, pairs=1, prompts=1, encoder=ENCODER)
    told = encoder_words(EvaluationMetrics(clip_text=given, clip_image=given))
    assert told == ["sscd mixup  ·  sha256:777777777777…  ·  torch 2 · cpu"]


def test_nothing_measured_is_nothing_said() -> None:
    assert measured_facts(None) == {"measured": [], "encoders": []}


@pytest.mark.parametrize(
    ("number", "words"),
    [(0.01, "+0.010"), (-0.01, "\N{MINUS SIGN}0.010"), (0.0001, "0.000"), (-0.0001, "0.000")],
)
def test_what_rounds_to_nothing_has_no_sign(number: float, words: str) -> None:
    assert signed(number) == words
