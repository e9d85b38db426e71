"""``lora dataset export``: a manifest as a folder that another tool reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lora_pipeline.cli.dataset_options import scope_option
from lora_pipeline.cli.options import writing_options
from lora_pipeline.cli.output import Report, counted
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result

_LAYOUTS = ("kohya", "imagefolder", "taggui", "ai-toolkit", "onetrainer", "csv")
_MASKS_STAND = {
    "kohya": "in masks, for --dataset_config dataset.toml --masked_loss, started in the folder",
    "ai-toolkit": "in masks, which is its mask_path; its folder_path is images",
    "onetrainer": "beside the images, for masked training",
    "imagefolder": "in masks, named in the column mask",
    "csv": "in masks, named in the column mask",
}
_SHOWN = 4


@click.command("export")
@click.argument("dataset_id", metavar="ID")
@click.option(
    "--format", "layout", required=True, type=click.Choice(_LAYOUTS), help="Whose folder it is."
)
@click.option(
    "--to",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Folder of the export; a new one, an empty one, or one of an earlier export.",
)
@click.option("--originals", "images", flag_value="originals", help="Images as they are.")
@click.option(
    "--normalised", "images", flag_value="normalised", help="As training sees them [all but csv]."
)
@click.option(
    "--split",
    type=click.Choice(["train", "held-out", "all"]),
    default="train",
    show_default=True,
    help="Which images; held-out ones stand apart.",
)
@click.option(
    "--repeats", type=int, default=1, metavar="N", help="kohya: times that images are shown [1]."
)
@click.option("--words", default="", help="kohya: class words of the folder [trigger word].")
@click.option("--link", is_flag=True, help="Hard links to originals; do not edit them then.")
@scope_option
@writing_options
@click.pass_obj
def export(session: Session, /, *, dataset_id: str, to: Path, **options: Any) -> None:
    """Write the folder that another tool reads.

    Reads the manifest, its images and their records. Writes images with captions into DIR: as
    kohya's 10_words folders, as a Hugging Face imagefolder with metadata.jsonl, as images with
    side-car .txt files for TagGUI, ai-toolkit, OneTrainer and the many tools that read the same,
    or as images with assets.csv. Of a dataset that was built with --alpha mask every image has
    its mask, where the format knows masks. Every image is proven by its digest first, and held-out
    images are left out unless --split asks for them.

    Nothing is written over but what an earlier export wrote and nobody changed since. Exporting
    again brings the folder up to date; when nothing changed, nothing is written.

    Exits with 0; with 1 when DIR holds anything else, or rights forbid; with 3 when an image is
    missing or not what the manifest says.

    \b
    lora dataset export ui_icon_flat --format kohya --to ~/train/icons --repeats 10
    lora dataset export ui_icon_flat --format csv --to ~/handover --split all
    """
    from lora_pipeline.operations.datasets.dataset_export import export_dataset

    session.run(export_dataset, exported, dataset_id, to=str(to.absolute()), **options)


def exported(result: Result) -> Report:
    """Say what an export wrote."""
    data = result.data
    if result.refusal is not None:
        rows = [("", name) for name in data["files"][:_SHOWN]]
        more = len(data["files"]) - _SHOWN
        rows += [("", f"… and {more} more (--json lists all)")] if more > 0 else []
        return Report(f"refused · {result.refusal.message}", rows=rows)
    verb = "would be exported" if result.dry_run else "exported"
    state = verb if data["made"] else "there already"
    head = f"{data['datasetId']} · {counted(data['images'], 'image')} {state} for {data['layout']}"
    ground = f", transparency laid on {data['background']}" if data["background"] else ""
    rows = [("folder", data["folder"]), ("images", f"{data['pictures']}{ground}")]
    if data["masks"]:
        rows.append(("masks", f"{data['masks']} {_MASKS_STAND[data['layout']]}"))
    if data["heldOut"]:
        rows.append(("held out", f"{counted(data['heldOut'], 'image')}, in a folder apart"))
    if data["made"] and not result.dry_run:
        rows.append(("wrote", counted(len(data["writtenFiles"]), "file")))
        if data["kept"]:
            rows.append(("kept", counted(data["kept"], "file")))
        if data["removedFiles"]:
            rows.append(("removed", counted(len(data["removedFiles"]), "file")))
    return Report(head, rows=rows)
