"""Two grids beside each other: only intervals that lie apart tell two releases apart."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from lora_pipeline.evaluation.compare_measures import Measure, compare_measures
from lora_pipeline.evaluation.metric_records import Compared, CopyCheck, Encoded, Encoder
from lora_pipeline.evaluation.metrics.words import MEASURES
from lora_pipeline.evaluation.records import EvaluationMetrics

CLIP = Encoder(name="clip small", digest="sha256:" + "c" * 64, version="transformers 5")
OTHER = replace(CLIP, digest="sha256:" + "d" * 64)
ART = "sha256:" + "a" * 64


def value(low: float | None, high: float | None) -> dict[str, Any]:
    middle = 0.0 if low is None or high is None else (low + high) / 2
    return {
        "lora": 0.5 + middle, "base": 0.5, "difference": middle, "low": low, "high": high,
        "pairs": 12, "prompts": 6,
    }  # fmt: skip


def metrics(**values: Any) -> EvaluationMetrics:
    return EvaluationMetrics(effect_mean=0.07, effect_min=0.05, manifest_hash=ART, **values)


def one(name: str, before: EvaluationMetrics | None, after: EvaluationMetrics | None) -> Measure:
    found = [each for each in compare_measures(before, after, than_what="r6") if each.name == name]
    assert len(found) == 1
    return found[0]


def clip(low: float | None, high: float | None, encoder: Encoder = CLIP) -> EvaluationMetrics:
    return metrics(clip_text=Encoded(**value(low, high), encoder=encoder))


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ((-0.01, 0.01), (0.02, 0.05), "follows the prompts better than r6"),
        ((0.02, 0.05), (-0.03, 0.01), "follows the prompts less than r6"),
        ((0.00, 0.04), (0.03, 0.09), "not proven: the intervals overlap"),
        ((None, None), (0.03, 0.09), "not proven: one prompt says nothing about others"),
    ],
)
def test_two_releases_differ_where_their_intervals_lie_apart(
    before: tuple[float, float], after: tuple[float, float], says: str
) -> None:
    assert one("clipText", clip(*before), clip(*after)).says == says


def test_each_value_stands_beside_its_base_with_its_interval() -> None:
    found = one("clipText", clip(0.01, 0.03), clip(0.05, 0.07))

    assert found.before.words == "0.520, base 0.500"
    assert found.before.difference == "+0.020 (+0.010 to +0.030)"
    assert (found.after.middle, found.after.low, found.after.high) == (
        0.060000000000000005,
        0.05,
        0.07,
    )


def test_values_of_different_encoders_are_not_compared() -> None:
    found = one("clipText", clip(0.01, 0.03), clip(0.05, 0.07, OTHER))

    assert found.says == "by different encoders: the values do not compare"


def test_values_beside_different_training_images_are_not_compared() -> None:
    before = metrics(palette_distance=Compared(**value(0.01, 0.03)))
    after = replace(before, manifest_hash="sha256:" + "b" * 64)

    assert one("paletteDistance", before, before).says == "not proven: the intervals overlap"
    assert "different training images" in one("paletteDistance", before, after).says


def test_what_could_not_be_computed_is_not_proven_with_its_reason() -> None:
    without = metrics(not_proven={"clipText": "no model: set metrics.clipModel"})
    found = one("clipText", without, clip(0.05, 0.07))

    assert (found.before.proven, found.before.words) == (False, "no model: set metrics.clipModel")
    assert found.after.proven
    assert found.says == "no model: set metrics.clipModel"
    assert one("clipText", without, without).says == "no model: set metrics.clipModel"


def test_a_release_without_a_grid_has_no_values() -> None:
    found = one("effectMean", None, metrics())

    assert (found.before.proven, found.before.words) == (False, "not measured")
    assert found.after.words == "0.070"
    assert compare_measures(None, None, than_what="r6") == []


def test_nearest_images_are_told_and_nothing_is_claimed_of_them() -> None:
    copies = CopyCheck(
        similarity=0.61, cell_id="c" * 16, asset_id="a", base=0.4, cells=9, images=3, encoder=CLIP
    )
    found = one("copies", metrics(copies=copies), metrics(copies=copies))

    assert found.before.words == "0.61, base 0.40"
    assert found.says == ""


def test_every_value_of_the_metrics_has_a_name() -> None:
    fields = set(EvaluationMetrics.__struct_fields__)

    assert set(MEASURES.values()) <= fields
