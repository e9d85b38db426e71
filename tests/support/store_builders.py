"""Objects for tests: bytes that stand in no file yet."""

from __future__ import annotations

import tempfile
from pathlib import Path

from lora_pipeline.workspace.store import ObjectStore


def put_bytes(store: ObjectStore, data: bytes) -> str:
    """Store bytes and return their SHA-256."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "object"
        source.write_bytes(data)
        return store.put_file(source)
