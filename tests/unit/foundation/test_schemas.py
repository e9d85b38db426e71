"""What a document breaks of its schema is named: the place, the rule, the word that was meant."""

from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from lora_pipeline.foundation import schemas
from lora_pipeline.foundation.errors import RecordInvalidError, SchemaVersionError, Violation
from lora_pipeline.foundation.schema_bundle import bundled_schema
from lora_pipeline.foundation.schemas import (
    MAX_VIOLATIONS,
    _explained,
    load_schema,
    require_valid,
    schema_name_of,
    schema_names,
    violations_of,
)

EXAMPLES = Path(__file__).parents[2] / "examples"


def project(**changes: Any) -> dict[str, Any]:
    document: dict[str, Any] = {
        "schema": "project/v1",
        "id": "neon_city",
        "name": "Neon City",
        "createdAt": "2026-03-01T12:00:00Z",
        "updatedAt": "2026-03-01T12:00:00Z",
        "defaults": {"style": "flat", "scenario": "plain"},
    }
    return document | changes


def words(document: Any, schema_name: str = "project/v1") -> list[str]:
    return [str(one) for one in violations_of(document, schema_name)]


def test_a_valid_document_breaks_nothing() -> None:
    assert words(project()) == []
    require_valid(project(), "project/v1", "project.json")


def test_an_unknown_field_is_named_with_the_one_that_was_meant() -> None:
    assert words(project(nmae="x")) == ["$: unknown field 'nmae', did you mean 'name'?"]
    assert words(project(zzz="x")) == ["$: unknown field 'zzz'"]


def test_every_missing_field_is_named_once() -> None:
    document = project()
    del document["id"], document["name"]

    assert words(document) == ["$: 'id' is missing", "$: 'name' is missing"]


@pytest.mark.parametrize(
    ("value", "shown"), [(True, "true"), (1, "1"), (["x"], '["x"]'), (None, "null")]
)
def test_a_value_of_another_type_is_shown(value: Any, shown: str) -> None:
    assert words(project(name=value)) == [f"$.name: must be string, is {shown}"]


def test_a_long_value_is_cut() -> None:
    (violation,) = words(project(name=["x" * 1000]))

    assert violation.startswith("$.name: must be string, is [")
    assert len(violation) < 100


def test_places_are_in_the_order_of_the_document() -> None:
    tags = [{"id": "a", "label": "A"} for _ in range(12)]
    document = {
        "schema": "tags/v1",
        "id": "tags",
        "createdAt": "2026-03-01T12:00:00Z",
        "updatedAt": "2026-03-01T12:00:00Z",
        "groups": [{"id": "style", "label": "S", "exclusive": True, "tags": tags}],
    }
    found = [str(one.where) for one in violations_of(document, "tags/v1")]

    assert found.index("$.groups[0].tags[2].id") < found.index("$.groups[0].tags[10].id")


def test_a_text_that_ends_in_a_line_feed_does_not_match() -> None:
    assert words(project(id="neon_city\n")) != []
    assert words(project(updatedAt="2026-03-01T12:00:00Z\n")) != []


@pytest.mark.parametrize(
    "time",
    ["2026-03-01", "2026-03-01T12:00:00", "2026-03-01T12:00:00+01:00", "2026-03-01 12:00:00Z", ""],
)
def test_a_time_without_the_zone_z_is_refused(time: str) -> None:
    assert words(project(createdAt=time)) != []


def test_digits_of_other_scripts_are_no_digits() -> None:
    assert (
        words(project(createdAt="\u0662\u0660\u0662\u0666-\u0660\u0663-\u0660\u0661T12:00:00Z"))
        != []
    )


def test_of_several_forms_the_nearest_one_is_explained() -> None:
    document = json.loads((EXAMPLES / "run" / "valid" / "failed.json").read_bytes())
    document["error"] = {"code": "x", "message": 1}

    assert words(document, "run/v1") == ["$.error.message: must be string, is 1"]


def test_no_more_than_a_screenful_is_kept() -> None:
    found = violations_of(project(**{f"x{number}": 1 for number in range(200)}), "project/v1")

    assert len(found) == MAX_VIOLATIONS


def test_an_invalid_document_carries_every_violation() -> None:
    with pytest.raises(RecordInvalidError) as caught:
        require_valid(project(a=1, b=2), "project/v1", "project.json")

    assert caught.value.message == "project.json: $: unknown field 'a' (and 1 more)"
    assert len(caught.value.violations) == 2
    assert caught.value.to_dict()["violations"] == [
        {"where": "$", "message": "unknown field 'a'"},
        {"where": "$", "message": "unknown field 'b'"},
    ]


# --- which schema ------------------------------------------------------------------------------


def test_a_document_without_schema_is_of_the_first_version() -> None:
    assert schema_name_of({}, "lora", "x.json") == "lora/v1"
    assert schema_name_of({"schema": "lora/v1"}, "lora", "x.json") == "lora/v1"


def test_a_newer_schema_asks_for_a_newer_program() -> None:
    with pytest.raises(SchemaVersionError, match="this version of lora knows lora/v1") as caught:
        schema_name_of({"schema": "lora/v2"}, "lora", "x.json")

    assert caught.value.hint == "update lora-pipeline"


@pytest.mark.parametrize("stated", ["asset/v1", "lora", "lora/v1\n", 1, None, "", ["lora/v1"]])
def test_a_schema_of_another_kind_is_refused(stated: object) -> None:
    with pytest.raises(SchemaVersionError, match=r"x\.json must name schema lora/v1"):
        schema_name_of({"schema": stated}, "lora", "x.json")


def test_a_schema_that_does_not_exist_is_named() -> None:
    with pytest.raises(SchemaVersionError, match="no schema nothing/v1"):
        load_schema("nothing/v1")


# --- the schemas that ship ---------------------------------------------------------------------


@pytest.mark.parametrize("name", schema_names())
def test_every_schema_is_one_and_says_what_it_is(name: str) -> None:
    schema = load_schema(name)

    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    file_name = name.replace("/", ".")
    assert schema["$id"] == f"https://lora-pipeline.dev/schemas/{file_name}.schema.json"
    assert schema["title"]
    assert schema["description"]


def objects_in(node: Any, where: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    if isinstance(node, dict):
        if node.get("type") == "object":
            found.append((where, node))
        for key, value in node.items():
            found += objects_in(value, f"{where}/{key}")
    elif isinstance(node, list):
        for position, value in enumerate(node):
            found += objects_in(value, f"{where}/{position}")
    return found


@pytest.mark.parametrize("name", schema_names())
def test_every_object_is_closed_or_described_as_open(name: str) -> None:
    for where, node in objects_in(load_schema(name), name):
        if "properties" in node:
            assert node.get("additionalProperties") is False, where
        else:
            assert node.get("description"), where


@pytest.mark.parametrize("name", schema_names())
def test_every_property_is_described(name: str) -> None:
    for where, node in objects_in(load_schema(name), name):
        for key, value in node.get("properties", {}).items():
            described = value is False or "description" in value or "$ref" in value
            assert described, f"{where}/{key}"


# --- schemas that stand alone ------------------------------------------------------------------


def references_in(node: Any) -> list[str]:
    if isinstance(node, list):
        return [one for value in node for one in references_in(value)]
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [one for value in node.values() for one in references_in(value)]
    return []


@pytest.mark.parametrize("name", schema_names())
def test_a_bundled_schema_refers_only_to_itself(name: str) -> None:
    bundle = bundled_schema(name)

    Draft202012Validator.check_schema(bundle)
    for reference in references_in(bundle):
        place: Any = bundle
        assert reference.startswith("#/$defs/"), reference
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


EXAMPLE_FILES = sorted(EXAMPLES.glob("*/*/*.json"))


@pytest.mark.parametrize("path", EXAMPLE_FILES, ids=lambda path: f"{path.parts[-3]}-{path.stem}")
def test_a_bundled_schema_accepts_and_refuses_what_the_original_does(path: Path) -> None:
    try:
        document = json.loads(path.read_bytes())
    except ValueError:
        return
    name = f"{path.parts[-3]}/v1"
    bundle = copy.deepcopy(bundled_schema(name))

    accepted = Draft202012Validator(bundle).is_valid(document)

    assert accepted == (violations_of(document, name) == [])


@pytest.mark.parametrize("place", [0, 4095, 4096, 9_999])
def test_a_long_list_is_judged_to_its_end(place: int) -> None:
    item = {"assetId": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "assetVersionId": "01ARZ3NDEKTSV4RRFFQ69G5FAV",
            "variantId": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "path": "a.png"}  # fmt: skip
    document = {
        "id": "icons", "scope": "baseline", "createdAt": "2026-01-01T12:00:00Z",
        "updatedAt": "2026-01-01T12:00:00Z", "items": [item] * 10_000,
    }  # fmt: skip
    whole = violations_of(document, "dataset/v1")
    document["items"] = [item] * place + [{**item, "path": "../a.png"}] + [item] * (9_999 - place)

    found = violations_of(document, "dataset/v1")

    assert [one for one in found if one not in whole]
    assert any(f"items[{place}]" in str(one) for one in found)


FAULTS: dict[str, dict[str, Any]] = {
    "an unknown field": {"widht": 64},
    "another type": {"path": 5},
    "another form": {"assetId": "no id\n"},
    "several": {"widht": 64, "path": None, "tags": ["a b", 7]},
}


def manifest(count: int) -> dict[str, Any]:
    (example, *_) = sorted((EXAMPLES / "dataset" / "valid").glob("*.json"))
    document: dict[str, Any] = json.loads(example.read_bytes())
    return document | {"items": [copy.deepcopy(document["items"][0]) for _ in range(count)]}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("places", [[0], [59], [3, 21, 40], range(60)], ids=str)
@pytest.mark.parametrize("around", [{}, {"nmae": 1, "scope": "nowhere"}], ids=["", "around too"])
def test_of_a_long_list_the_broken_elements_are_explained_as_if_all_were(
    fault: str, places: Sequence[int], around: dict[str, Any]
) -> None:
    document = manifest(60) | around
    for place in places:
        document["items"][place] |= FAULTS[fault]

    found = violations_of(document, "dataset/v1")

    assert found == _explained(document, "dataset/v1")
    assert f"$.items[{places[0]}]" in "".join(map(str, found))


def test_a_long_list_without_faults_in_a_broken_document_is_not_explained() -> None:
    assert words(manifest(60) | {"zzz": 1}, "dataset/v1") == ["$: unknown field 'zzz'"]


def test_one_wrong_field_among_many_is_explained_without_the_others() -> None:
    document = manifest(20_000)
    document["items"][15_000]["widht"] = 64
    explained = schemas._explained

    def counted(seen: dict[str, Any], name: str) -> list[Violation]:
        assert len(seen["items"]) <= 21
        return explained(seen, name)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schemas, "_explained", counted)

        assert words(document, "dataset/v1") == [
            "$.items[15000]: unknown field 'widht', did you mean 'width'?"
        ]
