"""``lora migrate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lora_pipeline.cli.options import shared_options, writing_options
from lora_pipeline.cli.output import Report, Table, counted
from lora_pipeline.cli.session import Session

if TYPE_CHECKING:
    from lora_pipeline.foundation.result import Result

_SHOWN = 10


@click.group()
@shared_options
def migrate() -> None:
    """Bring records of older forms to the present one.

    Old records stay readable without it. What a migration does is a pure function of the
    record, so that running it twice is the same as running it once.
    """


@migrate.command("list")
@shared_options
@click.pass_obj
def list_all(session: Session) -> None:
    """List the migrations and how many records wait for each.

    Reads every record, writes nothing. Exits with 0.

    \b
    lora migrate list
    """
    from lora_pipeline.operations.workspace.migrate import list_migrations

    session.run(list_migrations, _listed)


@migrate.command()
@click.argument("migrations", nargs=-1, metavar="[ID]…")
@writing_options
@click.pass_obj
def run(session: Session, migrations: tuple[str, ...]) -> None:
    """Bring records to the present form, after a backup.

    Rewrites records all or nothing; a backup below .lora/backups is made first. Verdicts are
    never touched. Without ID all migrations are done. Exits with 0, with 3 when there is no
    such migration.

    \b
    lora migrate run --dry-run
    """
    from lora_pipeline.operations.workspace.migrate import run_migrations

    session.run(run_migrations, _ran, migrations)


def _listed(result: Result) -> Report:
    facts = result.data
    rows = [(one["id"], one["records"] or "-", one["summary"]) for one in facts["migrations"]]
    return Report(
        result.reasoning,
        _stuck(facts["stuck"]),
        tables=[Table(("migration", "records", "after it"), rows)],
    )


def _ran(result: Result) -> Report:
    facts = result.data
    if not facts["records"]:
        return Report("nothing to migrate", _stuck(facts["stuck"]))
    verb = "would migrate" if result.dry_run else "migrated"
    rows = [(name, counted(count, "record")) for name, count in facts["migrations"].items()]
    if facts["backup"]:
        rows.append(("backup", facts["backup"]))
    return Report(f"{verb} {counted(facts['records'], 'record')}", rows)


def _stuck(stuck: list[dict[str, Any]]) -> list[tuple[str, str]]:
    rows = [
        ("by hand", f"{one['where']}: {one['reason']}\n  {one['fix']}") for one in stuck[:_SHOWN]
    ]
    if len(stuck) > _SHOWN:
        rows.append(("", f"and {len(stuck) - _SHOWN} more; --json lists all"))
    return rows
