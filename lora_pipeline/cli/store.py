"""lora store: look after weights and evaluation images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lora_pipeline.cli.options import shared_options, writing_options
from lora_pipeline.cli.output import Report, counted, size_text
from lora_pipeline.cli.session import Session
from lora_pipeline.cli.store_remote import (
    pull,
    push,
    remote_gc_text,
    remote_rows,
    remote_verify_text,
)

if TYPE_CHECKING:
    from lora_pipeline.foundation.result import Result


@click.group()
def store() -> None:
    """Look after weights and evaluation images."""


store.add_command(push)
store.add_command(pull)


@store.command()
@click.option("--offline", is_flag=True, help="Leave the remote store alone.")
@shared_options
@click.pass_obj
def status(session: Session, offline: bool) -> None:
    """Say what the store holds and what is not here.

    Reads the store and the records, and lists the remote store when one is set; writes
    nothing. Exits with 0.

    \b
    lora store status
    """
    from lora_pipeline.operations.workspace.store_remote import show_stores

    session.run(show_stores, _status_text, offline=offline)


@store.command()
@click.option("--remote", is_flag=True, help="Read the remote store, all of it.")
@shared_options
@click.pass_obj
def verify(session: Session, remote: bool) -> None:
    """Hash every object again.

    Reads the whole store, or with --remote the whole remote store; writes nothing. Exits with
    0, with 1 when an object is damaged.

    \b
    lora store verify
    """
    if remote:
        from lora_pipeline.operations.workspace.store_remote_care import verify_remote

        session.run(verify_remote, remote_verify_text)
        return
    from lora_pipeline.operations.workspace.store import verify_store

    session.run(verify_store, _verify_text)


@store.command()
@click.option("--yes", is_flag=True, help="Delete them; without it they are only listed.")
@click.option(
    "--older-than",
    type=click.IntRange(min=0),
    metavar="HOURS",
    help="Leave what is younger: 24 unless you say; with --remote --yes you must say.",
)
@click.option("--remote", is_flag=True, help="The remote store instead of the one here.")
@writing_options
@click.pass_obj
def gc(session: Session, yes: bool, older_than: int | None, remote: bool) -> None:
    """List what nothing names; delete it with --yes.

    An object stays when a record, a run, a branch, a tag or a stash names it, and when it is
    young. A staging, which can be made again, stays when a manifest names it or a run under way
    works with it; normalised images stay as long as a staging has them. With
    --remote, deleting needs --older-than of a day at least, and a full clone. Exits with 0, with
    1 when deleting from the remote store is refused.

    \b
    lora store gc --yes
    lora store gc --remote --older-than 720
    """
    if remote:
        from lora_pipeline.operations.workspace.store_remote_care import collect_remote_garbage

        session.run(
            collect_remote_garbage, remote_gc_text, confirmed=yes, older_than_hours=older_than
        )
        return
    from lora_pipeline.operations.workspace.store import collect_garbage

    hours = 24 if older_than is None else older_than
    session.run(collect_garbage, _gc_text, confirmed=yes, older_than_hours=hours)


def _status_text(result: Result) -> Report:
    data = result.data
    rows = [("folder", str(data["root"]))]
    if data["missingCount"]:
        first = data["missing"][0]
        count = counted(data["missingCount"], "object")
        example = f"such as {first['sha256'][:12]}… of {first['namedBy']}"
        rows.append(("not here", f"{count}, {example}"))
    if "remote" in data:
        rows += remote_rows(data["remote"])
    size = size_text(data["bytes"])
    return Report(headline=f"{counted(data['objects'], 'object')} · {size}", rows=rows)


def _verify_text(result: Result) -> Report:
    damaged = result.data["damaged"]
    rows = [("fail", f"{one['path']} holds {one['found'][:12] or 'nothing'}…") for one in damaged]
    missing = result.data["missingCount"]
    if missing:
        rows.append(("not here", f"{counted(missing, 'object')} that records name"))
    headline = result.refusal.message if result.refusal else result.reasoning
    return Report(headline=headline, rows=rows)


def _gc_text(result: Result) -> Report:
    data = result.data
    staging = data["staging"]
    size = data["bytes"] + staging["bytes"]
    both = bool(data["unnamed"]) and _finds(staging)
    rows = [
        ("objects", size_text(data["bytes"]) if both else ""),
        ("stagings", size_text(staging["bytes"]) if both else ""),
        ("kept", _kept(data)),
    ]
    names = [*data["unnamed"], *(f"staging {name}" for name in staging["stagings"])]
    found = bool(data["unnamed"]) or _finds(staging)
    return Report(
        headline=result.reasoning + (f" · {size_text(size)}" if found else ""),
        rows=[row for row in rows if row[1]],
        lines=_names(names),
    )


def _finds(staging: dict[str, Any]) -> bool:
    return bool(staging["stagings"] or staging["unfinished"] or staging["images"])


def _kept(data: Any) -> str:
    staging = data["staging"]
    counts = [
        (data["keptAsYoung"], "object", "as too young to tell"),
        (staging["keptAsYoung"], "staging", "as too young to tell"),
        (staging["keptForRuns"], "staging", "for a run under way"),
    ]
    return "\n".join(f"{counted(count, name)} {why}" for count, name, why in counts if count)


def _names(names: list[str]) -> list[str]:
    shown = [f"  {name}" for name in names[:10]]
    return [*shown, f"  … and {len(names) - 10} more"] if len(names) > 10 else shown
