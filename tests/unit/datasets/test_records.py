"""The manifest's types and its schema agree, and the examples are what they say."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lora_pipeline.datasets.manifest import hash_of_manifest
from lora_pipeline.datasets.records import (
    CaptionRule,
    Item,
    LicenseCount,
    Manifest,
    Normalization,
    ProvenanceSummary,
    Selection,
    SplitRule,
    UnconfirmedMerge,
)
from lora_pipeline.datasets.rules import changed_settings, stored_rule
from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.schemas import load_schema, violations_of
from tests.support.workspace_builders import REPOSITORY

EXAMPLES = REPOSITORY / "tests" / "examples" / "dataset"
VALID = sorted((EXAMPLES / "valid").glob("*.json"))
INVALID = sorted((EXAMPLES / "invalid").glob("*.json"))
SCHEMA = load_schema("dataset/v1")
PROPERTIES: dict[str, Any] = SCHEMA["properties"]
PARTS = [
    (Selection, PROPERTIES["selection"]),
    (CaptionRule, PROPERTIES["captionRule"]),
    (Normalization, PROPERTIES["normalization"]),
    (SplitRule, PROPERTIES["splitRule"]),
    (ProvenanceSummary, PROPERTIES["provenanceSummary"]),
    (LicenseCount, PROPERTIES["provenanceSummary"]["properties"]["licenses"]["items"]),
    (Item, SCHEMA["$defs"]["item"]),
    (UnconfirmedMerge, PROPERTIES["unconfirmedMerge"]),
]


def names(kind: type[msgspec.Struct]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(kind)}


def test_the_manifest_has_the_fields_of_its_schema() -> None:
    assert set(PROPERTIES) == names(Manifest) | {"schema"}


@pytest.mark.parametrize(
    ("kind", "schema"), PARTS, ids=lambda value: getattr(value, "__name__", "")
)
def test_each_part_has_the_fields_of_its_definition(
    kind: type[msgspec.Struct], schema: dict[str, Any]
) -> None:
    assert set(schema["properties"]) == names(kind)


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_valid_examples_are_valid_and_read(path: Path) -> None:
    document = json.loads(path.read_bytes())

    assert violations_of(document, "dataset/v1") == []
    assert Manifest.from_dict(document).id == document["id"]


@pytest.mark.parametrize("name", ["project", "shared"])
def test_what_was_written_by_this_version_is_written_back_byte_for_byte(name: str) -> None:
    data = (EXAMPLES / "valid" / f"{name}.json").read_bytes()
    record = Manifest.from_dict(strict_json.loads(data, name))

    assert strict_json.dumps(record.to_dict(), one_line_each=record.ONE_LINE_EACH) == data


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_invalid_examples_are_refused_for_their_reason(path: Path) -> None:
    found = "\n".join(map(str, violations_of(json.loads(path.read_bytes()), "dataset/v1")))

    assert path.with_suffix(".expected").read_text().strip() in found


@pytest.mark.parametrize("name", ["project", "shared"])
def test_the_program_in_the_documentation_computes_the_content_hash(
    name: str, tmp_path: Path
) -> None:
    path = EXAMPLES / "valid" / f"{name}.json"
    text = (REPOSITORY / "docs" / "manifest.md").read_text(encoding="utf-8")
    program = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(program) == 1
    (tmp_path / "check.py").write_text(program[0], encoding="utf-8")

    done = subprocess.run(
        [sys.executable, "-X", "utf8", tmp_path / "check.py", path],
        capture_output=True,
        check=True,
        text=True,
    )

    record = Manifest.from_dict(json.loads(path.read_bytes()))
    assert done.stdout.strip() == record.content_hash == hash_of_manifest(record)


def test_the_rule_of_a_base_format_manifest_is_found_in_its_selection() -> None:
    document = json.loads((EXAMPLES / "valid" / "base-format.json").read_bytes())

    rule = stored_rule(Manifest.from_dict(document))

    assert rule.captions.strategy == "tags+spec"
    assert rule.selection.asset_types == ("ui_icon",)
    assert "note" not in rule.selection.to_dict()


def test_settings_that_differ_are_named_with_both_values() -> None:
    document = json.loads((EXAMPLES / "valid" / "project.json").read_bytes())
    before = stored_rule(Manifest.from_dict(document))
    document["splitRule"]["heldOut"] = 0.1
    document["selection"]["tags"] = ["style:neon"]

    found = changed_settings(before, stored_rule(Manifest.from_dict(document)))

    assert found == {
        "selection.tags": (["style:flat"], ["style:neon"]),
        "splitRule.heldOut": (0.25, 0.1),
    }
