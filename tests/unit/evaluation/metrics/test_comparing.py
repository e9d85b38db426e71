from __future__ import annotations

from msgspec.structs import replace

from lora_pipeline.evaluation.metric_records import Compared, CopyCheck, Encoder
from lora_pipeline.evaluation.metrics.comparing import disagreements, unchecked
from lora_pipeline.evaluation.records import EvaluationMetrics

VALUE = Compared(lora=0.6, base=0.5, difference=0.1, pairs=4, prompts=2)
ENCODER = Encoder(name="sscd", digest="sha256:" + "7" * 64, version="torch 2")
COPIES = CopyCheck(
    similarity=0.9, cell_id="c" * 16, asset_id="A1", cells=4, images=2, encoder=ENCODER
)
MEASURED = EvaluationMetrics(tone_distance=VALUE, copies=COPIES, copy_similarity_max=0.9)


def test_the_same_measurements_agree() -> None:
    assert disagreements(MEASURED, MEASURED) == []


def test_a_value_that_was_typed_does_not() -> None:
    typed = replace(MEASURED, copy_similarity_max=0.1)
    assert disagreements(typed, MEASURED) == ["copySimilarityMax is 0.9, recorded 0.1"]


def test_a_value_that_was_left_out_does_not() -> None:
    assert disagreements(replace(MEASURED, tone_distance=None), MEASURED)


def test_rounding_of_another_processor_is_no_disagreement() -> None:
    near = replace(MEASURED, tone_distance=replace(VALUE, lora=0.6004))
    assert disagreements(near, MEASURED) == []


def test_another_encoder_is_said_as_such() -> None:
    other = replace(MEASURED, copies=replace(COPIES, encoder=replace(ENCODER, version="torch 3")))
    assert disagreements(other, MEASURED) == [
        "copies was measured by another encoder, or by another version of it"
    ]


def test_what_cannot_be_measured_here_is_unchecked_and_not_wrong() -> None:
    here = EvaluationMetrics(tone_distance=VALUE, not_proven={"copies": "no model"})
    assert disagreements(MEASURED, here) == []
    assert unchecked(MEASURED, here) == {"copies": "no model"}
