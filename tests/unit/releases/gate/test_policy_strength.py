"""Policies compared: whatever one asks less for is named, and two together ask for all of both."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from lora_pipeline.releases.gate.judge import decide
from lora_pipeline.releases.gate.policy_strength import policy_digest, strictest, weaker_in
from lora_pipeline.releases.records import BlindRule, GatePolicy, MetricRule
from tests.support.gate_builders import STANDARD, evidence

FULL = GatePolicy(
    id="full", summary="", approvals=2, reviews_signed=True, blind=BlindRule(pairs=20),
    max_copy_similarity=0.75, metrics={"a": MetricRule(min=0.1, max=0.9)},
    waivable=("copy", "metrics"), max_waiver_days=10, emergency_days=2,
)  # fmt: skip


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"reviews_signed": False}, "reviewsSigned off"),
        ({"blind": None}, "blind left out"),
        ({"blind": BlindRule(pairs=10)}, "blind.pairs 10 instead of 20"),
        ({"blind": BlindRule(pairs=20, above=0.4)}, "blind.above 0.4 instead of 0.5"),
        ({"blind": BlindRule(pairs=20, constancy=0.1)}, "blind.constancy 0.1 instead of 0.6"),
        ({"blind": BlindRule(pairs=20, against="base")}, "blind.against base instead of active"),
        ({"max_copy_similarity": 0.0}, "maxCopySimilarity 0.0 instead of 0.75"),
        ({"max_copy_similarity": 0.8}, "maxCopySimilarity 0.8 instead of 0.75"),
        ({"metrics": {}}, "metrics.a left out"),
        ({"metrics": {"a": MetricRule(min=0.0, max=0.9)}}, "metrics.a with wider limits"),
        ({"metrics": {"a": MetricRule(min=0.1)}}, "metrics.a with wider limits"),
        ({"waivable": ("copy", "metrics", "preference")}, "preference may be waived"),
        ({"max_waiver_days": 11}, "maxWaiverDays 11 instead of 10"),
        ({"emergency_days": 3}, "emergencyDays 3 instead of 2"),
    ],
)
def test_whatever_a_policy_asks_less_for_is_named(values: dict[str, Any], words: str) -> None:
    weaker = replace(FULL, **values)

    assert weaker_in(weaker, FULL) == [words]
    assert weaker_in(FULL, weaker) == []
    assert policy_digest(weaker) != policy_digest(FULL)
    assert weaker_in(strictest([weaker, FULL]), FULL) == []


def test_two_policies_together_ask_for_all_that_either_asks_for() -> None:
    other = GatePolicy(
        id="other", summary="", approvals=1, blind=BlindRule(pairs=5, reviewers=3, against="base"),
        metrics={"a": MetricRule(min=0.2), "b": MetricRule(max=1)}, waivable=("copy",),
        emergency_days=9,
    )  # fmt: skip
    both = strictest([FULL, other])

    assert both.blind == BlindRule(pairs=20, reviewers=3, against="active")
    assert both.metrics == {"a": MetricRule(min=0.2, max=0.9), "b": MetricRule(max=1)}
    assert (both.waivable, both.emergency_days, both.max_waiver_days) == (("copy",), 2, 10)
    assert weaker_in(both, FULL) == weaker_in(both, other) == []


def test_conditions_that_a_policy_does_not_ask_for_are_not_there() -> None:
    ids = {one.id for one in decide(evidence(), STANDARD).conditions}

    assert not ids & {"copy", "preference", "policy", "freshness"}
