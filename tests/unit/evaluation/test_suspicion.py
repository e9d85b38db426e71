from __future__ import annotations

from msgspec.structs import replace

from lora_pipeline.evaluation.records import Cell
from lora_pipeline.evaluation.suspicion import suspicious_cells
from tests.support.evaluation_builders import make_evaluation


def cells() -> list[Cell]:
    """Return the cells of a grid that is as it should be."""
    return [
        replace(
            cell,
            status="done",
            image_sha256=f"{number:064x}",
            effect=0.1 if cell.strength else None,
        )
        for number, cell in enumerate(make_evaluation().cells)
    ]


def test_a_grid_that_is_as_it_should_be_has_no_suspicious_cells() -> None:
    assert suspicious_cells(cells()) == {}


def test_a_cell_without_any_effect_is_suspicious() -> None:
    found = cells()
    found[1] = replace(found[1], effect=0.0, image_sha256=found[0].image_sha256)
    assert suspicious_cells(found) == {found[1].id: "same as base"}


def test_a_picture_that_stands_twice_is_suspicious_and_says_what_was_ignored() -> None:
    found = cells()
    for number, like in ((2, 1), (4, 1), (7, 1)):
        found[number] = replace(found[number], image_sha256=found[like].image_sha256)
    assert suspicious_cells(found) == {
        found[2].id: "same as strength 0.5",
        found[4].id: "same as seed 1",
        found[7].id: "same as heart",
    }


def test_cells_that_are_one_by_their_id_are_no_copies_of_each_other() -> None:
    found = cells()
    assert suspicious_cells([*found, found[0]]) == {}


def test_cells_without_a_picture_are_no_copies_of_each_other() -> None:
    waiting = [replace(cell, status="pending", image_sha256="", effect=None) for cell in cells()]
    assert suspicious_cells(waiting) == {}
