"""Manifests with real images, written as they stand, for the tests of sheets and comparisons."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from lora_pipeline.datasets.records import Item, Manifest
from lora_pipeline.foundation import strict_json
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace
from tests.support.dataset_builders import PROJECT, item, manifest

Colour = tuple[int, int, int]
RED: Colour = (200, 0, 0)


def png(colour: Colour = RED, size: tuple[int, int] = (64, 64)) -> bytes:
    """Return a PNG of one colour."""
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "PNG")
    return stream.getvalue()


def pictured(workspace: Workspace, asset_id: str, data: bytes, **fields: Any) -> Item:
    """Write an image and return its item."""
    with Image.open(io.BytesIO(data)) as image:
        width, height = image.size
    path = f"projects/{PROJECT}/files/images/{asset_id}-{len(data)}.png"
    target = workspace.data_root / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)
    known = {
        "path": path,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        "width": width,
        "height": height,
    }
    return item(asset_id, **{**known, **fields})


def place(workspace: Workspace, record: Manifest) -> Path:
    """Write a manifest where its id says and return the file."""
    path = workspace.records.path(Manifest.KIND, Scope(record.project_id or None), record.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(strict_json.dumps(record.to_dict(), one_line_each=record.ONE_LINE_EACH))
    return path


def place_items(workspace: Workspace, items: Sequence[Item], **fields: Any) -> Path:
    """Write a manifest of those items and return the file."""
    return place(workspace, manifest(*items, **fields))


def lfs_pointer(data: bytes) -> bytes:
    """Return the pointer that Git LFS leaves in the place of ``data``."""
    digest = hashlib.sha256(data).hexdigest()
    head = "version https://git-lfs.github.com/spec/v1"
    return f"{head}\noid sha256:{digest}\nsize {len(data)}\n".encode()
