"""lora project: create and show projects."""

from __future__ import annotations

from typing import Any

import click

from lora_pipeline.cli.options import shared_options, writing_options
from lora_pipeline.cli.output import Report, Table, counted
from lora_pipeline.cli.project_rights import rights, rights_rows
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result


@click.group()
@shared_options
def project() -> None:
    """Create and show projects.

    A project is one game or brand: a folder below data/projects/ with its catalogs, art,
    datasets and LoRAs.
    """


@project.command()
@click.argument("project_id", metavar="ID")
@click.option("--name", default="", help="Name for people; made from ID when left out.")
@click.option("--style", default="flat", show_default=True, help="Default style of its specs.")
@click.option(
    "--scenario", default="plain", show_default=True, help="Default scenario of its specs."
)
@click.option(
    "--allow-license",
    "allowed_licenses",
    multiple=True,
    metavar="SPDX",
    help="Licence that may be trained on; several may be given, none means any.",
)
@click.option(
    "--require-provenance", is_flag=True, help="Train only on art with source, author and licence."
)
@click.option(
    "--unknown-rights",
    type=click.Choice(["allow", "exclude"]),
    default="allow",
    show_default=True,
    help="What happens to art whose training right nobody stated.",
)
@click.option("--notes", default="", help="Anything worth keeping.")
@writing_options
@click.pass_obj
def create(
    session: Session,
    project_id: str,
    *,
    name: str,
    style: str,
    scenario: str,
    allowed_licenses: tuple[str, ...],
    require_provenance: bool,
    unknown_rights: Any,
    notes: str,
) -> None:
    """Create a project with catalogs to start from.

    Writes data/projects/ID/project.json and five catalogs: asset types, styles, scenarios,
    palettes and tags. Exits with 3 when there is one of that id.

    \b
    lora project create neon_city --name "Neon City" --allow-license CC0-1.0
    """
    from lora_pipeline.operations.catalog.project import create_project

    session.run(
        create_project,
        _created,
        project_id,
        name=name,
        style=style,
        scenario=scenario,
        allowed_licenses=allowed_licenses,
        provenance_required=require_provenance,
        unknown_rights=unknown_rights,
        notes=notes,
    )


@project.command("list")
@shared_options
@click.pass_obj
def list_all(session: Session) -> None:
    """List projects and how much they hold.

    \b
    lora project list
    """
    from lora_pipeline.operations.catalog.project import list_projects

    session.run(list_projects, _listed)


@project.command()
@click.argument("project_id", metavar="[ID]", required=False)
@shared_options
@click.pass_obj
def show(session: Session, project_id: str | None) -> None:
    """Show a project, its rules and where its art stands.

    Shows the project in use when ID is left out.

    \b
    lora project show neon_city
    """
    from lora_pipeline.operations.catalog.project import show_project

    session.run(show_project, _shown, project_id)


project.add_command(rights)


def _created(result: Result) -> Report:
    record = result.data["project"]
    return Report(f"{record['name']} · project {record['id']}", rows=_rules(record))


def _listed(result: Result) -> Report:
    projects = result.data["projects"]
    if not projects:
        return Report("no project yet")
    rows = [
        (one["id"], one["name"], one["asset"], one["dataset"], one["lora"], one["checkpoint"])
        for one in projects
    ]
    columns = ("project", "name", "assets", "datasets", "LoRAs", "checkpoints")
    return Report(counted(len(projects), "project"), tables=[Table(columns, rows)])


def _shown(result: Result) -> Report:
    data = result.data
    record, counts, words = data["project"], data["records"], data["catalogs"]
    states = " · ".join(f"{number} {status}" for status, number in data["assets"].items())
    rows = [("assets", states or "none yet")]
    if data["withdrawn"]:
        rows.append(("withdrawn", counted(data["withdrawn"], "asset")))
    holds = [counted(counts[kind], kind) for kind in ("dataset", "checkpoint")]
    rows.append(("holds", " · ".join([*holds, counted(counts["lora"], "LoRA")])))
    rows += _rules(record)
    known = [
        counted(words["assetTypes"], "asset type"),
        *(counted(words[f"{kind}s"], kind) for kind in ("style", "scenario", "palette", "tag")),
    ]
    rows.append(("words", " · ".join(known)))
    if record.get("notes"):
        rows.append(("notes", record["notes"]))
    return Report(f"{record['name']} · project {record['id']}", rows=rows)


def _rules(record: dict[str, Any]) -> list[tuple[str, str]]:
    defaults = record["defaults"]
    return [
        ("defaults", f"style {defaults['style']} · scenario {defaults['scenario']}"),
        *rights_rows(record.get("rights", {})),
    ]
