"""The queue of this machine: in which order work is handed out, and to whom.

An SQLite file through huey's storage, whose hand-out is one transaction: of several workers one
alone gets an entry. It holds names and nothing else; what a name means, and whether its work is
still owed, stands elsewhere. So an entry that is lost, doubled or stale does no harm, and a file
that cannot be read is put aside and filled anew by whoever knows what is owed.
"""

from __future__ import annotations

import contextlib
import datetime
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

from lora_pipeline.foundation.errors import StorageError
from lora_pipeline.foundation.extras import require_extra

EXTRA = "queue"
MODULES = ("huey",)
_BUSY_S = 30.0
_BROKEN = ("malformed", "not a database", "disk image")


class Queue:
    """Names that wait for their turn, first in first out; use it as a context manager.

    Args:
        file: The SQLite file; made when it is not there.

    Raises:
        ExtraMissingError: When the extra ``queue`` is not installed.
        StorageError: When the file cannot be written.
    """

    def __init__(self, file: Path) -> None:
        require_extra(EXTRA, MODULES)
        self._file = file
        self._storage: Any = None
        with _refusals(file):
            file.parent.mkdir(parents=True, exist_ok=True)
            self._storage = self._opened()

    def __enter__(self) -> Queue:
        """Return the queue."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file."""
        self._storage.close()

    def put(self, name: str, *, not_before: float = 0.0) -> None:
        """Let a name wait for its turn.

        Args:
            name: What is handed out.
            not_before: Seconds since 1970 before which it is not.
        """
        with _refusals(self._file):
            if not_before:
                self._storage.add_to_schedule(name.encode(), _moment(not_before))
            else:
                self._storage.enqueue(name.encode())

    def take(self, now: float) -> str | None:
        """Return the next name, and hand it to nobody else; None when none is due.

        Args:
            now: Seconds since 1970.
        """
        with _refusals(self._file):
            for entry in self._storage.read_schedule(_moment(now)):
                self._storage.enqueue(bytes(entry))
            entry = self._storage.dequeue()
        return None if entry is None else bytes(entry).decode()

    def waiting(self) -> list[str]:
        """Return every name that waits, those that are due first, in their order."""
        with _refusals(self._file):
            entries = [*self._storage.enqueued_items(), *self._storage.scheduled_items()]
        return [bytes(entry).decode() for entry in entries]

    def _opened(self) -> Any:
        from huey.storage import SqliteStorage

        def opened() -> Any:
            storage = SqliteStorage(
                "runs", str(self._file), fsync=True, strict_fifo=True, timeout=_BUSY_S, cache_mb=1
            )
            storage.queue_size()
            return storage

        try:
            return opened()
        except sqlite3.DatabaseError as error:
            if not any(words in str(error) for words in _BROKEN):
                raise
        for name in (self._file.name, f"{self._file.name}-wal", f"{self._file.name}-shm"):
            with contextlib.suppress(FileNotFoundError):
                old = self._file.with_name(name)
                old.replace(old.with_name(f"{name}.broken"))
        return opened()


def _moment(seconds: float) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)


@contextlib.contextmanager
def _refusals(file: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise StorageError(
            f"the queue {file.name} cannot be used: {error}",
            hint="free space below .lora, or remove the file: it is filled anew",
        ) from error
