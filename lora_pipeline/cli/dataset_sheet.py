"""``lora dataset sheet``: contact sheets with captions."""

from __future__ import annotations

from typing import Any

import click

from lora_pipeline.cli.dataset_options import scope_option
from lora_pipeline.cli.options import words, writing_options
from lora_pipeline.cli.output import Report, counted
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result


@click.command("sheet")
@click.argument("dataset_id", metavar="ID")
@words("--tag", "tags", "TAG[,TAG]", "Only images with all of these tags.")
@click.option("--split", type=click.Choice(["train", "held_out"]), help="Only this side.")
@click.option("--out", default="", metavar="FILE", help="A .webp or .png [below .lora/sheets].")
@click.option("--per-page", type=int, default=96, metavar="N", help="Images on a page [96].")
@click.option(
    "--font",
    default="",
    metavar="FILE",
    help="Font for letters that the bundled one lacks; bundled: no other one.",
)
@scope_option
@writing_options
@click.pass_obj
def sheet(session: Session, /, dataset_id: str, **options: Any) -> None:
    """Draw contact sheets with captions.

    Reads the manifest and its images; small pictures of them are kept below .lora/cache by
    content, so that a second sheet is quick. Writes one WebP or PNG, or numbered ones where
    the images need several pages, outside the records and without metadata. An image that
    cannot be shown is a hatch that says why. Exits with 0.

    \b
    lora dataset sheet ui_icon_flat
    lora dataset sheet ui_icon_flat --split held_out --out held-out.png
    """
    from lora_pipeline.operations.datasets.dataset_sheet import draw_dataset

    session.run(draw_dataset, drawn, dataset_id, **options)


def drawn(result: Result) -> Report:
    """Say what was drawn."""
    data = result.data
    shown, pages = data["shown"], len(data["pages"])
    headline = f"{data['datasetId']} · {counted(shown, 'image')}"
    if shown != data["images"]:
        headline += f" of {data['images']}"
    headline += f" on {counted(pages, 'page')}"
    rows = []
    if data["fonts"]:
        rows.append(("letters", f"beyond the bundled font from {', '.join(data['fonts'])}"))
    return Report(headline, rows)
