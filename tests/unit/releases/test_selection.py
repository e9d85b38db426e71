"""Which LoRAs go together: order, modes, and what is left out."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from lora_pipeline.foundation.errors import RecordInvalidError
from lora_pipeline.releases.records import Lora
from lora_pipeline.releases.selection import (
    SelectionPolicy,
    layer_caps,
    order_candidates,
    selection_policy,
)
from tests.support.gate_builders import LORA

OLD, NEW = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"


def lora(lora_id: str, **values: Any) -> Lora:
    return replace(LORA, id=lora_id, updated_at=OLD, **values)


LORAS = (
    lora("mood", scope="baseline"),
    lora("sheet", recommended=True),
    replace(lora("icons"), updated_at=NEW),
    lora("logos", asset_types=("logo",)),
    lora("flux", checkpoint_id="flux"),
    lora("off", enabled=False),
)


def order(policy: SelectionPolicy, *explicit: str) -> tuple[list[str], dict[str, str]]:
    found = order_candidates(
        LORAS, policy, asset_type="ui_icon", checkpoint_id="sdxl", explicit=explicit
    )
    return [one.id for one in found.ordered], dict(found.skipped)


def test_shared_ones_come_first_then_recommended_then_the_newest() -> None:
    ordered, skipped = order(SelectionPolicy())

    assert ordered == ["mood", "sheet", "icons"]
    assert skipped == {
        "logos": "is for logo",
        "flux": "is for checkpoint flux",
        "off": "is switched off",
    }


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (SelectionPolicy(mode="project_then_baseline"), ["sheet", "icons", "mood"]),
        (SelectionPolicy(mode="baseline_only"), ["mood"]),
        (SelectionPolicy(mode="project_only"), ["sheet", "icons"]),
        (SelectionPolicy(mode="manual"), []),
        (SelectionPolicy(prefer_recommended=False), ["mood", "icons", "sheet"]),
    ],
)
def test_the_project_says_the_order(policy: SelectionPolicy, expected: list[str]) -> None:
    assert order(policy)[0] == expected


def test_what_was_named_comes_first_whatever_the_mode() -> None:
    assert order(SelectionPolicy(mode="manual"), "icons")[0] == ["icons"]
    assert order(SelectionPolicy(), "icons", "sheet")[0] == ["icons", "sheet", "mood"]


def test_what_was_named_and_does_not_fit_is_left_out_with_its_reason() -> None:
    assert order(SelectionPolicy(), "flux")[1]["flux"] == "is for checkpoint flux"


def test_policies_of_a_project_are_read_with_their_defaults() -> None:
    policy = selection_policy({"loraSelection": {"maxActiveLoras": 1}})

    assert (policy.max_active_loras, policy.mode) == (1, "baseline_then_project")
    assert layer_caps({"modelStackPolicy": {"layerCaps": {"project": 1}}}) == {"project": 1}
    assert layer_caps({}) == {}


@pytest.mark.parametrize("value", [{"mode": "whatever"}, {"maxActiveLoras": "two"}])
def test_a_selection_policy_that_cannot_be_read_is_an_error(value: dict[str, Any]) -> None:
    with pytest.raises(RecordInvalidError, match="loraSelection"):
        selection_policy({"loraSelection": value})


def test_a_cap_that_is_no_number_is_an_error() -> None:
    with pytest.raises(RecordInvalidError, match="modelStackPolicy"):
        layer_caps({"modelStackPolicy": {"layerCaps": {"project": "one"}}})
