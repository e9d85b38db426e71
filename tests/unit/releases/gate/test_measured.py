"""The copy check and measured values, as the gate reads them from the record."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from lora_pipeline.evaluation.metric_records import Compared, CopyCheck, Encoder
from lora_pipeline.evaluation.records import Evaluation
from lora_pipeline.releases.gate.decision import Condition
from lora_pipeline.releases.gate.measured import copy_checked, metrics_within
from lora_pipeline.releases.records import MetricRule
from tests.support.gate_builders import GRID, MANIFEST_HASH, STANDARD, evidence, grid

POLICY = replace(STANDARD, max_copy_similarity=0.75)
COPIES = CopyCheck(
    similarity=0.6,
    cell_id=GRID.cells[1].id,
    asset_id="A",
    cells=sum(cell.strength > 0 for cell in GRID.cells),
    images=1,
    encoder=Encoder(name="sscd", digest="sha256:" + "7" * 64, version="torch 2"),
)


def compared_grid(copies: CopyCheck | None = COPIES, **values: Any) -> Evaluation:
    highest = copies.similarity if copies else None
    fields = {
        "copies": copies, "copy_similarity_max": highest, "manifest_hash": MANIFEST_HASH, **values
    }  # fmt: skip
    assert GRID.metrics is not None
    return grid(metrics=replace(GRID.metrics, **fields))


def judged(evaluation: Evaluation) -> Condition:
    found = copy_checked(evidence(evaluation=evaluation), evaluation, POLICY)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("similarity", "status", "words"),
    [
        (0.3, "pass", "0.30 is the highest similarity"),
        (0.6, "pass", "worth a look"),
        (0.75, "pass", "at most 0.75"),
        (0.76, "fail", "0.76 is the highest similarity"),
    ],
)
def test_the_highest_similarity_decides(similarity: float, status: str, words: str) -> None:
    found = judged(compared_grid(replace(COPIES, similarity=similarity)))
    assert (found.status, found.threshold) == (status, 0.75)
    assert words in found.reason


@pytest.mark.parametrize(
    ("spoilt", "words"),
    [
        (
            compared_grid(None, not_proven={"copies": "setting metrics.copyModel is not set"}),
            "setting metrics.copyModel is not set",
        ),
        (compared_grid(None), "nobody compared the cells"),
        (compared_grid(None, copy_similarity_max=0.1), "nobody compared the cells"),
        (compared_grid(copy_similarity_max=0.1), "two values"),
        (compared_grid(replace(COPIES, cells=1)), "not made of every cell"),
        (compared_grid(replace(COPIES, cell_id="0" * 16)), "not made of every cell"),
        (compared_grid(manifest_hash="sha256:" + "9" * 64), "another manifest"),
        (grid(metrics=None), "nobody compared the cells"),
    ],
)
def test_what_is_no_check_of_this_grid_proves_nothing(spoilt: Evaluation, words: str) -> None:
    found = judged(spoilt)
    assert (found.status, found.measured) == ("not_proven", None)
    assert words in found.reason


def test_a_value_is_asked_for_by_its_name_in_the_record() -> None:
    value = Compared(lora=0.3, base=0.2, difference=0.1, low=-0.01, high=0.2, pairs=4, prompts=2)
    evaluation = compared_grid(tone_distance=value)
    policy = replace(STANDARD, metrics={"toneDistance.low": MetricRule(min=0)})
    [found] = metrics_within(evidence(evaluation=evaluation), evaluation, policy)
    assert (found.status, found.measured) == ("fail", -0.01)


def test_a_value_that_was_not_computed_says_why() -> None:
    evaluation = compared_grid(not_proven={"dino": "setting metrics.dinoModel is not set"})
    policy = replace(STANDARD, metrics={"dino.difference": MetricRule(min=0)})
    [found] = metrics_within(evidence(evaluation=evaluation), evaluation, policy)
    assert found.status == "not_proven"
    assert "setting metrics.dinoModel is not set" in found.reason
