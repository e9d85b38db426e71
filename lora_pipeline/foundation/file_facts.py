"""What one read of a file tells: its identity, its length, and whether it is plain.

The child programs that hash import this module, so it stands on as little as it can.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import time
from typing import NamedTuple

import xxhash

_BLOCK = 1024 * 1024
_HEAD = 1024  # bytes; a Git LFS pointer is shorter
_PNG = b"\x89PNG\r\n\x1a\n"
_RGB, _EIGHT_BITS = 2, 8
# sRGB says what is assumed without it. Everything else is transparency, a colour space of its
# own, a rotation, or somebody's name.
_HARMLESS = frozenset({b"IHDR", b"sRGB", b"IDAT", b"IEND"})


class FileFacts(NamedTuple):
    """A file that was read.

    Attributes:
        size: Length in bytes.
        mtime_ns: Time of its last change of content, as the file system says.
        ctime_ns: Time of its last change of any kind.
        inode: Number of the file in its file system.
        read_ns: When reading began, by the clock of this machine.
        sha256: 64 hexadecimal digits.
        xxh3: XXH3-128, 32 hexadecimal digits.
        plain_png: Whether it is an 8-bit RGB PNG that holds pixels and nothing else.
        head: The whole file when it is shorter than a Git LFS pointer may be, else nothing.
    """

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    read_ns: int
    sha256: str
    xxh3: str
    plain_png: bool
    head: bytes


class FileReader:
    """Reads files through one buffer: clearing a new one for each costs more than hashing."""

    def __init__(self) -> None:
        self._buffer = bytearray(_BLOCK)
        self._view = memoryview(self._buffer)

    def facts(self, path: str | bytes) -> FileFacts:
        """Read a file once and return what it is.

        Raises:
            OSError: As the file system says; also for what is no regular file.
        """
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | _NONBLOCK)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise FileNotFoundError(f"{os.fsdecode(path)} is no regular file")
            began = time.time_ns()
            first = self._read(descriptor)
            if first < _BLOCK:
                whole = self._view[:first]
                sha256 = hashlib.sha256(whole).hexdigest()
                xxh3 = xxhash.xxh3_128_hexdigest(whole)
                plain, size = is_plain_rgb_png(whole), first
            else:
                sha256, xxh3, plain, size = self._rest(descriptor, first)
            head = bytes(self._view[:size]) if size <= _HEAD else b""
        finally:
            os.close(descriptor)
        return FileFacts(
            size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, began,
            sha256, xxh3, plain, head,
        )  # fmt: skip

    def _rest(self, descriptor: int, first: int) -> tuple[str, str, bool, int]:
        """Digest a file that is longer than the buffer, whose beginning is in it."""
        sha256, xxh3, chunks = hashlib.sha256(), xxhash.xxh3_128(), _Chunks()
        count, size = first, 0
        while count:
            block = self._view[:count]
            sha256.update(block)
            xxh3.update(block)
            chunks.look(block, size)
            size += count
            count = self._read(descriptor)
        return sha256.hexdigest(), xxh3.hexdigest(), chunks.plain(size), size

    def _read(self, descriptor: int) -> int:
        """Fill the buffer from a file; less than all of it means that the file ends there."""
        filled = 0
        while filled < _BLOCK:
            count = _read_into(descriptor, self._view[filled:])
            if not count:
                break
            filled += count
        return filled


def _read_into(descriptor: int, buffer: memoryview) -> int:
    if hasattr(os, "readv"):
        return os.readv(descriptor, [buffer])
    data = os.read(descriptor, len(buffer))  # Windows has no readv
    buffer[: len(data)] = data
    return len(data)


def is_plain_rgb_png(data: bytes | memoryview) -> bool:
    """Return whether ``data`` is an 8-bit RGB PNG in sRGB that holds pixels and nothing else.

    The pixels themselves are not decoded.
    """
    chunks = _Chunks()
    chunks.look(data, 0)
    return chunks.plain(len(data))


class _Chunks:
    """Walks along the chunks of a PNG (PNG specification, section 5) as its blocks come by."""

    def __init__(self) -> None:
        self._next = len(_PNG)
        self._end = 0  # where the file must end; 0 before IEND was seen
        self._broken = False

    def look(self, block: bytes | memoryview, start: int) -> None:
        """Look at the chunk heads that begin in a block, the first byte of which is ``start``."""
        if start == 0 and bytes(block[:8]) != _PNG:
            self._broken = True
        stop = start + len(block)
        while not self._broken and not self._end and self._next < stop:
            place = self._next - start
            if place + 21 > len(block) and stop - start == _BLOCK:
                # A head that two blocks share: rare enough to let the decoder do the work.
                self._broken = True
                return
            self._step(bytes(block[place : place + 21]))

    def plain(self, size: int) -> bool:
        """Return whether all chunks were harmless and nothing stands behind the last one."""
        return not self._broken and self._end == size

    def _step(self, head: bytes) -> None:
        if len(head) < 8:
            self._broken = True
            return
        length, kind = struct.unpack_from(">I4s", head)
        if kind not in _HARMLESS:
            self._broken = True
        elif kind == b"IHDR":
            self._broken = len(head) < 18 or (head[16], head[17]) != (_EIGHT_BITS, _RGB)
        self._next += 12 + length
        if kind == b"IEND":
            self._end = self._next


# A pipe that stands where an image should would hold an ordinary open for ever.
_NONBLOCK = getattr(os, "O_NONBLOCK", 0)
