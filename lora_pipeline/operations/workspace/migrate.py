"""Bring records of older forms to the present one."""

from __future__ import annotations

from typing import Any

from lora_pipeline.foundation.errors import ArgumentInvalidError
from lora_pipeline.foundation.ids import did_you_mean
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.workspace.backup import new_backup_path, take_backup
from lora_pipeline.operations.workspace.migrations.plan import MigrationPlan, plan_migrations
from lora_pipeline.operations.workspace.migrations.registry import MIGRATIONS, Migration
from lora_pipeline.operations.workspace.validation.kinds import KINDS
from lora_pipeline.workspace.backup import Contents
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.root import Workspace


def list_migrations(workspace: Workspace) -> Result:
    """List the migrations, and how many records each would bring to the present form.

    The form of a record says whether it is done; nothing else keeps count.

    Args:
        workspace: Whose records.
    """
    plan = plan_migrations(workspace, MIGRATIONS)
    waiting = len(plan.migrated)
    return Result(
        data={
            "migrations": [
                {"id": one.id, "summary": one.summary, "records": plan.counts[one.id]}
                for one in MIGRATIONS
            ],
            "records": plan.checked,
            "waiting": waiting,
            "stuck": _stuck(plan),
        },
        reasoning=f"{waiting} of {plan.checked} records have an older form"
        if waiting
        else f"All {plan.checked} records have the present form, as far as migrations bring them",
        suggestions=["lora migrate run --dry-run"] if waiting else [],
    )


def run_migrations(workspace: Workspace, migrations: tuple[str, ...] = ()) -> Result:
    """Bring records to the present form, all or nothing, after a backup.

    Verdicts are never touched, whatever their form: their bytes are evidence.

    Args:
        workspace: Whose records.
        migrations: Names of some; all, in their order, when none is given.

    Raises:
        ArgumentInvalidError: When there is no migration of a name.
        LockedError, StateError, RecordConflictError, StorageError: As every write.
    """
    plan = plan_migrations(workspace, _chosen(migrations))
    backup = ""
    if plan.migrated and not workspace.dry_run:
        target = new_backup_path(workspace)
        take_backup(workspace, target, Contents(), reason="before migrations")
        backup = workspace.relative(target)
    changes = Changes(workspace)
    for one in plan.migrated:
        kind = KINDS[one.document.place.kind]
        changes.rewrite(kind, one.document.path, one.content, based_on=one.document.digest)
    written = changes.apply_together("migrate run")
    counts = plan.counts
    return Result(
        data={
            "migrations": {one.id: counts[one.id] for one in MIGRATIONS if counts[one.id]},
            "records": len(plan.migrated),
            "backup": backup,
            "stuck": _stuck(plan),
        },
        reasoning=f"Brought {len(plan.migrated)} records to the present form"
        if plan.migrated
        else "No record has an older form that a migration knows",
        warnings=[f"{one.where} stays as it is: {one.reason}" for one in plan.stuck[:5]],
        suggestions=_next(plan),
        written=written,
        dry_run=workspace.dry_run,
    )


def _chosen(names: tuple[str, ...]) -> list[Migration]:
    known = [one.id for one in MIGRATIONS]
    for name in names:
        if name not in known:
            near = did_you_mean(name, known)
            raise ArgumentInvalidError(
                f"no migration {name!r}",
                hint=f"did you mean {near}?" if near else "lora migrate list",
            )
    return [one for one in MIGRATIONS if not names or one.id in names]


def _stuck(plan: MigrationPlan) -> list[dict[str, Any]]:
    return [{"where": one.where, "reason": one.reason, "fix": one.fix} for one in plan.stuck]


def _next(plan: MigrationPlan) -> list[str]:
    steps = ["lora validate"] if plan.migrated else []
    return [*steps, *dict.fromkeys(one.fix for one in plan.stuck)][:3]
