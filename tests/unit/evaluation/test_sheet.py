from __future__ import annotations

import io
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from lora_pipeline.evaluation.records import Cell, Evaluation, SuitePrompt
from lora_pipeline.evaluation.sheet import (
    SheetHeader,
    draw_sheet,
    is_enlarged,
)
from lora_pipeline.foundation.drawing import encode_png, encode_webp
from tests.support.evaluation_builders import make_evaluation, make_suite, noise

replace = msgspec.structs.replace
HEADER = SheetHeader("ui_icons  ·  r1", [("trigger", "trg"), ("suite", "tiny_icon")])
RED = (200, 0, 0)


def drawn(evaluation: Evaluation | None = None) -> Evaluation:
    evaluation = evaluation or make_evaluation()
    cells = tuple(replace(cell, status="done", image_sha256="a" * 64) for cell in evaluation.cells)
    return replace(evaluation, cells=cells)


def red(_: Cell) -> np.ndarray:
    return np.full((32, 32, 3), RED, np.uint8)


def count(image: Image.Image, color: tuple[int, int, int]) -> int:
    return int((np.asarray(image) == color).all(axis=2).sum())


def test_small_cells_are_enlarged_with_hard_edges() -> None:
    image = draw_sheet(HEADER, drawn(), red)
    assert count(image, RED) == 12 * 192 * 192


def test_large_cells_are_reduced() -> None:
    suite = make_suite()
    suite = replace(suite, render=replace(suite.render, width=512, height=256))
    large = drawn(make_evaluation(suite))
    image = draw_sheet(HEADER, large, lambda _: np.full((256, 512, 3), RED, np.uint8))
    assert count(image, RED) == 12 * 224 * 112
    assert not is_enlarged(large)


def test_a_cell_without_a_picture_is_a_hatch_and_never_blank() -> None:
    evaluation = drawn()
    failed = replace(evaluation.cells[1], status="failed", error="black", image_sha256="")
    pending = replace(evaluation.cells[2], status="pending", image_sha256="")
    cells = (evaluation.cells[0], failed, pending, *evaluation.cells[3:])
    image = draw_sheet(HEADER, replace(evaluation, cells=cells), red)
    assert count(image, RED) == 10 * 192 * 192
    assert count(image, (223, 221, 217)) > 2 * 2000  # the lines of two hatches


def test_a_picture_that_is_not_in_the_store_is_a_hatch_too() -> None:
    image = draw_sheet(HEADER, drawn(), lambda _: None)
    assert count(image, (223, 221, 217)) > 12 * 2000


def test_the_same_cells_give_the_same_bytes() -> None:
    first, second = (draw_sheet(HEADER, drawn(), red) for _ in range(2))
    assert encode_webp(first, lossless_first=True) == encode_webp(
        second, lossless_first=True, max_bytes=1_000_000
    )
    assert encode_png(first) == encode_png(second)


def test_the_webp_shows_the_same_picture_and_carries_no_metadata() -> None:
    image = draw_sheet(HEADER, drawn(), red)
    with Image.open(io.BytesIO(encode_webp(image, lossless_first=True))) as read:
        assert read.format == "WEBP"
        assert np.array_equal(np.asarray(read.convert("RGB")), np.asarray(image))
        assert not {"exif", "icc_profile", "xmp"} & set(read.info)


def test_the_webp_keeps_its_limit_by_quality_and_then_by_size() -> None:
    image = Image.fromarray(noise(1, 400, 300))
    small = encode_webp(image, lossless_first=True, max_bytes=80_000)
    smaller = encode_webp(image, lossless_first=True, max_bytes=4_000)
    assert len(small) <= 80_000
    assert len(smaller) <= 4_000
    with Image.open(io.BytesIO(small)) as whole, Image.open(io.BytesIO(smaller)) as reduced:
        assert whole.size == (400, 300)
        assert reduced.width < 400


def many(**changes: Any) -> Evaluation:
    return drawn(make_evaluation(make_suite(**changes)))


def test_many_seeds_go_to_the_next_line_instead_of_off_the_page() -> None:
    few, several = many(), many(seeds=tuple(range(9)))
    wide = draw_sheet(HEADER, several, red)
    assert wide.width <= 2000
    assert wide.height > 2 * draw_sheet(HEADER, few, red).height
    assert count(wide, RED) == len(several.cells) * 192 * 192


def test_letters_that_the_font_lacks_are_spelled_otherwise() -> None:
    prompts = (SuitePrompt(id="one", kind="in_domain", text="ein grünes Häuschen \N{EN DASH} 家"),)
    plain = (SuitePrompt(id="one", kind="in_domain", text="ein grunes Hauschen - ?"),)
    one, other = (draw_sheet(HEADER, many(prompts=which), red) for which in (prompts, plain))
    assert np.array_equal(np.asarray(one), np.asarray(other))


def test_a_very_long_prompt_stays_in_its_column() -> None:
    text = "a heart " * 200 + "unbreakable" * 30
    image = draw_sheet(
        HEADER, many(prompts=(SuitePrompt(id="one", kind="in_domain", text=text),)), red
    )
    assert count(image, RED) == 6 * 192 * 192
