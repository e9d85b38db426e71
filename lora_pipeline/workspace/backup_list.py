"""The list inside a backup: every file with its digest."""

from __future__ import annotations

from typing import ClassVar

from lora_pipeline.foundation.record import Part, Record


class BackupFile(Part, frozen=True, kw_only=True):
    """One file of a backup; ``path`` is relative to the workspace, or to the store."""

    path: str
    bytes: int
    sha256: str


class BackupList(Record, frozen=True, kw_only=True):
    """What a backup holds: files of the workspace, and objects of the store by their digest."""

    KIND: ClassVar[str] = "backup"
    ONE_LINE_EACH: ClassVar[tuple[str, ...]] = ("files", "objects")

    created_at: str
    created_by: str
    reason: str
    commit: str = ""
    files: tuple[BackupFile, ...]
    objects: tuple[BackupFile, ...] = ()
