"""Look after the remote store: whether it is whole, and what nothing names."""

from __future__ import annotations

import time
from typing import Any

from lora_pipeline.engine.pool import map_ordered
from lora_pipeline.foundation.errors import ArgumentInvalidError, RemoteMissingError
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.workspace.git import repository as git
from lora_pipeline.workspace.remote.store import RemoteObject, open_remote
from lora_pipeline.workspace.remote.transfer import remote_sha256
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store_references import expected_here, named_anywhere

_AT_ONCE = 2
_MAX_NAMED = 20
_SHORTEST_GRACE_HOURS = 24


def verify_remote(workspace: Workspace) -> Result:
    """Read every object of the remote store and compare its digest with its name.

    All bytes are read: what the service charges for reading is charged. An object that records
    need and that is not there is told, but is no damage: it may not have been pushed yet.

    Raises:
        SettingsError: When no remote store is set.
        ExtraMissingError: When the client of the service is not installed.
        RemoteStoreError: When the service does not answer or refuses.
    """
    remote = open_remote(workspace)
    there = remote.all()
    objects = list(there)

    def found(sha256: str) -> str | None:
        try:
            return remote_sha256(remote, sha256)
        except RemoteMissingError:
            return None  # deleted since it was listed

    digests = map_ordered(
        found,
        objects,
        events=workspace.events,
        topic="verify",
        unit="objects",
        workers=_AT_ONCE,
    )
    damaged = [
        {"sha256": sha256, "found": digest, "bytes": there[sha256].bytes}
        for sha256, digest in zip(objects, digests, strict=True)
        if digest not in (sha256, None)
    ]
    missing = [
        {"sha256": sha256, "namedBy": record}
        for sha256, record in sorted(expected_here(workspace).items())
        if sha256 not in there
    ]
    address = str(remote.address)
    return Result(
        data={
            "root": address,
            "objects": len(objects),
            "bytes": sum(one.bytes for one in there.values()),
            "damaged": damaged,
            "missing": missing[:_MAX_NAMED],
            "missingCount": len(missing),
        },
        reasoning=f"{len(objects) - len(damaged)} of {len(objects)} objects of {address}"
        " are what their names say"
        if objects
        else f"{address} holds no objects",
        suggestions=["lora store push"] if missing else [],
        refusal=Refusal(
            "remote_damaged",
            f"{len(damaged)} of {len(objects)} objects of {address} are damaged",
            f"delete them at the service, then lora store push {damaged[0]['sha256']}",
        )
        if damaged
        else None,
    )


def collect_remote_garbage(
    workspace: Workspace, *, confirmed: bool = False, older_than_hours: int | None = None
) -> Result:
    """List the objects of the remote store that nothing names, and delete them when asked to.

    Kept is whatever a record, a run, a branch, a tag or a stash of this repository names, and
    what is younger than the grace period. Other machines may have branches that were never
    fetched here, so the period must be said, and be a day at least.

    Args:
        workspace: Where it is.
        confirmed: Whether to delete; otherwise they are only listed.
        older_than_hours: Age from which an object may go; must be given to delete.

    Raises:
        SettingsError: When no remote store is set.
        ArgumentInvalidError: When the age is less than a day.
        RepositoryError: When Git cannot say what the branches name; nothing is deleted then.
        RemoteStoreError: When the service does not answer or refuses.
    """
    if older_than_hours is not None and older_than_hours < _SHORTEST_GRACE_HOURS:
        raise ArgumentInvalidError(
            f"the remote store needs a grace period of {_SHORTEST_GRACE_HOURS} hours at least,"
            f" got {older_than_hours}",
            hint="lora store gc --remote --older-than 720 --yes",
        )
    remote = open_remote(workspace)
    there, named = remote.all(), named_anywhere(workspace)
    unnamed = [sha256 for sha256 in there if sha256 not in named]
    before = time.time() - (older_than_hours or _SHORTEST_GRACE_HOURS) * 3600
    may_go = [sha256 for sha256 in unnamed if _is_older(there[sha256], before)]
    data: dict[str, Any] = {
        "root": str(remote.address),
        "unnamed": may_go,
        "bytes": sum(there[sha256].bytes for sha256 in may_go),
        "keptAsYoung": len(unnamed) - len(may_go),
        "deleted": False,
    }
    refusal = _refusal(workspace, older_than_hours, there, unnamed) if confirmed else None
    deletes = confirmed and refusal is None and not workspace.dry_run
    if deletes:
        for sha256 in may_go:
            remote.delete(sha256)
    return Result(
        data=data | {"deleted": deletes},
        reasoning=_words(len(may_go), deletes=deletes),
        warnings=["branches that were never fetched here are not known: git fetch --all first"]
        if may_go and not deletes
        else [],
        suggestions=["lora store gc --remote --older-than 720 --yes"]
        if may_go and not confirmed
        else [],
        dry_run=workspace.dry_run,
        refusal=refusal,
    )


def _refusal(
    workspace: Workspace,
    older_than_hours: int | None,
    there: dict[str, RemoteObject],
    unnamed: list[str],
) -> Refusal | None:
    if older_than_hours is None:
        return Refusal(
            "grace_period_needed",
            "nothing is deleted from the remote store without a grace period that you name",
            "lora store gc --remote --older-than 720 --yes",
        )
    if git.repository_root(workspace.root) is None:
        return Refusal(
            "branches_unknown",
            "this workspace is in no Git repository, so nobody knows what other branches name",
            "run it in a full clone, after git fetch --all",
        )
    if git.is_shallow(workspace.root):
        return Refusal(
            "branches_unknown",
            "this clone is shallow, and may lack branches that name objects",
            "git fetch --unshallow --all",
        )
    if there and len(unnamed) == len(there):
        return Refusal(
            "remote_of_another",
            "this repository names not one object of the remote store: it may be another one's",
            "lora config explain",
        )
    return None


def _is_older(facts: RemoteObject, before: float) -> bool:
    # Without a time nothing can be said of its age, and it stays.
    return facts.changed is not None and facts.changed <= before


def _words(objects: int, *, deletes: bool) -> str:
    if not objects:
        return "Nothing to delete: something names every remote object that is old enough"
    counted = "1 remote object" if objects == 1 else f"{objects} remote objects"
    return f"Deleted {counted}" if deletes else f"{counted} that nothing names could go"
