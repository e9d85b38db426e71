"""The child that reads assets with their specs: one JSON line in, one JSON line out.

To parse a record and to hold it against its schema is most of what a build costs. Started by
``sources.py`` through ``engine.children``; ends at the end of its standard input.
"""

from __future__ import annotations

import functools
import gc
import os
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from lora_pipeline.catalog.records import Asset, Spec
from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import RecordStore

Read = tuple[Asset, Spec | None]


class Request(msgspec.Struct, frozen=True):
    """What is asked for.

    Attributes:
        data_root: Folder of the records, as the system spells it.
        project_id: Project of the assets.
        ids: The assets.
    """

    data_root: bytes
    project_id: str
    ids: list[str]


def main() -> int:
    """Answer requests until standard input ends."""
    decode = msgspec.json.Decoder(Request).decode
    gc.disable()  # records hold no cycles, and there are many
    readers = functools.cache(reader)  # whoever asks is one build: what it reads does not change
    for line in sys.stdin.buffer:
        request = decode(line)
        read = readers(os.fsdecode(request.data_root), request.project_id)
        answer = [_tried(read, asset_id) for asset_id in request.ids]
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.buffer.flush()
    return 0


def reader(data_root: str, project_id: str) -> Callable[[str], Read | None]:
    """Return a function that reads an asset with its spec, or None when it is not there.

    Raises:
        RecordError: By the function, when a record is not valid.
    """
    records, scope = RecordStore(Path(data_root)), Scope(project_id)
    asset_of = records.lookup(Asset, scope)
    # Several assets may stand for one spec; those that do were mostly made one after another.
    spec_of = functools.lru_cache(maxsize=1024)(records.lookup(Spec, scope))

    def read(asset_id: str) -> Read | None:
        asset = asset_of(asset_id)
        return None if asset is None else (asset, spec_of(asset.spec_id))

    return read


def _tried(read: Callable[[str], Read | None], asset_id: str) -> Read | None:
    try:
        return read(asset_id)
    except PipelineError:
        return None  # whoever asked reads it again, and raises what is wrong with it


if __name__ == "__main__":
    sys.exit(main())
