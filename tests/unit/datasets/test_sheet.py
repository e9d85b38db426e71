from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from lora_pipeline.datasets.records import Item
from lora_pipeline.datasets.sheet import Cell, SheetHeader, columns_for, draw_page
from lora_pipeline.datasets.thumbnails import Thumbnail
from lora_pipeline.foundation.typeface import Typeface
from tests.support.dataset_builders import item

HEADER = SheetHeader("icons", [("images", "2")])
RED = (200, 0, 0)
FRAME = (160, 98, 20)
HATCH = (223, 221, 217)


def thumbnail(size: tuple[int, int] = (64, 64)) -> Thumbnail:
    stream = io.BytesIO()
    Image.new("RGB", size, RED).save(stream, "WEBP", lossless=True)
    return Thumbnail(stream.getvalue())


def drawn(*cells: tuple[Item, Thumbnail]) -> Image.Image:
    numbered = [Cell(number, *cell) for number, cell in enumerate(cells, start=1)]
    return draw_page(HEADER, numbered, Typeface())


def count(image: Image.Image, color: tuple[int, int, int]) -> int:
    return int((np.asarray(image) == color).all(axis=2).sum())


def test_icons_are_enlarged_with_hard_edges_and_large_images_stay() -> None:
    image = drawn((item("A"), thumbnail((64, 64))), (item("B"), thumbnail((224, 100))))

    assert count(image, RED) == 192 * 192 + 224 * 100


def test_an_image_that_cannot_be_shown_is_a_hatch_with_its_reason() -> None:
    image = drawn((item("A"), Thumbnail(missing="file missing")))
    silent = drawn((item("A"), Thumbnail(missing=" ")))

    assert count(image, HATCH) > 2000
    assert count(image, (112, 112, 120)) > count(silent, (112, 112, 120))


def test_held_out_images_are_framed() -> None:
    held_out = item("A", split="held_out")

    assert count(drawn((item("A"), thumbnail())), FRAME) == 0
    assert count(drawn((held_out, thumbnail())), FRAME) > 4 * 3 * 224


def test_the_same_images_give_the_same_pixels() -> None:
    one, other = (drawn((item("A"), thumbnail())) for _ in range(2))

    assert one.tobytes() == other.tobytes()


def test_a_caption_changes_the_sheet_and_a_long_one_does_not_leave_its_column() -> None:
    short = drawn((item("A", caption="red"), thumbnail()), (item("B", caption=""), thumbnail()))
    long = drawn(
        (item("A", caption="unbreakable" * 200), thumbnail()), (item("B", caption=""), thumbnail())
    )

    assert short.width == long.width
    assert long.height == short.height + 9 * 20
    beside = (44 + 224 + 1, 0, 44 + 224 + 20, long.height)
    assert set(np.unique(np.asarray(long.crop(beside))[300:])) <= {248, 250}


@pytest.mark.parametrize(("images", "columns"), [(1, 3), (6, 3), (24, 6), (43, 8), (200, 8)])
def test_few_images_stand_in_few_columns(images: int, columns: int) -> None:
    assert columns_for(images) == columns


def test_the_largest_page_fits_into_a_webp() -> None:
    caption = "a very long caption " * 60
    cells = tuple((item(str(n), caption=caption), Thumbnail(missing="x")) for n in range(200))

    assert drawn(*cells).height <= 16_383
