"""Make the disk fail: the n-th call that reaches it raises, or ends the process.

Opening, making names, renaming and removing are seen by an audit hook; writing and forcing to
disk are not audited, so those two are replaced while a fault is armed.

``python -m tests.support.faults SCENARIO FOLDER`` runs a scenario again and again, each time
in a fresh copy ``FOLDER/<n>`` and in a process that dies at its n-th call, until none dies. It
prints how many there were.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_AUDITED = {"os.rename": 1, "os.mkdir": 0, "os.chmod": 0, "os.link": 1, "os.remove": 0}
DIED = 9


class Faults:
    """Counts the calls that reach the disk below a folder, and acts at one of them.

    With ``only`` calls of that name alone count, and it acts at each from that one on.

    Attributes:
        names: What was called, in order; the last one is where the fault fired.
        fired: Whether it did.
        path: The path of that call, where it has one.
    """

    def __init__(
        self, folder: Path, at: int, action: Callable[[str], None], *, only: str = ""
    ) -> None:
        self._only = only
        self.names: list[str] = []
        self.fired = False
        self.path = ""
        self._folder = str(folder.resolve())
        self._at = at
        self._action = action
        self._lock = threading.Lock()

    def touch(self, name: str, path: object = None) -> None:
        """Count one call; paths outside of the folder do not count."""
        if path is not None and not _name(path).startswith(self._folder):
            return
        with self._lock:
            if self._only not in ("", name) or (self.fired and not self._only):
                return
            self.names.append(name)
            self.fired = len(self.names) >= self._at
            self.path = _name(path)
        if self.fired:
            self._action(name)


_armed: Faults | None = None


@contextlib.contextmanager
def armed(faults: Faults) -> Iterator[Faults]:
    """Let a fault fire within the block."""
    global _armed  # noqa: PLW0603 - an audit hook can never be taken away again
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked.append(True)
    fdopen, fsync = os.fdopen, os.fsync

    def counting_fsync(descriptor: int) -> None:
        faults.touch("fsync")
        fsync(descriptor)

    def counting_fdopen(descriptor: int, *arguments: Any, **options: Any) -> Any:
        return _CountingStream(fdopen(descriptor, *arguments, **options), faults)

    os.fsync, os.fdopen = counting_fsync, counting_fdopen  # type: ignore[assignment]
    _armed = faults
    try:
        yield faults
    finally:
        _armed = None
        os.fsync, os.fdopen = fsync, fdopen


def failing(number: int) -> Callable[[str], None]:
    """Return an action that raises the error of that number."""

    def fail(name: str) -> None:
        raise OSError(number, os.strerror(number), name)

    return fail


def dying(_: str) -> None:
    """End the process at once, as a power cut does."""
    os._exit(DIED)


def obey_permissions() -> None:
    """Make this process obey file permissions, also when root runs the tests."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this process
    sets = (ctypes.c_uint32 * 6)()
    if libc.capget(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    sets[0] &= ~0b1110 & 0xFFFFFFFF  # no CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER
    if libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def make_read_only(folder: Path) -> None:
    """Take the right to write from a folder and everything in it."""
    for path in [*folder.rglob("*"), folder]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode & ~0o222)


def make_writable(folder: Path) -> None:
    """Give it back, so that the folder can be removed."""
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | 0o200)


def main() -> None:
    """Run a scenario (``module:function``) that dies later and later."""
    module, _, function = sys.argv[1].partition(":")
    scenario: Callable[[Path], None] = getattr(importlib.import_module(module), function)
    folder = Path(sys.argv[2])
    shutil.copytree(folder / "before", folder / "warm")
    scenario(folder / "warm")  # what is imported now, each child need not import
    at = 1
    while _died(scenario, folder, at):
        at += 1
    sys.stdout.write(f"{at - 1}\n")


def _died(scenario: Callable[[Path], None], folder: Path, at: int) -> bool:
    copy = folder / str(at)
    shutil.copytree(folder / "before", copy)
    child = os.fork()
    if child == 0:
        with armed(Faults(copy, at, dying)):
            scenario(copy)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status not in (0, DIED):
        raise SystemExit(f"the scenario itself ended with {status} at {at}")
    return status == DIED


_hooked: list[bool] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    faults = _armed
    if faults is None:
        return
    if event == "open" and not isinstance(arguments[0], int):
        faults.touch("open", arguments[0])
    elif event in _AUDITED:
        faults.touch(event, arguments[_AUDITED[event]])


def _name(path: object) -> str:
    return os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""


class _CountingStream:
    """A stream whose writes are counted."""

    def __init__(self, stream: io.BufferedWriter, faults: Faults) -> None:
        self._stream = stream
        self._faults = faults

    def write(self, data: bytes) -> int:
        """Count, then write; a fault leaves half of it written."""
        try:
            self._faults.touch("write")
        except OSError:
            self._stream.write(data[: len(data) // 2])
            raise
        return self._stream.write(data)

    def __enter__(self) -> _CountingStream:
        """Return this stream."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the stream."""
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


if __name__ == "__main__":
    main()
