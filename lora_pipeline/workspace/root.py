"""The workspace: found from the current folder upwards, then passed to every operation."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec.structs import replace

from lora_pipeline.foundation import events
from lora_pipeline.foundation.errors import (
    ArgumentInvalidError,
    RecordNotFoundError,
    SettingsError,
    WorkspaceNotFoundError,
)
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.workspace.git import repository as git
from lora_pipeline.workspace.layout import SHARED, Scope, project_scope
from lora_pipeline.workspace.records import RecordStore
from lora_pipeline.workspace.settings import PIPELINE_FILE, Settings, read_settings


def utc_now() -> datetime:
    """Return the present time with its zone."""
    return datetime.now(UTC)


class Workspace(msgspec.Struct, frozen=True, dict=True):
    """Everything that an operation needs to know of its surroundings.

    Attributes:
        root: Folder that holds ``config/`` and ``data/``.
        settings: Settings in force.
        actor: Who acts, as an e-mail address or another name that stays the same.
        project: Project chosen for this call, or None.
        dry_run: True when nothing may be written.
        events: Takes progress.
        clock: Tells the time; injected by tests.
    """

    root: Path
    settings: Settings
    actor: str | None = None
    project: str | None = None
    dry_run: bool = False
    events: events.EventSink = msgspec.field(default=events.discard)
    clock: Callable[[], datetime] = msgspec.field(default=utc_now)

    @property
    def data_root(self) -> Path:
        """Folder of the records."""
        return self.root / self.settings.require_text("dataRoot")

    @property
    def runtime(self) -> Path:
        """Folder outside Git for locks, caches, staging, runs and the store."""
        return self.root / ".lora"

    @functools.cached_property
    def records(self) -> RecordStore:
        """The door to the records."""
        return RecordStore(self.data_root)

    def reading(self, records: RecordStore) -> Workspace:
        """Return the same workspace with another door to the records, such as one in memory."""
        other = replace(self)
        vars(other)["records"] = records
        return other

    def now(self) -> str:
        """Return the present time as records hold it: UTC, whole seconds, ``Z``."""
        return self.clock().astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    def relative(self, path: Path) -> str:
        """Return a path as people read it: POSIX, relative to the root when inside it."""
        return (path.relative_to(self.root) if path.is_relative_to(self.root) else path).as_posix()

    def require_actor(self) -> str:
        """Return who acts.

        Raises:
            SettingsError: When nobody is known to act.
        """
        actor = self.actor or self.settings.text("identity") or git.configured_email(self.root)
        if not actor:
            raise SettingsError(
                "nobody is known to act here",
                hint="git config user.email you@studio, or set LORA_IDENTITY",
            )
        return actor

    def scope(self, project: str | None = None) -> Scope:
        """Return the scope of the project in use.

        That is ``project``, else the one chosen for this call, else the ``project`` setting,
        else the only project there is.

        Raises:
            RecordNotFoundError: When the project does not exist.
            ArgumentInvalidError: When none was named and there are none or several.
        """
        known = self.records.project_ids()
        chosen = project or self.project or self.settings.text("project")
        if chosen is None:
            if len(known) == 1:
                return Scope(known[0])
            raise ArgumentInvalidError(
                "which project?" if known else "there is no project yet",
                hint=f"--project {known[0]} (or {', '.join(known[1:])})"
                if known
                else "lora project create ID",
            )
        scope = project_scope(chosen)
        if chosen not in known:
            near = did_you_mean(chosen, known)
            raise RecordNotFoundError(
                f"no project {chosen!r}",
                hint=f"did you mean {near}?" if near else f"lora project create {chosen}",
            )
        return scope

    def visible(self, scope: Scope) -> list[Scope]:
        """Return where a record that ``scope`` names may stand: there, then shared."""
        return [scope] if scope == SHARED else [scope, SHARED]


def find_root(start: Path) -> Path:
    """Return the workspace that holds ``start``.

    Raises:
        WorkspaceNotFoundError: When there is none up to the root of the disk.
    """
    for folder in (start, *start.parents):
        if is_root(folder):
            return folder
    raise WorkspaceNotFoundError(f"no workspace at {start} or above it", hint="lora init")


def is_root(folder: Path) -> bool:
    """Return whether ``folder`` is a workspace: its settings or its records are there."""
    return (
        (folder / PIPELINE_FILE).is_file()
        or (folder / "data" / "projects").is_dir()
        or (folder / "data" / "shared").is_dir()
    )


def open_workspace(
    root: Path,
    *,
    actor: str | None = None,
    project: str | None = None,
    dry_run: bool = False,
    sink: events.EventSink = events.discard,
) -> Workspace:
    """Open the workspace at ``root``.

    Raises:
        SettingsError: When its settings cannot be used.
    """
    return Workspace(
        root=root.resolve(),
        settings=read_settings(root, keep=not dry_run),
        actor=actor,
        project=project,
        dry_run=dry_run,
        events=sink,
    )
