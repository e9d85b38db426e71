"""A new workspace: what is in it holds together."""

from __future__ import annotations

import fnmatch
import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from lora_pipeline.cli.main import COMMANDS
from lora_pipeline.foundation import strict_yaml
from lora_pipeline.workspace.layout import FOLDERS, SHARED, SINGLES, Scope, relative_path
from lora_pipeline.workspace.starter import editor_settings, schema_files, starter_files

FILES = starter_files(lfs=False)


def test_the_file_that_makes_it_a_workspace_comes_last() -> None:
    assert list(FILES)[-1] == "config/pipeline.yaml"


@pytest.mark.parametrize("path", FILES)
def test_every_file_is_text_with_lf_and_a_final_newline(path: str) -> None:
    text = FILES[path].decode("utf-8")

    assert text.endswith("\n")
    assert "\r" not in text
    if path.endswith(".json"):
        json.loads(text)
    if path.endswith(".yaml"):
        strict_yaml.loads(FILES[path], path)


def test_the_demo_keeps_its_suite_to_itself() -> None:
    assert "config/suites/ui_icon.yaml" in FILES
    assert not [path for path in FILES if "demo" in path]


def test_with_lfs_imported_images_are_kept_by_it() -> None:
    assert b"filter=lfs" not in FILES[".gitattributes"]
    assert b"data/**/files/images/** filter=lfs" in starter_files(lfs=True)[".gitattributes"]


# --- editors -----------------------------------------------------------------------------------


def schema_for(path: str) -> str | None:
    """The schema that an editor finds for a JSON file, as VS Code matches paths."""
    found = [
        one["url"]
        for one in editor_settings()["json.schemas"]
        if any(fnmatch.fnmatch(f"/{path}", pattern) for pattern in one["fileMatch"])
    ]
    assert len(found) <= 1, f"{path} has {found}"
    return found[0].removeprefix("./") if found else None


@pytest.mark.parametrize("scope", [SHARED, Scope("neon_city")])
@pytest.mark.parametrize("kind", [*FOLDERS, *SINGLES])
def test_an_editor_finds_the_schema_of_every_record(kind: str, scope: Scope) -> None:
    path = f"data/{relative_path(kind, scope, 'some-id' if kind in FOLDERS else kind)}"

    found = schema_for(path)

    assert found == f"schemas/{kind}.v1.schema.json"
    assert found in FILES


@pytest.mark.parametrize("kind", ["styles", "scenarios", "tags"])
def test_an_editor_finds_the_schema_of_a_checkpoints_catalog(kind: str) -> None:
    path = f"data/{relative_path(kind, SHARED, f'sdxl/{kind}')}"

    assert schema_for(path) == f"schemas/{kind}.v1.schema.json"


def test_an_editor_finds_the_schema_of_every_settings_file() -> None:
    yaml_schemas = editor_settings()["yaml.schemas"]

    assert schema_for("config/local.json") == "schemas/local-config.v1.schema.json"
    assert yaml_schemas["./schemas/pipeline-config.v1.schema.json"] == "config/pipeline.yaml"
    for schema, pattern in yaml_schemas.items():
        assert schema.removeprefix("./") in FILES
        assert pattern.startswith("config/")


@pytest.mark.parametrize("path", schema_files())
def test_a_schema_for_editors_needs_nothing_else(path: str) -> None:
    schema = json.loads(FILES[path])

    Draft202012Validator.check_schema(schema)
    assert set(re.findall(r'"\$ref": "([^#"]*)', FILES[path].decode())) <= {""}


# --- the Makefile ------------------------------------------------------------------------------


def test_the_makefile_names_only_commands_that_exist() -> None:
    text = FILES["Makefile"].decode()
    named = set(re.findall(r"\$\(LORA\) (\w+)", text))

    assert named <= set(COMMANDS)
    assert {"validate", "dataset", "train", "eval", "status"} <= named
    for target in ("validate", "dataset", "train", "eval", "report"):
        assert f"\n{target}:" in text


def test_the_readme_names_only_commands_that_exist() -> None:
    text = FILES["README.md"].decode()
    named = set(re.findall(r"(?:^ {4}|`)lora (\w+)", text, re.MULTILINE))

    assert named
    assert named <= set(COMMANDS)


def test_the_ignore_list_covers_state_weights_and_secrets() -> None:
    lines = FILES[".gitignore"].decode().splitlines()

    for name in (".lora/", "config/local.json", "*.safetensors", ".env"):
        assert name in lines


def test_the_templates_stand_in_the_repository() -> None:
    folder = Path(__file__).parents[3] / "config" / "workspace"

    assert (folder / "gitignore").read_bytes() == FILES[".gitignore"]
