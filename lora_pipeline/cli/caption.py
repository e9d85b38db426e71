"""``lora caption``: look at what training is told about images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lora_pipeline.cli import caption_report as report
from lora_pipeline.cli.dataset_options import scope_option
from lora_pipeline.cli.options import shared_options
from lora_pipeline.cli.session import Session


@click.group()
def caption() -> None:
    """Check the captions of datasets.

    A caption is what training is told about an image. Its rule stands in the manifest; lora
    dataset build makes the captions from tags, titles and the catalog's words.
    """


@caption.command("lint")
@click.argument("dataset_id", metavar="[DATASET]", required=False)
@click.option("--checkpoint", metavar="ID", help="Model that will read them [the manifest's].")
@click.option("--lora", metavar="ID", help="LoRA whose model and trigger word count.")
@click.option("--trigger", "trigger_word", metavar="WORD", help="Trigger word [the manifest's].")
@click.option("--max-tokens", type=int, metavar="N", help="Tokens that the trainer reads.")
@click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Images with text files beside them, not a dataset.",
)
@click.option("--all", "every", is_flag=True, help="Show every finding.")
@scope_option
@shared_options
@click.pass_obj
def lint(
    session: Session, /, *, dataset_id: str | None, folder: Path | None, every: bool, **options: Any
) -> None:
    """Check captions against the rules.

    Reads a manifest, or all of the project: empty captions, characters that nobody sees, text
    that a program would read as an instruction, a trigger word that is missing or in other
    letters, captions that many images share, and more tokens than the text encoders read.
    Tokens are counted by the checkpoint's tokenizer when it is at hand, else estimated. With
    --folder it checks text files beside images instead, before they are imported.

    Writes nothing. Exits with 0, with 1 when there are findings at error level.

    \b
    lora caption lint ui_icon_flat --lora ui_icons
    lora caption lint --folder ~/art/icons --trigger nctyicon
    """
    from lora_pipeline.operations.datasets.caption import lint_captions_of

    place = str(folder.absolute()) if folder else None
    text = report.linted(every=every)
    session.run(lint_captions_of, text, dataset_id, folder=place, **options)
