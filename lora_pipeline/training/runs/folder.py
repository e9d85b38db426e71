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
import time
from collections.abc import Iterator
from pathlib import Path

from lora_pipeline.foundation import files
from lora_pipeline.foundation.errors import StateError
from lora_pipeline.workspace.root import Workspace

_LOCK = "process.lock"
_PROCESS = "process.json"
_TRAINER_LOCK = "trainer.lock"
# What the guard needs to end a trainer whose supervisor died, and some more.
_TRAINER_ENDS_S = 20.0
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
        raise StateError(
            f"run {folder.name} is under way", hint=f"lora run show {folder.name}"
        ) from error
    try:
        _wait_for_trainer(folder)
        facts = {"pid": os.getpid(), "host": socket.gethostname(), "startedAt": started_at}
        files.write_atomic(folder / _PROCESS, json.dumps(facts).encode() + b"\n")
        yield
    finally:
        with contextlib.suppress(OSError):
            (folder / _PROCESS).unlink()
        lock.release()


@contextlib.contextmanager
def trainer_runs(folder: Path) -> Iterator[int | None]:
    """Say for the time of the block, and for as long as the trainer lives, that one runs.

    Yields:
        An open file for the trainer's guard to hold: it ends after everything that the trainer
        started, also when we are killed. None where files cannot be passed on.
    """
    if os.name == "nt":
        yield None
        return
    import fcntl

    descriptor = os.open(folder / _TRAINER_LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)


def _wait_for_trainer(folder: Path) -> None:
    """Wait for the end of a trainer whose supervisor was killed: its guard is stopping it.

    Raises:
        StateError: When it does not end.
    """
    lock = folder / _TRAINER_LOCK
    if os.name == "nt" or not lock.is_file():
        return
    import fcntl

    deadline = time.monotonic() + _TRAINER_ENDS_S
    with lock.open("rb") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if time.monotonic() > deadline:
                    raise StateError(
                        f"the trainer of run {folder.name} is still being stopped",
                        hint=f"lora run show {folder.name}",
                    ) from error
                time.sleep(0.05)
            else:
                return


def process_of(workspace: Workspace, run_id: str) -> int | None:
    """Return the id of the process that works on a run, for people to look at."""
    try:
        facts = json.loads((run_folder(workspace, run_id) / _PROCESS).read_text(encoding="utf-8"))
        return int(facts["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
