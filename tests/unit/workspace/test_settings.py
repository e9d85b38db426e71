"""Settings: which value wins, where it comes from, and what no file may hold."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from lora_pipeline.foundation import strict_yaml
from lora_pipeline.foundation.errors import SettingsError
from lora_pipeline.foundation.resources import resource
from lora_pipeline.workspace.settings import (
    LOCAL_FILE,
    PIPELINE_FILE,
    SETTINGS,
    Settings,
    read_settings,
)
from lora_pipeline.workspace.settings_schema import local_schema, pipeline_schema


def settings(
    folder: Path,
    *,
    shared: str | None = None,
    local: str | None = None,
    environment: dict[str, str] | None = None,
) -> Settings:
    (folder / "config").mkdir(exist_ok=True)
    if shared is not None:
        (folder / PIPELINE_FILE).write_text(shared, encoding="utf-8")
    if local is not None:
        (folder / LOCAL_FILE).write_text(local, encoding="utf-8")
    return read_settings(folder, environment or {})


def refusal(folder: Path, **files: Any) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        settings(folder, **files)
    assert caught.value.code == "settings_invalid"
    return caught.value


# --- precedence --------------------------------------------------------------------------------


def test_without_any_file_the_defaults_hold(tmp_path: Path) -> None:
    found = read_settings(tmp_path, {})

    assert {one.source for one in found.explain()} == {"default"}
    assert [one.setting for one in found.explain()] == list(SETTINGS)
    assert found.text("project") is None
    assert found.require_text("dataRoot") == "data"
    assert found.integer("images.maxPixels") == 64_000_000
    assert found.number("lock.timeoutSeconds") == 10.0


def test_the_machine_is_stronger_than_the_studio_and_the_environment_than_both(
    tmp_path: Path,
) -> None:
    shared = "project: studio\nlock:\n  timeoutSeconds: 1\n"
    local = '{"project": "machine"}'

    only_shared = settings(tmp_path, shared=shared)
    assert only_shared.text("project") == "studio"
    assert only_shared.values["project"].source == "config/pipeline.yaml"

    both = settings(tmp_path, local=local)
    assert both.text("project") == "machine"
    assert both.values["project"].source == "config/local.json"
    assert both.number("lock.timeoutSeconds") == 1.0

    every = settings(tmp_path, environment={"LORA_PROJECT": "shell", "LORA_LOCK_TIMEOUT": "0.5"})
    assert every.text("project") == "shell"
    assert every.values["project"].source == "environment variable LORA_PROJECT"
    assert every.number("lock.timeoutSeconds") == 0.5


def test_an_empty_variable_and_an_empty_line_set_nothing(tmp_path: Path) -> None:
    found = settings(tmp_path, shared="project:\n", environment={"LORA_PROJECT": ""})

    assert found.values["project"].source == "default"


@pytest.mark.parametrize("shared", ["", "# only a comment\n", "{}\n", "~\n"])
def test_an_empty_file_sets_nothing(shared: str, tmp_path: Path) -> None:
    assert settings(tmp_path, shared=shared).text("project") is None


# --- refused -----------------------------------------------------------------------------------


def test_an_unknown_key_is_named_with_the_one_that_was_meant(tmp_path: Path) -> None:
    error = refusal(tmp_path, shared="trainers:\n  defalt: x\n")

    assert error.message == "config/pipeline.yaml: unknown setting trainers.defalt"
    assert error.hint == "did you mean trainers.default?"


def test_an_unknown_key_that_is_like_none_names_the_command_that_lists_them(
    tmp_path: Path,
) -> None:
    error = refusal(tmp_path, local='{"zzz": {"qqq": 1}}')

    assert error.message == "config/local.json: unknown setting zzz.qqq"
    assert error.hint == "lora config explain lists all settings"


@pytest.mark.parametrize(
    ("shared", "message"),
    [
        ("project: 1\n", "project must be text, got 1"),
        ("project: [a]\n", "project must be text, got ['a']"),
        ("images:\n  maxPixels: many\n", "images.maxPixels must be a whole number, got 'many'"),
        ("images:\n  maxPixels: 1.5\n", "images.maxPixels must be a whole number, got 1.5"),
        ("images:\n  maxPixels: true\n", "images.maxPixels must be a whole number, got True"),
        ("lock:\n  timeoutSeconds: soon\n", "lock.timeoutSeconds must be a number, got 'soon'"),
        ("lock:\n  timeoutSeconds: -1\n", "lock.timeoutSeconds must not be negative, got -1"),
        ("dataRoot: ../elsewhere\n", "dataRoot '../elsewhere' must not hold"),
        ("dataRoot: /srv/data\n", "dataRoot '/srv/data' must be relative"),
        ("images: 5\n", "unknown setting images"),
        ("images.maxPixels: 5\n", "write images.maxPixels as nested names"),
        ("[a, b]\n", "must hold names and values"),
        ("a: [\n", "not valid YAML"),
        ("project: a\nproject: b\n", "key 'project' stands twice"),
        ("<<<<<<< HEAD\na: 1\n=======\n>>>>>>> x\n", "unresolved merge"),
    ],
)
def test_what_a_shared_file_may_not_say_is_explained(
    shared: str, message: str, tmp_path: Path
) -> None:
    error = refusal(tmp_path, shared=shared)

    assert message in error.message
    assert error.message.startswith("config/pipeline.yaml")


@pytest.mark.parametrize(
    ("local", "message"),
    [
        ("{", "config/local.json is not JSON"),
        ("[]", "config/local.json must hold names and values"),
        ('{"project": "a", "project": "b"}', "key 'project' stands twice"),
        ('{"lock": {"timeoutSeconds": NaN}}', "NaN is not a JSON number"),
        ('{"gate": {"policy": "solo"}}', "gate.policy holds for everybody"),
    ],
)
def test_what_a_local_file_may_not_say_is_explained(
    local: str, message: str, tmp_path: Path
) -> None:
    assert message in refusal(tmp_path, local=local).message


def test_a_value_is_checked_also_where_a_stronger_one_hides_it(tmp_path: Path) -> None:
    error = refusal(
        tmp_path, shared="project: 1\n", local='{"project": "a"}', environment={"LORA_PROJECT": "b"}
    )

    assert "project must be text" in error.message


@pytest.mark.parametrize(
    ("variable", "value"),
    [("LORA_LOCK_TIMEOUT", "soon"), ("LORA_THREADS", "1.5"), ("LORA_LOCK_TIMEOUT", "nan"),
     ("LORA_LOCK_TIMEOUT", "inf"), ("LORA_THREADS", "-1"), ("LORA_DATA_ROOT", "/etc")],
)  # fmt: skip
def test_a_variable_that_makes_no_sense_is_named(variable: str, value: str, tmp_path: Path) -> None:
    error = refusal(tmp_path, environment={variable: value})

    assert f"environment variable {variable}" in error.message


def test_what_belongs_to_one_machine_may_not_be_in_git(tmp_path: Path) -> None:
    error = refusal(tmp_path, shared="store:\n  root: /mnt/store\n")

    assert error.message == "config/pipeline.yaml: store.root belongs to one machine"
    assert error.hint == "move it to config/local.json"


@pytest.mark.parametrize("key", ["hfToken", "HF_TOKEN", "replicateApiKey", "password", "my_secret"])
def test_a_key_that_asks_for_a_secret_is_refused(key: str, tmp_path: Path) -> None:
    error = refusal(tmp_path, local=json.dumps({key: "abc"}))

    assert "secrets never stand in files" in error.message
    assert error.hint is not None
    assert "environment variable" in error.hint


@pytest.mark.parametrize(
    "value",
    [
        "hf_abcdefghijklmnop",
        "r8_abcdefghijklmnop",
        "ghp_abcdefghijklmnop",
        "AKIAABCDEFGHIJKLMNOP",
        "https://user:pass@comfy.studio:8188",
    ],
)
def test_a_value_that_is_a_secret_is_refused_and_not_repeated(value: str, tmp_path: Path) -> None:
    error = refusal(tmp_path, local=json.dumps({"comfyui": {"baseUrl": value}}))

    assert "comfyui.baseUrl holds a secret" in error.message
    assert value not in f"{error.message} {error.hint}"


def test_a_known_setting_is_no_secret_whatever_its_name(tmp_path: Path) -> None:
    local = json.dumps({"trainers": {"kohya_ss": {"tokenizerCache": "/mnt/tokenizers"}}})

    assert settings(tmp_path, local=local).text("trainers.kohya_ss.tokenizerCache")


def test_a_setting_that_must_be_set_says_where(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"setting paths\.modelsRoot is not set") as caught:
        read_settings(tmp_path, {}).require_text("paths.modelsRoot")

    assert caught.value.hint == "set paths.modelsRoot in config/local.json"


# --- what ships --------------------------------------------------------------------------------


def test_the_example_of_a_local_file_is_valid(tmp_path: Path) -> None:
    example = resource("config", "local.example.json").read_text(encoding="utf-8")

    found = settings(tmp_path, local=example)

    jsonschema.validate(json.loads(example), local_schema())
    assert any(one.source == LOCAL_FILE for one in found.explain())


def test_the_settings_of_a_new_workspace_are_valid_and_their_comments_name_settings(
    tmp_path: Path,
) -> None:
    text = resource("config", "workspace", "pipeline.yaml").read_text(encoding="utf-8")
    settings(tmp_path, shared=text)
    jsonschema.validate(strict_yaml.loads(text.encode(), "x") or {}, pipeline_schema())

    # What is offered as a comment must work when somebody takes the mark away.
    offered = [line[2:] for line in text.splitlines() if re.match(r"# ( *)[a-z][A-Za-z]*:", line)]
    assert "  maxPixels: 64000000" in offered
    settings(tmp_path, shared="\n".join(offered))
    modeline = "# yaml-language-server: $schema=../schemas/pipeline-config.v1.schema.json\n"
    assert text.startswith(modeline)


def leaves(schema: dict[str, Any], prefix: str = "") -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name, node in schema["properties"].items():
        if node["type"] == "object":
            assert node["additionalProperties"] is False
            found |= leaves(node, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = node
    return found


def test_editors_know_every_setting_where_it_may_stand() -> None:
    shared, local = leaves(pipeline_schema()), leaves(local_schema())

    assert set(shared) == {one.key for one in SETTINGS if not one.local_only}
    assert set(local) == {one.key for one in SETTINGS if not one.shared_only}
    for schema in (pipeline_schema(), local_schema()):
        jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.key)
def test_every_setting_accepts_its_own_default(setting: Any) -> None:
    document: Any = setting.default
    for name in reversed(setting.key.split(".")):
        document = {name: document}

    schema = local_schema() if not setting.shared_only else pipeline_schema()
    jsonschema.validate(document, schema)
    assert setting.summary
