"""What was drawn since the record was written last: a line for each cell, durable at once.

The record of a grid of 10,000 cells has 3 MB, and writing it takes a second: for every cell that
is three hours. So a cell is told here, in a file beside the renderer's, and the record is written
now and then. After an interruption the lines are taken over into the record, where they say the
same renderer; a line that was cut off counts for nothing, and its cell is drawn again.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from lora_pipeline.evaluation.records import CellStatus
from lora_pipeline.foundation import files

NAME = "drawn.jsonl"


class DrawnCell(msgspec.Struct, frozen=True, kw_only=True):
    """One cell that was tried, with the fingerprint of what drew it."""

    id: str
    fingerprint: str
    status: CellStatus
    image_sha256: str = ""
    error: str = ""


class DrawnLog:
    """The lines of one evaluation; only who holds its lock may write them.

    Args:
        folder: The private folder of the evaluation; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    def append(self, cell: DrawnCell) -> None:
        """Add a line, and return when it is on the disk."""
        files.append_durably(self._path, msgspec.json.encode(cell))

    def read(self) -> list[DrawnCell]:
        """Return the whole lines; what is torn or odd is left out."""
        try:
            data = self._path.read_bytes()
        except OSError:
            return []
        found = []
        for line in data.split(b"\n")[:-1]:
            try:
                found.append(msgspec.json.decode(line, type=DrawnCell))
            except msgspec.MsgspecError:
                continue
        return found

    def mend(self) -> None:
        """Cut off a torn last line, so that the next one is not glued to it."""
        try:
            data = self._path.read_bytes()
        except OSError:
            return
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.truncate(self._path, whole)

    def clear(self) -> None:
        """Forget all lines: the record says it now."""
        if self._path.exists():
            os.truncate(self._path, 0)

    def remove(self) -> None:
        """Remove the file."""
        self._path.unlink(missing_ok=True)


def lines_of_sweeps(runtime: Path) -> list[DrawnCell]:
    """Return what sweeps on this machine have drawn."""
    folders = sorted((runtime / "render").glob("sweep-*"))
    return [line for folder in folders for line in DrawnLog(folder).read()]
