from __future__ import annotations

import io
from typing import Any

import msgspec
import numpy as np
from PIL import Image

from lora_pipeline.evaluation.records import Cell, Evaluation, SuitePrompt
from lora_pipeline.evaluation.sheet import SheetHeader, draw_sheet
from lora_pipeline.evaluation.sheet_layout import Layout, is_enlarged, page_count
from lora_pipeline.foundation.drawing import encode_png, encode_webp
from tests.support.evaluation_builders import make_evaluation, make_suite, noise

replace = msgspec.structs.replace
HEADER = SheetHeader("ui_icons  ·  r1", [("trigger", "trg"), ("suite", "tiny_icon")])
RED = (200, 0, 0)


def drawn(evaluation: Evaluation | None = None) -> Evaluation:
    evaluation = evaluation or make_evaluation()
    cells = tuple(
        replace(cell, status="done", image_sha256=f"{number:064x}")
        for number, cell in enumerate(evaluation.cells)
    )
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


def large() -> Evaluation:
    """Return a grid of 100 prompts: far more than one sheet can show."""
    prompts = tuple(
        SuitePrompt(id=f"p{number}", kind="in_domain", text=f"{{trigger}}, thing {number}")
        for number in range(100)
    )
    return many(prompts=prompts)


def test_a_grid_that_is_too_large_for_one_sheet_has_pages_of_a_bounded_height() -> None:
    evaluation = large()
    pages = page_count(evaluation)
    assert pages > 1
    seen: list[str] = []

    def load(cell: Cell) -> np.ndarray:
        seen.append(cell.id)
        return red(cell)

    images = [draw_sheet(HEADER, evaluation, load, page=page + 1) for page in range(pages)]
    assert seen == [cell.id for cell in evaluation.cells]
    assert max(image.height for image in images) < 9_000
    assert len({image.width for image in images}) == 1


def test_a_prompt_that_fits_on_a_page_is_not_torn_and_one_that_does_not_is() -> None:
    pages = Layout.of(large()).pages
    assert sum(len(page) for page in pages) == 100
    [prompt] = (SuitePrompt(id="one", kind="in_domain", text="{trigger}"),)
    endless = many(prompts=(prompt,), seeds=tuple(range(400)), strengths=(1.0,))
    torn = Layout.of(endless).pages
    assert len(torn) > 1
    assert sum(len(group) for page in torn for one in page for group in one.groups) == 800


def test_a_page_says_which_one_it_is_and_where_to_look() -> None:
    evaluation = large()
    last = replace(evaluation.cells[-1], status="failed", error="black", image_sha256="")
    holes = replace(evaluation, cells=(*evaluation.cells[:-1], last))
    plain = draw_sheet(HEADER, evaluation, red)
    marked = draw_sheet(HEADER, holes, red)
    assert plain.size == marked.size
    assert not np.array_equal(np.asarray(plain), np.asarray(marked))


def test_a_picture_that_cannot_be_what_was_asked_for_is_framed() -> None:
    evaluation = drawn()
    cells = tuple(
        replace(cell, image_sha256=f"{number:064x}", effect=0.1 if cell.strength else None)
        for number, cell in enumerate(evaluation.cells)
    )
    alarm = (168, 50, 40)
    fine = draw_sheet(HEADER, replace(evaluation, cells=cells), red)
    assert count(fine, alarm) == 0
    same = (cells[0], replace(cells[1], effect=0.0), *cells[2:])
    framed = draw_sheet(HEADER, replace(evaluation, cells=same), red)
    assert count(framed, alarm) > 4 * 4 * 192
    assert count(framed, RED) == count(fine, RED)
