"""Backups: a ZIP file of records and settings with a list of digests, believed only when read back.

Nothing is unpacked by the names in the archive: the list says what there is, each path in it is
checked as that of a record is, and each file is read up to the length that the list states.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, BinaryIO

import msgspec

from lora_pipeline import __version__
from lora_pipeline.foundation import files, strict_json
from lora_pipeline.foundation.errors import (
    DigestMismatchError,
    FileMissingError,
    IntegrityError,
    UnsafePathError,
)
from lora_pipeline.foundation.events import Event
from lora_pipeline.foundation.files import TEMPORARY_PREFIX, unsafe_reason
from lora_pipeline.workspace.backup_list import BackupFile, BackupList
from lora_pipeline.workspace.git import repository as git
from lora_pipeline.workspace.record_bytes import record_from
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import open_store

LIST = "backup.json"
ENDING = ".lora-backup.zip"
_FILES, _OBJECTS = "files/", "objects/"
_BESIDE = (".gitattributes", ".gitignore", ".mailmap")
_PACKED = frozenset({".json", ".yaml", ".yml", ".md", ".txt", ".csv", ""})
_MACHINE_ONLY = "config/local.json"
_BLOCK = 1024 * 1024
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the time of an entry says nothing: the list does


class Contents(msgspec.Struct, frozen=True):
    """What a backup is to hold.

    Attributes:
        images: Whether the images that were copied into the workspace are in it.
        store: Whether the objects of the store are.
    """

    images: bool = False
    store: bool = False


def backup_paths(workspace: Workspace, contents: Contents) -> Iterator[Path]:
    """Yield the files of the workspace that a backup holds, in order; links are left out."""
    folders = [workspace.root / "config", workspace.data_root]
    for folder in folders:
        for here, names, found in os.walk(folder):
            place = Path(here)
            names[:] = sorted(
                name
                for name in names
                if not (place / name).is_symlink()
                and (contents.images or not _holds_images(workspace, place / name))
                and place / name != workspace.data_root / "runtime"
            )
            for name in sorted(found):
                path = place / name
                if not name.startswith(TEMPORARY_PREFIX) and _is_ours(workspace, path):
                    yield path
    yield from (workspace.root / name for name in _BESIDE if (workspace.root / name).is_file())


def write_backup(
    workspace: Workspace, target: Path, contents: Contents, *, reason: str
) -> BackupList:
    """Write a backup, read it back, and return its list.

    The file is there whole or not at all.

    Raises:
        FileMissingError: When a file cannot be read.
        DigestMismatchError: When what was read back is not what was written.
        OSError: As the disk says.
    """
    with files.open_atomic(target) as stream, zipfile.ZipFile(stream, "w") as archive:
        held = [
            _add(archive, _FILES, workspace.relative(path), path)
            for path in _counted(workspace, backup_paths(workspace, contents))
        ]
        store = open_store(workspace)
        objects = [
            _add(archive, _OBJECTS, sha256, store.path(sha256))
            for sha256 in (store.all() if contents.store else ())
        ]
        made = BackupList(
            created_at=workspace.now(),
            created_by=f"lora-pipeline {__version__}",
            reason=reason,
            commit=git.head(workspace.root) or "",
            files=tuple(held),
            objects=tuple(objects),
        )
        data = strict_json.dumps(made.to_dict(), one_line_each=made.ONE_LINE_EACH)
        archive.writestr(_entry(LIST, packed=True), data)
    verify_backup(target)
    return made


def verify_backup(path: Path) -> BackupList:
    """Read every byte of a backup and compare it with its list, which is returned.

    Raises:
        FileMissingError: When it cannot be read.
        DigestMismatchError: When a file in it is not what the list says.
        IntegrityError: When it is no backup, or holds what its list does not name.
    """
    with open_backup(path) as backup:
        for one in (*backup.list.files, *backup.list.objects):
            with backup.stream(one) as stream:
                _drained(stream, one, None)
        return backup.list


class OpenBackup(msgspec.Struct, frozen=True):
    """A backup that is being read.

    Attributes:
        list: What it holds.
    """

    list: BackupList
    _archive: zipfile.ZipFile

    @contextlib.contextmanager
    def stream(self, one: BackupFile) -> Iterator[IO[bytes]]:
        """Give the bytes of one of its files, not yet compared with their digest."""
        home = _OBJECTS if one in self.list.objects else _FILES
        with self._archive.open(home + one.path) as stream:
            yield stream

    def copy_to(self, one: BackupFile, target: Path) -> None:
        """Bring a file of it to a place, whole or not at all.

        Raises:
            DigestMismatchError: When it is not what the list says; nothing is there then.
        """
        with self.stream(one) as stream, files.open_atomic(target) as out:
            _drained(stream, one, out)


@contextlib.contextmanager
def open_backup(path: Path) -> Iterator[OpenBackup]:
    """Give a backup whose list was read and agrees with what is in it.

    Raises:
        FileMissingError: When it cannot be read.
        IntegrityError: When it is no backup, or holds what its list does not name.
        UnsafePathError: When a path in it would leave the workspace.
        RecordError: When its list is not valid.
    """
    if not path.is_file():
        raise FileMissingError(f"no backup at {path}", hint="lora backup list")
    try:
        with zipfile.ZipFile(path) as archive:
            yield OpenBackup(_read_list(archive, path), archive)
    except zipfile.BadZipFile as error:
        raise IntegrityError(
            f"{path.name} is damaged, or no backup: {error}", hint="lora backup list"
        ) from error


def _read_list(archive: zipfile.ZipFile, path: Path) -> BackupList:
    infos = archive.infolist()
    names = [info.filename for info in infos]
    if LIST not in names:
        raise IntegrityError(f"{path.name} is no backup: it has no {LIST}")
    with archive.open(LIST) as stream:
        data = stream.read(strict_json.MAX_BYTES + 1)
    made = record_from(BackupList, data, f"{path.name}:{LIST}")
    wanted = {_FILES + one.path: one for one in made.files}
    wanted |= {_OBJECTS + one.path: one for one in made.objects}
    for one in made.files:
        _require_safe(one.path)
    for one in made.objects:
        if one.path != one.sha256:
            raise IntegrityError(f"{path.name}: object {one.path} is named by another digest")
    listed = len(made.files) + len(made.objects)
    if len(wanted) != listed or sorted(names) != sorted([*wanted, LIST]):
        raise IntegrityError(f"{path.name} does not hold what its list names")
    for info in infos:
        known = wanted.get(info.filename)
        if known is not None and (info.file_size != known.bytes or info.flag_bits & 1):
            raise DigestMismatchError(f"{path.name}: {known.path} is not what the list says")
    return made


def _require_safe(path: str) -> None:
    reason = unsafe_reason(path)
    if reason or path.startswith((".git/", ".lora/")):
        raise UnsafePathError(f"path {path!r} in the backup {reason or 'is not for records'}")


def _drained(stream: IO[bytes], one: BackupFile, out: BinaryIO | None) -> None:
    digest, length = hashlib.sha256(), 0
    try:
        while block := stream.read(_BLOCK):
            length += len(block)
            if length > one.bytes:
                break
            digest.update(block)
            if out is not None:
                out.write(block)
    except (zipfile.BadZipFile, EOFError, ValueError) as error:
        raise DigestMismatchError(f"{one.path} in the backup is damaged: {error}") from error
    if length != one.bytes or digest.hexdigest() != one.sha256:
        raise DigestMismatchError(f"{one.path} in the backup is not what its list says")


def _add(archive: zipfile.ZipFile, home: str, name: str, path: Path) -> BackupFile:
    digest, length = hashlib.sha256(), 0
    packed = home == _FILES and path.suffix.lower() in _PACKED
    try:
        reader = path.open("rb")
    except OSError as error:
        raise FileMissingError(f"cannot read {path}: {error.strerror}") from error
    with reader, archive.open(_entry(home + name, packed=packed), "w", force_zip64=True) as out:
        while block := reader.read(_BLOCK):
            digest.update(block)
            length += len(block)
            out.write(block)
    return BackupFile(path=name, bytes=length, sha256=digest.hexdigest())


def _entry(name: str, *, packed: bool) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    info.external_attr = 0o600 << 16
    return info


def _holds_images(workspace: Workspace, folder: Path) -> bool:
    return folder.name == "files" and folder.is_relative_to(workspace.data_root)


def _is_ours(workspace: Workspace, path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    name = workspace.relative(path)
    return name != _MACHINE_ONLY and not unsafe_reason(name)


def _counted(workspace: Workspace, paths: Iterable[Path]) -> Iterator[Path]:
    for number, path in enumerate(paths, start=1):
        if number % 500 == 0:
            workspace.events(Event("progress", "backup", step=number, unit="files"))
        yield path
