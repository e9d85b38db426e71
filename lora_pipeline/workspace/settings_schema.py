"""JSON Schemas of the two settings files, made from the settings themselves."""

from __future__ import annotations

from typing import Any

from lora_pipeline.workspace.settings import LOCAL_FILE, PIPELINE_FILE, SETTINGS, Setting

PIPELINE_SCHEMA = "pipeline-config/v1"
LOCAL_SCHEMA = "local-config/v1"
_JSON_TYPES = {str: "string", int: "integer", float: "number", bool: "boolean"}


def pipeline_schema() -> dict[str, Any]:
    """Return the schema of ``config/pipeline.yaml``."""
    return _schema(
        PIPELINE_SCHEMA,
        f"Settings that hold for everybody ({PIPELINE_FILE}, in Git).",
        [setting for setting in SETTINGS if not setting.local_only],
    )


def local_schema() -> dict[str, Any]:
    """Return the schema of ``config/local.json``."""
    return _schema(
        LOCAL_SCHEMA,
        f"Settings of one machine ({LOCAL_FILE}, outside Git). Secrets stand in no file.",
        [setting for setting in SETTINGS if not setting.shared_only],
    )


def _schema(name: str, description: str, settings: list[Setting]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://lora-pipeline.dev/schemas/{name.replace('/', '.')}.schema.json",
        "title": name,
        **_group(description),
    }
    for setting in settings:
        *groups, last = setting.key.split(".")
        place = document
        for group in groups:
            place = place["properties"].setdefault(group, _group(f"Settings of {group}."))
        place["properties"][last] = _property(setting)
    return document


def _group(description: str) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "additionalProperties": False,
        "properties": {},
    }


def _property(setting: Setting) -> dict[str, Any]:
    kind = str if setting.default is None else type(setting.default)
    described = f"{setting.summary}."
    if setting.variable:
        described += f" The environment variable {setting.variable} is stronger."
    # An empty line in YAML is null, which means "not set".
    document: dict[str, Any] = {"type": [_JSON_TYPES[kind], "null"], "description": described}
    if setting.default is not None:
        document["default"] = setting.default
    if kind in (int, float):
        document["minimum"] = 0
    return document
