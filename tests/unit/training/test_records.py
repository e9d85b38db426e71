"""Runs and presets: types and schemas agree, and examples are what they say."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from lora_pipeline.foundation.schemas import load_schema, violations_of
from lora_pipeline.training.records import (
    Attempt,
    Cost,
    Expense,
    OutputFile,
    Preset,
    Recipe,
    Run,
    RunError,
)
from tests.support.workspace_builders import REPOSITORY

EXAMPLES = REPOSITORY / "tests" / "examples"
VALID = {kind: sorted((EXAMPLES / kind / "valid").glob("*.json")) for kind in ("run", "expense")}
INVALID = [
    p for kind in ("run", "expense", "preset") for p in (EXAMPLES / kind / "invalid").glob("*.json")
]
PARTS: dict[str, type[msgspec.Struct]] = {
    "recipe": Recipe, "attempt": Attempt, "outputFile": OutputFile, "error": RunError,
}  # fmt: skip


def field_names(kind: type[msgspec.Struct]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(kind)}


def test_run_has_the_fields_of_its_schema() -> None:
    assert set(load_schema("run/v1")["properties"]) == field_names(Run) | {"schema"}


def test_an_expense_has_the_fields_of_its_schema() -> None:
    assert set(load_schema("expense/v1")["properties"]) == field_names(Expense) | {"schema"}
    assert set(load_schema("common/v1")["$defs"]["cost"]["properties"]) == field_names(Cost)


def test_preset_has_the_fields_of_its_schema() -> None:
    assert set(load_schema("preset/v1")["properties"]) == field_names(Preset)


@pytest.mark.parametrize("name", PARTS)
def test_parts_have_the_fields_of_their_definitions(name: str) -> None:
    definition = load_schema("run/v1")["$defs"][name]

    assert set(definition["properties"]) == field_names(PARTS[name])


@pytest.mark.parametrize("path", VALID["expense"], ids=lambda path: path.stem)
def test_valid_expenses_are_read_and_written_back_unchanged(path: Path) -> None:
    document = json.loads(path.read_text())

    assert violations_of(document, "expense/v1") == []
    assert Expense.from_dict(document).to_dict() == document


@pytest.mark.parametrize("path", VALID["run"], ids=lambda path: path.stem)
def test_valid_runs_are_read_and_written_back_unchanged(path: Path) -> None:
    document = json.loads(path.read_text())

    assert violations_of(document, "run/v1") == []
    assert Run.from_dict(document).to_dict() == document


@pytest.mark.parametrize("path", INVALID, ids=lambda path: f"{path.parent.parent.name}-{path.stem}")
def test_invalid_examples_are_refused_for_their_reason(path: Path) -> None:
    found = violations_of(json.loads(path.read_text()), f"{path.parent.parent.name}/v1")

    expected = path.with_suffix(".expected").read_text().strip()
    assert any(expected in str(violation) for violation in found), found


def test_a_recipe_is_written_in_full_so_that_defaults_may_change() -> None:
    assert Recipe().to_dict()["rank"] == 16
