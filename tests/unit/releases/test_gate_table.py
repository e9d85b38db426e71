"""The page of attacks and the tests of attacks: each names the other."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "gate-attacks.md"
TESTS = (
    "test_gate_attacks.py", "test_gate_walks.py", "test_cli_promote.py", "test_cli_blind.py",
    "test_rights_attacks.py", "test_gate_grids.py", "test_cli_metrics.py",
)  # fmt: skip
# What shows that the honest way is open, or how something is said.
NO_ATTACKS = {
    "test_nothing_is_wrong_with_the_studio_itself",
    "test_a_policy_that_was_relaxed_earlier_may_be_used",
    "test_what_passes_or_is_not_asked_is_not_waived",
    "test_an_emergency_is_loud_until_the_gate_passes",
    "test_rollback_ends_an_emergency",
    "test_history_shows_every_entry_and_a_broken_chain",
    "test_each_condition_names_what_it_rests_on",
    "test_an_honest_grid_is_drawn_approved_and_promoted",
    "test_training_captions_are_those_of_the_manifest_that_was_trained_on",
    "test_a_suite_that_asks_for_more_may_come_with_the_promotion",
}
# The numbers that the list of cases gives away; the others never were.
GATE = (1, 2, 4, 5, 6, 7, 8)
EG = (1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12, 14, 15, 16, 17, 18, 19, 20, 21, 23, 24)
ROWS = [
    line.strip("| \n").split(" | ")
    for line in PAGE.read_text(encoding="utf-8").splitlines()
    if re.match(r"\| (?:GATE|EG)-\d\d ", line)
]


def walks_in(name: str) -> set[str]:
    return names_in(f"faces/{name}")


def names_in(name: str) -> set[str]:
    tree = ast.parse((ROOT / "tests" / name).read_text(encoding="utf-8"))
    return {
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def named_on_the_page() -> set[str]:
    return set(re.findall(r"`(test_[a-z0-9_]+)`", PAGE.read_text(encoding="utf-8")))


def test_every_row_names_a_test_that_is_there() -> None:
    there = {test for name in TESTS for test in walks_in(name)}

    assert named_on_the_page() - there == set()


@pytest.mark.parametrize("file", ["test_gate_walks.py", "test_gate_grids.py"])
def test_every_walk_has_its_row(file: str) -> None:
    assert walks_in(file) - NO_ATTACKS - named_on_the_page() == set()


def test_every_case_stands_there_once_by_its_number() -> None:
    wanted = [f"GATE-{number:02d}" for number in GATE] + [f"EG-{number:02d}" for number in EG]

    assert [row[0] for row in ROWS] == wanted


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_what_shows_a_case_is_there(row: list[str]) -> None:
    shown = re.findall(r"`([^`]+)::([^`]+)`", row[3])

    assert shown
    assert all(test in names_in(file) for file, test in shown)


def test_every_row_says_what_refuses_and_why() -> None:
    rows = [
        line.split("|")[1:-1]
        for line in PAGE.read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and not re.match(r"\| (?:somebody …|row) ", line)
    ]

    assert len(rows) > 60
    assert all(len(row) == 4 and all(cell.strip() for cell in row) for row in rows)
