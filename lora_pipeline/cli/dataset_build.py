"""``lora dataset build``: the rule on the command line, and the manifest that it makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lora_pipeline.cli import dataset_report as report
from lora_pipeline.cli.dataset_options import scope_option
from lora_pipeline.cli.options import together, words, writing_options
from lora_pipeline.cli.session import Session

_STATUSES = ("draft", "review", "approved", "rejected", "deprecated")
_ALPHA = ("background", "mask")
_STRATEGIES = ("tags", "tags+spec", "tags+spec+title")


_selecting = together(
    click.option("--status", type=click.Choice(_STATUSES), help="Approval status [approved]."),
    words("--asset-type", "asset_types", "T[,T]", "Asset types that are taken."),
    words("--tag", "tags", "TAG[,TAG]", "Tags that an image must carry."),
    click.option("--tag-any", is_flag=True, default=None, help="One of the tags is enough."),
    words("--not-tag", "not_tags", "TAG[,TAG]", "Tags that an image must not carry."),
    words("--style", "styles", "STYLE", "Styles that are taken."),
    words("--scenario", "scenarios", "SCENARIO", "Scenarios that are taken."),
    words("--checkpoint", "checkpoints", "ID[,ID]", "Leave out art of other checkpoints."),
    words("--license", "licenses", "LIC[,LIC]", "Licences that are taken."),
    click.option("--since", metavar="DAY", help="Leave out what was made before this day."),
    click.option("--min-rating", type=int, metavar="0-5", help="Lowest rating that is taken."),
    click.option(
        "--from-file",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Text file with the ids that are taken, one on each line.",
    ),
    click.option("--spec-tags/--no-spec-tags", default=None, help="Count tags of specs [yes]."),
)
_limiting = together(
    click.option("--limit", type=int, metavar="N", help="At most N images; 0 for no limit."),
    click.option("--balance", metavar="GROUP", help="Show the tags of this group evenly."),
    click.option(
        "--limit-each", type=int, metavar="N", help="At most N images of each balanced tag."
    ),
    click.option("--seed", type=int, metavar="N", help="Seed of the draw [0]."),
)
_captioning = together(
    click.option("--caption", type=click.Choice(_STRATEGIES), help="What captions are made of."),
    click.option(
        "--with-tokens/--no-tokens", default=None, help="Add the catalog's prompt tokens [no]."
    ),
    click.option("--trigger", "trigger_word", metavar="WORD", help="First word of every caption."),
    click.option("--prefix", metavar="TEXT", help="Words after the trigger word."),
    click.option("--suffix", metavar="TEXT", help="Last words of every caption."),
    click.option(
        "--template", metavar="FORM", help="tags, sentence, or text with slots such as {tags}."
    ),
)
_provenance = together(
    *(
        click.option(f"--provenance-{name}", metavar="TEXT", help=f"Provenance: {name}.")
        for name in ("source", "author", "license", "url", "notes")
    )
)


@click.command("build")
@click.argument("dataset_id", metavar="[ID]", required=False)
@click.option("--id", "id_option", metavar="ID", help="Id of the manifest, as the argument.")
@_selecting
@_limiting
@_captioning
@click.option("--background", metavar="#RRGGBB", help="Colour below transparency [#FFFFFF].")
@click.option(
    "--alpha",
    type=click.Choice(_ALPHA),
    help="Transparency is laid on the background, or is a mask of the loss, too [background].",
)
@click.option("--held-out", type=float, metavar="SHARE", help="Share held out of training [0].")
@_provenance
@scope_option
@click.option("--explain", is_flag=True, help="List every asset that is left out, and why.")
@click.option("--stage", is_flag=True, help="Make the folder that trainers read, too.")
@writing_options
@click.pass_obj
def build(
    session: Session,
    /,
    dataset_id: str | None,
    id_option: str | None,
    from_file: Path | None,
    **options: Any,
) -> None:
    """Build a manifest, or build one again.

    Reads the assets that match, hashes each image, and writes one manifest: every image, its
    caption and its digest. With an id alone the rule that the manifest was built by is
    repeated; when nothing changed, not a byte of it does. Options that choose images replace
    the stored selection as a whole; the others, limits among them, change what they name.

    Left out of every manifest, and told: assets whose training rights are denied or withdrawn,
    rejected variants, images tagged issue:…, files that changed since import, exact duplicates.

    A limit keeps the best rated images, and draws between equals by seed and content digest:
    ids and the order of an import do not matter. --balance alone takes as many images of each
    tag of the group as the rarest one has.

    Exits with 0, with 3 when nothing is left to train on (the filter is named).

    \b
    lora dataset build --asset-type ui_icon --tag style:flat --trigger nctyicon
    lora dataset build ui_icon_flat
    lora dataset build ui_icon_flat --balance color --limit 40
    """
    if None not in (dataset_id, id_option) and dataset_id != id_option:
        raise click.UsageError("the id is given twice, and differs")
    from lora_pipeline.operations.datasets.dataset import build_dataset

    listed = str(from_file.absolute()) if from_file else None
    name = id_option if dataset_id is None else dataset_id
    session.run(build_dataset, report.built, name, from_file=listed, **options)
