"""Assets are read one after the other; those that are named are read alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.catalog.assets.filter import AssetFilter
from lora_pipeline.catalog.assets.reading import ProjectAssets, read_assets
from lora_pipeline.foundation.errors import (
    JsonInvalidError,
    RecordNotFoundError,
    SelectionEmptyError,
)
from lora_pipeline.workspace.layout import Scope
from tests.support.catalog_builders import add_asset, draw_icon
from tests.support.workspace_builders import make_workspace

SCOPE = Scope("neon_city")


@pytest.fixture
def assets(tmp_path: Path) -> ProjectAssets:
    workspace = make_workspace(tmp_path, git=False, project="neon_city")
    image = draw_icon(tmp_path / "art" / "icon.png", size=16)
    for title in ("heart", "Crown", "axe"):
        add_asset(workspace, "neon_city", image, title=title, in_place=False)
    return read_assets(workspace, SCOPE)


def ids_by_title(assets: ProjectAssets) -> dict[str, str]:
    return {entry.title: str(entry.asset.id) for entry in assets.each()}


def test_all_are_read_with_their_specs_in_the_order_of_their_ids(assets: ProjectAssets) -> None:
    read = list(assets.each())

    assert len(assets) == 3
    assert [one.asset.id for one in read] == sorted(one.asset.id for one in read)
    assert {one.title for one in read} == {"heart", "Crown", "axe"}


def test_chosen_ones_come_in_the_order_of_their_titles(assets: ProjectAssets) -> None:
    assert [one.title for one in assets.choose(AssetFilter())] == ["axe", "Crown", "heart"]


def test_an_asset_without_its_spec_is_there_all_the_same(assets: ProjectAssets) -> None:
    (one,) = assets.choose(AssetFilter(titles=("heart",)))
    assets.workspace.records.path("spec", SCOPE, one.asset.spec_id).unlink()

    assert one.asset.id in {entry.title for entry in assets.each() if entry.spec is None}


def test_named_ones_come_once_in_the_order_given_and_no_other_is_read(
    assets: ProjectAssets,
) -> None:
    ids = ids_by_title(assets)
    assets.workspace.records.path("asset", SCOPE, ids["axe"]).write_text("{", encoding="utf-8")
    wanted = AssetFilter(ids=(ids["heart"], ids["Crown"][-12:], ids["heart"]))

    assert [entry.title for _, entry in assets.meant(wanted)] == ["heart", "Crown"]
    with pytest.raises(JsonInvalidError):
        list(assets.each())


@pytest.mark.parametrize("given", ["999999", "01AAAAAA"])
def test_an_unknown_id_is_not_found(assets: ProjectAssets, given: str) -> None:
    with pytest.raises(RecordNotFoundError, match="no asset"):
        list(assets.meant(AssetFilter(ids=(given,))))


def test_what_was_left_at_each_step_is_said_with_the_ids_first(assets: ProjectAssets) -> None:
    ids = ids_by_title(assets)

    with pytest.raises(SelectionEmptyError) as caught:
        list(assets.meant(AssetFilter(ids=(ids["axe"], ids["heart"]), styles=("neon",))))

    assert caught.value.source == "neon_city 3 → ids 2 → style neon 0"


def test_a_project_without_assets_says_so(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path, git=False, project="neon_city")

    with pytest.raises(SelectionEmptyError, match="neon_city has no assets"):
        list(read_assets(workspace, SCOPE).meant(AssetFilter()))
