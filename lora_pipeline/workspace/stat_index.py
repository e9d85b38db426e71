"""What is known of files that were read before, believed only while nothing speaks against it.

A file is not read again when size, times and inode are what they were. That is Git's rule, with
Git's exception for racy entries: a file that was changed just before it was read may be changed
again without a trace in its times, so it is read again until it is older than the clock can
tell. The change time is part of the comparison: no program can set it, so content that was
changed with size and modification time put back is noticed, and so is a restored backup.

An entry is a row of bytes, in memory as in the file: loading 100,000 of them takes hardly longer
than reading the bytes, and they take 20 MB. It is a cache: whatever is odd about it, it counts as
empty. ``verify`` never asks it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lora_pipeline.workspace.file_times import is_racy

_MAGIC = b"lora-pipeline stat index 2\n"
_CHECKSUM = struct.Struct("<I")  # of all that follows
_COUNTS = struct.Struct("<IQ")  # entries, bytes of all paths
_STAMP = struct.Struct("<4q")
_KNOWN = struct.Struct("<q?32s16s")
_ROW = _STAMP.size + _KNOWN.size


class Known(NamedTuple):
    """What is known of a file without reading it.

    Attributes:
        size: Length in bytes.
        sha256: 64 hexadecimal digits.
        xxh3: 32 hexadecimal digits.
        plain_png: Whether it is a PNG that needs no normalising.
    """

    size: int
    sha256: str
    xxh3: str
    plain_png: bool


class Stamp(NamedTuple):
    """What a file system says of a file: if this is the same, so are the bytes."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int


class StatIndex:
    """The index of one workspace: look up with ``known``, add with ``learn``, then ``save``.

    Attributes:
        path: Its file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: dict[str, bytes] = {}
        self._unknown: set[str] = set()
        self._changed = False

    @classmethod
    def load(cls, path: Path) -> StatIndex:
        """Return the index that stands at ``path``; an empty one when it cannot be used."""
        index = cls(path)
        # Whatever is wrong with a cache, it is made anew.
        with contextlib.suppress(OSError, ValueError, struct.error, IndexError):
            index._rows = _decode(path.read_bytes())
        return index

    def __len__(self) -> int:
        """Return the number of files that are known."""
        return len(self._rows)

    @property
    def files(self) -> Iterator[str]:
        """Every file that was looked up, and all others that are known."""
        return itertools.chain(self._rows, self._unknown)

    def known(self, path: str, stamp: Stamp) -> Known | None:
        """Return what is known of a file, or None when it must be read."""
        row = self._rows.get(path)
        if row is None or row[: _STAMP.size] != _STAMP.pack(*stamp):
            self._unknown.add(path)
            return None
        size, plain_png, sha256, xxh3 = _KNOWN.unpack_from(row, _STAMP.size)
        return Known(size, sha256.hex(), xxh3.hex(), plain_png)

    def learn(self, path: str, stamp: Stamp, known: Known, *, read_ns: int) -> None:
        """Keep what reading a file told, unless its times are too young to be trusted.

        Args:
            path: The file.
            stamp: What the file system said of it when it was opened.
            known: What reading it told.
            read_ns: When reading began.
        """
        if is_racy(stamp.mtime_ns, read_ns) or is_racy(stamp.ctime_ns, read_ns):
            self.forget(path)
            return
        digests = bytes.fromhex(known.sha256), bytes.fromhex(known.xxh3)
        row = _STAMP.pack(*stamp) + _KNOWN.pack(known.size, known.plain_png, *digests)
        self._rows[path] = row
        self._unknown.discard(path)
        self._changed = True

    def restamp(self, path: str, stamp: Stamp, *, now_ns: int) -> None:
        """Take over the change time of a file to which we made a hard link.

        Only the change time may differ from what was kept; else the file is forgotten.
        """
        row = self._rows.get(path)
        if row is None:
            return
        before = Stamp._make(_STAMP.unpack_from(row))
        if before._replace(ctime_ns=stamp.ctime_ns) != stamp or is_racy(stamp.ctime_ns, now_ns):
            self.forget(path)
        elif before != stamp:
            self._rows[path] = _STAMP.pack(*stamp) + row[_STAMP.size :]
            self._changed = True

    def forget(self, path: str) -> None:
        """Drop what is known of a file."""
        self._unknown.add(path)
        self._changed |= self._rows.pop(path, None) is not None

    def save(self) -> None:
        """Write the index when it changed; a disk that refuses is no failure of the caller."""
        if not self._changed:
            return
        temporary = self.path.with_name(f".lora-tmp-{self.path.name}-{os.getpid()}")
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                # Not forced to disk: a torn file has another checksum, and counts as empty.
                with temporary.open("wb") as stream:
                    stream.writelines(_encoded(self._rows))
                temporary.replace(self.path)
                self._changed = False
            finally:
                temporary.unlink(missing_ok=True)


def stamp_of(status: os.stat_result) -> Stamp:
    """Return the part of a file's status that tells whether it changed."""
    inode = status.st_ino & 0x7FFF_FFFF_FFFF_FFFF  # Windows has numbers that need every bit
    return Stamp(status.st_size, status.st_mtime_ns, status.st_ctime_ns, inode)


def _encoded(rows: dict[str, bytes]) -> tuple[bytes, ...]:
    paths = "\0".join(rows).encode("utf-8", "surrogateescape")
    body = b"".join(rows.values())
    counts = _COUNTS.pack(len(rows), len(paths))
    checksum = zlib.crc32(body, zlib.crc32(paths, zlib.crc32(counts)))
    return _MAGIC, _CHECKSUM.pack(checksum), counts, paths, body


def _decode(data: bytes) -> dict[str, bytes]:
    if data[: len(_MAGIC)] != _MAGIC:
        raise ValueError("another kind of file")
    (checksum,) = _CHECKSUM.unpack_from(data, len(_MAGIC))
    start = len(_MAGIC) + _CHECKSUM.size
    if zlib.crc32(memoryview(data)[start:]) != checksum:
        raise ValueError("damaged")
    count, length = _COUNTS.unpack_from(data, start)
    start += _COUNTS.size
    paths = data[start : start + length].decode("utf-8", "surrogateescape").split("\0")
    rows = range(start + length, start + length + count * _ROW, _ROW)
    # Without entries there is one empty path, and no row for it.
    return {path: data[row : row + _ROW] for path, row in zip(paths, rows, strict=False)}
