"""lora call: any operation by name, JSON in, JSON out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_pipeline.operations.registry import OPERATIONS
from tests.support.workspace_builders import invoke, make_workspace, run_lora, tree_digest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_workspace(tmp_path, project="neon_city").root


def test_an_operation_answers_as_its_command_does(folder: Path) -> None:
    called = invoke(["call", "workspace.status"], folder)
    command = invoke(["status", "--json"], folder)

    assert called == command
    assert called.exit_code == 0


def test_arguments_come_as_a_word_or_on_standard_input(folder: Path) -> None:
    arguments = json.dumps({"key": "trainers"})

    word = invoke(["call", "config.explain", arguments], folder)
    stdin = invoke(["call", "config.explain", "-"], folder, stdin=arguments)

    assert word == stdin
    keys = [one["key"] for one in word.document["data"]["settings"]]
    assert keys
    assert all(key.startswith("trainers.") for key in keys)


def test_an_operation_that_writes_has_its_dry_run(folder: Path) -> None:
    before = tree_digest(folder)
    arguments = json.dumps({"projectId": "other"})

    dry = invoke(["call", "project.create", arguments, "--dry-run"], folder)

    assert dry.exit_code == 0, dry.stderr
    assert dry.document["dryRun"] is True
    assert dry.document["written"]
    assert tree_digest(folder) == before

    done = invoke(["call", "project.create", arguments], folder)
    assert done.document["written"] == dry.document["written"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["nothing.here"], "argument_invalid", "no operation 'nothing.here'"),
        (["workspace.stats"], "argument_invalid", "no operation 'workspace.stats'"),
        (["workspace.status", "[]"], "argument_invalid", "one JSON object"),
        (["workspace.status", "null"], "argument_invalid", "one JSON object"),
        (["workspace.status", "{"], "json_invalid", "the argument is not JSON"),
        (["workspace.status", '{"project": NaN}'], "json_invalid", "NaN"),
        (["workspace.status", '{"a": 1, "a": 2}'], "json_invalid", "stands twice"),
        (["workspace.status", '{"unknown": 1}'], "argument_invalid", "unknown"),
        (["workspace.status", '{"project": 1}'], "argument_invalid", "$.project"),
        (["config.explain", '{"key": "x", "key2": "y"}'], "argument_invalid", "key2"),
        (["suite.show", "{}"], "argument_invalid", "missing"),
        (["workspace.status", "--", "--json"], "json_invalid", "not JSON"),
    ],
)
def test_what_is_wrong_is_one_document_and_nothing_is_written(
    arguments: list[str], code: str, words: str, folder: Path
) -> None:
    before = tree_digest(folder)

    answer = invoke(["call", *arguments], folder)

    assert answer.exit_code == 3
    assert answer.error["code"] == code
    assert words in answer.error["message"]
    assert tree_digest(folder) == before


def test_a_name_that_is_nearly_one_is_answered_with_it(folder: Path) -> None:
    answer = invoke(["call", "workspace.stats"], folder)

    assert answer.error["hint"] == "did you mean workspace.status?"


def test_all_operations_are_listed_without_a_workspace(tmp_path: Path) -> None:
    listed = invoke(["call", "--list", "--json"], tmp_path).document["data"]["operations"]

    assert [one["name"] for one in listed] == [operation.name for operation in OPERATIONS]
    assert all(one["summary"] for one in listed)
    words = invoke(["call", "--list"], tmp_path).stdout
    assert all(operation.name in words for operation in OPERATIONS)
    assert "people only" in words


def test_the_schema_of_an_operation_is_a_closed_object(tmp_path: Path) -> None:
    answer = invoke(["call", "config.explain", "--schema"], tmp_path)

    arguments = answer.document["$defs"]["Arguments"]
    assert arguments["additionalProperties"] is False
    assert set(arguments["properties"]) == {"key"}


def test_without_a_name_it_is_a_question_of_usage(folder: Path) -> None:
    answer = invoke(["call"], folder)

    assert answer.exit_code == 2
    assert "lora call --list" in answer.stderr


def test_a_hostile_argument_does_nothing_but_be_refused(folder: Path) -> None:
    before = tree_digest(folder)

    answer = run_lora(["call", "suite.show", '{"suiteId": "../../../etc/passwd"}'], folder)

    assert answer.exit_code == 3
    assert answer.error["code"] in {"argument_invalid", "unsafe_path"}
    assert tree_digest(folder) == before
