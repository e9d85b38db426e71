"""lora git: how Git shows and merges records here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lora_pipeline.cli.options import shared_options, writing_options
from lora_pipeline.cli.output import Report, Table, counted, plain, say
from lora_pipeline.cli.session import Session

if TYPE_CHECKING:
    from lora_pipeline.foundation.result import Result

_USER = click.option(
    "--global", "for_user", is_flag=True, help="Of your user, for every clone, not of this clone."
)


@click.group()
def git() -> None:
    """Let Git show and merge records by their meaning."""


@git.command()
@_USER
@writing_options
@click.pass_obj
def install(session: Session, *, for_user: bool) -> None:
    """Set up readable diffs and merges of records.

    Writes settings of this clone (.git/config) that name this program, and lines in
    .gitattributes that name the files: manifests, LoRA records, catalogs and weights. Every
    clone runs it once. Your own settings are left alone, unless --global asks for them.

    Exits with 0, with 3 outside of a Git repository.

    \b
    lora git install
    """
    from lora_pipeline.operations.workspace.git_setup import install_git

    session.run(install_git, _install_text, where="user" if for_user else "repository")


@git.command()
@_USER
@writing_options
@click.pass_obj
def uninstall(session: Session, *, for_user: bool) -> None:
    """Take the settings back.

    Removes what install set in Git's settings. The lines in .gitattributes stay: they are for
    every clone, and do nothing without the settings. Exits with 0.

    \b
    lora git uninstall
    """
    from lora_pipeline.operations.workspace.git_setup import uninstall_git

    session.run(uninstall_git, _uninstall_text, where="user" if for_user else "repository")


@git.command()
@shared_options
@click.pass_obj
def status(session: Session) -> None:
    """Say whether this clone is set up.

    Reads Git's settings and what .gitattributes comes to; writes nothing. Exits with 0, with 1
    when something is missing or names another program.

    \b
    lora git status
    """
    from lora_pipeline.operations.workspace.git_setup import show_git

    session.run(show_git, _status_text)


@git.command()
@writing_options
@click.pass_obj
def finish(session: Session) -> None:
    """Build datasets again that were merged.

    A merge brings the items of two manifests together without seeing the art. This builds each
    of them by its merged rule from the merged assets, and says whether anything came out
    otherwise. Writes the manifests. Exits with 0, with 1 when one cannot be built here.

    \b
    lora git finish --commit
    """
    from lora_pipeline.operations.workspace.git_finish import finish_merges

    session.run(finish_merges, _finish_text, project=session.project)


@git.command()
@click.argument("file", type=click.Path(), metavar="FILE")
@shared_options
@click.pass_obj
def textconv(session: Session, file: str) -> None:
    """Print a record or weights as readable text.

    Git calls it for git diff. A file that cannot be read is said in one line. Exits with 0.

    \b
    lora git textconv data/projects/my_game/datasets/icons.json
    """
    from lora_pipeline.foundation.result import Result
    from lora_pipeline.operations.workspace.git_text import text_of_file

    text = text_of_file(Path(file))
    if session.json:
        session.show(Result(data={"text": text}, reasoning=Path(file).name), lambda _: Report(""))
        return
    # As bytes: Git takes UTF-8, whatever the terminal here can show.
    click.echo(text.encode("utf-8", "backslashreplace"), nl=False)


@git.command("merge-driver")
@click.argument("versions", nargs=3, type=click.Path(), metavar="BASE OURS THEIRS")
@click.argument("marker_size", type=click.IntRange(min=1), metavar="SIZE")
@click.argument("path", metavar="PATH")
@click.argument("labels", nargs=-1, metavar="[LABELS]")
@shared_options
@click.pass_obj
def merge_driver(
    session: Session,
    versions: tuple[str, str, str],
    marker_size: int,
    path: str,
    labels: tuple[str, ...],
) -> None:
    """Merge three versions of a record; for Git.

    Git calls it while it merges. Writes the result to OURS and prints `merged`, or `conflict`
    (exit 1): then OURS holds marks where the sides differ, and stderr says why.

    \b
    lora git merge-driver BASE OURS THEIRS 7 data/projects/my_game/datasets/icons.json
    """
    from lora_pipeline.foundation.files import write_atomic
    from lora_pipeline.foundation.strict_json import read_bytes
    from lora_pipeline.operations.workspace.git_merge import Sides, merge_record

    base, ours, theirs = (read_bytes(Path(one)) for one in versions)
    outcome = merge_record(
        Sides(path, base, ours, theirs, labels=_labels(labels), marker_size=marker_size)
    )
    write_atomic(Path(versions[1]), outcome.data)
    for line in outcome.said:
        say(plain(line), err=True)
    say("merged" if outcome.clean else "conflict")
    session.exit_code = 0 if outcome.clean else 1


def _labels(words: tuple[str, ...]) -> tuple[str, str]:
    """Return what the sides are called; Git before 2.44 does not say and leaves ``%X %Y``."""
    known = [word for word in words if word and not word.startswith("%")]
    if len(known) == 2:
        return known[0], known[1]
    heads = [value for name, value in os.environ.items() if name.startswith("GITHEAD_")]
    return ("HEAD", heads[0]) if len(heads) == 1 else ("ours", "theirs")


def _install_text(result: Result) -> Report:
    data = result.data
    rows = []
    if data["settings"]:
        rows.append(("settings", f"{len(data['settings'])} of diff.lora and merge.lora"))
    rows += [("attributes" if not at else "", line) for at, line in enumerate(data["attributes"])]
    rows += [("replaced", f"{one['name']}, which was {one['was']}") for one in data["replaced"]]
    return Report(headline=result.reasoning, rows=rows)


def _uninstall_text(result: Result) -> Report:
    return Report(
        headline=result.reasoning,
        rows=[("removed", ", ".join(result.data["settings"]))] if result.data["settings"] else [],
    )


def _status_text(result: Result) -> Report:
    rows = [(one["state"], one["name"], one["found"] or "") for one in result.data["parts"]]
    shown = [(state, name, found if state == "other" else "") for state, name, found in rows]
    headline = result.refusal.message if result.refusal else result.reasoning
    return Report(headline=headline, tables=[Table(("", "setting or files", "found"), shown)])


def _finish_text(result: Result) -> Report:
    data = result.data
    rows = [
        (
            one["datasetId"],
            f"{counted(one['images'], 'image')}, "
            + (
                "as merged" if one["asMerged"] else f"the build changed {one['difference'] or 'it'}"
            ),
        )
        for one in data["confirmed"]
    ]
    rows += [("not built", f"{one['datasetId']}: {one['reason']}") for one in data["waiting"]]
    headline = result.reasoning
    return Report(headline=headline, rows=rows)
