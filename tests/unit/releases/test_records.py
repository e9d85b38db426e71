"""LoRAs and gate policies: types and schemas agree, and examples are what they say."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from lora_pipeline.foundation.record import Part
from lora_pipeline.foundation.schemas import load_schema, violations_of
from lora_pipeline.releases.history import active_after, broken_link
from lora_pipeline.releases.records import Evidence, GatePolicy, HistoryEntry, Lora, Release
from tests.support.workspace_builders import REPOSITORY

EXAMPLES = REPOSITORY / "tests" / "examples"
KINDS: dict[str, type[Part]] = {"lora": Lora, "gate-policy": GatePolicy}
VALID = [path for kind in KINDS for path in sorted((EXAMPLES / kind / "valid").glob("*.json"))]
INVALID = [path for kind in KINDS for path in sorted((EXAMPLES / kind / "invalid").glob("*.json"))]
PARTS: list[tuple[str, type[Part]]] = [
    ("release", Release),
    ("historyEntry", HistoryEntry),
    ("evidence", Evidence),
]


def field_names(kind: type[Part]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(kind)}


def named(path: Path) -> str:
    return f"{path.parent.parent.name}-{path.stem}"


@pytest.mark.parametrize("kind", KINDS)
def test_types_have_the_fields_of_their_schema(kind: str) -> None:
    properties = set(load_schema(f"{kind}/v1")["properties"])
    assert properties - {"schema"} == field_names(KINDS[kind])


@pytest.mark.parametrize(("name", "part"), PARTS)
def test_parts_have_the_fields_of_their_definitions(name: str, part: type[Part]) -> None:
    assert set(load_schema("lora/v1")["$defs"][name]["properties"]) == field_names(part)


@pytest.mark.parametrize("path", VALID, ids=named)
def test_valid_examples_are_read_and_lose_nothing(path: Path) -> None:
    document, kind = json.loads(path.read_text()), path.parent.parent.name
    assert violations_of(document, f"{kind}/v1") == []
    record = KINDS[kind].from_dict(document)
    assert KINDS[kind].from_dict(record.to_dict()) == record
    for name, value in document.items():
        assert record.to_dict().get(name, value) == value


@pytest.mark.parametrize("path", INVALID, ids=named)
def test_invalid_examples_are_refused_for_their_reason(path: Path) -> None:
    found = violations_of(json.loads(path.read_text()), f"{path.parent.parent.name}/v1")
    expected = path.with_suffix(".expected").read_text().strip()
    assert any(expected in str(violation) for violation in found), found


def test_the_promoted_example_follows_from_its_history() -> None:
    lora = Lora.from_dict(json.loads((EXAMPLES / "lora/valid/promoted.json").read_text()))

    assert broken_link(lora.history) is None
    assert active_after(lora.history) == lora.active_release_id


def test_a_strength_that_nobody_chose_is_that_of_the_scope() -> None:
    new = Lora.from_dict(json.loads((EXAMPLES / "lora/valid/new.json").read_text()))
    old = Lora.from_dict(json.loads((EXAMPLES / "lora/valid/base_format.json").read_text()))
    chosen = Lora.from_dict(json.loads((EXAMPLES / "lora/valid/promoted.json").read_text()))

    assert (new.strength_in_use, old.strength_in_use, chosen.strength_in_use) == (0.6, 0.9, 0.8)


@pytest.mark.parametrize("policy_id", ["standard", "brand", "solo"])
def test_shipped_policies_say_why_their_numbers_are_what_they_are(policy_id: str) -> None:
    import yaml

    document = yaml.safe_load((REPOSITORY / f"config/gates/{policy_id}.yaml").read_text())
    policy = GatePolicy.from_dict(document)

    assert violations_of(document, "gate-policy/v1") == []
    assert policy.id == policy_id
    assert {"approvals", "minEffect"} <= set(policy.reasons)
    assert set(policy.reasons) <= field_names(GatePolicy) | set(document)
