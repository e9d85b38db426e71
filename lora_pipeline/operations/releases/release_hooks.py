"""Telling others what production uses from now on: once for every change of a LoRA's history.

What is told follows from the records, so a change that came with ``git pull`` is told like one
that was made here. What this machine has told already is kept beside it in ``.lora/hooks``, by the
digest of the entry.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lora_pipeline.engine import notify
from lora_pipeline.foundation import files, strict_json
from lora_pipeline.foundation.errors import LockedError, PipelineError, SettingsError
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.workspace.notice_ways import ways_to_tell
from lora_pipeline.releases.change_notice import change_notice, words_of
from lora_pipeline.releases.lookup import ScopeName, find_lora
from lora_pipeline.releases.records import HistoryEntry, Lora
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.lock import workspace_lock
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

EVENTS = ("promoted", "rolled_back", "emergency", "activated", "deactivated", "deprecated")


@dataclass
class _Told:
    """What this machine has told of one LoRA: ways by the digest of the entry."""

    path: Path
    ways: dict[str, list[str]] = field(default_factory=dict)
    known: bool = False

    @classmethod
    def of(cls, workspace: Workspace, scope: Scope, lora_id: str) -> _Told:
        path = workspace.runtime / "hooks" / scope.folder / f"{lora_id}.json"
        try:
            document = strict_json.load(path)
        except PipelineError:
            return cls(path)
        ways = document.get("told") if isinstance(document, dict) else None
        return cls(path, ways if isinstance(ways, dict) else {}, known=isinstance(ways, dict))

    def begin(self, history: tuple[HistoryEntry, ...]) -> None:
        """Take what happened before as told: nobody asked for it then."""
        if not self.known:
            self.ways = {entry.digest: ["before"] for entry in history}
            self.known = True

    def save(self) -> None:
        with files.disk_refusals():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            files.write_atomic(self.path, strict_json.dumps({"told": self.ways}))


def telling_of_change(
    workspace: Workspace, before: Loaded[Lora], after: Lora
) -> Callable[[], tuple[str, ...]] | None:
    """Return what tells of a change that was just written, for when it stands.

    What fails is returned in words and harms nothing: ``lora hooks run`` tries again.

    Args:
        workspace: Where it was written; in a dry run nobody is told.
        before: The LoRA as it was.
        after: The LoRA as it stands now.
    """
    if workspace.dry_run or not _configured(workspace):
        return None
    # Now: should the commit fail, the next run must not take this change as one of the past.
    with contextlib.suppress(PipelineError), _one_teller(workspace):
        _begun(workspace, before.scope, before.record).save()

    def tell() -> tuple[str, ...]:
        try:
            with _one_teller(workspace):
                told = _begun(workspace, before.scope, before.record)
                done = _tell(workspace, before.scope, after, told)
        except PipelineError as error:
            return (f"nobody was told: {error.message}",)
        failed = [failure for one in done for failure in one["failed"]]
        return tuple(f"nobody was told: {one} (lora hooks run tries again)" for one in failed)

    return tell


def show_hooks(
    workspace: Workspace,
    lora: str = "",
    *,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Say who is told of changes in use, and which changes nobody was told of yet.

    Args:
        workspace: Where they are.
        lora: One LoRA; else all that are seen.
        project: The project; else the one in use.
        scope: ``baseline`` for shared LoRAs only.

    Raises:
        RecordNotFoundError: When the LoRA does not exist.
        SettingsError: When ``hooks.on`` names no event.
    """
    wanted = _wanted(workspace)
    ways = [name for name, _, _ in ways_to_tell(workspace.settings, "hooks", {})]
    pending: list[dict[str, Any]] = []
    for loaded in _loras(workspace, lora, project, scope):
        told = _begun(workspace, loaded.scope, loaded.record)
        pending += [_event(loaded.record, one) for one in _open(loaded.record, told, wanted, ways)]
    return Result(
        data={"ways": ways, "on": list(wanted), "pending": pending},
        reasoning=f"{len(pending)} changes are to be told" if ways else "Nobody is to be told",
        suggestions=("lora hooks run",) if pending else (),
    )


def run_hooks(
    workspace: Workspace,
    lora: str = "",
    *,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Tell of every change in use that nobody was told of from here, oldest first, once each.

    The first time what happened before is taken as told. What fails is tried again by the next
    call; a dry run says what would be told.

    Args:
        workspace: Where they are.
        lora: One LoRA; else all that are seen.
        project: The project; else the one in use.
        scope: ``baseline`` for shared LoRAs only.

    Raises:
        RecordNotFoundError: When the LoRA does not exist.
        SettingsError: When ``hooks.on`` names no event, or nobody is to be told.
        LockedError: When another process is telling for longer than a writer waits.
    """
    if not _configured(workspace):
        raise SettingsError(
            "nobody is to be told: neither hooks.command nor hooks.webhook is set",
            hint="lora config explain hooks.command",
        )
    events: list[dict[str, Any]] = []
    began: list[str] = []
    with _one_teller(workspace):
        for loaded in _loras(workspace, lora, project, scope):
            told = _Told.of(workspace, loaded.scope, loaded.record_id)
            if not told.known:
                began.append(loaded.record_id)
            told.begin(loaded.record.history)
            events += _tell(workspace, loaded.scope, loaded.record, told)
    failed = [words for one in events for words in one["failed"]]
    verb = "would be told" if workspace.dry_run else "told"
    return Result(
        data={"events": events, "began": began},
        reasoning=f"{len(events)} {'change' if len(events) == 1 else 'changes'} {verb}",
        warnings=tuple(failed),
        dry_run=workspace.dry_run,
        refusal=Refusal("hooks_failed", failed[0], "lora hooks run tries again")
        if failed
        else None,
    )


def _begun(workspace: Workspace, scope: Scope, lora: Lora) -> _Told:
    """Return what was told of a LoRA; the first time, all that it stands with."""
    told = _Told.of(workspace, scope, lora.id)
    told.begin(lora.history)
    return told


@contextlib.contextmanager
def _one_teller(workspace: Workspace) -> Iterator[None]:
    """Hold what was told for the time of the block, so that no two tell of one change.

    Not the lock of the workspace: a slow address must not keep people from working.

    Raises:
        LockedError: When another process is telling; names it.
    """
    if workspace.dry_run:
        yield
        return
    timeout_s = workspace.settings.number("lock.timeoutSeconds")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(workspace_lock(workspace.runtime / "hooks", timeout_s=timeout_s))
        except LockedError as error:
            raise LockedError(
                error.message.replace("the workspace is locked", "hooks are being told"),
                hint="lora hooks run, when that has ended",
            ) from error
        yield


def _tell(workspace: Workspace, scope: Scope, lora: Lora, told: _Told) -> list[dict[str, Any]]:
    wanted, done = _wanted(workspace), []
    timeout_s = workspace.settings.number("hooks.timeoutSeconds")
    names = [name for name, _, _ in ways_to_tell(workspace.settings, "hooks", {})]
    for entry in _open(lora, told, wanted, names):
        event = _event(lora, entry)
        notice = change_notice(lora, entry, scope.project_id or "", workspace.root.name)
        ways = ways_to_tell(workspace.settings, "hooks", notice, timeout_s=timeout_s)
        for name, telling, secrets in ways:
            if workspace.dry_run or name in told.ways.get(entry.digest, ()):
                continue
            failure = notify.attempt(name, telling, secrets)
            if failure is not None:
                event["failed"].append(failure)
                continue
            told.ways.setdefault(entry.digest, []).append(name)
            told.save()  # at once: who is stopped in between tells nobody twice
        done.append(event)
    if not workspace.dry_run:
        told.save()
    return done


def _open(lora: Lora, told: _Told, wanted: tuple[str, ...], names: list[str]) -> list[HistoryEntry]:
    return [
        entry
        for entry in lora.history
        if entry.event in wanted
        and "before" not in told.ways.get(entry.digest, ())
        and set(names) - set(told.ways.get(entry.digest, ()))
    ]


def _event(lora: Lora, entry: HistoryEntry) -> dict[str, Any]:
    return {
        "id": entry.digest, "event": entry.event, "loraId": lora.id,
        "releaseId": entry.release_id, "at": entry.at, "title": words_of(lora, entry)[0],
        "failed": [],
    }  # fmt: skip


def _configured(workspace: Workspace) -> bool:
    return any(True for _ in ways_to_tell(workspace.settings, "hooks", {}))


def _wanted(workspace: Workspace) -> tuple[str, ...]:
    named = (workspace.settings.text("hooks.on") or "").split(",")
    chosen = tuple(word.strip() for word in named if word.strip())
    for word in chosen:
        if word not in EVENTS:
            near = did_you_mean(word, EVENTS)
            raise SettingsError(
                f"hooks.on names {word!r}, which is no event",
                hint=f"did you mean {near}?" if near else "there are: " + ", ".join(EVENTS),
            )
    return chosen


def _loras(
    workspace: Workspace, lora: str, project: str | None, scope: ScopeName
) -> list[Loaded[Lora]]:
    if lora:
        return [find_lora(workspace, lora, project=project, scope=scope)]
    places = [SHARED]
    if scope == "project":
        places = [workspace.scope(project), SHARED] if project else workspace.records.scopes()
    return [one for place in places for one in workspace.records.all(Lora, place)]
