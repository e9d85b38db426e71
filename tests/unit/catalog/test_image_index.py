from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.catalog.image_index import images_without_asset, read_image_index
from lora_pipeline.foundation.errors import JsonInvalidError
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace
from tests.support.catalog_builders import add_asset, draw_icon, identify
from tests.support.workspace_builders import make_workspace

SCOPE = Scope("neon_city")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "studio", project="neon_city", git=False)


def test_every_image_is_known_by_its_bytes(workspace: Workspace, tmp_path: Path) -> None:
    icons = [draw_icon(tmp_path / f"{seed}.png", seed=seed) for seed in (1, 2)]
    assets = [add_asset(workspace, "neon_city", icon) for icon in icons]

    assert read_image_index(workspace, SCOPE).assets == {
        identify(icon).sha256: asset.id for icon, asset in zip(icons, assets, strict=True)
    }


def test_records_of_the_base_format_without_digests_are_passed_over(workspace: Workspace) -> None:
    folder = workspace.data_root / SCOPE.folder / "assets"
    folder.mkdir(parents=True)
    (folder / "A.json").write_text(
        '{"id": "A", "versions": [{"variants": [{"id": "v", "originalPath": "x.png"}]}]}'
    )

    assert read_image_index(workspace, SCOPE).assets == {}


def test_project_without_assets_knows_none(workspace: Workspace) -> None:
    assert read_image_index(workspace, SCOPE).assets == {}


def test_record_that_is_no_json_is_named(workspace: Workspace) -> None:
    folder = workspace.data_root / SCOPE.folder / "assets"
    folder.mkdir(parents=True)
    (folder / "A.json").write_text('{"id": ')

    with pytest.raises(JsonInvalidError, match=r"assets/A\.json is not a valid asset"):
        read_image_index(workspace, SCOPE)


def test_copied_image_that_no_asset_names_was_left_by_an_interrupted_import(
    workspace: Workspace, tmp_path: Path
) -> None:
    add_asset(workspace, "neon_city", draw_icon(tmp_path / "a.png"))
    lonely = workspace.data_root / SCOPE.folder / "files/images/01JNMG7Z9S0000000000000000"
    draw_icon(lonely / "original" / "b.png", seed=1)

    assert images_without_asset(workspace, SCOPE) == [lonely]
