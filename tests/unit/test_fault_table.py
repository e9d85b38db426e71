"""The table of faults names every row once, and tests that are there."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "faults.md"
ROWS = [line.strip("| \n").split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines()
        if re.match(r"\| (?:EXT|PRC)-\d\d ", line)]  # fmt: skip
# The numbers that the list of faults gives away; the others never were.
EXT = (1, 2, 3, 4, 6, 8, 9, 10, *range(12, 23))
PRC = (1, 2, 3, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15, 18, 19, 20, 21, 22, 23, 24)
UNSHOWN = {"PRC-22"}


@functools.cache
def names_in(file: str) -> frozenset[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def test_every_row_stands_there_once() -> None:
    wanted = [f"EXT-{number:02d}" for number in EXT] + [f"PRC-{number:02d}" for number in PRC]

    assert [row[0] for row in ROWS] == wanted


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_what_shows_a_row_is_there(row: list[str]) -> None:
    named = re.findall(r"`([^`]+)::([^`]+)`", row[2])

    assert named or row[0] in UNSHOWN
    for file, test in named:
        assert test in names_in(file)


@pytest.mark.parametrize(
    "file", ["contract/test_misbehaving_programs.py", "faces/test_reliability_processes.py",
             "unit/operations/releases/test_release_fetch.py"]
)  # fmt: skip
def test_every_test_that_is_named_after_a_row_stands_in_the_table(file: str) -> None:
    named_after = {one for one in names_in(file) if re.match(r"test_(?:ext|prc)_\d\d", one)}
    listed = {test for row in ROWS for where, test in re.findall(r"`([^`]+)::([^`]+)`", row[2])
              if where == file}  # fmt: skip

    assert named_after <= listed
