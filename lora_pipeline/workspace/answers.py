"""Answers that may be given again: nothing that they were made from has changed.

A command that read 30,000 files and wrote nothing says the same thing the next time, unless one
of these files changed. So its words are kept with the status of every file and folder that it
read, and looking at these is all that is done the next time: no record is parsed, and nothing
of this package is imported but what looks at files.

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
import zlib
from array import array

from lora_pipeline import __version__
from lora_pipeline.workspace.file_statuses import all_as_packed, packed

# For whoever checks types; to import ``typing`` takes longer than looking at 2,000 files.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

FOLDER = (".lora", "cache", "answers")
REPEATABLE = (("dataset", "build"),)
# Folders whose modules have a say in an answer; a folder's time tells that one was written.
CODE = (
    "cli", "operations", "operations/catalog", "operations/datasets", "operations/workspace",
    "datasets", "datasets/captions", "datasets/staging", "catalog", "catalog/assets",
    "catalog/rights", "workspace", "workspace/git", "engine", "foundation", "foundation/images",
)  # fmt: skip
_MAGIC = b"lora-pipeline answer 3\n"


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
    # The command is called in the workspace, and short paths are found faster. As bytes they need
    # not be turned into text and back again; and a name need not be text.
    inside = os.path.join(root, "")  # noqa: PTH118
    try:
        paths = {os.fsencode(path.removeprefix(inside)) for path in files}
    except UnicodeEncodeError:
        return False  # no system call can be given such a name
    key = key_of(arguments, tty=tty)
    target = place_of(key, root)
    try:
        groups = packed(paths, started_ns)
        if groups is None:
            return False
        temporary = f"{target}.{os.getpid()}"
        os.makedirs(os.path.dirname(target), exist_ok=True)  # noqa: PTH103, PTH120
        with open(temporary, "wb") as stream:  # noqa: PTH123
            stream.write(_file(key, answer, groups))
        os.replace(temporary, target)  # noqa: PTH105
    except OSError:
        return False
    return True


def key_of(arguments: list[str], *, tty: bool) -> bytes:
    """Return all that an answer depends on besides files, as bytes."""
    package = os.path.dirname(os.path.dirname(__file__))  # noqa: PTH120
    code = [
        str(os.stat(f"{package}/{folder}").st_mtime_ns)  # noqa: PTH116
        for folder in CODE
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
    return os.path.join(root, *FOLDER, f"{zlib.crc32(key):08x}")  # noqa: PTH118


def _file(key: bytes, answer: bytes, groups: list[bytes]) -> bytes:
    lengths = array("q", (len(key), len(answer), len(groups), *map(len, groups)))
    said = lengths.tobytes() + key + answer
    return b"".join((_MAGIC, array("q", (zlib.crc32(said),)).tobytes(), said, *groups))


def _holding(data: bytes, key: bytes) -> bytes | None:
    """Return the answer in a file when it is for this key and still holds, else None.

    Raises:
        ValueError, OSError: When the file is damaged.
    """
    start = len(_MAGIC) + 8
    if data[: len(_MAGIC)] != _MAGIC:
        return None
    checksum, key_length, answer_length, count = array("q", data[len(_MAGIC) : start + 24])
    answer_at = start + 24 + 8 * count + key_length
    edge = answer_at + answer_length
    if zlib.crc32(data[start:edge]) != checksum or data[answer_at - key_length : answer_at] != key:
        return None
    groups = []
    for length in array("q", data[start + 24 : start + 24 + 8 * count]):
        groups.append(data[edge : edge + length])
        edge += length
    return data[answer_at : answer_at + answer_length] if all_as_packed(groups) else None
