"""lora spec: the intent of assets."""

from __future__ import annotations

import click

from lora_pipeline.cli.options import shared_options, words, writing_options
from lora_pipeline.cli.output import Report, Table, counted
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result


@click.group()
@shared_options
def spec() -> None:
    """Show and remove specs, the intent of assets.

    A spec says what a picture is to show, of which asset type and in which style. Importing
    art writes one for each image.
    """


@spec.command("list")
@words("--asset-type", "asset_types", "T[,T]", "Only specs of these types.")
@words("--style", "styles", "S[,S]", "Only specs of these styles.")
@click.option(
    "--limit", default=50, show_default=True, metavar="N", help="Show so many; 0 shows all."
)
@shared_options
@click.pass_obj
def list_all(
    session: Session, *, asset_types: tuple[str, ...], styles: tuple[str, ...], limit: int
) -> None:
    """List specs with how many assets each has.

    \b
    lora spec list --asset-type ui_icon
    """
    from lora_pipeline.operations.catalog.spec import list_specs

    session.run(
        list_specs, lambda result: _listed(result, limit), asset_types=asset_types, styles=styles
    )


@spec.command()
@click.argument("spec_id", metavar="ID")
@shared_options
@click.pass_obj
def show(session: Session, spec_id: str) -> None:
    """Show one spec and the assets made for it.

    \b
    lora spec show 01JQ7Z5VZJ3T1M4TQW8Z9KD2MM
    """
    from lora_pipeline.operations.catalog.spec import show_spec

    session.run(show_spec, _shown, spec_id)


@spec.command()
@click.argument("specs", nargs=-1, metavar="ID…")
@writing_options
@click.pass_obj
def remove(session: Session, specs: tuple[str, ...]) -> None:
    """Remove specs that no asset was made for.

    An interrupted import may leave such; importing the same art again finishes them instead.
    Exits with 1 when one of them has assets, and removes none then.

    \b
    lora spec remove 01JQ7Z5VZJ3T1M4TQW8Z9KD2MM
    """
    from lora_pipeline.operations.catalog.spec import remove_specs

    session.run(remove_specs, _removed, specs)


def _removed(result: Result) -> Report:
    if result.refusal is not None:
        return Report(f"refused · {result.refusal.message}")
    verb = "would remove" if result.dry_run else "removed"
    return Report(f"{verb} {counted(len(result.data['removed']), 'spec')}")


def _listed(result: Result, limit: int) -> Report:
    data, every = result.data, result.data["specs"]
    if not every:
        return Report(f"{data['project']} has no specs yet")
    shown = every[:limit] if limit else every
    rows = [
        (one["id"], one["title"], one["assetType"], one["style"], one["scenario"], one["assets"])
        for one in shown
    ]
    left = len(every) - len(shown)
    return Report(
        f"{data['project']} · {len(every)} of {data['of']} specs",
        tables=[Table(("id", "title", "type", "style", "scenario", "assets"), rows)],
        lines=[f"… and {left} more (--limit 0 shows all)"] if left else [],
    )


def _shown(result: Result) -> Report:
    record = result.data["spec"]
    rows = [
        ("type", record["assetType"]),
        ("style", record["style"]),
        ("scenario", record["scenario"]),
        ("tags", ", ".join(record.get("tags", ())) or "none"),
        ("prompt", record["prompt"]["positive"] or "none"),
    ]
    if record["prompt"].get("negative"):
        rows.append(("not", record["prompt"]["negative"]))
    rows += [("asset", f"{one['id']} · {one['status']}") for one in result.data["assets"]]
    return Report(f"{record['title']} · spec {record['id']}", rows=rows)
