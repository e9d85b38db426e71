"""Ids in the files of ``config/``: changed in place, so that the comments of people stay."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.canonical import digest_of_bytes
from lora_pipeline.foundation.errors import RecordInvalidError
from lora_pipeline.foundation.resources import resource
from lora_pipeline.operations.workspace.renaming.references import Renaming
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.definitions import definition_ids, parse_definition
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.settings import LOCAL_FILE, PIPELINE_FILE

_WITH_ASSET_TYPES = ("suites", "presets")


def add_config_edits(
    changes: Changes, renaming: Renaming, untouched: Collection[str] = ()
) -> list[str]:
    """Add the files of ``config/`` that name an id, and return their paths.

    Args:
        changes: Where they are added.
        renaming: The id.
        untouched: Files that stay as they are.

    Raises:
        RecordInvalidError: When a file names it in a form that cannot be changed safely.
    """
    workspace = changes.workspace
    edits = (
        _asset_types(workspace, renaming)
        if renaming.family == "asset-type"
        else _project(workspace, renaming)
        if renaming.family == "project"
        else ()
    )
    edited = []
    for path, before, after in edits:
        if workspace.relative(path) in untouched:
            continue
        changes.replace_file(path, after, based_on=digest_of_bytes(before))
        edited.append(workspace.relative(path))
    return edited


def definitions_naming(workspace: Workspace, renaming: Renaming, *, own: bool) -> list[str]:
    """Return the definitions that name an asset type: files of ``config/``, or shipped ones."""
    return [
        source
        for family in _WITH_ASSET_TYPES
        for source, text in _definitions(workspace, family, own=own)
        if renaming.old in _types(family, source, text)
    ]


def with_word(text: str, key: str, old: str, new: str) -> str:
    """Return YAML text with one word of a list renamed, whichever way the list is written."""
    word = re.compile(rf"(?<![\w.-]){re.escape(old)}(?![\w.-])")
    inside, lines = False, []
    for line in text.splitlines(keepends=True):
        if re.match(rf"{re.escape(key)}\s*:", line):
            inside = True
        elif inside and re.match(r"[^\s#\-\]]", line):
            inside = False
        code, mark, comment = line.partition(" #")
        lines.append(word.sub(new, code) + mark + comment if inside else line)
    return "".join(lines)


def _asset_types(workspace: Workspace, renaming: Renaming) -> Iterator[tuple[Path, bytes, bytes]]:
    for family in _WITH_ASSET_TYPES:
        for source, data in _definitions(workspace, family, own=True):
            types = _types(family, source, data)
            if renaming.old not in types:
                continue
            text = with_word(data.decode(), "assetTypes", renaming.old, renaming.new).encode()
            wanted = [renaming.new if one == renaming.old else one for one in types]
            if _types(family, source, text) != wanted:
                raise RecordInvalidError(
                    f"{source} names {renaming.old} in a form that is not changed by itself",
                    hint=f"write {renaming.new} into its assetTypes, then run the command again",
                )
            yield workspace.root / source, data, text


def _project(workspace: Workspace, renaming: Renaming) -> Iterator[tuple[Path, bytes, bytes]]:
    shared, local = workspace.root / PIPELINE_FILE, workspace.root / LOCAL_FILE
    if shared.is_file():
        data = strict_json.read_bytes(shared)
        line = re.compile(
            rf"^(project\s*:\s*)([\"']?){re.escape(renaming.old)}\2(?=\s|$)", re.MULTILINE
        )
        text = line.sub(rf"\g<1>{renaming.new}", data.decode()).encode()
        if text != data:
            yield shared, data, text
    if local.is_file():
        data = strict_json.read_bytes(local)
        document = strict_json.loads(data, LOCAL_FILE)
        if isinstance(document, dict) and document.get("project") == renaming.old:
            yield local, data, strict_json.dumps({**document, "project": renaming.new})


def _definitions(workspace: Workspace, family: str, *, own: bool) -> Iterator[tuple[str, bytes]]:
    for definition_id in definition_ids(workspace, family):
        source = f"config/{family}/{definition_id}.yaml"
        mine, ours = workspace.root / source, resource("config", family, f"{definition_id}.yaml")
        if own and mine.is_file():
            yield source, mine.read_bytes()
        elif not own and not mine.is_file() and ours.is_file():
            yield f"lora-pipeline/{source}", ours.read_bytes()


def _types(family: str, source: str, data: bytes) -> list[str]:
    document: dict[str, Any] = parse_definition(family, Path(source).stem, data, source).document
    return list(document.get("assetTypes", []))
