"""Schemas: sound, closed, described, true to the types, and examples prove what they accept."""

from __future__ import annotations

import json
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, Union

import msgspec
import pytest

from lora_pipeline.catalog import profile_records
from lora_pipeline.catalog import records as catalog_records
from lora_pipeline.datasets import records as dataset_records
from lora_pipeline.datasets.checks import records as check_records
from lora_pipeline.evaluation import records as evaluation_records
from lora_pipeline.evaluation.blind import records as blind_records
from lora_pipeline.evaluation.blind.answers import BlindAnswers
from lora_pipeline.foundation.errors import RecordInvalidError
from lora_pipeline.foundation.record import Part, Record
from lora_pipeline.foundation.schemas import load_schema, schema_names, violations_of
from lora_pipeline.releases import records as release_records
from lora_pipeline.releases.generation import Generation
from lora_pipeline.releases.passport import Passport
from lora_pipeline.training import records as training_records
from lora_pipeline.training.saved_plan import SavedPlan
from lora_pipeline.workspace.backup_list import BackupList
from lora_pipeline.workspace.definitions import FAMILIES
from lora_pipeline.workspace.layout import FOLDERS, SINGLES

EXAMPLES = Path(__file__).parents[1] / "examples"
BASE = "https://lora-pipeline.dev/schemas/"
MODULES = (
    catalog_records, profile_records, dataset_records, check_records, evaluation_records,
    blind_records,
    release_records, training_records,
)  # fmt: skip
DEFINITIONS: dict[str, type[Part]] = {
    "preset": training_records.Preset,
    "suite": evaluation_records.Suite,
    "gate-policy": release_records.GatePolicy,
}
RECORDS: dict[str, type[Record]] = {
    kind.KIND: kind
    for module in MODULES
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Record) and kind is not Record
}
# What stands in files of their own, outside of the records.
OTHERS: dict[str, type[Part]] = {
    "backup": BackupList, "generation": Generation, "passport": Passport, "plan": SavedPlan,
    "blind-answers": BlindAnswers,
}  # fmt: skip
TYPES: dict[str, type[Part]] = {**RECORDS, **DEFINITIONS, **OTHERS}
ALL = schema_names()
Node = dict[str, Any]


def nodes(node: Any, where: str) -> Iterator[tuple[str, Node]]:
    """Yield every object of a schema document with its place."""
    if isinstance(node, dict):
        yield where, node
        for key, value in node.items():
            yield from nodes(value, f"{where}/{key}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from nodes(value, f"{where}/{number}")


def resolved(node: Node, home: str) -> tuple[Node, str]:
    """Return what a node is once its reference was followed, and the schema that it is in."""
    if "$ref" not in node:
        return node, home
    address, _, pointer = node["$ref"].partition("#")
    if address:
        home = address.removeprefix(BASE).removesuffix(".schema.json").replace(".", "/")
    target: Any = load_schema(home)
    for part in filter(None, pointer.split("/")):
        target = target[part]
    return resolved(target, home)


def alternatives(node: Node, home: str) -> list[tuple[Node, str]]:
    """Return the nodes that a value may match, references followed, null left out."""
    node, home = resolved(node, home)
    found = []
    choices: list[Node] = node.get("anyOf") or node.get("oneOf") or [node]
    for choice in choices:
        target = resolved(choice, home)
        if target[0].get("type") != "null":
            found.append(target)
    return found


def parts_in(annotation: Any) -> list[tuple[type[Part], str]]:
    """Return the structures that a field holds, each with how: itself, in a list, in a map."""
    origin = typing.get_origin(annotation)
    if isinstance(annotation, type) and issubclass(annotation, Part):
        return [(annotation, "itself")]
    if origin in (Union, types.UnionType):
        return [part for one in typing.get_args(annotation) for part in parts_in(one)]
    if origin is tuple:
        inner = typing.get_args(annotation)[0]
        return [(part, "list") for part, how in parts_in(inner) if how == "itself"]
    if origin is dict:
        inner = typing.get_args(annotation)[1]
        return [(part, "map") for part, how in parts_in(inner) if how == "itself"]
    return []


def literals_in(annotation: Any) -> set[Any] | None:
    """Return the words that a field allows, or None when it allows any."""
    if typing.get_origin(annotation) is Literal:
        return set(typing.get_args(annotation))
    return None


def inner_node(node: Node, home: str, how: str) -> tuple[Node, str]:
    found = alternatives(node, home)[0]
    if how == "itself":
        return found
    key = "items" if how == "list" else "additionalProperties"
    return resolved(found[0][key], found[1])


def compare(kind: type[Part], node: Node, home: str, where: str) -> None:
    """Assert that a structure and its schema have the same fields, all the way down."""
    fields = {info.encode_name: info for info in msgspec.structs.fields(kind)}
    listed = set(node["properties"]) - {"schema"}
    assert listed == set(fields), f"{where}: schema and {kind.__name__} differ"
    required = set(node.get("required", ()))
    for name, info in fields.items():
        must = info.required
        assert not must or name in required, f"{where}.{name}: only the type requires it"
        words = literals_in(info.type)
        found, _ = alternatives(node["properties"][name], home)[0]
        if words and "enum" in found:
            assert set(found["enum"]) == words - {""}, f"{where}.{name}: other words"
        for part, how in parts_in(info.type):
            inner, inner_home = inner_node(node["properties"][name], home, how)
            compare(part, inner, inner_home, f"{where}.{name}")


def cases(outcome: str) -> list[Any]:
    return [
        pytest.param(path, id=f"{path.parts[-3]}-{path.stem}")
        for path in sorted(EXAMPLES.glob(f"*/{outcome}/*.json"))
    ]


def test_every_kind_of_record_and_definition_has_a_schema_and_a_type() -> None:
    kinds = {*FOLDERS, *SINGLES, *FAMILIES.values(), *OTHERS}

    assert kinds == set(TYPES)
    assert {f"{kind}/v1" for kind in kinds} | {"common/v1"} == set(ALL)


def test_every_schema_has_examples_that_hold_and_examples_that_do_not() -> None:
    for outcome in ("valid", "invalid"):
        there = {path.parent.parent.name for path in EXAMPLES.glob(f"*/{outcome}/*.json")}
        assert there == set(TYPES), outcome


@pytest.mark.parametrize("name", ALL)
def test_schema_is_valid_against_the_metaschema_and_names_itself(name: str) -> None:
    from jsonschema import Draft202012Validator

    document = load_schema(name)

    Draft202012Validator.check_schema(document)
    assert document["$id"] == f"{BASE}{name.replace('/', '.')}.schema.json"
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert document["title"]
    assert document["description"]


@pytest.mark.parametrize("name", ALL)
def test_every_object_is_closed(name: str) -> None:
    for where, node in nodes(load_schema(name), name):
        if where.rpartition("/")[2] in ("properties", "$defs"):
            continue
        if "properties" in node and node.get("type") == "object":
            assert node.get("additionalProperties") is False, where


@pytest.mark.parametrize("name", ALL)
def test_every_property_and_definition_is_described(name: str) -> None:
    for where, node in nodes(load_schema(name), name):
        holder, _, last = where.rpartition("/")
        if last not in ("properties", "$defs") or holder.endswith(("/if", "/then", "/else")):
            continue
        for key, value in node.items():
            if "/if/" in where or "/then/" in where:
                continue
            target = value if "description" in value else resolved(value, name)[0]
            assert target.get("description"), f"{where}/{key}"


@pytest.mark.parametrize("name", ALL)
def test_every_reference_leads_somewhere(name: str) -> None:
    for _, node in nodes(load_schema(name), name):
        if isinstance(node.get("$ref"), str):
            assert isinstance(resolved(node, name)[0], dict)


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_types_and_schema_have_the_same_fields(kind: str) -> None:
    compare(TYPES[kind], load_schema(f"{kind}/v1"), f"{kind}/v1", kind)


@pytest.mark.parametrize("path", cases("valid"))
def test_valid_example_is_accepted_by_schema_and_type(path: Path) -> None:
    kind, document = path.parts[-3], json.loads(path.read_bytes())

    assert violations_of(document, f"{kind}/v1") == []
    assert isinstance(TYPES[kind].from_dict(document), TYPES[kind])


@pytest.mark.parametrize("path", cases("valid"))
def test_valid_example_is_the_same_after_it_was_written_and_read(path: Path) -> None:
    kind, document = path.parts[-3], json.loads(path.read_bytes())
    once = TYPES[kind].from_dict(document)
    again = TYPES[kind].from_dict(once.to_dict())

    assert again == once
    assert again.to_dict() == once.to_dict()


@pytest.mark.parametrize("path", cases("invalid"))
def test_invalid_example_is_refused_for_the_expected_reason(path: Path) -> None:
    kind, document = path.parts[-3], json.loads(path.read_bytes())
    expected = path.with_suffix(".expected").read_text(encoding="utf-8").strip()

    found = "\n".join(str(violation) for violation in violations_of(document, f"{kind}/v1"))

    assert expected in found


def test_unknown_field_is_named_with_the_one_that_was_meant() -> None:
    document = json.loads((EXAMPLES / "project" / "valid" / "smallest.json").read_bytes())

    found = violations_of({**document, "defualts": {}}, "project/v1")

    assert "unknown field 'defualts', did you mean 'defaults'?" in str(found[0])


def test_pattern_ends_at_the_end_of_the_text_and_not_before_a_line_feed() -> None:
    document = json.loads((EXAMPLES / "project" / "valid" / "smallest.json").read_bytes())

    found = violations_of({**document, "id": "neon_city\n"}, "project/v1")

    assert [violation.where for violation in found] == ["$.id"]


def test_type_refuses_what_only_the_schema_would_let_through() -> None:
    document = json.loads((EXAMPLES / "asset-types" / "valid" / "base_format.json").read_bytes())
    document["assetTypes"][0]["imageCounts"] = {
        "minimum": 1.0, "recommendedFrom": 2, "recommendedTo": 3,
    }  # fmt: skip

    with pytest.raises(RecordInvalidError):
        catalog_records.AssetTypes.from_dict(document)
