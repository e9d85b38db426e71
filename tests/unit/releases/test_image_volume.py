"""How far a number of images goes."""

from __future__ import annotations

import pytest

from lora_pipeline.catalog.records import AssetType, ImageCounts
from lora_pipeline.releases.image_volume import volume_of

ICON = AssetType(
    id="ui_icon",
    label="UI icon",
    image_counts=ImageCounts(minimum=10, recommended_from=40, recommended_to=60),
)


@pytest.mark.parametrize(
    ("count", "level"),
    [
        (0, "few"), (9, "few"), (10, "minimum"), (15, "minimum"), (20, "good"), (35, "good"),
        (50, "great"), (99, "great"), (100, "excellent"), (200, "excellent"), (201, "many"),
    ],
)  # fmt: skip
def test_every_number_has_its_level(count: int, level: str) -> None:
    assert volume_of(count, ["ui_icon"], {"ui_icon": ICON}).level == level


def test_what_is_missing_is_counted_to_the_lower_end() -> None:
    found = volume_of(12, ["logo", "ui_icon"], {"ui_icon": ICON})

    assert (found.missing, found.recommended) == (28, (40, 60))
    assert found.words() == "12 images; 40 to 60 are recommended"


def test_an_asset_type_that_says_nothing_wants_nothing() -> None:
    found = volume_of(1, ["banner"], {"banner": AssetType(id="banner", label="Banner")})

    assert (found.missing, found.recommended, found.words()) == (0, None, "1 image")
