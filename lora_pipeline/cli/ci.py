"""``lora ci``: let pull requests be checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lora_pipeline.cli.options import writing_options
from lora_pipeline.cli.output import Report
from lora_pipeline.cli.session import Session

if TYPE_CHECKING:
    from lora_pipeline.foundation.result import Result


@click.group()
def ci() -> None:
    """Let pull requests be checked."""


@ci.command()
@click.option(
    "--owner", "owners", multiple=True, metavar="@TEAM", help="Who must look at policies and LoRAs."
)
@writing_options
@click.pass_obj
def init(session: Session, *, owners: tuple[str, ...]) -> None:
    """Write a workflow, hooks, owners and attributes.

    Writes a GitHub workflow with its composite action, which runs `lora validate` and puts
    `lora report` into a comment, its summary and a page; a pre-commit hook; with --owner lines in
    CODEOWNERS, so that gate policies change only with their consent; and lines in .gitattributes.
    Files that are there stay as they are. Exits with 0, with 3 outside of a Git repository.

    \b
    lora ci init --owner @neon/art-leads
    """
    from lora_pipeline.operations.pull_requests.ci_setup import init_ci

    session.run(init_ci, _text, owners=owners)


def _text(result: Result) -> Report:
    data = result.data
    rows = [("kept", path) for path in data["kept"]]
    if data["owners"]:
        rows.append(("owners", f"{' '.join(data['owners'])} in {data['ownersFile']}"))
    return Report(result.reasoning, rows)
