from __future__ import annotations

import pytest

from lora_pipeline.catalog.records import AssetTypes, Scenarios, Styles, Tags
from lora_pipeline.catalog.starter import starter_catalogs
from lora_pipeline.foundation.record import Record
from lora_pipeline.foundation.resources import resource
from lora_pipeline.workspace.layout import SINGLES
from lora_pipeline.workspace.record_bytes import encode_record

TIME = "2026-03-01T12:00:00Z"


def catalogs(style: str = "flat", scenario: str = "plain") -> dict[str, Record]:
    return {one.KIND: one for one in starter_catalogs(TIME, style=style, scenario=scenario)}


@pytest.mark.parametrize("kind", sorted(set(SINGLES) - {"project"}))
def test_starter_catalog_is_valid(kind: str) -> None:
    assert encode_record(catalogs()[kind], f"{kind}.json")


def test_every_suite_that_a_starter_type_names_ships() -> None:
    types = catalogs()["asset-types"]
    assert isinstance(types, AssetTypes)

    named = {one.suite_id for one in types.asset_types if one.suite_id}

    assert named <= {path.stem for path in resource("config", "suites").glob("*.yaml")}
    assert "ui_icon" in named


def test_every_starter_style_is_a_tag_too() -> None:
    styles, tags = catalogs()["styles"], catalogs()["tags"]
    assert isinstance(styles, Styles)
    assert isinstance(tags, Tags)

    group = next(one for one in tags.groups if one.id == "style")

    assert {tag.id for tag in group.tags} == {f"style:{one.id}" for one in styles.styles}
    assert group.exclusive


def test_defaults_of_ones_own_are_added() -> None:
    own = catalogs(style="house_look", scenario="deep_sea")
    styles, scenarios = own["styles"], own["scenarios"]
    assert isinstance(styles, Styles)
    assert isinstance(scenarios, Scenarios)

    assert styles.styles[-1].id == "house_look"
    assert scenarios.scenarios[-1].label == "Deep sea"
