"""The private folder of a run, outside Git, and whether somebody works in it.

A run is alive while a process of this machine holds the lock in its folder. The operating
system lets go of it when that process ends, however it ends, so no id that was used again can
make a dead run look alive. ``process.json`` beside it is for people.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

from lora_pipeline.foundation import files
from lora_pipeline.foundation.errors import StateError
from lora_pipeline.workspace.root import Workspace

_LOCK = "process.lock"
_PROCESS = "process.json"
_GIVEN = (".json", ".toml", ".yaml")
_STAGING = re.compile(rb"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")


def run_folder(workspace: Workspace, run_id: str) -> Path:
    """Return the folder of a run, whether it is there or not."""
    return workspace.runtime / "runs" / run_id


def is_here(workspace: Workspace, run_id: str) -> bool:
    """Return whether a run was started on this machine."""
    return run_folder(workspace, run_id).is_dir()


def is_alive(workspace: Workspace, run_id: str) -> bool:
    """Return whether a process of this machine works on a run."""
    from filelock import FileLock, Timeout

    lock = run_folder(workspace, run_id) / _LOCK
    if not lock.is_file():
        return False
    probe = FileLock(lock)
    try:
        probe.acquire(timeout=0)
    except Timeout:
        return True
    probe.release()
    return False


def stagings_of_runs(workspace: Workspace) -> set[str]:
    """Return the names of the stagings that the files of runs under way speak of.

    Better one too many than one too few: every word counts that could be such a name, in every
    file that a trainer is given.
    """
    found: set[str] = set()
    for folder in (workspace.runtime / "runs").glob("*"):
        if not is_alive(workspace, folder.name):
            continue
        for path in folder.glob("*"):
            if path.suffix in _GIVEN:
                with contextlib.suppress(OSError):
                    found |= {name.decode() for name in _STAGING.findall(path.read_bytes())}
    return found


@contextlib.contextmanager
def working_in(folder: Path, started_at: str) -> Iterator[None]:
    """Hold a run for the time of the block, so that others see that it is alive.

    Raises:
        StateError: When somebody else works in the folder.
    """
    from filelock import FileLock, Timeout

    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / _LOCK)
    try:
        lock.acquire(timeout=1)  # somebody may look at this moment whether the run is alive
    except Timeout as error:
        raise StateError(f"run {folder.name} is under way", hint="lora run show") from error
    try:
        facts = {"pid": os.getpid(), "host": socket.gethostname(), "startedAt": started_at}
        files.write_atomic(folder / _PROCESS, json.dumps(facts).encode() + b"\n")
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / _PROCESS).unlink()
        lock.release()


def process_of(workspace: Workspace, run_id: str) -> int | None:
    """Return the id of the process that works on a run, for people to look at."""
    try:
        facts = json.loads((run_folder(workspace, run_id) / _PROCESS).read_text(encoding="utf-8"))
        return int(facts["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
