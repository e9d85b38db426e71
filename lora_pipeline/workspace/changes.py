"""A set of writes that belong together: bytes first, then records, in the order given.

The pointer (a record that makes the others count) comes last, so that an interruption at any
moment leaves either the old state or the new one, plus bytes that nothing names yet.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from lora_pipeline.foundation import files
from lora_pipeline.foundation.canonical import digest_of_bytes
from lora_pipeline.foundation.record import Record
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.lock import workspace_lock
from lora_pipeline.workspace.records import Loaded, R, check_base, encode_record
from lora_pipeline.workspace.root import Workspace


@dataclass(frozen=True)
class _RecordWrite:
    path: Path
    data: bytes
    based_on: str | None


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
        self._records.append(_RecordWrite(path, encode_record(record, path.name), None))

    def update(self, loaded: Loaded[R], record: R) -> None:
        """Replace a record that was read; applying fails when it changed since.

        A record whose bytes stay the same is not written.

        Raises:
            RecordInvalidError: When it breaks its schema.
        """
        data = encode_record(record, loaded.path.name)
        if digest_of_bytes(data) != loaded.digest:
            self._records.append(_RecordWrite(loaded.path, data, loaded.digest))

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
        every = [write.target for write in self._files]
        every += [write.path for write in self._records]
        every += [path for path, _ in self._removals]
        return list(dict.fromkeys(self.workspace.relative(path) for path in every))

    def apply(self) -> list[str]:
        """Write everything and return the paths; in a dry run only return them.

        Raises:
            LockedError: When another writer holds the workspace.
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
        timeout_s = self.workspace.settings.number("lock.timeoutSeconds")
        with workspace_lock(self.workspace.runtime, timeout_s=timeout_s), files.disk_refusals():
            for write in self._records:
                check_base(write.path, write.based_on)
            for path, based_on in self._removals:
                if based_on is not None:
                    check_base(path, based_on)
            files.write_all(self._files)
            files.write_all([files.Write(write.path, data=write.data) for write in self._records])
            for path, _ in self._removals:
                path.unlink(missing_ok=True)
                files.fsync_folder(path.parent)
        return paths
