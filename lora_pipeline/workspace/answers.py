"""Answers that may be given again: nothing that they were made from has changed.

A command that read 30,000 files and wrote nothing says the same thing the next time, unless one
of these files changed. So its words are kept with the status of every file and folder that it
read, and looking at these is all that is done the next time: no record is parsed, and nothing
of this package but this module is imported.

Statuses are believed as in ``stat_index``: content changed with its size and time put back is
told by the change time, and an answer is kept only when everything it depends on is older than
the command that gave it. Anything unusual (another folder, another version, another day, a damaged
file) means that the command runs as if nobody had kept anything.

This module imports as little as it can: it stands before the first line of every call.
"""

from __future__ import annotations

import os
import sys
import time
from array import array

from lora_pipeline import __version__

# For whoever checks types; to import ``typing`` takes longer than looking at 2,000 files.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER = (".lora", "cache", "answers")
REPEATABLE = (("dataset", "build"),)
_MAGIC = b"lora-pipeline answer 2\n"
_FIELDS = 4  # size, mtime, ctime, inode
_TICK_NS, _COARSE_NS = 20_000_000, 2_100_000_000
_TWO_PROCESSES_FROM = 4_000  # files; to start a second process takes as long as 500 of them
_LOOKED_AT = 2_000  # files between two comparisons
_ROOM = 0x7FFF_FFFF_FFFF_FFFF
_ABSENT = (-1, 0, 0, 0)


def repeat(arguments: list[str]) -> bool:
    """Give the answer that was kept for this call; return whether there was one that holds.

    Args:
        arguments: The command line without the program.
    """
    if tuple(arguments[:2]) not in REPEATABLE or "--workspace" in arguments:
        return False
    try:
        key = key_of(arguments, tty=sys.stdout.isatty())
        with open(place_of(key, os.getcwd()), "rb") as stream:  # noqa: PTH109, PTH123
            answer = _holding(stream.read(), key)
    except (OSError, ValueError):
        return False
    if answer is None:
        return False
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()
    return True


def keep(
    arguments: list[str],
    answer: bytes,
    files: Iterable[str],
    *,
    tty: bool,
    root: str,
    started_ns: int,
) -> bool:
    """Keep the answer of a call that wrote nothing; return whether it was kept.

    Args:
        arguments: The command line without the program.
        answer: Its bytes.
        files: Every file and folder that it depends on, there or not.
        tty: Whether the answer was made for a terminal.
        root: The workspace, which is also the folder that the command was called in.
        started_ns: When the command began, by the clock of this machine.
    """
    # Short paths are found faster, and the command is called in the workspace.
    inside = os.path.join(root, "")  # noqa: PTH118
    # Bytes need not be turned into text and back again; and a name need not be text.
    try:
        paths = sorted({os.fsencode(path.removeprefix(inside)) for path in files})
    except UnicodeEncodeError:
        return False  # no system call can be given such a name
    stamps = _stamps(paths)
    if any(_is_racy(stamps[row : row + _FIELDS], started_ns) for row in range(0, len(stamps), 4)):
        return False
    key = key_of(arguments, tty=tty)
    blob = b"\n".join(paths)
    if blob.count(b"\n") != len(paths) - 1:
        return False  # a path with a line feed in it
    lengths = array("q", (len(key), len(answer), len(blob), len(paths)))
    body = lengths.tobytes() + key + answer + blob + stamps.tobytes()
    target = place_of(key, root)
    temporary = f"{target}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120
        with open(temporary, "wb") as stream:  # noqa: PTH123
            stream.write(_MAGIC + _checksum(body) + body)
        os.replace(temporary, target)  # noqa: PTH105
    except OSError:
        return False
    return True


def key_of(arguments: list[str], *, tty: bool) -> bytes:
    """Return all that an answer depends on besides files, as bytes."""
    package = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120
    code = [
        str(os.stat(f"{package}/{folder}").st_mtime_ns)  # noqa: PTH116
        for folder in ("cli", "operations", "datasets", "catalog", "workspace", "foundation")
    ]
    variables = [
        f"{name}={value}"
        for name, value in sorted(os.environ.items())
        if name.startswith(("LORA_", "GIT_")) or name in ("NO_COLOR", "TERM", "COLUMNS", "HOME")
    ]
    # Licences and consents end with a day.
    today = str(int(time.time()) // 86_400)
    parts = [
        *arguments, "", __version__, *code, sys.version, sys.executable, today, str(tty),
        str(sys.stdout.encoding), os.getcwd(), *variables,  # noqa: PTH109
    ]  # fmt: skip
    return "\0".join(parts).encode("utf-8", "surrogateescape")


def place_of(key: bytes, root: str) -> str:
    """Return the file that holds the answer of a key."""
    import zlib

    return os.path.join(root, *FOLDER, f"{zlib.crc32(key):08x}")  # noqa: PTH118


def _holding(data: bytes, key: bytes) -> bytes | None:
    """Return the answer in a file when it is for this key and still holds, else None."""
    start = len(_MAGIC) + 4
    body = data[start:]
    if data[: len(_MAGIC)] != _MAGIC or data[len(_MAGIC) : start] != _checksum(body):
        return None
    lengths = array("q", body[:32])
    edges = [32]
    for length in lengths[:3]:
        edges.append(edges[-1] + length)
    if body[edges[0] : edges[1]] != key:
        return None
    paths = body[edges[2] : edges[3]].split(b"\n")
    if not _unchanged(paths, body[edges[3] :]):
        return None
    return body[edges[1] : edges[2]]


def _unchanged(paths: list[bytes], stamps: bytes) -> bool:
    if len(paths) < _TWO_PROCESSES_FROM or not hasattr(os, "fork") or _cores() < 2:
        return _all_as(paths, stamps)
    half = len(paths) // 2
    child = os.fork()
    if child == 0:
        # Nothing of the parent is touched here: no exit handlers, no buffers.
        same = False
        try:
            same = _all_as(paths[half:], stamps[half * _FIELDS * 8 :])
        finally:
            os._exit(0 if same else 1)
    same = _all_as(paths[:half], stamps[: half * _FIELDS * 8])
    return os.waitpid(child, 0)[1] == 0 and same


def _all_as(paths: list[bytes], stamps: bytes) -> bool:
    step = _LOOKED_AT * _FIELDS * 8
    for row in range(0, len(paths), _LOOKED_AT):
        start = row * _FIELDS * 8
        found = _stamps(paths[row : row + _LOOKED_AT])
        if found.tobytes() != stamps[start : start + step]:
            return False
    return True


def _stamps(paths: list[bytes]) -> array[int]:
    status_of = os.stat
    found = array("q")
    extend = found.extend
    for path in paths:
        try:
            one = status_of(path)
        except OSError:
            extend(_ABSENT)  # that it is not there is a fact like others
        else:
            extend((one.st_size, one.st_mtime_ns, one.st_ctime_ns, one.st_ino & _ROOM))
    return found


def _is_racy(stamp: array[int], started_ns: int) -> bool:
    return any(
        changed + (_TICK_NS if changed % 1_000_000_000 else _COARSE_NS) > started_ns
        for changed in stamp[1:3]
        if changed
    )


def _checksum(body: bytes) -> bytes:
    import zlib

    return zlib.crc32(body).to_bytes(4, "little")


def _cores() -> int:
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1
