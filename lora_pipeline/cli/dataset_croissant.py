"""``lora dataset croissant``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lora_pipeline.cli.dataset_options import scope_option
from lora_pipeline.cli.options import writing_options
from lora_pipeline.cli.output import Report, counted
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result


@click.command()
@click.argument("dataset_id", metavar="ID")
@click.option(
    "--to",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of the export; a new one, an empty one, or one of an earlier export.",
)
@click.option("--images", is_flag=True, help="Hand on the images as well, as they were imported.")
@click.option("--url", default="", help="Page of the data set, which Croissant asks for.")
@scope_option
@writing_options
@click.pass_obj
def croissant(session: Session, /, *, dataset_id: str, to: Path, **options: Any) -> None:
    """Describe a manifest in Croissant.

    Reads the manifest and the records of its assets. Writes croissant.json and items.jsonl into
    DIR, and with --images the images: what is in it, under which licences, with which captions
    and digests, what is held out, where it comes from and how it was chosen. Croissant is the
    format of MLCommons; Hugging Face, Kaggle and mlcroissant read it.

    Exits with 0; with 1 when DIR holds anything else, or images that were withdrawn would be
    handed on; with 3 when an image is missing or not what the manifest says.

    \b
    lora dataset croissant ui_icon_flat --to ~/handover/icons --images
    """
    from lora_pipeline.operations.datasets.dataset_croissant import export_croissant

    session.run(export_croissant, described, dataset_id, to=str(to.absolute()), **options)


def described(result: Result) -> Report:
    """Say what was described."""
    data = result.data
    if result.refusal is not None:
        return Report(f"refused · {result.refusal.message}", [("", one) for one in data["files"]])
    state = "described" if data["made"] else "described already"
    if result.dry_run and data["made"]:
        state = "would be described"
    along = ", which go along" if data["withImages"] else ""
    head = f"{data['datasetId']} · {counted(data['images'], 'image')} {state} in Croissant{along}"
    rows = [("folder", data["folder"])]
    if data["made"] and not result.dry_run:
        rows.append(("wrote", counted(len(data["writtenFiles"]), "file")))
    return Report(head, rows)
