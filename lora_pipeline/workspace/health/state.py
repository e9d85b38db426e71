"""What can be wrong with the state of a workspace: its store, its lock, what was left over."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from lora_pipeline.foundation import files
from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.foundation.files import stale_temporaries
from lora_pipeline.workspace import journal
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.health.machine import Check, disk_check
from lora_pipeline.workspace.lock import lock_holder, workspace_lock
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.starter import schema_files
from lora_pipeline.workspace.store import open_store

_DAY_S = 24 * 3600
_MEND = "lora doctor --fix"


def state_checks(workspace: Workspace) -> Iterator[Check]:
    """Yield what can be said of a workspace whose settings could be read."""
    yield Check("workspace", "ok", str(workspace.root))
    yield _store(workspace)
    yield _writable(workspace)
    yield _lock(workspace)
    yield _journal(workspace)
    yield _left_over(workspace)
    yield _editor_schemas(workspace)


def _store(workspace: Workspace) -> Check:
    root = open_store(workspace).root
    if root.exists() and not (root.is_dir() and os.access(root, os.R_OK | os.W_OK)):
        fix = "set store.root in config/local.json"
        return Check("store", "fail", f"{root} cannot be read and written", fix)
    if not root.exists():
        return Check("store", "ok", f"{root} (made with the first object)")
    place = disk_check("store", root)
    if not _creates_once(root):
        words = f"{root} makes a file anew that is there already: two machines may collide"
        return Check("store", "warn", words, "keep the store on a file system that can say no")
    return Check("store", place.state, f"{root} · {place.message}", place.fix)


def _creates_once(folder: Path) -> bool:
    """Return whether a file that is there is not created a second time."""
    probe = folder / f"{files.TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    try:
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        try:
            os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        except FileExistsError:
            return True
        else:
            return False
    except OSError:
        return True  # full or forbidden, which others of these checks say
    finally:
        with contextlib.suppress(OSError):
            probe.unlink()


def _writable(workspace: Workspace) -> Check:
    refused = [
        path
        for path in (workspace.root, workspace.data_root, workspace.runtime)
        if path.exists() and not os.access(path, os.W_OK)
    ]
    if refused:
        words = ", ".join(workspace.relative(path) or "." for path in refused)
        return Check("permissions", "fail", f"cannot write {words}", "check who owns it")
    return Check("permissions", "ok", "records and state can be written")


def _lock(workspace: Workspace) -> Check:
    holder = lock_holder(workspace.runtime)
    if holder is None:
        return Check("lock", "ok", "free")
    return Check("lock", "warn", f"held by {holder}", "wait for it to end")


def _left_over(workspace: Workspace) -> Check:
    before = time.time() - _DAY_S
    stale = [path for path in stale_temporaries(workspace.root) if _is_older(path, before)]
    if not stale:
        return Check("left over", "ok", "nothing of interrupted writes")
    first = workspace.relative(stale[0])
    more = f" and {len(stale) - 1} more" if len(stale) > 1 else ""
    return Check(
        "left over",
        "warn",
        f"{first}{more}, from writes that were interrupted; nothing names them",
        _MEND,
        lambda: _remove(workspace, stale),
    )


def _remove(workspace: Workspace, paths: list[Path]) -> list[str]:
    for path in paths:
        path.unlink(missing_ok=True)
    return [workspace.relative(path) for path in paths]


def _journal(workspace: Workspace) -> Check:
    root, runtime = workspace.root, workspace.runtime
    try:
        waiting = journal.pending(root, runtime)
    except PipelineError as error:
        return Check("journal", "fail", f"it cannot be read: {error.message}", "restore .lora")
    if waiting:
        named = ", ".join(one.what for one in waiting)
        words = f"interrupted half-way: {named}; nothing else is written before it is finished"
        return Check("journal", "fail", words, _MEND, lambda: finish_interrupted(workspace))
    undecided = journal.undecided(runtime)
    if undecided:
        words = f"{len(undecided)} steps were prepared and never decided; nothing needs them"
        return Check("journal", "warn", words, _MEND, lambda: finish_interrupted(workspace))
    return Check("journal", "ok", "nothing half-way")


def finish_interrupted(workspace: Workspace) -> list[str]:
    """Finish the steps that were left half-way, and return the paths that they are about.

    Raises:
        LockedError: When another writer holds the workspace.
        RecordConflictError: When a file was changed since; nothing of the step is lost.
        StorageError: When the disk refuses.
    """
    root, runtime = workspace.root, workspace.runtime
    timeout_s = workspace.settings.number("lock.timeoutSeconds")
    done: list[str] = []
    # Under the lock nobody is preparing one right now.
    with workspace_lock(runtime, timeout_s=timeout_s), files.disk_refusals():
        for one in journal.pending(root, runtime):
            one.finish()
            done += [step.path for step in one.steps]
        for folder in journal.undecided(runtime):
            journal.forget(folder)
            done.append(workspace.relative(folder))
    return done


def _is_older(path: Path, moment: float) -> bool:
    try:
        return path.stat().st_mtime < moment
    except OSError:
        return False  # gone meanwhile


def _editor_schemas(workspace: Workspace) -> Check:
    fix = "lora init --refresh-schemas"
    ours = schema_files()
    missing = [path for path in ours if not (workspace.root / path).is_file()]
    if len(missing) == len(ours):
        return Check("schemas", "skipped", "editors have none here", fix)
    other = [
        path
        for path, data in ours.items()
        if path in missing or (workspace.root / path).read_bytes().replace(b"\r\n", b"\n") != data
    ]
    if other:
        words = f"{len(other)} for editors are of another version of lora"
        return Check("schemas", "warn", words, fix, lambda: _refresh(workspace, other))
    return Check("schemas", "ok", "editors complete and check by this version")


def _refresh(workspace: Workspace, paths: list[str]) -> list[str]:
    ours, changes = schema_files(), Changes(workspace)
    for path in paths:
        changes.write_file(workspace.root / path, ours[path])
    return changes.apply()
