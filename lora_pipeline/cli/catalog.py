"""lora catalog: the controlled words."""

from __future__ import annotations

from typing import Any

import click

from lora_pipeline.cli.options import shared_options
from lora_pipeline.cli.output import Report, Table
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result


@click.group()
@shared_options
def catalog() -> None:
    """Show asset types, styles, scenarios and tags.

    The words stand in data/projects/ID/catalogs/ and data/shared/catalogs/, for people to
    edit; lora validate checks them.
    """


@catalog.command()
@click.option("--checkpoint", default="", metavar="ID", help="Count this base model's own words.")
@shared_options
@click.pass_obj
def show(session: Session, checkpoint: str) -> None:
    """Show the words in force and how often art uses them.

    \b
    lora catalog show --project neon_city
    """
    from lora_pipeline.operations.catalog_words import show_catalog

    session.run(show_catalog, _shown, checkpoint=checkpoint)


def _shown(result: Result) -> Report:
    data = result.data
    used = data["used"]
    types = [
        (one["id"], one["label"], _count(one), _wishes(one), used["assetTypes"].get(one["id"], 0))
        for one in data["assetTypes"]
    ]
    words = [
        (kind[:-1], one["id"], ", ".join(one.get("promptTokens", ())))
        for kind in ("styles", "scenarios", "palettes")
        for one in data[kind]
    ]
    groups = [
        (
            group["id"] + (" (one)" if group["exclusive"] else ""),
            ", ".join(_tag(tag, used["tags"]) for tag in group["tags"]),
        )
        for group in data["groups"]
    ]
    tables = [
        Table(("asset type", "name", "images", "asks for", "assets"), types),
        Table(("kind", "word", "prompt tokens"), words),
        Table(("tag group", "tags (and how many assets have them)"), groups),
    ]
    own = f" with checkpoint {data['checkpoint']}" if data["checkpoint"] else ""
    return Report(f"{data['project']} · words in force{own}", tables=tables)


def _count(asset_type: dict[str, Any]) -> str:
    counts = asset_type.get("imageCounts")
    return f"{counts['recommendedFrom']}-{counts['recommendedTo']}" if counts else ""


def _wishes(asset_type: dict[str, Any]) -> str:
    names = {"requiresAlpha": "transparency", "tileable": "no seams", "multiFrame": "frames"}
    return ", ".join(words for key, words in names.items() if asset_type.get(key))


def _tag(tag: dict[str, Any], used: dict[str, int]) -> str:
    value = str(tag["id"]).partition(":")[2]
    count = used.get(tag["id"], 0)
    return f"{value} {count}" if count else value
