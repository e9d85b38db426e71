"""lora asset: import art, decide about it, tag it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lora_pipeline.cli import asset_report as report
from lora_pipeline.cli.options import shared_options, together, words, writing_options
from lora_pipeline.cli.session import Session

_STATUSES = ("draft", "review", "approved", "rejected", "deprecated")
_RIGHTS = ("allowed", "denied", "unknown")


@click.group()
@shared_options
def asset() -> None:
    """Import, approve and tag art.

    An asset is one piece of art: its image, its tags, where it comes from, whether it may be
    trained on, and what a reviewer said.
    """


_filters = together(
    words("--tag", "tags", "TAG[,TAG]", "Only assets with all these tags."),
    words("--asset-type", "asset_types", "T[,T]", "Only assets of these types."),
    click.option(
        "--status",
        "statuses",
        multiple=True,
        type=click.Choice(_STATUSES),
        help="Only assets of this status; may be given several times.",
    ),
    click.option(
        "--title",
        "titles",
        multiple=True,
        metavar="TEXT",
        help="Only assets of this title; * stands for anything.",
    ),
    words("--style", "styles", "S[,S]", "Only assets of these styles."),
)
_choosing = together(
    click.argument("ids", nargs=-1, metavar="[ID]..."),
    click.option("--all", "everything", is_flag=True, help="All assets."),
    _filters,
    click.option(
        "--from-file",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Text file with one id on each line.",
    ),
)


@asset.command("import")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--asset-type", required=True, metavar="T", help="Type of what is described with none."
)
@words("--tag", "tags", "TAG[,TAG]", "Tag of every image; may be given several times.")
@click.option("--style", default="", help="Style of what is described with none.")
@click.option("--scenario", default="", help="Scenario of what is described with none.")
@click.option("--source", default="", help="Where the art was taken from.")
@click.option("--author", default="", help="Who made it.")
@click.option("--license", "license_id", default="", help="Licence it stands under, as SPDX id.")
@click.option("--url", default="", help="Where it was published.")
@click.option("--notes", default="", help="Anything else about its origin.")
@click.option(
    "--rights",
    type=click.Choice(_RIGHTS),
    default="unknown",
    show_default=True,
    help="Whether it may be trained on.",
)
@click.option(
    "--metadata",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="CSV, JSON or JSONL file that describes the images.",
)
@click.option(
    "--map",
    "columns",
    multiple=True,
    metavar="COLUMN=NAME",
    help="What a column of that file is called: title=Name,tags=Keywords.",
)
@click.option("--encoding", default="", metavar="NAME", help="Encoding of text files [UTF-8].")
@click.option(
    "--layout",
    type=click.Choice(["plain", "kohya"]),
    default="plain",
    show_default=True,
    help="kohya: images stand in folders 10_words.",
)
@words(
    "--folder-tags", "folder_tags", "GROUP[,GROUP]", "Folder levels become tags; - skips a level."
)
@click.option(
    "--captions",
    type=click.Choice(["auto", "text", "tags", "booru", "none"]),
    default="auto",
    show_default=True,
    help="What captions become: a description, or tags.",
)
@click.option("--tag-group", default="", metavar="GROUP", help="Group of words that are no tags.")
@click.option("--in-place", is_flag=True, help="Refer to images below assetsRoot; copy nothing.")
@click.option("--add-tags", is_flag=True, help="Put words that no catalog has into the project's.")
@click.option(
    "--fix-extension", is_flag=True, help="Import a JPEG that is called .png as what it is."
)
@click.option("--skip-bad", is_flag=True, help="Import the good files when others are bad.")
@writing_options
@click.pass_obj
def import_folder(
    session: Session,
    /,
    *,
    folder: Path,
    asset_type: str,
    tags: tuple[str, ...],
    style: str,
    scenario: str,
    source: str,
    author: str,
    license_id: str,
    url: str,
    notes: str,
    rights: Any,
    metadata: Path | None,
    columns: tuple[str, ...],
    encoding: str,
    layout: Any,
    folder_tags: tuple[str, ...],
    captions: Any,
    tag_group: str,
    in_place: bool,
    add_tags: bool,
    fix_extension: bool,
    skip_bad: bool,
) -> None:
    """Import a folder of images; they wait for review.

    Reads PNG, JPEG and WebP files in DIR and below. Title, tags, type, style, origin and
    rights may come from assets.csv, assets.json, metadata.csv or metadata.jsonl in a folder
    (columns file, title, tags, assetType, style, scenario, prompt, caption, source, author,
    license, url, notes, trainingRights, consent, rating, sha256), from a table of any other
    columns with --metadata and --map, or from files beside an image: NAME.txt or NAME.caption
    with its caption, NAME.json with the same names. What is said of one image weighs more than
    the options. docs/import.md shows folders of kohya, Hugging Face, TagGUI and others.

    Every image is decoded first. When one file is bad nothing is written, the answer is no
    (exit 1), and every bad file is listed with its reason. With --skip-bad the others are
    imported. An image that the project has already is left out, so importing a folder again
    adds nothing, and completes an import that was interrupted.

    Writes a spec and an asset for each image, with a copy below files/images/.

    \b
    lora asset import art/icons --asset-type ui_icon --folder-tags color,style
    lora asset import train/img --asset-type ui_icon --layout kohya --captions tags
    lora asset import art --asset-type ui_icon --metadata dam.csv --map file=Filename,tags=Keywords
    """
    from lora_pipeline.operations.catalog.asset_import import import_assets

    session.run(
        import_assets,
        report.imported,
        str(folder.absolute()),
        asset_type=asset_type,
        tags=tags,
        style=style,
        scenario=scenario,
        source=source,
        author=author,
        license=license_id,
        url=url,
        notes=notes,
        rights=rights,
        metadata=str(metadata.absolute()) if metadata else "",
        columns=columns,
        encoding=encoding,
        layout=layout,
        folder_tags=folder_tags,
        captions=captions,
        tag_group=tag_group,
        in_place=in_place,
        add_tags=add_tags,
        fix_extension=fix_extension,
        skip_bad=skip_bad,
    )


@asset.command("list")
@_filters
@click.option(
    "--limit", default=50, show_default=True, metavar="N", help="Show so many; 0 shows all."
)
@shared_options
@click.pass_obj
def list_all(session: Session, /, *, limit: int, **filters: Any) -> None:
    """List assets with tags, status and rights.

    --json always holds all of them. Exits with 3 when a filter leaves nothing over.

    \b
    lora asset list --status review --tag style:flat
    """
    from lora_pipeline.operations.catalog.asset import list_assets

    session.run(list_assets, lambda result: report.listed(result, limit), **filters)


@asset.command()
@click.argument("asset_id", metavar="ID")
@shared_options
@click.pass_obj
def show(session: Session, asset_id: str) -> None:
    """Show one asset and what was decided about it.

    ID may be the end of an id, when no other asset ends like it.

    \b
    lora asset show 4TQW8Z
    """
    from lora_pipeline.operations.catalog.asset import show_asset

    session.run(show_asset, report.shown, asset_id)


@asset.command()
@_choosing
@click.option("--note", default="", help="What the reviewer says about them.")
@writing_options
@click.pass_obj
def approve(session: Session, /, *, note: str, from_file: Path | None, **choice: Any) -> None:
    """Approve assets for use in datasets.

    Without ids or --status only those that wait (draft, review) are meant. What was withdrawn
    or may not be trained on is left out; named by its id it is refused (exit 1), and nothing
    is written. Who approved and when is kept with the asset.

    \b
    lora asset approve --tag style:flat --note "matches the style sheet"
    """
    from lora_pipeline.operations.catalog.asset import approve_assets

    session.run(approve_assets, report.decided, note=note, from_file=_text_of(from_file), **choice)


@asset.command()
@_choosing
@click.option("--note", default="", help="What the reviewer says about them.")
@writing_options
@click.pass_obj
def reject(session: Session, /, *, note: str, from_file: Path | None, **choice: Any) -> None:
    """Reject assets: kept, and never trained on.

    Without ids or --status only those that wait (draft, review) are meant.

    \b
    lora asset reject --tag issue:artefact --note "broken export"
    """
    from lora_pipeline.operations.catalog.asset import reject_assets

    session.run(reject_assets, report.decided, note=note, from_file=_text_of(from_file), **choice)


@asset.command()
@_choosing
@click.option("--note", required=True, help="Why they must no longer be used.")
@writing_options
@click.pass_obj
def deprecate(session: Session, /, *, note: str, from_file: Path | None, **choice: Any) -> None:
    """Deprecate assets that must no longer be used.

    They are kept; no dataset takes them any more.

    \b
    lora asset deprecate --style flat_2023 --note "replaced by the 2024 set"
    """
    from lora_pipeline.operations.catalog.asset import deprecate_assets

    session.run(
        deprecate_assets, report.decided, note=note, from_file=_text_of(from_file), **choice
    )


@asset.command()
@_choosing
@words("--add", "add", "TAG[,TAG]", "Tag to add; may be given several times.")
@words("--remove", "remove", "TAG[,TAG]", "Tag to take off; may be given several times.")
@click.option("--add-tags", is_flag=True, help="Put tags that no catalog has into the project's.")
@writing_options
@click.pass_obj
def tag(session: Session, /, *, from_file: Path | None, **choice: Any) -> None:
    """Add tags to images and take tags off them.

    A tag that no catalog has, or a second tag of a group of which an image may have one, is
    refused (exit 1), and nothing is written. --tag chooses assets; --add and --remove change
    their tags.

    \b
    lora asset tag --title "*heart*" --add shape:heart --remove shape:circle
    """
    from lora_pipeline.operations.catalog.asset_words import tag_assets

    session.run(tag_assets, report.decided, from_file=_text_of(from_file), **choice)


@asset.command()
@_choosing
@click.option("--stars", required=True, type=click.IntRange(0, 5), help="0 takes a rating away.")
@writing_options
@click.pass_obj
def rate(session: Session, /, *, stars: int, from_file: Path | None, **choice: Any) -> None:
    """Rate assets with one to five stars.

    Datasets can ask for a lowest rating.

    \b
    lora asset rate 4TQW8Z 9KD2MM --stars 5
    """
    from lora_pipeline.operations.catalog.asset_words import rate_assets

    session.run(rate_assets, report.decided, stars, from_file=_text_of(from_file), **choice)


@asset.command()
@_choosing
@click.option("--expired", is_flag=True, help="Those whose licence or consent has ended.")
@click.option("--reason", default="", help="Why; it is kept with the asset.")
@writing_options
@click.pass_obj
def withdraw(session: Session, /, *, from_file: Path | None, **choice: Any) -> None:
    """Withdraw assets from training, for good.

    The images stay; no dataset takes them any more. Shows what they are part of, as lora
    dataset impact does. lora validate, promote and resolve refuse a release that was trained on
    them until somebody answers for it (lora release answer). A reason is needed, but for
    licences that have ended.

    \b
    lora asset withdraw 4TQW8Z --reason "the artist asked for it back"
    """
    from lora_pipeline.operations.catalog.asset_rights import withdraw_assets

    session.run(withdraw_assets, report.withdrawn, from_file=_text_of(from_file), **choice)


@asset.command()
@_choosing
@click.option("--set", "training", type=click.Choice(_RIGHTS), help="May it be trained on?")
@click.option("--license", default="", metavar="SPDX", help="Licence that the right rests on.")
@click.option("--consent", default="", help="Who consented, and where that is kept.")
@click.option("--expires", default="", metavar="DATE", help="Last day of it, or never.")
@click.option("--reason", default="", help="Why.")
@writing_options
@click.pass_obj
def rights(session: Session, /, *, from_file: Path | None, **choice: Any) -> None:
    """State licence, consent and the right to train.

    What is not said stays as it was; what was withdrawn stays withdrawn. A licence is an SPDX
    id, or a name of your own; one that looks like a misspelt SPDX id is refused (exit 3). After
    the last day an asset counts as withdrawn.

    \b
    lora asset rights --tag style:flat --set allowed --consent "contract 17, legal drive"
    lora asset rights 4TQW8Z --license CC-BY-4.0 --expires 2027-12-31
    """
    from lora_pipeline.operations.catalog.asset_rights import state_rights

    session.run(state_rights, report.decided, from_file=_text_of(from_file), **choice)


def _text_of(path: Path | None) -> str:
    return str(path.absolute()) if path else ""
