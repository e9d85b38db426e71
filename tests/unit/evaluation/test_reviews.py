from __future__ import annotations

from typing import Any

import msgspec
import pytest

from lora_pipeline.evaluation.records import Review, ReviewBinding
from lora_pipeline.evaluation.reviews import SIGNS, is_unchanged, require_complete, sealed
from lora_pipeline.foundation.errors import EvaluationIncompleteError
from tests.support.evaluation_builders import make_evaluation

replace = msgspec.structs.replace


def review(**changes: Any) -> Review:
    fields: dict[str, Any] = {
        "id": "01JNMG7Z9S0000000000000001",
        "evaluation_id": "01JNMG7Z9S0000000000000000",
        "lora_id": "ui_icons",
        "release_id": "r1",
        "reviewer": "kim@studio.example",
        "verdict": "approved",
        "created_at": "2026-03-01T12:00:00Z",
        "binding": ReviewBinding(
            weights_sha256="1" * 64,
            tensor_sha256="5" * 64,
            manifest_hash="sha256:" + "4" * 64,
            suite_digest="sha256:" + "6" * 64,
            result_digest="sha256:" + "7" * 64,
        ),
        "cells_seen": 12,
        "cells_total": 12,
    }
    return sealed(Review(**{**fields, **changes}))


def test_a_review_that_was_not_touched_is_unchanged() -> None:
    assert is_unchanged(Review.from_dict(review().to_dict()))


@pytest.mark.parametrize(
    "change",
    [
        {"verdict": "rejected"},
        {"reviewer": "lee@studio.example"},
        {"comment": "and more"},
        {"cells_seen": 3},
        {"signs": ("burnt",)},
        {"created_at": "2026-03-01T12:00:01Z"},
        {"release_id": "r2"},
    ],
)
def test_every_edit_of_a_review_shows(change: dict[str, Any]) -> None:
    assert not is_unchanged(replace(review(), **change))


@pytest.mark.parametrize("field", list(ReviewBinding.__struct_fields__))
def test_every_edit_of_what_it_binds_shows(field: str) -> None:
    one = review()
    binding = replace(one.binding, **{field: "sha256:" + "0" * 64})
    assert not is_unchanged(replace(one, binding=binding))


def test_an_incomplete_grid_names_failed_cells_first_and_the_command() -> None:
    evaluation = make_evaluation()
    cells = list(evaluation.cells)
    cells[5] = replace(cells[5], status="failed", error="it shows one colour only")
    with pytest.raises(EvaluationIncompleteError) as caught:
        require_complete(replace(evaluation, cells=tuple(cells)), command="lora eval grid x r1")
    message = caught.value.message
    assert "12 of 12 cells have no image, 1 of them failed: heart seed 2 at 1 (it shows" in message
    assert "9 more" in message
    assert caught.value.hint == "lora eval grid x r1"


def test_every_sign_is_a_question_that_yes_answers() -> None:
    assert all(question.endswith("?") for question in SIGNS.values())
