"""Definitions: presets, suites and gate policies, as YAML that people write.

The workspace's own file (``config/<family>/<id>.yaml``) wins over the one that ships.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from lora_pipeline.foundation import strict_yaml
from lora_pipeline.foundation.canonical import digest_of
from lora_pipeline.foundation.errors import RecordInvalidError, RecordNotFoundError
from lora_pipeline.foundation.ids import did_you_mean, require_slug
from lora_pipeline.foundation.resources import resource
from lora_pipeline.foundation.schemas import require_valid
from lora_pipeline.workspace.root import Workspace

# family (folder below config/) -> kind (schema)
FAMILIES = {"presets": "preset", "suites": "suite", "gates": "gate-policy"}


class Definition(msgspec.Struct, frozen=True):
    """One definition as it was read.

    Attributes:
        family: ``presets``, ``suites`` or ``gates``.
        definition_id: Its id, which is the file name.
        document: Its content, checked against its schema.
        digest: ``sha256:…`` over the canonical form of the content.
        source: The file, as people read it.
    """

    family: str
    definition_id: str
    document: dict[str, Any]
    digest: str
    source: str


def read_definition(workspace: Workspace, family: str, definition_id: str) -> Definition:
    """Return one definition.

    Raises:
        ArgumentInvalidError: When the id is no slug.
        RecordNotFoundError: When there is none of that id; names a near one.
        RecordInvalidError: When the file is not valid.
    """
    require_slug(definition_id, FAMILIES[family])
    for folder, shown in _folders(workspace, family):
        path = folder / f"{definition_id}.yaml"
        if path.is_file():
            return parse_definition(
                family, definition_id, path.read_bytes(), f"{shown}/{path.name}"
            )
    known = definition_ids(workspace, family)
    near = did_you_mean(definition_id, known)
    raise RecordNotFoundError(
        f"no {FAMILIES[family]} {definition_id!r}",
        hint=f"did you mean {near}?" if near else "there are: " + ", ".join(known),
    )


def definition_ids(workspace: Workspace, family: str) -> list[str]:
    """Return the ids of all definitions of a family, the workspace's and the shipped."""
    return sorted(
        {path.stem for folder, _ in _folders(workspace, family) for path in folder.glob("*.yaml")}
    )


def parse_definition(family: str, definition_id: str, data: bytes, source: str) -> Definition:
    """Return the definition that YAML bytes hold.

    Raises:
        RecordInvalidError: When it is not strict YAML, or breaks its schema.
    """
    document = strict_yaml.loads(data, source)
    if not isinstance(document, dict):
        raise RecordInvalidError(f"{source} must hold names and values")
    require_valid(document, f"{FAMILIES[family]}/v1", source)
    if document["id"] != definition_id:
        raise RecordInvalidError(f"{source} holds the id {document['id']!r}, not its file name")
    return Definition(family, definition_id, document, digest_of(document), source)


def _folders(workspace: Workspace, family: str) -> list[tuple[Path, str]]:
    return [
        (workspace.root / "config" / family, f"config/{family}"),
        (resource("config", family), f"lora-pipeline/config/{family}"),
    ]
