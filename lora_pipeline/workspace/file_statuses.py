"""The statuses of many files: kept in little room, and compared as fast as the system tells them.

Most of the time goes to the system's walk along each path, so files are taken in groups, each
compared from the folder that its paths share; the loop over a group is one of C; and both halves
of the groups are compared at once, by two processes.

This module imports as little as it can: ``answers`` stands before the first line of every call.
"""

from __future__ import annotations

import os
import zlib
from array import array
from itertools import chain
from operator import attrgetter

from lora_pipeline.workspace.file_times import COARSE_NS, is_racy

# For whoever checks types; to import ``typing`` takes longer than looking at 2,000 files.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_GROUP = 2_000  # files
_TWO_PROCESSES_FROM = 2  # groups; to start a second process takes as long as 500 files
_HEAD = 4  # numbers that precede a group: checksum, lengths of folder and names, number of names
_ROOM = 0x7FFF_FFFF_FFFF_FFFF  # Windows has numbers of files that need every bit
_FIELDS = ("st_size", "st_mtime_ns", "st_ctime_ns", "st_ino")
_TIMES = slice(1, 3)
_status = attrgetter(*_FIELDS)


def packed(paths: Iterable[bytes], seen_ns: int) -> list[bytes] | None:
    """Return groups of files with their statuses, for ``all_as_packed``.

    Args:
        paths: Files and folders, there or not; relative ones below the current folder.
        seen_ns: When the first of them was read. The answer is None when one of them changed
            so shortly before, or since, that its status proves nothing; or has a name with a
            line feed in it.
    """
    ordered, absent, groups = sorted(paths), [], []
    for row in range(0, len(ordered), _GROUP):
        there = ordered[row : row + _GROUP]
        try:
            found = _statuses(there)
        except OSError:
            absent += [path for path in there if not os.path.exists(path)]  # noqa: PTH110
            there = [path for path in there if path not in absent]
            found = _statuses(there)
        if any(map(_is_ambiguous, there)) or _is_young(found, seen_ns):
            return None
        groups.append(_group(there, found))
    if any(map(_is_ambiguous, absent)):
        return None
    return [*groups, _group(absent, None)] if absent else groups


def all_as_packed(groups: Sequence[bytes]) -> bool:
    """Return whether every file has the status that it had.

    Changes the current folder meanwhile.

    Raises:
        ValueError, OSError: When a group is damaged.
    """
    here = os.getcwd()  # noqa: PTH109
    try:
        if len(groups) < _TWO_PROCESSES_FROM or not hasattr(os, "fork") or _cores() < 2:
            return all(map(_is_as_packed, groups))
        half = len(groups) // 2
        child = os.fork()
        if child == 0:
            # Nothing of the parent is touched here: no exit handlers, no buffers.
            same = False
            try:
                same = all(map(_is_as_packed, groups[:half]))
            finally:
                os._exit(0 if same else 1)
        try:
            same = all(map(_is_as_packed, groups[half:]))
        finally:
            status = os.waitpid(child, 0)[1]
        return same and status == 0
    finally:
        os.chdir(here)


def _group(paths: list[bytes], found: array[int] | None) -> bytes:
    """Return one group; without statuses, one of files that are not there."""
    folder = _shared_folder(paths) if found is not None else b""
    # A file of the topmost folder keeps its whole path: there is nothing to share.
    names = b"\n".join(path[len(folder) + 1 :] if folder else path for path in paths)
    stamps = found.tobytes() if found is not None else b""
    head = array("q", (len(folder), len(names), len(paths)))
    body = head.tobytes() + folder + names + stamps
    return array("q", (zlib.crc32(body),)).tobytes() + body


def _shared_folder(ordered: list[bytes]) -> bytes:
    first, last = ordered[0], ordered[-1]
    shared = min(len(first), len(last))
    differ = (at for at in range(shared) if first[at] != last[at])
    return first[: next(differ, shared)].rpartition(b"/")[0]


def _is_as_packed(group: bytes) -> bool:
    checksum, folder_length, names_length, count = array("q", group[: 8 * _HEAD])
    if zlib.crc32(group[8:]) != checksum:
        return False
    start = 8 * _HEAD + folder_length
    folder, names = group[8 * _HEAD : start], group[start : start + names_length].split(b"\n")
    stamps = group[start + names_length :]
    if len(names) != count:
        return False
    if not stamps:
        return not any(map(os.path.exists, names))
    here = os.getcwd()  # noqa: PTH109
    try:
        os.chdir(folder or here)
        return _statuses(names).tobytes() == stamps
    except OSError:
        return False
    finally:
        os.chdir(here)


def _is_ambiguous(path: bytes) -> bool:
    return b"\n" in path


def _is_young(found: array[int], seen_ns: int) -> bool:
    times = [found[field :: len(_FIELDS)] for field in range(len(_FIELDS))[_TIMES]]
    latest = max(chain(*times), default=0)
    # Mostly all are old, whatever their grain is.
    return latest + COARSE_NS > seen_ns and any(is_racy(one, seen_ns) for one in chain(*times))


def _statuses(paths: list[bytes]) -> array[int]:
    found = map(_status, map(os.stat, paths))
    if os.name != "nt":
        return array("q", chain.from_iterable(found))
    return array("q", (number & _ROOM for number in chain.from_iterable(found)))


def _cores() -> int:
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1
