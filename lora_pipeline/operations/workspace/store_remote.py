"""Share objects with other machines: push them, pull them, and say what is where."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from typing import Any

from lora_pipeline.engine.pool import map_ordered
from lora_pipeline.foundation import events
from lora_pipeline.foundation.errors import PipelineError, RemoteMissingError
from lora_pipeline.foundation.events import Event
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.workspace.store import show_store
from lora_pipeline.operations.workspace.store_targets import named_objects
from lora_pipeline.workspace.remote.store import found_there, open_remote, remote_address
from lora_pipeline.workspace.remote.transfer import (
    fetch_object,
    partial_path,
    receiving,
    require_space,
    send_object,
)
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import ObjectStore, open_store
from lora_pipeline.workspace.store_references import expected_here

_AT_ONCE = 2
_MAX_NAMED = 20
_MIB = 1024 * 1024


def show_stores(workspace: Workspace, *, offline: bool = False) -> Result:
    """Say what the store holds, what records need that is not here, and what the remote lacks.

    A remote store that cannot be asked is a warning: what is here can be told without it.

    Args:
        workspace: Where it is.
        offline: Leave the remote store alone.

    Raises:
        SettingsError: When ``store.remote`` is no address.
    """
    local = show_store(workspace)
    address = remote_address(workspace)
    if address is None or offline:
        return local
    try:
        remote: dict[str, Any] = _differences(workspace)
        warnings: tuple[str, ...] = ()
    except PipelineError as error:
        remote = {"address": str(address), "error": error.to_dict()}
        warnings = (f"the remote store was not compared: {error.message}",)
    return Result(
        data={**local.data, "remote": remote},
        reasoning=local.reasoning,
        warnings=warnings,
        suggestions=[*_next_steps(remote), *local.suggestions],
    )


def push_objects(
    workspace: Workspace, *, objects: tuple[str, ...] = (), project: str | None = None
) -> Result:
    """Bring objects to the remote store, where every machine of the studio finds them.

    An object that stands there is left as it is. Each one that was sent is proven there: by the
    checksum that the service computes, else by reading it back.

    Args:
        workspace: Where it is.
        objects: Digests, ids of records or ``LORA/RELEASE``; none is all that records need.
        project: Its project, for releases; else the one in use.

    Raises:
        SettingsError: When no remote store is set.
        ArgumentInvalidError: When a word means nothing.
        ExtraMissingError: When the client of the service is not installed.
        FileMissingError, DigestMismatchError: When an object is damaged here.
        RemoteStoreError: When the service does not answer or refuses; what was sent before
            stays, and the next push goes on there.
    """
    remote, store = open_remote(workspace), open_store(workspace)
    wanted = named_objects(workspace, objects, project=project)
    here = sorted(sha256 for sha256 in wanted if store.has(sha256))
    there = found_there(remote, here)
    sizes = {sha256: store.path(sha256).stat().st_size for sha256 in here}
    to_send = [sha256 for sha256 in here if sha256 not in there]
    differs = [one for one in here if one in there and there[one].bytes != sizes[one]]
    outcomes: dict[str, str] = {}
    if not workspace.dry_run:
        found = map_ordered(
            lambda sha256: send_object(remote, store, sha256),
            to_send,
            events=workspace.events,
            topic="push",
            unit="objects",
            workers=_AT_ONCE,
        )
        outcomes = dict(zip(to_send, found, strict=True))
        differs += [sha256 for sha256, outcome in outcomes.items() if outcome == "differsThere"]
    counts = Counter(outcomes.values())
    sent = (
        to_send
        if workspace.dry_run
        else [one for one in to_send if outcomes[one] in ("checksum", "readBack")]
    )
    absent = sorted(set(wanted) - set(here))
    already = len(here) - len(sent) - len(differs)
    data = {
        "remote": str(remote.address),
        "sent": sent,
        "bytes": sum(sizes[sha256] for sha256 in sent),
        "provenByChecksum": counts["checksum"],
        "provenByReading": counts["readBack"],
        "alreadyThere": already,
        "differsThere": differs,
        "notHere": [{"sha256": one, "namedBy": wanted[one]} for one in absent[:_MAX_NAMED]],
        "notHereCount": len(absent),
    }
    return Result(
        data=data,
        reasoning=_pushed_words(len(sent), already, dry_run=workspace.dry_run),
        suggestions=[] if workspace.dry_run else ["lora store verify --remote"] if differs else [],
        dry_run=workspace.dry_run,
        refusal=_differs(str(remote.address), differs) if differs else None,
    )


def pull_objects(
    workspace: Workspace,
    *,
    objects: tuple[str, ...] = (),
    active: bool = False,
    project: str | None = None,
) -> Result:
    """Fetch objects that are not here from the remote store; each is proven by its digest.

    What was cut off goes on where it ended. Nothing gets its place before it is whole.

    Args:
        workspace: Where it is.
        objects: Digests, ids of records or ``LORA/RELEASE``; none is all that records need.
        active: The weights of every active release.
        project: Its project, for releases; else the one in use.

    Raises:
        SettingsError: When no remote store is set.
        ArgumentInvalidError: When a word means nothing.
        ExtraMissingError: When the client of the service is not installed.
        RemoteMissingError: When an object that was named is not there; nothing is fetched then.
        RemoteStoreError: When the service does not answer or refuses; what came stays.
        DigestMismatchError: When other bytes stand there under its name.
        StorageError: When the disk refuses, or has no room.
        LockedError: When another process is fetching.
    """
    remote, store = open_remote(workspace), open_store(workspace)
    wanted = named_objects(workspace, objects, active=active, project=project)
    todo = sorted(sha256 for sha256 in wanted if not store.has(sha256))
    there = found_there(remote, todo)
    absent = [sha256 for sha256 in todo if sha256 not in there]
    if absent and (objects or active):
        raise RemoteMissingError(
            f"{_example(absent, wanted)} is not in {remote.address}",
            hint=f"on a machine that has it: lora store push {absent[0]}",
        )
    to_fetch = [sha256 for sha256 in todo if sha256 in there]
    sizes = {sha256: there[sha256].bytes for sha256 in to_fetch}
    if to_fetch and not workspace.dry_run:
        require_space(store, sum(sizes.values()) - _kept(store, to_fetch))
        meter = _Meter(workspace, sum(sizes.values()))
        with receiving(store, timeout_s=workspace.settings.number("lock.timeoutSeconds")):
            found = map_ordered(
                lambda sha256: fetch_object(remote, store, sha256, meter.add),
                to_fetch,
                events=events.discard,
                topic="pull",
                unit="objects",
                workers=_AT_ONCE,
            )
            for _ in found:
                pass
    return Result(
        data={
            "remote": str(remote.address),
            "fetched": to_fetch,
            "bytes": sum(sizes.values()),
            "alreadyHere": len(wanted) - len(todo),
            "notThere": [{"sha256": one, "namedBy": wanted[one]} for one in absent[:_MAX_NAMED]],
            "notThereCount": len(absent),
        },
        reasoning=_pulled_words(len(to_fetch), len(absent), dry_run=workspace.dry_run),
        suggestions=["lora validate"] if to_fetch and not workspace.dry_run else [],
        dry_run=workspace.dry_run,
    )


class _Meter:
    """Counts the bytes of several downloads at once and tells them as one."""

    def __init__(self, workspace: Workspace, total: int) -> None:
        self._tell = workspace.events
        self._lock = threading.Lock()
        self._total, self._done = total, 0

    def add(self, count: int) -> None:
        with self._lock:
            self._done = min(self._total, self._done + count)
            step, total = -(-self._done // _MIB), -(-self._total // _MIB)
            self._tell(Event("progress", "pull", step=step, total=total, unit="MiB"))


def _differences(workspace: Workspace) -> dict[str, Any]:
    remote, store = open_remote(workspace), open_store(workspace)
    there, here, named = remote.all(), set(store.all()), expected_here(workspace)
    to_push = sorted(sha256 for sha256 in named if sha256 in here and sha256 not in there)
    to_pull = sorted(sha256 for sha256 in named if sha256 not in here and sha256 in there)
    lost = sorted(sha256 for sha256 in named if sha256 not in here and sha256 not in there)
    wrong = sorted(
        sha256
        for sha256, facts in there.items()
        if sha256 in here and store.path(sha256).stat().st_size != facts.bytes
    )
    return {
        "address": str(remote.address),
        "objects": len(there),
        "bytes": sum(one.bytes for one in there.values()),
        "toPush": len(to_push),
        "toPull": len(to_pull),
        "nowhere": [{"sha256": one, "namedBy": named[one]} for one in lost[:_MAX_NAMED]],
        "nowhereCount": len(lost),
        "wrongLength": wrong,
    }


def _next_steps(remote: Mapping[str, Any]) -> list[str]:
    steps = []
    if remote.get("toPush"):
        steps.append("lora store push")
    if remote.get("toPull"):
        steps.append("lora store pull")
    if remote.get("wrongLength"):
        steps.append("lora store verify --remote")
    return steps


def _kept(store: ObjectStore, objects: list[str]) -> int:
    parts = [partial_path(store, sha256) for sha256 in objects]
    return sum(part.stat().st_size for part in parts if part.is_file())


def _example(absent: list[str], wanted: Mapping[str, str]) -> str:
    named_by = wanted[absent[0]]
    first = f"object {absent[0][:12]}…" + (f" of {named_by}" if named_by else "")
    return f"{first}, and {len(absent) - 1} more," if len(absent) > 1 else first


def _differs(address: str, differs: list[str]) -> Refusal:
    return Refusal(
        "remote_damaged",
        f"{address} holds other bytes as object {differs[0][:12]}…"
        + (f" and {len(differs) - 1} more" if len(differs) > 1 else ""),
        "delete it at the service, where nothing here overwrites it, then lora store push "
        + differs[0],
    )


def _pushed_words(sent: int, there: int, *, dry_run: bool) -> str:
    if not sent:
        return "Nothing to push" + (f": {_objects(there)} there already" if there else "")
    return f"{'Would push' if dry_run else 'Pushed'} {_objects(sent)}"


def _pulled_words(fetched: int, absent: int, *, dry_run: bool) -> str:
    lacking = f"; the remote store lacks {_objects(absent)}" if absent else ""
    if not fetched:
        return f"Nothing to pull{lacking}"
    return f"{'Would pull' if dry_run else 'Pulled'} {_objects(fetched)}{lacking}"


def _objects(number: int) -> str:
    return "1 object" if number == 1 else f"{number} objects"
