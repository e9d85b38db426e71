"""Records as the documents that stand in their files: for steps that change words, not forms."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from lora_pipeline.foundation import strict_json
from lora_pipeline.foundation.canonical import digest_of_bytes
from lora_pipeline.workspace.layout import RecordPlace, is_outside_records, place_of
from lora_pipeline.workspace.root import Workspace


class Document(msgspec.Struct, frozen=True):
    """The file of a record.

    Attributes:
        place: Its kind, scope and id, as its path says them.
        path: The file.
        data: Its bytes.
    """

    place: RecordPlace
    path: Path
    data: bytes

    @property
    def digest(self) -> str:
        """``sha256:…`` of the bytes: what a change is based on."""
        return digest_of_bytes(self.data)

    def holds(self, word: str) -> bool:
        r"""Return whether the word may stand in it; told without parsing.

        A letter may be written as ``\\u0061``: where that occurs nothing is ruled out.
        """
        return word.encode() in self.data or b"\\u" in self.data


def documents(workspace: Workspace) -> Iterator[Document]:
    """Yield the file of every record, in the order of their paths; nothing is checked."""
    root = workspace.data_root
    for folder, folders, names in os.walk(root):
        here = Path(folder)
        folders[:] = sorted(
            name for name in folders if name != "files" and not (here / name).is_symlink()
        )
        for name in sorted(names):
            relative = (here / name).relative_to(root).as_posix()
            if not name.endswith(".json") or name.startswith(".") or is_outside_records(relative):
                continue
            place = place_of(relative)
            if place is not None:
                yield Document(place, here / name, strict_json.read_bytes(here / name))
