"""After a refusal: the command that mends it comes first."""

from __future__ import annotations

import pytest

from lora_pipeline.releases.gate.decision import Condition, Decision
from lora_pipeline.releases.next_steps import steps_after_refusal
from tests.support.gate_builders import LORA, RELEASE


def steps(*refusing: str) -> tuple[str, ...]:
    conditions = tuple(Condition(one, one, "fail", "why") for one in refusing)
    return steps_after_refusal(LORA, RELEASE, Decision("ui_icons", "r7", "p", "d", "", conditions))


@pytest.mark.parametrize(
    ("refusing", "expected"),
    [
        (["approvals"], "lora eval show ui_icons r7"),
        (["objections"], "lora eval show ui_icons r7"),
        (["grid", "approvals"], "lora eval grid ui_icons r7"),
        (["suite"], "lora eval grid ui_icons r7"),
        (["freshness"], "lora eval grid ui_icons r7"),
        (["weights"], "lora release verify ui_icons r7"),
        (["manifest"], "lora train --lora ui_icons --dataset icons"),
        (["rights", "approvals"], "lora train --lora ui_icons --dataset icons"),
    ],
)
def test_the_first_step_is_the_one_that_the_others_wait_for(
    refusing: list[str], expected: str
) -> None:
    assert steps(*refusing)[0] == expected


@pytest.mark.parametrize(
    "condition",
    [
        "release", "weights", "training", "manifest", "base_model", "suite", "grid", "result",
        "images", "effect", "cells", "reviews", "approvals", "objections", "rights", "freshness",
    ],
)  # fmt: skip
def test_no_refusal_leaves_anybody_without_a_next_command(condition: str) -> None:
    assert steps(condition)
