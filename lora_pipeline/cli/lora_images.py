"""``lora add-images``: from a folder of images to the dataset of a LoRA, in one step."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from lora_pipeline.cli.lora_options import scope_option
from lora_pipeline.cli.options import words, writing_options
from lora_pipeline.cli.output import Report, counted
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.canonical import short
from lora_pipeline.foundation.result import Result

ScopeName = Literal["project", "baseline"]


@click.command("add-images")
@click.argument("lora", metavar="ID")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--approve", is_flag=True, help="Approve them: you picked them by hand.")
@click.option("--note", default="", metavar="TEXT", help="With --approve: what you say of them.")
@click.option("--asset-type", default="", metavar="TYPE", help="Which one, when ID has several.")
@click.option("--dataset", default="", metavar="ID", help="Dataset; else the one called as ID.")
@words("--tag", "tags", "TAG[,TAG]", "Tag of every image; may be given several times.")
@click.option("--style", default="", help="Style of what is described with none.")
@click.option("--scenario", default="", help="Scenario of what is described with none.")
@click.option("--source", default="", help="Where the art was taken from.")
@click.option("--author", default="", help="Who made it.")
@click.option("--license", "license_id", default="", help="Licence it stands under, as SPDX id.")
@click.option("--url", default="", help="Where it was published.")
@click.option(
    "--rights", type=click.Choice(["allowed", "denied", "unknown"]), default="unknown",
    show_default=True, help="Whether it may be trained on.",
)  # fmt: skip
@click.option(
    "--metadata", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
    help="File that describes the images, such as captions.json.",
)  # fmt: skip
@click.option(
    "--captions", type=click.Choice(["auto", "text", "tags", "booru", "none"]), default="auto",
    show_default=True, help="What captions become: a description, or tags.",
)  # fmt: skip
@click.option("--add-tags", is_flag=True, help="Put words that no catalog has into the project's.")
@click.option("--skip-bad", is_flag=True, help="Add the good files when others are bad.")
@scope_option
@writing_options
@click.pass_obj
def add_images(session: Session, /, **given: Any) -> None:
    """Add the images of a folder to a LoRA.

    They are imported as lora asset import does it, and wait for review. What is approved joins
    the dataset that is called as the LoRA, which lora train takes when --dataset is left out.
    With --approve they are approved by you in the same step; without it approve them, and give
    the same command again. Captions of 10 to 500 characters beside the images, or in
    --metadata, are trained on word for word after the trigger word.

    Writes specs, assets and images of the project, and datasets/ID.json. Exits with 1 when a
    file is bad (nothing was written) or an image may not be trained on.

    \b
    lora add-images ui_icons art/icons --approve --rights allowed --license CC0-1.0
    lora add-images ui_icons art/new --metadata captions.json
    """
    from lora_pipeline.operations.releases import lora_images as operations

    metadata = given["metadata"]
    same = (
        "asset_type", "dataset", "tags", "style", "scenario", "source", "author", "url", "rights",
        "captions", "add_tags", "skip_bad", "scope",
    )  # fmt: skip
    facts: dict[str, Any] = {name: given[name] for name in same} | {
        "license": given["license_id"],
        "metadata": str(metadata.absolute()) if metadata else "",
        "project": session.project,
    }
    folder = str(given["folder"].absolute())
    if given["note"] and not given["approve"]:
        raise click.UsageError("--note is what is said with --approve.")
    if given["approve"]:
        session.run(
            operations.add_approved_images, _added, given["lora"], folder, note=given["note"],
            **facts,
        )  # fmt: skip
        return
    session.run(operations.add_images, _added, given["lora"], folder, **facts)


def _added(result: Result) -> Report:
    data = result.data
    if result.refusal is not None and "waiting" not in data:
        bad = data["imported"].get("refused", [])
        rows = [(one["file"], one["reason"]) for one in bad[:12]]
        return Report(f"refused · {result.refusal.message}", rows)
    verb = "would be added" if result.dry_run else "added"
    count = data.get("added", data["imported"]["imported"])
    rows = []
    if data.get("alreadyThere"):
        rows.append(("there", f"{counted(data['alreadyThere'], 'image')} the project had"))
    if data.get("approved"):
        rows.append(("approved", counted(len(data["approved"]), "image")))
    if data.get("waiting"):
        rows.append(("waiting", f"{counted(len(data['waiting']), 'image')} for approval"))
    if not result.dry_run:
        rows.append(("dataset", _dataset(data)))
    return Report(f"{data['loraId']} · {counted(count, 'image')} {verb}", rows)


def _dataset(data: Any) -> str:
    if not data["manifestHash"]:
        return f"{data['datasetId']} is built once images are approved"
    wanted = ""
    if data["recommendedFrom"]:
        wanted = f"; {data['recommendedFrom']} to {data['recommendedTo']} are recommended"
    images = counted(data["imageCount"], "image")
    return (
        f"{data['datasetId']} · {images} ({data['level']}{wanted}) · {short(data['manifestHash'])}"
    )
