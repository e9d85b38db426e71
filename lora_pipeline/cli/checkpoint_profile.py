"""lora checkpoint profile: the prompt dialects of base models."""

from __future__ import annotations

from typing import Any

import click

from lora_pipeline.cli.options import scope_option, shared_options, words, writing_options
from lora_pipeline.cli.output import Report, Table, counted
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result


@click.group()
@shared_options
def profile() -> None:
    """Add and show prompt dialects of base models.

    A profile says what every prompt for a checkpoint begins and ends with, and in which order
    tags are said. A change is a new version.
    """


@profile.command()
@click.argument("checkpoint_id", metavar="CHECKPOINT")
@click.option("--positive", "base_positive", default=None, help="What every prompt begins with.")
@click.option("--negative", "base_negative", default=None, help="Of the negative prompt.")
@click.option("--for", "per_asset_type", multiple=True, metavar="TYPE=WORDS", help="For one type.")
@click.option(
    "--not-for",
    "per_asset_type_negative",
    multiple=True,
    metavar="TYPE=WORDS",
    help="For its negative prompt.",
)
@words("--tag-order", "tag_order", "T[,T]", "Tags and groups in the order in which they are said.")
@words("--safety", "safety_positive", "W[,W]", "What every prompt ends with.")
@words("--safety-negative", "safety_negative", "W[,W]", "Of the negative prompt.")
@click.option("--safety-on/--safety-off", "safety", default=None, help="Whether those are said.")
@click.option("--default/--no-default", default=True, show_default=True, help="For other specs.")
@click.option("--notes", default="", help="Anything worth keeping.")
@scope_option("baseline: shared by all projects.")
@writing_options
@click.pass_obj
def add(session: Session, /, checkpoint_id: str, **options: Any) -> None:
    """Write a new version of a checkpoint's prompt dialect.

    Begins with what the newest version says and writes one record,
    checkpoint-profiles/CHECKPOINT_vN.json. Exits with 3 when there is no such checkpoint.

    \b
    lora checkpoint profile add sdxl --positive "best quality" --for "ui_icon=game icon"
    """
    from lora_pipeline.operations.catalog.checkpoint_profile import add_profile

    session.run(add_profile, _added, checkpoint_id, **options)


@profile.command("list")
@shared_options
@click.pass_obj
def list_all(session: Session) -> None:
    """List profiles, the newest version first.

    \b
    lora checkpoint profile list
    """
    from lora_pipeline.operations.catalog.checkpoint_profile import list_profiles

    session.run(list_profiles, _listed)


@profile.command()
@click.argument("profile_id", metavar="ID")
@shared_options
@click.pass_obj
def show(session: Session, profile_id: str) -> None:
    """Show a profile and how many specs name it.

    \b
    lora checkpoint profile show sdxl_v2
    """
    from lora_pipeline.operations.catalog.checkpoint_profile import show_profile

    session.run(show_profile, _shown, profile_id)


@profile.command()
@click.argument("spec_id", metavar="SPEC")
@shared_options
@click.pass_obj
def prompt(session: Session, spec_id: str) -> None:
    """Say a spec's prompt, and where each word comes from.

    \b
    lora checkpoint profile prompt 01JQ7Z5VZJ3T1M4TQW8Z9KD2MM
    """
    from lora_pipeline.operations.catalog.checkpoint_profile import show_prompt

    session.run(show_prompt, _prompt, spec_id)


def _added(result: Result) -> Report:
    record = result.data["profile"]
    verb = "would add" if result.dry_run else "added"
    return Report(f"{verb} profile {record['profileId']} · {result.data['scope']}", _facts(record))


def _listed(result: Result) -> Report:
    every = result.data["profiles"]
    if not every:
        return Report("no profile yet")
    rows = [
        (one["id"], one["checkpoint"], one["version"], "yes" if one["default"] else "",
         one["scope"], one["basePositive"])
        for one in every
    ]  # fmt: skip
    columns = ("profile", "checkpoint", "version", "default", "scope", "begins with")
    return Report(counted(len(every), "profile"), tables=[Table(columns, rows)])


def _shown(result: Result) -> Report:
    record = result.data["profile"]
    rows = [*_facts(record), ("named by", counted(result.data["specs"], "spec"))]
    return Report(f"profile {record['profileId']} · {record['checkpointId']}", rows)


def _facts(record: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [
        ("begins", record.get("basePositive", "")),
        ("not", record.get("baseNegative", "")),
    ]
    rows += [
        (name, " · not: ".join(filter(None, [one.get("positive", ""), one.get("negative", "")])))
        for name, one in record.get("perAssetType", {}).items()
    ]
    rows.append(("tags", ", ".join(record.get("tagOrder", ()))))
    safety = record.get("runtimeSafety", {})
    if safety.get("enabled", True):
        rows.append(("ends", ", ".join(safety.get("positive", ()))))
        rows.append(("not", ", ".join(safety.get("negative", ()))))
    return [(label, text) for label, text in rows if text]


def _prompt(result: Result) -> Report:
    facts = result.data
    layers = [
        (one["layer"], one["source"], one["positive"], one["negative"]) for one in facts["trace"]
    ]
    return Report(
        f"{facts['title']} · {facts['profile'] or facts['checkpoint'] or 'no checkpoint'}",
        [("positive", facts["positive"]), ("negative", facts["negative"])],
        tables=[Table(("layer", "from", "positive", "negative"), layers)],
    )
