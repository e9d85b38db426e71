"""``lora hooks``: who is told what production uses from now on."""

from __future__ import annotations

from typing import Literal

import click

from lora_pipeline.cli.lora_options import scope_option
from lora_pipeline.cli.options import shared_options, writing_options
from lora_pipeline.cli.output import Report
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result

ScopeName = Literal["project", "baseline"]


@click.group()
def hooks() -> None:
    """Tell others what production uses from now on.

    A program (hooks.command) or an address (hooks.webhook) is told when a release is promoted,
    rolled back, made active in an emergency or deprecated, and when a LoRA is switched on or
    off: by the command that does it, and by lora hooks run for what came with Git.
    """


@hooks.command()
@click.argument("lora", required=False, default="")
@scope_option
@shared_options
@click.pass_obj
def show(session: Session, lora: str, *, scope: ScopeName) -> None:
    """Say who is told, and what nobody was told of yet.

    Reads the settings, the histories of LoRAs and what this machine has told; writes nothing.
    Exits with 0.

    Example: lora hooks show
    """
    from lora_pipeline.operations.releases.release_hooks import show_hooks

    session.run(show_hooks, _shown, lora, project=session.project, scope=scope)


@hooks.command()
@click.argument("lora", required=False, default="")
@scope_option
@writing_options
@click.pass_obj
def run(session: Session, lora: str, *, scope: ScopeName) -> None:
    """Tell of every change that nobody was told of.

    Oldest first, each once on this machine; the first time, what happened before is taken as
    told. Meant for a timer or after git pull. Writes .lora/hooks. Exits with 1 when somebody
    could not be told, which the next call tries again; with 3 when nobody is to be told.

    Example: lora hooks run --dry-run
    """
    from lora_pipeline.operations.releases.release_hooks import run_hooks

    session.run(run_hooks, _ran, lora, project=session.project, scope=scope)


def _shown(result: Result) -> Report:
    facts = result.data
    rows = [("told are", ", ".join(facts["ways"]) or "nobody: set hooks.command or hooks.webhook")]
    rows.append(("of", ", ".join(facts["on"]) or "nothing"))
    rows += [("open", f"{one['at'][:16]}  {one['title']}") for one in facts["pending"]]
    return Report(result.reasoning, rows)


def _ran(result: Result) -> Report:
    facts = result.data
    rows = [
        (
            "fail" if one["failed"] else ("open" if result.dry_run else "told"),
            f"{one['at'][:16]}  {one['title']}",
        )
        for one in facts["events"]
    ]
    if facts["began"]:
        rows.append(("begins", f"{', '.join(facts['began'])}: what happened before counts as told"))
    return Report(result.reasoning, rows)
