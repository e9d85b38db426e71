"""The filters by ids, licence and age; ``test_selection.py`` has the others."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from lora_pipeline.datasets.picks import Candidate
from lora_pipeline.datasets.records import Selection
from lora_pipeline.datasets.selection import Selected, require_some, select
from lora_pipeline.foundation.errors import SelectionEmptyError
from tests.support.dataset_builders import candidate, variant, version


def chosen(*candidates: Candidate, **rule: Any) -> Selected:
    return select(candidates, replace(Selection(), **rule))


def ids(selected: Selected) -> list[str]:
    return [one.asset.id for one in selected.picks]


def why(selected: Selected) -> dict[str, tuple[str, str]]:
    return {one.asset_id: (one.reason.code, one.reason.text) for one in selected.left_out}


def made(asset_id: str, time: str) -> Candidate:
    return candidate(asset_id, versions=(version(variant(), created_at=time),))


def test_only_listed_ids_are_taken() -> None:
    selected = chosen(candidate("A1"), candidate("A2"), asset_ids=("A2", "A9"))

    assert ids(selected) == ["A2"]
    assert why(selected)["A1"] == ("not_listed", "its id is not in the list of the rule")
    assert not selected.left_out[0].matches


def test_licences_are_compared_without_regard_to_case() -> None:
    selected = chosen(
        candidate("A1", license_="cc0-1.0"),
        candidate("A2", license_="CC-BY-4.0"),
        candidate("A3"),
        licenses=("CC0-1.0",),
    )

    assert ids(selected) == ["A1"]
    assert why(selected) == {
        "A2": ("other_license", "its licence is CC-BY-4.0"),
        "A3": ("other_license", "no licence is recorded"),
    }


def test_a_version_made_at_the_very_time_is_taken_and_one_before_is_not() -> None:
    selected = chosen(
        made("A1", "2026-02-01T00:00:00Z"),
        made("A2", "2026-01-31T23:59:59.999Z"),
        made("A3", "2026-02-01T00:00:00.5Z"),
        created_since="2026-02-01T00:00:00Z",
    )

    assert ids(selected) == ["A1", "A3"]
    assert why(selected)["A2"] == ("too_old", "made on 2026-01-31, before 2026-02-01")


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("2026-02-01T00:00:00.25Z", "2026-02-01T00:00:00.3Z"),
        ("2026-02-01T00:00:00Z", "2026-02-01T00:00:00.000000001Z"),
    ],
)
def test_fractions_of_a_second_count_whatever_their_length(earlier: str, later: str) -> None:
    assert ids(chosen(made("A1", earlier), created_since=later)) == []
    assert ids(chosen(made("A1", later), created_since=earlier)) == ["A1"]


def test_the_version_that_is_taken_counts_and_not_a_newer_draft() -> None:
    old = version(variant(), id="1", created_at="2026-01-01T00:00:00Z")
    draft = version(variant(), id="2", status="draft", created_at="2026-03-01T00:00:00Z")

    selected = chosen(candidate("A1", versions=(old, draft)), created_since="2026-02-01T00:00:00Z")

    assert ids(selected) == []


@pytest.mark.parametrize(
    ("rule", "message", "hint"),
    [
        ({"asset_ids": ("B7",)}, "1 id kept 0 of 2", "lora asset list shows ids"),
        ({"licenses": ("CC0-1.O",)}, "licence CC0-1.O kept 0 of 2", "did you mean CC0-1.0?"),
        (
            {"created_since": "2027-01-01T00:00:00Z"},
            "made since 2027-01-01 kept 0 of 2",
            "the newest was made on 2026-03-01",
        ),
    ],
)
def test_a_filter_that_leaves_nothing_is_named_with_what_may_help(
    rule: dict[str, Any], message: str, hint: str
) -> None:
    selected = chosen(candidate("A1", license_="CC0-1.0"), candidate("A2"), **rule)

    with pytest.raises(SelectionEmptyError) as caught:
        require_some(selected.steps, start="neon_city")

    assert message in caught.value.message
    assert caught.value.hint == hint
