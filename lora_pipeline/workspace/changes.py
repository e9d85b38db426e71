"""A set of writes that belong together: bytes first, then records, in the order given.

The pointer (a record that makes the others count) comes last, so that an interruption at any
moment leaves either the old state or the new one, plus bytes that nothing names yet.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from lora_pipeline.foundation import files, strict_json
from lora_pipeline.foundation.canonical import digest_of_bytes
from lora_pipeline.foundation.errors import StateError
from lora_pipeline.foundation.events import Event
from lora_pipeline.foundation.record import Record
from lora_pipeline.workspace import journal
from lora_pipeline.workspace.held_bytes import Held, HeldBytes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.lock import workspace_lock
from lora_pipeline.workspace.record_bytes import encode_record, parse_record
from lora_pipeline.workspace.records import Loaded, R, check_base
from lora_pipeline.workspace.root import Workspace

_MANY = 1000  # records; a bar for fewer would be gone before it was read


class _RecordWrite(msgspec.Struct, frozen=True, gc=False):
    path: str  # there may be 100,000, and a path takes four times the memory
    data: Held
    based_on: str | None
    stands_at: Path | None = None  # where it is now, when its folder moves


@dataclass
class Changes:
    """Writes that are collected, then applied in one step.

    Attributes:
        workspace: Where they go; in a dry run ``apply`` writes nothing.
    """

    workspace: Workspace
    _files: list[files.Write] = field(default_factory=list)
    _records: list[_RecordWrite] = field(default_factory=list)
    _removals: list[tuple[Path, str | None]] = field(default_factory=list)
    _moves: list[tuple[Path, Path]] = field(default_factory=list)
    _held: HeldBytes = field(default_factory=HeldBytes)

    def copy_file(self, source: Path, target: Path, *, sha256: str = "") -> None:
        """Copy a file into the workspace before any record is written.

        With ``sha256`` applying fails when the file is another one by then.
        """
        self._files.append(files.Write(target, source=source, sha256=sha256))

    def write_file(self, target: Path, data: bytes) -> None:
        """Write a file that is no record, before any record is written."""
        self._files.append(files.Write(target, data=data))

    def create(self, record: Record, scope: Scope, record_id: str) -> None:
        """Add a new record; applying fails when it exists by then.

        Raises:
            RecordInvalidError: When it breaks its schema.
        """
        path = self.workspace.records.path(record.KIND, scope, record_id)
        self._write(path, encode_record(record, path.name), None)

    def update(self, loaded: Loaded[R], record: R) -> None:
        """Replace a record that was read; applying fails when it changed since.

        A record whose bytes stay the same is not written.

        Raises:
            RecordInvalidError: When it breaks its schema.
        """
        data = encode_record(record, loaded.path.name)
        if digest_of_bytes(data) != loaded.digest:
            self._write(loaded.path, data, loaded.digest)

    def rewrite(
        self,
        kind: type[Record],
        path: Path,
        document: dict[str, Any],
        *,
        based_on: str | None,
        stands_at: Path | None = None,
    ) -> None:
        """Write the document of a record as it is, without giving it the form of today.

        Args:
            kind: Its type.
            path: Its file.
            document: The whole of it.
            based_on: Digest of the bytes that it was read from, or None for a new file.
            stands_at: Where it stands now, when ``move_folder`` brings it to ``path``.

        Raises:
            RecordInvalidError: When it breaks its schema.
        """
        data = strict_json.dumps(document, one_line_each=kind.ONE_LINE_EACH)
        parse_record(kind, data, path.name)
        if digest_of_bytes(data) != based_on:
            self._write(path, data, based_on, stands_at)

    def replace_file(self, path: Path, data: bytes, *, based_on: str | None) -> None:
        """Write a file that is no record; applying fails when it is not what it was."""
        if based_on is None or digest_of_bytes(data) != based_on:
            self._write(path, data, based_on)

    def remove_document(self, path: Path, *, based_on: str) -> None:
        """Remove a file; applying fails when it is not what it was."""
        self._removals.append((path, based_on))

    def move_folder(self, source: Path, target: Path) -> None:
        """Give a folder another name, before anything else; for ``apply_together`` alone."""
        self._moves.append((source, target))

    def remove(self, loaded: Loaded[R]) -> None:
        """Remove a record that was read; applying fails when it changed since.

        Removals come after all writes, in the order given.
        """
        self._removals.append((loaded.path, loaded.digest))

    def remove_file(self, path: Path) -> None:
        """Remove a file that is no record, together with the records."""
        self._removals.append((path, None))

    @property
    def paths(self) -> list[str]:
        """What is (or would be) written or removed, relative to the workspace, in order."""
        return list(dict.fromkeys(map(self.workspace.relative, self._targets())))

    def _targets(self) -> Iterator[Path]:
        yield from (write.target for write in self._files)
        yield from (Path(write.path) for write in self._records)
        yield from (path for path, _ in self._removals)
        for source, target in self._moves:
            for path in sorted(one for one in source.rglob("*") if one.is_file()):
                yield path
                yield target / path.relative_to(source)

    def apply(self) -> list[str]:
        """Write everything and return the paths; in a dry run only return them.

        Raises:
            LockedError: When another writer holds the workspace.
            StateError: When an earlier step was left half-way.
            RecordConflictError, RecordExistsError: When a record is not what the change is
                based on; nothing was written.
            FileMissingError, DigestMismatchError: When a file to copy is gone, or another one
                by now; no record was written.
            StorageError: When the disk refuses. What was written before stays; the command,
                run again, completes it.
        """
        paths = self.paths
        if self.workspace.dry_run or not paths:
            return paths
        with self._locked():
            files.write_all(self._files)
            files.write_all(map(self._record_file, self._records), tell=self._tell)
            for path, _ in self._removals:
                path.unlink(missing_ok=True)
                files.fsync_folder(path.parent)
        return paths

    def apply_together(self, what: str) -> list[str]:
        """Do the same all or nothing, also when the process dies half-way.

        Files that are no records are written first: nothing names them yet. Records, removals
        and moves are prepared in a journal, and put in place when all of it is durable. Who
        finds a journal that was not finished can write nothing before ``lora doctor --fix``
        has finished it.

        Args:
            what: What it is, for people: ``rename style flat flat2``.

        Raises:
            LockedError, RecordConflictError, RecordExistsError, StorageError: As ``apply``.
            StateError: When an earlier step was left half-way.
        """
        paths = self.paths
        if self.workspace.dry_run or not paths:
            return paths
        with self._locked():
            files.write_all(self._files)
            self._decided(what).finish()
        return paths

    def _write(
        self, path: Path, data: bytes, based_on: str | None, stands_at: Path | None = None
    ) -> None:
        self._records.append(_RecordWrite(str(path), self._held.hold(data), based_on, stands_at))

    def _record_file(self, write: _RecordWrite) -> files.Write:
        return files.Write(Path(write.path), data=self._held.read(write.data))

    def _tell(self, done: int) -> None:
        total = len(self._records)
        if total >= _MANY and (done % 100 == 0 or done == total):
            event = Event("progress", "records", step=done, total=total, unit="records")
            self.workspace.events(event)

    def _decided(self, what: str) -> journal.Journal:
        return journal.decide(
            self.workspace.root,
            self.workspace.runtime,
            what,
            writes=(
                journal.Staged(Path(write.path), self._held.read(write.data), write.based_on or "")
                for write in self._records
            ),
            removals=[
                (path, based_on or journal.digest_of_file(path))
                for path, based_on in self._removals
                if path.is_file()
            ],
            moves=self._moves,
        )

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock while everything is still what the changes are based on."""
        timeout_s = self.workspace.settings.number("lock.timeoutSeconds")
        with workspace_lock(self.workspace.runtime, timeout_s=timeout_s), files.disk_refusals():
            journal.require_none_pending(self.workspace.root, self.workspace.runtime)
            for write in self._records:
                check_base(write.stands_at or Path(write.path), write.based_on)
            for path, based_on in self._removals:
                if based_on is not None:
                    check_base(path, based_on)
            for _, target in self._moves:
                if target.exists():
                    raise StateError(f"{self.workspace.relative(target)} is there already")
            yield
