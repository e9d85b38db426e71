"""Evaluations, reviews and suites: types and schemas agree, and examples are what they say."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from lora_pipeline.evaluation.grid import problems_of_grid
from lora_pipeline.evaluation.metric_records import (
    Compared,
    CopyCheck,
    Encoded,
    Encoder,
    LookAlike,
)
from lora_pipeline.evaluation.records import (
    Cell,
    Evaluation,
    EvaluationMetrics,
    RendererIdentity,
    RenderSettings,
    Review,
    ReviewBinding,
    Suite,
    SuitePrompt,
)
from lora_pipeline.evaluation.reviews import is_unchanged
from lora_pipeline.foundation.record import Part
from lora_pipeline.foundation.schemas import load_schema, violations_of
from tests.support.workspace_builders import REPOSITORY

EXAMPLES = REPOSITORY / "tests" / "examples"
KINDS: dict[str, type[Part]] = {"evaluation": Evaluation, "review": Review, "suite": Suite}
VALID = [path for kind in KINDS for path in sorted((EXAMPLES / kind / "valid").glob("*.json"))]
INVALID = [path for kind in KINDS for path in sorted((EXAMPLES / kind / "invalid").glob("*.json"))]
PARTS: list[tuple[str, tuple[str, ...], type[Part]]] = [
    ("evaluation", ("$defs", "cell"), Cell),
    ("evaluation", ("properties", "metrics"), EvaluationMetrics),
    ("evaluation", ("$defs", "compared"), Compared),
    ("evaluation", ("$defs", "encoded"), Encoded),
    ("evaluation", ("$defs", "lookAlike"), LookAlike),
    ("evaluation", ("$defs", "copies"), CopyCheck),
    ("evaluation", ("$defs", "encoder"), Encoder),
    ("evaluation", ("properties", "renderer"), RendererIdentity),
    ("review", ("properties", "binding"), ReviewBinding),
    ("suite", ("$defs", "prompt"), SuitePrompt),
    ("suite", ("properties", "render"), RenderSettings),
]


def field_names(kind: type[Part]) -> set[str]:
    return {field.encode_name for field in msgspec.structs.fields(kind)}


def named(path: Path) -> str:
    return f"{path.parent.parent.name}-{path.stem}"


@pytest.mark.parametrize("kind", KINDS)
def test_types_have_the_fields_of_their_schema(kind: str) -> None:
    properties = set(load_schema(f"{kind}/v1")["properties"])
    assert properties - {"schema"} == field_names(KINDS[kind])


@pytest.mark.parametrize(("kind", "place", "part"), PARTS)
def test_parts_have_the_fields_of_their_definitions(
    kind: str, place: tuple[str, ...], part: type[Part]
) -> None:
    definition = load_schema(f"{kind}/v1")
    for name in place:
        definition = definition[name]
    assert set(definition["properties"]) == field_names(part)


@pytest.mark.parametrize("path", VALID, ids=named)
def test_valid_examples_are_read_and_written_back_unchanged(path: Path) -> None:
    document, kind = json.loads(path.read_text()), path.parent.parent.name
    assert violations_of(document, f"{kind}/v1") == []
    written = KINDS[kind].from_dict(document).to_dict()
    stated = {"schema": f"{kind}/v1"} if kind != "suite" else {}
    # What holds its default is not written.
    defaults = {"notes": "", "schema": written.get("schema")}
    assert written == {**stated, **{k: v for k, v in document.items() if defaults.get(k) != v}}


@pytest.mark.parametrize("path", INVALID, ids=named)
def test_invalid_examples_are_refused_for_their_reason(path: Path) -> None:
    found = violations_of(json.loads(path.read_text()), f"{path.parent.parent.name}/v1")
    expected = path.with_suffix(".expected").read_text().strip()
    assert any(expected in str(violation) for violation in found), found


def test_the_complete_example_proves_itself() -> None:
    path = EXAMPLES / "evaluation" / "valid" / "complete.json"
    assert problems_of_grid(Evaluation.from_dict(json.loads(path.read_text()))) == []


@pytest.mark.parametrize("path", [path for path in VALID if "review" in named(path)], ids=named)
def test_the_digest_of_a_review_example_is_its_own(path: Path) -> None:
    assert is_unchanged(Review.from_dict(json.loads(path.read_text())))
