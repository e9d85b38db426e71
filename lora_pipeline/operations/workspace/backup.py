"""Back up records and settings, and bring them back without losing what is there."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from lora_pipeline.foundation import files
from lora_pipeline.foundation.errors import PipelineError, RecordExistsError, StateError
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.workspace import journal
from lora_pipeline.workspace.backup import (
    ENDING,
    Contents,
    OpenBackup,
    backup_paths,
    open_backup,
    verify_backup,
    write_backup,
)
from lora_pipeline.workspace.backup_list import BackupFile, BackupList
from lora_pipeline.workspace.journal import Staged, digest_of_file
from lora_pipeline.workspace.lock import workspace_lock
from lora_pipeline.workspace.records import check_base
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import open_store

_HOME = "backups"


def create_backup(
    workspace: Workspace,
    *,
    out: str = "",
    images: bool = False,
    store: bool = False,
    reason: str = "asked for",
) -> Result:
    """Write records and settings into one file with a list of digests, and read it back.

    ``config/local.json`` belongs to one machine and is left out, as is everything in ``.lora``
    but the objects of the store, when they are asked for.

    Args:
        workspace: What is backed up.
        out: The file, or a folder for it; else ``.lora/backups``.
        images: Whether the images that were copied into the workspace are in it.
        store: Whether weights and evaluation images are in it.
        reason: What it is made for.

    Raises:
        RecordExistsError: When there is a file of that name.
        StateError: When an earlier step was left half-way.
        LockedError, FileMissingError, DigestMismatchError, StorageError: As the disk says.
    """
    target = _target(workspace, out)
    if target.exists():
        raise RecordExistsError(f"{target} is there already", hint="--out another name")
    contents = Contents(images=images, store=store)
    if workspace.dry_run:
        held = [workspace.relative(path) for path in backup_paths(workspace, contents)]
        return Result(
            data={"path": str(target), "files": len(held), "paths": held},
            reasoning=f"{len(held)} files would be backed up",
            written=_inside(workspace, target),
            dry_run=True,
        )
    made = take_backup(workspace, target, contents, reason=reason)
    return Result(
        data={"path": str(target), **_facts(made), "bytes": target.stat().st_size},
        reasoning=f"Backed up {len(made.files)} files, and read them back",
        warnings=_left_out(workspace, contents),
        suggestions=[f"lora backup restore {workspace.relative(target)} --dry-run"],
        written=_inside(workspace, target),
    )


def take_backup(
    workspace: Workspace, target: Path, contents: Contents, *, reason: str
) -> BackupList:
    """Write a backup while nobody else writes; for operations that change much.

    Raises:
        LockedError: When another writer holds the workspace.
        StateError: When an earlier step was left half-way.
        FileMissingError, DigestMismatchError, StorageError: As the disk says.
    """
    timeout_s = workspace.settings.number("lock.timeoutSeconds")
    with workspace_lock(workspace.runtime, timeout_s=timeout_s), files.disk_refusals():
        journal.require_none_pending(workspace.root, workspace.runtime)
        return write_backup(workspace, target, contents, reason=reason)


def new_backup_path(workspace: Workspace) -> Path:
    """Return a name for a backup below ``.lora/backups`` that is not taken."""
    stamp = workspace.now().replace("-", "").replace(":", "")
    home = workspace.runtime / _HOME
    number, path = 1, home / f"{stamp}{ENDING}"
    while path.exists():
        number += 1
        path = home / f"{stamp}-{number}{ENDING}"
    return path


def list_backups(workspace: Workspace) -> Result:
    """List the backups below ``.lora/backups``, newest first; only their lists are read.

    Args:
        workspace: Whose backups.
    """
    rows: list[dict[str, Any]] = []
    warnings = []
    for path in sorted((workspace.runtime / _HOME).glob(f"*{ENDING}"), reverse=True):
        try:
            with open_backup(path) as backup:
                facts = _facts(backup.list)
            rows.append({"path": workspace.relative(path), "bytes": path.stat().st_size, **facts})
        except PipelineError as error:
            warnings.append(error.message)
    return Result(
        data={"backups": rows},
        reasoning=f"{len(rows)} backups",
        warnings=warnings,
        suggestions=[] if rows else ["lora backup create"],
    )


def check_backup(workspace: Workspace, path: str) -> Result:
    """Read every byte of a backup and compare it with its list.

    Args:
        workspace: Where relative paths are meant from.
        path: The backup.

    Raises:
        FileMissingError: When there is none.
        IntegrityError, DigestMismatchError: When it is damaged, or no backup.
    """
    made = verify_backup(workspace.root / Path(path).expanduser())
    return Result(
        data={"path": path, **_facts(made)},
        reasoning=f"All {len(made.files) + len(made.objects)} files are what their list says",
    )


def restore_backup(workspace: Workspace, path: str, *, replace: bool = False) -> Result:
    """Bring back what a backup holds, all or nothing; files that differ are never lost.

    What is the same stays, what is missing comes back. Where a file is another one by now the
    answer is no; with ``replace`` it is replaced after the present state was backed up. What the
    backup does not know stays as it is.

    Args:
        workspace: Where it is restored.
        path: The backup.
        replace: Whether files that differ are replaced.

    Raises:
        FileMissingError: When there is none.
        IntegrityError, DigestMismatchError, UnsafePathError: When it is damaged, or no backup.
        LockedError, StateError, RecordConflictError, StorageError: As every write.
    """
    source = workspace.root / Path(path).expanduser()
    verify_backup(source)
    with open_backup(source) as backup:
        found = _compared(workspace, backup.list)
        missing = [one.file for one in found if not one.before]
        differing = [one.file for one in found if one.before]
        objects = [one for one in backup.list.objects if not open_store(workspace).has(one.path)]
        facts = {
            "path": path,
            **_facts(backup.list),
            "restored": [one.path for one in missing],
            "replaced": [one.path for one in differing],
            "same": len(backup.list.files) - len(found),
            "storeObjects": len(objects),
        }
        if differing and not replace:
            return _refused(workspace, facts, differing, path)
        safety = _safety_backup(workspace, differing)
        if not workspace.dry_run:
            _apply(workspace, backup, found, objects, source.name)
    count = len(missing) + len(differing)
    return Result(
        data={**facts, "safetyBackup": safety},
        reasoning=f"Restored {count} files from {source.name}",
        warnings=[f"what was replaced is in {safety}"] if safety else [],
        suggestions=["lora validate"],
        written=[one.path for one in (*missing, *differing)],
        dry_run=workspace.dry_run,
    )


def _target(workspace: Workspace, out: str) -> Path:
    if not out:
        return new_backup_path(workspace)
    path = workspace.root / Path(out).expanduser()
    return path / new_backup_path(workspace).name if path.is_dir() else path


def _inside(workspace: Workspace, path: Path) -> list[str]:
    return [workspace.relative(path)] if path.is_relative_to(workspace.root) else []


def _facts(made: BackupList) -> dict[str, Any]:
    return {
        "createdAt": made.created_at,
        "reason": made.reason,
        "commit": made.commit,
        "files": len(made.files),
        "objects": len(made.objects),
    }


def _left_out(workspace: Workspace, contents: Contents) -> list[str]:
    warnings = []
    if not contents.images and any(workspace.data_root.glob("*/*/files")):
        warnings.append("imported images are not in it: --images, or Git LFS keeps them")
    if not contents.store and open_store(workspace).all():
        warnings.append("weights and evaluation images are not in it: --store")
    return warnings


class _Wanted(msgspec.Struct, frozen=True):
    """A file to bring back, and the digest of what stands in its place; empty for nothing."""

    file: BackupFile
    before: str


def _compared(workspace: Workspace, made: BackupList) -> list[_Wanted]:
    """Return the files that are not what they were.

    Raises:
        StateError: When something else than a file stands in the place of one.
    """
    wanted = []
    for one in made.files:
        place = files.safe_join(workspace.root, one.path)
        if place.exists() and not place.is_file():
            raise StateError(f"{one.path} is a folder by now", hint="move it away")
        before = digest_of_file(place) if place.is_file() else ""
        if before != f"sha256:{one.sha256}":
            wanted.append(_Wanted(one, before))
    return wanted


def _refused(
    workspace: Workspace, facts: dict[str, Any], differing: list[BackupFile], path: str
) -> Result:
    shown = ", ".join(one.path for one in differing[:3])
    count = "1 file differs" if len(differing) == 1 else f"{len(differing)} files differ"
    more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
    step = f"lora backup restore {path} --replace"
    return Result(
        data={**facts, "restored": [], "replaced": [], "differing": [o.path for o in differing]},
        reasoning=f"{count} from the backup",
        suggestions=[step],
        dry_run=workspace.dry_run,
        refusal=Refusal(
            "restore_conflicts",
            f"{count} from the backup: {shown}{more}; nothing was written",
            f"{step} replaces them, after the present state was backed up",
        ),
    )


def _safety_backup(workspace: Workspace, differing: list[BackupFile]) -> str:
    if not differing or workspace.dry_run:
        return ""
    target = new_backup_path(workspace)
    take_backup(workspace, target, Contents(), reason="before a restore")
    return workspace.relative(target)


def _apply(
    workspace: Workspace,
    backup: OpenBackup,
    wanted: Sequence[_Wanted],
    objects: Sequence[BackupFile],
    name: str,
) -> None:
    timeout_s = workspace.settings.number("lock.timeoutSeconds")
    store, unpacked = open_store(workspace), workspace.runtime / "restore"
    with workspace_lock(workspace.runtime, timeout_s=timeout_s), files.disk_refusals():
        journal.require_none_pending(workspace.root, workspace.runtime)
        for one in objects:
            backup.copy_to(one, store.path(one.path))
        try:
            staged = [
                _unpacked(workspace, backup, one, unpacked / f"{number:06}")
                for number, one in enumerate(wanted)
            ]
            if staged:
                journal.decide(
                    workspace.root, workspace.runtime, f"restore {name}", writes=staged
                ).finish()
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)


def _unpacked(workspace: Workspace, backup: OpenBackup, one: _Wanted, source: Path) -> Staged:
    target = workspace.root / one.file.path
    check_base(target, one.before or None)
    backup.copy_to(one.file, source)
    return Staged(target, None, one.before, source, one.file.sha256)
