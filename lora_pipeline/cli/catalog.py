"""lora catalog: the controlled words."""

from __future__ import annotations

from typing import Any

import click

from lora_pipeline.cli.options import scope_option, shared_options, words, writing_options
from lora_pipeline.cli.output import Report, Table
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result

KINDS = ("asset-type", "style", "scenario", "palette", "tag", "tag-group")


@click.group()
@shared_options
def catalog() -> None:
    """Show and add asset types, styles, scenarios and tags.

    The words stand in data/projects/ID/catalogs/ and data/shared/catalogs/, for people to
    edit; lora validate checks them, lora rename changes an id with every reference to it.
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
    from lora_pipeline.operations.catalog.catalog_words import show_catalog

    session.run(show_catalog, _shown, checkpoint=checkpoint)


@catalog.command()
@click.argument("kind", type=click.Choice(KINDS), metavar="KIND")
@click.argument("word", metavar="WORD")
@click.option("--label", default="", help="Name for people; made from the word when left out.")
@click.option("--description", default="", help="What belongs to it.")
@click.option(
    "--token", "tokens", multiple=True, help="What stands for it in captions; of a tag one."
)
@click.option("--alias", "aliases", multiple=True, help="Another spelling that means it.")
@words("--color", "colors", "#RRGGBB", "Colours of a palette.")
@words("--default-tag", "default_tags", "T[,T]", "Tags of every new asset of an asset type.")
@click.option("--exclusive", is_flag=True, help="Of this tag group an image has one tag.")
@click.option("--requires-alpha", is_flag=True, help="Images of the type must be transparent.")
@click.option("--tileable", is_flag=True, help="Images of the type repeat without a seam.")
@click.option("--multi-frame", is_flag=True, help="An asset of the type has several frames.")
@click.option("--counts", default="", metavar="MIN:FROM-TO", help="Images that a LoRA of it needs.")
@click.option("--suite", default="", metavar="ID", help="Evaluation suite of the type.")
@click.option("--checkpoint", default="", metavar="ID", help="For this base model alone.")
@scope_option("baseline: shared by all projects.")
@writing_options
@click.pass_obj
def add(session: Session, /, kind: Any, word: str, **options: Any) -> None:
    """Add a word to a catalog.

    KIND is asset-type, style, scenario, palette, tag or tag-group. Writes one catalog, which is
    made when it is not there. Exits with 3 when the word is there already or is none.

    \b
    lora catalog add tag color:teal --token "teal" --alias cyan
    """
    from lora_pipeline.operations.catalog.catalog_words import add_word

    session.run(add_word, _added, kind, word, **options)


def _added(result: Result) -> Report:
    facts = result.data
    place = facts["project"] or "shared"
    own = f" · {facts['checkpoint']} alone" if facts["checkpoint"] else ""
    verb = "would add" if result.dry_run else "added"
    return Report(f"{verb} {facts['kind']} {facts['word']} · {place}{own}")


def _shown(result: Result) -> Report:
    data = result.data
    used = data["used"]
    types = [
        (one["id"], one["label"], _count(one), _wishes(one), used["assetTypes"].get(one["id"], 0))
        for one in data["assetTypes"]
    ]
    rows = [
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
        Table(("kind", "word", "prompt tokens"), rows),
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
