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

from lora_pipeline.foundation.errors import LockedError


@contextlib.contextmanager
def workspace_lock(folder: Path, *, timeout_s: float) -> Iterator[None]:
    """Hold the lock in ``folder`` for the time of the block.

    Raises:
        LockedError: When another process holds it for longer than ``timeout_s``; names the
            holder.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    holder = folder / "lock.holder.json"
    lock = FileLock(folder / "lock")
    try:
        lock.acquire(timeout=timeout_s)
    except Timeout as error:
        raise LockedError(
            f"the workspace is locked by {_read_holder(holder)}",
            hint="wait for it to end, or raise LORA_LOCK_TIMEOUT (seconds)",
        ) from error
    try:
        holder.write_text(
            json.dumps(
                {
                    "pid": os.getpid(),
                    "host": socket.gethostname(),
                    "command": Path(sys.argv[0]).name,
                }
            )
        )
        yield
    finally:
        with contextlib.suppress(OSError):
            holder.unlink()
        lock.release()


def _read_holder(holder: Path) -> str:
    try:
        facts = json.loads(holder.read_text())
        return f"process {facts['pid']} on {facts['host']} ({facts['command']})"
    except (OSError, ValueError, KeyError):
        return "another process"
