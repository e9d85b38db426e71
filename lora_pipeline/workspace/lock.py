"""The workspace lock: one writer at a time, with a name that the next one can read.

The lock is the operating system's (``flock``), so it is gone when its holder dies, however
it dies. Correctness does not rest on it: every write also compares what it is based on.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lora_pipeline.foundation import files
from lora_pipeline.foundation.errors import LockedError, StorageError

if TYPE_CHECKING:
    from filelock import BaseFileLock


@contextlib.contextmanager
def workspace_lock(folder: Path, *, timeout_s: float) -> Iterator[None]:
    """Hold the lock in ``folder`` for the time of the block.

    Raises:
        LockedError: When another process holds it for longer than ``timeout_s``; names the
            holder.
        StorageError: When the lock cannot be taken because of the disk.
    """
    holder = folder / "lock.holder.json"
    with files.disk_refusals():
        folder.mkdir(parents=True, exist_ok=True)
        lock = _acquired(folder / "lock", holder, timeout_s)
    try:
        # Its name is for people; the lock holds without it.
        with contextlib.suppress(OSError):
            holder.write_text(json.dumps(_ourselves()), encoding="utf-8")
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink()
        lock.release()


def lock_holder(folder: Path) -> str | None:
    """Return who holds the lock in ``folder``, or None when nobody does."""
    from filelock import FileLock, Timeout

    if not (folder / "lock").is_file():
        return None
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return _read_holder(folder / "lock.holder.json")
    except OSError:
        return None  # not ours to take: nothing can be said
    lock.release()
    return None


def _acquired(path: Path, holder: Path, timeout_s: float) -> BaseFileLock:
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=max(0.0, timeout_s))
    except Timeout as error:
        raise LockedError(
            f"the workspace is locked by {_read_holder(holder)}",
            hint="wait for it to end, or raise LORA_LOCK_TIMEOUT (seconds)",
        ) from error
    except NotImplementedError as error:
        raise StorageError(
            f"{path.parent} is on a file system without locks",
            hint="keep the workspace on a local disk",
        ) from error
    return lock


def _ourselves() -> dict[str, object]:
    # Only the name of the command: an argument may be private.
    words = [Path(sys.argv[0]).name, *sys.argv[1:2]]
    command = " ".join(word for word in words if not word.startswith("-"))
    return {"pid": os.getpid(), "host": socket.gethostname(), "command": command}


def _read_holder(holder: Path) -> str:
    try:
        facts = json.loads(holder.read_text(encoding="utf-8"))
        return f"process {facts['pid']} on {facts['host']} ({facts['command']})"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
