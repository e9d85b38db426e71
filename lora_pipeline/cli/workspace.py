"""Commands about the workspace as a whole: init, status, doctor, config."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lora_pipeline.cli.options import writing_options
from lora_pipeline.cli.output import Report, counted
from lora_pipeline.cli.session import Session

if TYPE_CHECKING:
    from lora_pipeline.foundation.result import Result


@click.command()
@click.argument("folder", default=".", metavar="[DIR]")
@click.option("--no-git", is_flag=True, help="Make no Git repository.")
@click.option("--lfs", is_flag=True, help="Let Git LFS keep imported images.")
@click.option("--refresh-schemas", is_flag=True, help="Bring schemas/ to this version of lora.")
@writing_options
@click.pass_obj
def init(
    session: Session,
    folder: str,
    no_git: bool,
    lfs: bool,
    refresh_schemas: bool,
) -> None:
    """Make this folder a workspace.

    Writes settings, suites, gate policies, schemas for editors, .gitignore, .gitattributes, a
    Makefile and a README, and makes a Git repository where there is none. What is there already
    is kept as it is, so it can be run again at any time.

    Exits with 0, or with 3 when the folder lies inside another workspace.

    \b
    lora init studio-loras
    """
    from pathlib import Path

    from lora_pipeline.operations.workspace_init import init_workspace
    from lora_pipeline.workspace.root import open_workspace

    result = init_workspace(
        folder,
        use_git=not no_git,
        use_lfs=lfs,
        refresh_schemas=refresh_schemas,
        dry_run=session.dry_run,
    )
    workspace = open_workspace(Path(result.data["root"]), actor=session.actor)
    session.finish(workspace, result, _init_text)


def _init_text(result: Result) -> Report:
    rows = []
    if result.data["madeRepository"]:
        rows.append(("git", "a new repository, branch main"))
    if result.data["kept"]:
        rows.append(("kept", f"{counted(len(result.data['kept']), 'file')} as they were"))
    return Report(headline=f"{result.reasoning}  {result.data['root']}", rows=rows)
