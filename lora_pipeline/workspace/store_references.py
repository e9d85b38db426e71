"""Which objects of the store something names: records, runs, and the branches of Git."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.workspace.git import repository as git
from lora_pipeline.workspace.root import Workspace

_DIGEST = re.compile(rb"[0-9a-f]{64}")


def named_anywhere(workspace: Workspace) -> set[str]:
    """Return every SHA-256 that stands anywhere it could name an object.

    Better one too many than one too few: every digest counts, whatever it is the digest of, in
    every JSON file of the records and of this machine's state, valid or not, and in every file
    at the tip of every branch, tag and stash.

    Raises:
        RepositoryError: When Git cannot say what the branches hold.
    """
    found: set[str] = set()
    for folder in (workspace.data_root, workspace.runtime):
        for path in (*_json_files(folder), *folder.glob("render/*/drawn.jsonl")):
            found |= {match.decode() for match in _DIGEST.findall(strict_json.read_bytes(path))}
    return found | git.words_at_tips(workspace.root, _DIGEST.pattern.decode())


def expected_here(workspace: Workspace) -> dict[str, str]:
    """Return the objects that present records need, each with the first record that does.

    Records that cannot be read are left out; ``lora validate`` names them.
    """
    expected: dict[str, str] = {}
    for path in _json_files(workspace.data_root):
        try:
            document = strict_json.load(path)
        except PipelineError:
            continue
        for sha256 in _objects_of(document):
            expected.setdefault(sha256, workspace.relative(path))
    return expected


def expected_by(workspace: Workspace, record_id: str) -> dict[str, str]:
    """Return the objects that the records of one id need, each with the record.

    Raises:
        RecordError: When such a record cannot be read.
    """
    return {
        sha256: workspace.relative(path)
        for path in _json_files(workspace.data_root)
        if path.stem == record_id
        for sha256 in _objects_of(strict_json.load(path))
    }


def _json_files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*.json")) if path.is_file())


def _objects_of(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for one in node:
            yield from _objects_of(one)
    elif isinstance(node, dict):
        digest = node.get("sha256") if node.get("kind") == "store" else node.get("imageSha256")
        if isinstance(digest, str) and digest:
            yield digest
        for key, value in node.items():
            if key != "metrics":  # they name images of the dataset, which are in no store
                yield from _objects_of(value)
