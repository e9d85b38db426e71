"""Bytes that wait to be written: few in memory, many in a temporary file that has no name.

A change of 100,000 records is computed as a whole before any of it is written, and would not
fit in the memory that a command may take. The file goes with the process, however that ends.
"""

from __future__ import annotations

import tempfile

import msgspec

from lora_pipeline.foundation import files

_IN_MEMORY = 16 * 1024 * 1024


class Held(msgspec.Struct, frozen=True, gc=False):
    """Where some of the bytes are."""

    start: int
    length: int


class HeldBytes:
    """Keeps bytes until they are asked for."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed below
        self._length = 0

    def __del__(self) -> None:
        """Give the file back."""
        self._file.close()

    def hold(self, data: bytes) -> Held:
        """Keep bytes and return where they are.

        Raises:
            StorageError: When there is no room for temporary files.
        """
        held = Held(self._length, len(data))
        with files.disk_refusals():
            self._file.seek(held.start)
            self._file.write(data)
        self._length += held.length
        return held

    def read(self, held: Held) -> bytes:
        """Return bytes that were kept."""
        self._file.seek(held.start)
        return self._file.read(held.length)
