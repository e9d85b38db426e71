"""Look after the store: what is in it, whether it is whole, and what nothing names."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lora_pipeline.datasets.staging.garbage import find_garbage, remove_garbage
from lora_pipeline.engine.pool import map_ordered
from lora_pipeline.foundation import files
from lora_pipeline.foundation.digests import sha256_of_file
from lora_pipeline.foundation.errors import ArgumentInvalidError, FileMissingError
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.training.runs.folder import stagings_of_runs
from lora_pipeline.workspace.lock import workspace_lock
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import ObjectStore, open_store
from lora_pipeline.workspace.store_references import expected_here, named_anywhere

_MAX_NAMED = 20
_USUAL_AGE_HOURS = 24


def show_store(workspace: Workspace) -> Result:
    """Say how much the store holds, and which objects records need that are not here."""
    store = open_store(workspace)
    objects = store.all()
    missing = _missing(workspace, objects)
    return Result(
        data={
            "root": str(store.root),
            "objects": len(objects),
            "bytes": sum(store.path(sha256).stat().st_size for sha256 in objects),
            "missing": missing[:_MAX_NAMED],
            "missingCount": len(missing),
        },
        reasoning=f"The store holds {len(objects)} objects, and lacks {len(missing)}",
        suggestions=["lora store verify"] if objects else [],
    )


def verify_store(workspace: Workspace) -> Result:
    """Hash every object again and compare it with its name.

    An object that records need and that is not here is told, but is no damage: another machine
    may hold it.
    """
    store = open_store(workspace)
    objects = store.all()
    found = map_ordered(
        lambda sha256: _hash(store, sha256),
        objects,
        events=workspace.events,
        topic="verify",
        unit="objects",
    )
    damaged = [
        {"sha256": sha256, "found": digest, "path": str(store.path(sha256))}
        for sha256, digest in zip(objects, found, strict=True)
        if digest != sha256
    ]
    missing = _missing(workspace, objects)
    return Result(
        data={
            "root": str(store.root),
            "objects": len(objects),
            "damaged": damaged,
            "missing": missing[:_MAX_NAMED],
            "missingCount": len(missing),
        },
        reasoning=_verified_words(len(objects), len(damaged)),
        suggestions=["lora validate"] if damaged else [],
        refusal=Refusal(
            "store_damaged",
            f"{len(damaged)} of {len(objects)} objects are damaged",
            "bring their bytes again from a backup, or train and render again",
        )
        if damaged
        else None,
    )


def collect_garbage(
    workspace: Workspace, *, confirmed: bool = False, older_than_hours: int = _USUAL_AGE_HOURS
) -> Result:
    """List objects and stagings that nothing names, and delete them when that is confirmed.

    Of the objects all is kept that a record, a run, a branch, a tag or a stash names; of the
    stagings, which can be made again, what a manifest names or a run under way works with. What
    is younger than ``older_than_hours`` is kept, too: a command that runs now may be about to
    name it.

    Args:
        workspace: Where it is.
        confirmed: Whether to delete; otherwise they are only listed.
        older_than_hours: Age from which an object or a staging may go.

    Raises:
        ArgumentInvalidError: When the age is negative.
        RepositoryError: When Git cannot say what the branches name; nothing is deleted then.
        LockedError: When another writer holds the workspace.
        StorageError: When the disk refuses.
    """
    if older_than_hours < 0:
        raise ArgumentInvalidError(f"age must not be negative, got {older_than_hours}")
    deletes = confirmed and not workspace.dry_run
    store = open_store(workspace)
    if deletes:
        timeout_s = workspace.settings.number("lock.timeoutSeconds")
        with workspace_lock(workspace.runtime, timeout_s=timeout_s), files.disk_refusals():
            plan = _Plan(workspace, store, older_than_hours)
            plan.delete()
    else:
        plan = _Plan(workspace, store, older_than_hours)
    return Result(
        data=plan.to_dict() | {"deleted": deletes},
        reasoning=plan.reasoning(deletes=deletes),
        warnings=plan.warnings(),
        suggestions=[_delete_command(older_than_hours)] if plan.finds_any and not confirmed else [],
        dry_run=workspace.dry_run,
    )


def _delete_command(older_than_hours: int) -> str:
    age = "" if older_than_hours == _USUAL_AGE_HOURS else f" --older-than {older_than_hours}"
    return f"lora store gc{age} --yes"


class _Plan:
    """What may go: objects and stagings that nothing names, and what interrupted writes left."""

    def __init__(self, workspace: Workspace, store: ObjectStore, older_than_hours: int) -> None:
        self._workspace = workspace
        self._root = store.root
        before = time.time() - older_than_hours * 3600
        named = named_anywhere(workspace)
        unnamed = [store.path(sha256) for sha256 in store.all() if sha256 not in named]
        left_over = files.stale_temporaries(store.root) if store.root.is_dir() else []
        self.paths = [path for path in (*unnamed, *left_over) if path.stat().st_mtime <= before]
        self._young = len(unnamed) + len(left_over) - len(self.paths)
        self._bytes = sum(path.stat().st_size for path in self.paths)
        self._staging = find_garbage(workspace, before=before, in_use=stagings_of_runs(workspace))

    @property
    def finds_any(self) -> bool:
        """Whether anything may go."""
        return bool(self.paths or self._staging.count)

    def delete(self) -> None:
        """Delete what may go."""
        for path in self.paths:
            path.unlink(missing_ok=True)
        remove_garbage(self._workspace, self._staging)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan JSON-ready."""
        return {
            "root": str(self._root),
            "unnamed": [path.name for path in self.paths],
            "bytes": self._bytes,
            "keptAsYoung": self._young,
            "staging": {
                "stagings": [path.name for path in self._staging.stagings],
                "unfinished": len(self._staging.unfinished),
                "images": len(self._staging.pool),
                "bytes": self._staging.bytes,
                "keptAsYoung": self._staging.young,
                "keptForRuns": self._staging.in_use,
            },
        }

    def warnings(self) -> list[str]:
        """Return why stagings stay that might go."""
        unreadable = self._staging.unreadable
        if not unreadable:
            return []
        more = f" and {len(unreadable) - 1} more" if len(unreadable) > 1 else ""
        return [f"every staging is kept: nobody can read what {unreadable[0]}{more} names"]

    def reasoning(self, *, deletes: bool) -> str:
        """Return the outcome in a sentence."""
        staging = self._staging
        counts = {
            "object": len(self.paths),
            "staging": len(staging.stagings),
            "unfinished staging": len(staging.unfinished),
            "normalised image": len(staging.pool),
        }
        parts = [
            f"{count} {name}" + ("" if count == 1 else "s")
            for name, count in counts.items()
            if count
        ]
        if not parts:
            return "Nothing to delete: something names every object that is old enough"
        words = ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else parts[0]
        return f"Deleted {words}" if deletes else f"{words} that nothing names could go"


def _missing(workspace: Workspace, objects: Sequence[str]) -> list[dict[str, str]]:
    here = set(objects)
    return [
        {"sha256": sha256, "namedBy": record}
        for sha256, record in sorted(expected_here(workspace).items())
        if sha256 not in here
    ]


def _verified_words(objects: int, damaged: int) -> str:
    if not objects:
        return "The store is empty"
    return f"{objects - damaged} of {objects} objects are what their names say"


def _hash(store: ObjectStore, sha256: str) -> str:
    try:
        return sha256_of_file(Path(store.path(sha256)))
    except FileMissingError:
        return ""  # unreadable: as good as damaged
