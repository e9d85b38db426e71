"""The answer that every operation gives, and the errors beside it."""

from __future__ import annotations

import json

import pytest

from lora_pipeline.foundation import errors
from lora_pipeline.foundation.errors import PipelineError, RecordInvalidError, Violation
from lora_pipeline.foundation.events import Event, discard
from lora_pipeline.foundation.findings import Finding, Severity, has_errors
from lora_pipeline.foundation.resources import resource
from lora_pipeline.foundation.result import Refusal, Result

SHAPE = {
    "success", "data", "error", "reasoning", "warnings", "suggestions", "written", "dryRun",
}  # fmt: skip
ERROR_CLASSES = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, PipelineError)
]


def test_success_and_refusal_and_failure_have_one_shape() -> None:
    done = Result(data={"a": 1}, reasoning="Done", suggestions=["lora status"]).to_dict()
    refused = Result(refusal=Refusal("gate_refused", "no", "lora eval review r1")).to_dict()
    failed = PipelineError("broken", hint="mend it").to_answer()

    assert set(done) == set(refused) == set(failed) == SHAPE
    assert (done["success"], refused["success"], failed["success"]) == (True, False, False)
    assert done["error"] is None
    assert refused["error"] == {
        "code": "gate_refused",
        "message": "no",
        "hint": "lora eval review r1",
    }
    assert failed["error"] == {"code": "failed", "message": "broken", "hint": "mend it"}
    assert failed["suggestions"] == ["mend it"]
    json.dumps([done, refused, failed])


def test_warnings_are_added_to_those_that_are_there() -> None:
    assert Result(warnings=["a"]).with_warnings(["b"]).warnings == ("a", "b")


def test_an_error_says_where_the_value_came_from_and_every_place() -> None:
    error = RecordInvalidError(
        "x.json is not valid", source="--rank", violations=[Violation("$.a", "is missing")]
    )

    assert error.to_dict() == {
        "code": "record_invalid",
        "message": "x.json is not valid",
        "from": "--rank",
        "violations": [{"where": "$.a", "message": "is missing"}],
    }
    assert str(error.violations[0]) == "$.a: is missing"
    assert str(error) == "x.json is not valid"


@pytest.mark.parametrize("kind", ERROR_CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_has_a_code_of_its_own_and_an_explanation(
    kind: type[PipelineError],
) -> None:
    others = {one.code for one in ERROR_CLASSES if one is not kind}

    assert kind.code not in others
    assert kind.code.replace("_", "").isalpha()
    assert kind.code == kind.code.lower()
    assert kind.__doc__


def test_an_event_leaves_out_what_it_does_not_say() -> None:
    event = Event("progress", "train", step=0, total=10, unit="steps")
    discard(event)

    assert event.to_dict() == {
        "type": "progress",
        "topic": "train",
        "step": 0,
        "total": 10,
        "unit": "steps",
    }


def test_only_an_error_makes_a_check_fail() -> None:
    severities: list[Severity] = ["warning", "info", "not_proven"]
    findings = [Finding("x", severity, "a.json", "…") for severity in severities]

    assert not has_errors(findings)
    assert has_errors([*findings, Finding("x", "error", "a.json", "…", fix="lora validate")])
    assert findings[0].to_dict()["where"] == "a.json"


def test_what_ships_is_found() -> None:
    assert resource("schemas", "common.v1.schema.json").is_file()
    assert resource("config", "gates").is_dir()
