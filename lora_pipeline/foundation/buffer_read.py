"""Reading a file into memory that is there already."""

from __future__ import annotations

import os


def read_into(descriptor: int, buffer: bytearray | memoryview) -> int:
    """Fill a buffer from where a file stands and return how many bytes came; 0 is its end.

    Raises:
        OSError: As the file system says.
    """
    if hasattr(os, "readv"):
        return os.readv(descriptor, [buffer])
    data = os.read(descriptor, len(buffer))  # Windows has no readv
    buffer[: len(data)] = data
    return len(data)
