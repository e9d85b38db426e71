"""``lora create``, ``list``, ``show``, ``activate``, ``deactivate``, ``delete``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import click

from lora_pipeline.cli.lora_options import reason_option, scope_option
from lora_pipeline.cli.options import shared_options, writing_options
from lora_pipeline.cli.output import Report, Table, counted
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result

ScopeName = Literal["project", "baseline"]


@click.command()
@click.argument("lora", metavar="ID")
@click.option("--checkpoint", required=True, metavar="ID", help="Base model it is trained on.")
@click.option(
    "--asset-type",
    "asset_types",
    required=True,
    multiple=True,
    metavar="TYPE",
    help="Asset type it is for; several may be given.",
)
@click.option("--name", default="", help="Name for people; made from ID when left out.")
@click.option("--description", default="", help="What it is for, at most 500 characters.")
@click.option("--trigger", default="", metavar="WORD", help="The word that calls it.")
@click.option("--strength", type=float, help="Strength in use; else 0.9, or 0.6 when shared.")
@click.option("--recommended", is_flag=True, help="Choose it before others.")
@scope_option
@writing_options
@click.pass_obj
def create(
    session: Session,
    lora: str,
    *,
    checkpoint: str,
    asset_types: tuple[str, ...],
    name: str,
    description: str,
    trigger: str,
    strength: float | None,
    recommended: bool,
    scope: ScopeName,
) -> None:
    """Create a LoRA: what it is for, and the word that calls it.

    Writes loras/ID.json of the project, or of the shared records with --scope baseline. Exits
    with 3 when id, name or trigger word are taken, or a word is unknown.

    Example: lora create ui_icons --checkpoint sdxl --asset-type ui_icon --trigger stkr
    """
    from lora_pipeline.operations.releases.lora import create_lora

    session.run(
        create_lora,
        _created,
        lora,
        checkpoint=checkpoint,
        asset_types=asset_types,
        name=name,
        description=description,
        trigger=trigger,
        strength=strength,
        recommended=recommended,
        project=session.project,
        scope=scope,
    )


@click.command("list")
@click.option("--asset-type", default="", metavar="TYPE", help="Only those for this asset type.")
@click.option("--checkpoint", default="", metavar="ID", help="Only those for this base model.")
@click.option("--active/--no-active", default=None, help="Only those with, or without, one.")
@click.option(
    "--status",
    type=click.Choice(["created", "queued", "training", "ready", "failed"]),
    help="Only those that stand there.",
)
@click.option(
    "--scope",
    type=click.Choice(["all", "project", "baseline"]),
    default="all",
    show_default=True,
    help="Own ones, shared ones, or both.",
)
@shared_options
@click.pass_obj
def list_loras(
    session: Session,
    *,
    asset_type: str,
    checkpoint: str,
    active: bool | None,
    status: Any,
    scope: Literal["all", "project", "baseline"],
) -> None:
    """List LoRAs.

    Reads the LoRAs of the project in use and the shared ones.

    Example: lora list --asset-type ui_icon --active
    """
    from lora_pipeline.operations.releases.lora import list_loras as operation

    session.run(
        operation,
        _listed,
        project=session.project,
        scope=scope,
        asset_type=asset_type,
        checkpoint=checkpoint,
        active=active,
        status=status,
    )


@click.command()
@click.argument("lora", metavar="ID")
@scope_option
@shared_options
@click.pass_obj
def show(session: Session, lora: str, *, scope: ScopeName) -> None:
    """Show a LoRA, its releases and its history.

    Reads the LoRA with its evaluations and reviews. Whether the active release is proven is
    said by lora resolve and lora validate, which read the bytes.

    Example: lora show ui_icons
    """
    from lora_pipeline.operations.releases.lora import show_lora

    session.run(show_lora, _shown, lora, project=session.project, scope=scope)


@click.command()
@click.argument("lora", metavar="ID")
@click.option("--strength", type=float, help="Strength that production uses, above 0 to 2.")
@reason_option
@scope_option
@writing_options
@click.pass_obj
def activate(
    session: Session, lora: str, *, strength: float | None, reason: str, scope: ScopeName
) -> None:
    """Switch a LoRA on for use, with a strength.

    Writes the LoRA's record and its history. Which release is used is another question: that is
    moved by promote and rollback alone. Exits with 1 when no release is active.

    Example: lora activate ui_icons --strength 0.8
    """
    from lora_pipeline.operations.releases.lora import activate_lora

    session.run(
        activate_lora,
        _switched,
        lora,
        strength=strength,
        project=session.project,
        scope=scope,
        reason=reason,
    )


@click.command()
@click.argument("lora", metavar="ID")
@reason_option
@scope_option
@writing_options
@click.pass_obj
def deactivate(session: Session, lora: str, *, reason: str, scope: ScopeName) -> None:
    """Switch a LoRA off for use.

    Writes the LoRA's record and its history; its active release stays what it is.

    Example: lora deactivate ui_icons --reason "new style sheet"
    """
    from lora_pipeline.operations.releases.lora import deactivate_lora

    session.run(
        deactivate_lora, _switched, lora, project=session.project, scope=scope, reason=reason
    )


@click.command()
@click.argument("lora", metavar="ID")
@click.option("--force", is_flag=True, help="Delete it also when it is in use.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@scope_option
@writing_options
@click.pass_obj
def delete(session: Session, lora: str, *, force: bool, yes: bool, scope: ScopeName) -> None:
    """Delete a LoRA that nothing uses.

    Removes its record, runs, evaluations and reviews; weights stay in the store, and Git keeps
    what was committed. Exits with 1 when a release is active or a run is under way.

    Example: lora delete old_icons --dry-run
    """
    from lora_pipeline.operations.releases.lora_delete import delete_lora

    session.confirm(f"Delete LoRA {lora} with its runs, evaluations and reviews?", yes=yes)
    session.run(delete_lora, _deleted, lora, force=force, project=session.project, scope=scope)


def _created(result: Result) -> Report:
    record = result.data["lora"]
    rows = [
        ("for", ", ".join(record["assetTypes"])),
        ("base", record["checkpointId"]),
        ("trigger", record.get("triggerWord") or "none"),
    ]
    if result.data["recommendedFrom"]:
        wanted = f"{result.data['recommendedFrom']} to {result.data['recommendedTo']}"
        rows.append(("images", f"none yet; {wanted} are recommended"))
    return Report(f"{record['name']} · LoRA {record['id']}", rows)


def _listed(result: Result) -> Report:
    loras = result.data["loras"]
    if not loras:
        return Report("no LoRA")
    rows = [
        (
            one["id"],
            one["scope"],
            ", ".join(one["assetTypes"]),
            one["checkpointId"],
            one["status"],
            one["activeReleaseId"] or "none",
            _use(one),
            one["releases"],
            one["candidates"] or "",
        )
        for one in loras
    ]
    columns = ("LoRA", "scope", "for", "base", "state", "active", "use", "releases", "candidates")
    return Report(counted(len(loras), "LoRA"), tables=[Table(columns, rows)])


def _shown(result: Result) -> Report:
    record, releases = result.data["lora"], result.data["releases"]
    rows = [
        ("for", f"{', '.join(record['assetTypes'])} on {record['checkpointId']}"),
        ("trigger", record.get("triggerWord") or "none"),
        ("active", record.get("activeReleaseId") or "none"),
        ("use", _use(record | {"strength": result.data["strengthInUse"]})),
    ]
    if record.get("description"):
        rows.insert(0, ("about", record["description"]))
    tables = []
    if releases:
        columns = ("release", "status", "made", "trainer", "dataset", "effect", "verdicts")
        tables.append(Table(columns, [_release(one) for one in reversed(releases)]))
    history = record.get("history", [])
    if history:
        happened = [(one["at"], _event(one), one["by"]) for one in reversed(history)]
        tables.append(Table(("when", "what", "who"), happened))
    return Report(f"{record['name']} · LoRA {record['id']}", rows, tables)


def _switched(result: Result) -> Report:
    facts = result.data
    if not result.success or "loraId" not in facts:
        return Report(f"refused · {result.refusal.message if result.refusal else ''}")
    state = "on" if facts["enabled"] else "off"
    at = f", strength {facts['strength']:g}" if facts["enabled"] else ""
    return Report(f"{facts['loraId']} is switched {state}{at}")


def _deleted(result: Result) -> Report:
    facts = result.data
    if not result.success:
        return Report("refused · nothing was deleted", [("fail", one) for one in facts["inUse"]])
    verb = "would delete" if result.dry_run else "deleted"
    what = ", ".join(
        counted(facts[kind], kind[:-1]) for kind in ("releases", "runs", "evaluations", "reviews")
    )
    return Report(f"{verb} {facts['loraId']} with {what}")


def _use(record: Mapping[str, Any]) -> str:
    return f"on, {record['strength']:g}" if record.get("enabled", True) else "off"


def _release(one: Mapping[str, Any]) -> tuple[str, ...]:
    effects = [each["effect"] for each in one["evaluations"] if each["effect"] is not None]
    verdicts = ", ".join(f"{each['reviewer']} {each['verdict']}" for each in one["reviews"])
    return (
        f"{one['id']} *" if one["active"] else one["id"],
        one["status"],
        f"{one['createdAt'][:10]} {one['createdBy']}".strip(),
        one["trainer"],
        one["datasetId"],
        f"{effects[-1]:.3f}" if effects else "",
        verdicts,
    )


def _event(entry: Mapping[str, Any]) -> str:
    release, before = entry.get("releaseId", ""), entry.get("fromReleaseId", "")
    words = {
        "promoted": f"promoted {release}" + (f" instead of {before}" if before else ""),
        "rolled_back": f"rolled back to {release}" + (f" from {before}" if before else ""),
        "deprecated": f"deprecated {release}",
        "activated": "switched on",
        "deactivated": "switched off",
    }[entry["event"]]
    return f"{words}: {entry['reason']}" if entry.get("reason") else words
