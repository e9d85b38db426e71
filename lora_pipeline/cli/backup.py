"""``lora backup``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from lora_pipeline.cli.options import shared_options, writing_options
from lora_pipeline.cli.output import Report, Table, counted, size_text
from lora_pipeline.cli.session import Session

if TYPE_CHECKING:
    from lora_pipeline.foundation.result import Result

_SHOWN = 12


@click.group()
@shared_options
def backup() -> None:
    """Back up records and settings, and bring them back.

    A backup is one file with a list of digests. It is read back when it was written, and again
    before anything of it is restored.
    """


@backup.command()
@click.option("--out", default="", metavar="PATH", help="File or folder; else .lora/backups.")
@click.option("--images", is_flag=True, help="Imported images too.")
@click.option("--store", is_flag=True, help="Weights and evaluation images too.")
@writing_options
@click.pass_obj
def create(session: Session, out: str, images: bool, store: bool) -> None:
    """Write a backup and read it back.

    Reads config/ and data/ while nobody else writes; config/local.json stays out, because it
    belongs to one machine. Writes one file, whole or not at all.

    \b
    lora backup create --out /mnt/backups --store
    """
    from lora_pipeline.operations.workspace.backup import create_backup

    session.run(create_backup, _created, out=_absolute(out), images=images, store=store)


@backup.command("list")
@shared_options
@click.pass_obj
def list_all(session: Session) -> None:
    """List the backups below .lora/backups.

    \b
    lora backup list
    """
    from lora_pipeline.operations.workspace.backup import list_backups

    session.run(list_backups, _listed)


@backup.command()
@click.argument("path", metavar="FILE")
@shared_options
@click.pass_obj
def verify(session: Session, path: str) -> None:
    """Compare every byte of a backup with its list.

    Exits with 0, with 3 when it is damaged or no backup.

    \b
    lora backup verify .lora/backups/20260301T120000Z.lora-backup.zip
    """
    from lora_pipeline.operations.workspace.backup import check_backup

    session.run(check_backup, _verified, _absolute(path))


@backup.command()
@click.argument("path", metavar="FILE")
@click.option("--into", default="", metavar="DIR", help="Another folder, such as an empty one.")
@click.option("--replace", is_flag=True, help="Replace files that differ; they are backed up.")
@writing_options
@click.pass_obj
def restore(session: Session, path: str, into: str, replace: bool) -> None:
    """Bring back what a backup holds.

    All or nothing. What is missing comes back, what is the same stays, what the backup does not
    know stays too. Where a file differs nothing is written and the exit code is 1; --replace
    replaces it, after the present state was backed up.

    \b
    lora backup restore FILE --dry-run
    """
    from lora_pipeline.operations.workspace.backup import restore_backup

    if not into:
        session.run(restore_backup, _restored, _absolute(path), replace=replace)
        return
    from lora_pipeline.workspace.root import open_workspace

    workspace = open_workspace(Path(into).absolute(), actor=session.actor, dry_run=session.dry_run)
    result = restore_backup(workspace, _absolute(path), replace=replace)
    session.finish(workspace, result, _restored)


def _absolute(path: str) -> str:
    return str(Path(path).expanduser().absolute()) if path else ""


def _created(result: Result) -> Report:
    facts = result.data
    if result.dry_run:
        return Report(f"would back up {counted(facts['files'], 'file')}")
    rows = [("holds", _holds(facts)), ("size", size_text(facts["bytes"])), ("file", facts["path"])]
    return Report("backed up, and read back", rows)


def _holds(facts: Mapping[str, Any]) -> str:
    words = [counted(facts["files"], "file")]
    if facts["objects"]:
        words.append(counted(facts["objects"], "object") + " of the store")
    return ", ".join(words)


def _listed(result: Result) -> Report:
    every = result.data["backups"]
    if not every:
        return Report("no backup yet")
    rows = [
        (one["path"], one["createdAt"], one["files"], one["objects"], size_text(one["bytes"]),
         one["reason"])
        for one in every
    ]  # fmt: skip
    columns = ("file", "made", "files", "objects", "size", "why")
    return Report(counted(len(every), "backup"), tables=[Table(columns, rows)])


def _verified(result: Result) -> Report:
    facts = result.data
    return Report(
        f"whole · {_holds(facts)}", [("made", f"{facts['createdAt']} · {facts['reason']}")]
    )


def _restored(result: Result) -> Report:
    facts = result.data
    rows = [("made", f"{facts['createdAt']} · {facts['reason']}")]
    if result.refusal is not None:
        rows.append(("differ", _some(facts["differing"])))
        return Report(f"refused · {result.refusal.message}", rows)
    rows.append(("same", counted(facts["same"], "file")))
    if facts["replaced"]:
        rows.append(("replaced", _some(facts["replaced"])))
    if facts["storeObjects"]:
        rows.append(("store", counted(facts["storeObjects"], "object")))
    verb = "would restore" if result.dry_run else "restored"
    return Report(f"{verb} {counted(len(result.written), 'file')}", rows)


def _some(paths: list[str]) -> str:
    more = [f"and {len(paths) - _SHOWN} more"] if len(paths) > _SHOWN else []
    return "\n".join([*paths[:_SHOWN], *more])
