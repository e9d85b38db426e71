"""What a new workspace begins with: files by their path, as bytes."""

from __future__ import annotations

from typing import Any

from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.resources import resource
from lora_pipeline.foundation.schema_bundle import bundled_schema
from lora_pipeline.foundation.schemas import schema_names
from lora_pipeline.workspace.definitions import FAMILIES
from lora_pipeline.workspace.layout import FOLDERS, SINGLES
from lora_pipeline.workspace.settings import LOCAL_FILE, PIPELINE_FILE
from lora_pipeline.workspace.settings_schema import (
    LOCAL_SCHEMA,
    PIPELINE_SCHEMA,
    local_schema,
    pipeline_schema,
)

FOLDERS_OF_RECORDS = ("data/shared", "data/projects")
_TEMPLATES = {
    "README.md": "README.md",
    ".gitignore": "gitignore",
    "Makefile": "Makefile",
}
# What a studio's own rules are is reviewed in its own repository. Presets stay ours: they
# carry the reasons for their numbers and improve with the trainers.
_OWN_FAMILIES = ("suites", "gates")


def starter_files(*, lfs: bool) -> dict[str, bytes]:
    """Return every file of a new workspace.

    The last one makes the folder a workspace: until it is there, nothing looks like one.

    Args:
        lfs: Whether Git LFS is to keep the imported images.
    """
    files = {path: _template(name) for path, name in _TEMPLATES.items()}
    files[".gitattributes"] = _template("gitattributes") + (
        _template("gitattributes.lfs") if lfs else b""
    )
    files["config/local.example.json"] = resource("config", "local.example.json").read_bytes()
    for family in _OWN_FAMILIES:
        for path in sorted(resource("config", family).glob("*.yaml")):
            if path.name.startswith("demo_"):
                continue  # only the demo's icons are small enough for it
            files[f"config/{family}/{path.name}"] = path.read_bytes()
    files |= schema_files()
    files[".vscode/settings.json"] = strict_json.dumps(editor_settings())
    files[PIPELINE_FILE] = _template("pipeline.yaml")
    return files


def schema_files() -> dict[str, bytes]:
    """Return the schemas as editors read them: each stands alone, nothing is fetched."""
    documents = {name: bundled_schema(name) for name in schema_names() if name != "common/v1"}
    documents |= {PIPELINE_SCHEMA: pipeline_schema(), LOCAL_SCHEMA: local_schema()}
    return {_schema_path(name): strict_json.dumps(documents[name]) for name in sorted(documents)}


def editor_settings() -> dict[str, Any]:
    """Return the settings that tell an editor which schema holds for which file."""
    records = {kind: [f"{folder}/*.json"] for kind, folder in FOLDERS.items()}
    for kind, single in SINGLES.items():
        records[kind] = [single]
        if kind in ("styles", "scenarios", "tags"):
            records[kind].append(f"catalogs/checkpoints/*/{kind}.json")
    known = set(schema_names())
    json_schemas = [
        {
            "fileMatch": [
                f"/data/{scope}/{place}" for scope in ("shared", "projects/*") for place in places
            ],
            "url": f"./{_schema_path(f'{kind}/v1')}",
        }
        for kind, places in sorted(records.items())
        if f"{kind}/v1" in known
    ]
    json_schemas.append({"fileMatch": [f"/{LOCAL_FILE}"], "url": f"./{_schema_path(LOCAL_SCHEMA)}"})
    yaml_schemas = {f"./{_schema_path(PIPELINE_SCHEMA)}": PIPELINE_FILE}
    for family, kind in FAMILIES.items():
        yaml_schemas[f"./{_schema_path(f'{kind}/v1')}"] = f"config/{family}/*.yaml"
    return {
        "files.eol": "\n",
        "files.insertFinalNewline": True,
        "json.schemas": json_schemas,
        "yaml.schemas": yaml_schemas,
    }


def _schema_path(name: str) -> str:
    return f"schemas/{name.replace('/', '.')}.schema.json"


def _template(name: str) -> bytes:
    return resource("config", "workspace", name).read_bytes()
