"""``lora dataset``: build, compare, verify and stage manifests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from lora_pipeline.cli import dataset_report as report
from lora_pipeline.cli.dataset_diff import diff
from lora_pipeline.cli.dataset_options import scope_option
from lora_pipeline.cli.dataset_sheet import sheet
from lora_pipeline.cli.dataset_stats import stats
from lora_pipeline.cli.options import shared_options, words, writing_options
from lora_pipeline.cli.session import Session

F = TypeVar("F", bound=Callable[..., Any])
_SHOWN = 20
_STATUSES = ("draft", "review", "approved", "rejected", "deprecated")
_STRATEGIES = ("tags", "tags+spec", "tags+spec+title")


@click.group()
def dataset() -> None:
    """Build, compare, verify and stage manifests.

    A manifest is the hashed list of images and captions that a rule chose. Its content hash
    names what training sees, and nothing else.
    """


def _options(*options: Callable[[F], F]) -> Callable[[F], F]:
    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


_selecting = _options(
    click.option("--status", type=click.Choice(_STATUSES), help="Approval status [approved]."),
    words("--asset-type", "asset_types", "T[,T]", "Asset types that are taken."),
    words("--tag", "tags", "TAG[,TAG]", "Tags that an image must carry."),
    click.option("--tag-any", is_flag=True, default=None, help="One of the tags is enough."),
    words("--not-tag", "not_tags", "TAG[,TAG]", "Tags that an image must not carry."),
    words("--style", "styles", "STYLE", "Styles that are taken."),
    words("--scenario", "scenarios", "SCENARIO", "Scenarios that are taken."),
    click.option("--checkpoint", metavar="ID", help="Leave out art of other checkpoints."),
    click.option("--min-rating", type=int, metavar="0-5", help="Lowest rating that is taken."),
    click.option("--spec-tags/--no-spec-tags", default=None, help="Count tags of specs [yes]."),
)
_captioning = _options(
    click.option("--caption", type=click.Choice(_STRATEGIES), help="What captions are made of."),
    click.option(
        "--with-tokens/--no-tokens", default=None, help="Add the catalog's prompt tokens [no]."
    ),
    click.option("--trigger", "trigger_word", metavar="WORD", help="First word of every caption."),
    click.option("--prefix", metavar="TEXT", help="Words after the trigger word."),
    click.option("--suffix", metavar="TEXT", help="Last words of every caption."),
)
_provenance = _options(
    *(
        click.option(f"--provenance-{name}", metavar="TEXT", help=f"Provenance: {name}.")
        for name in ("source", "author", "license", "url", "notes")
    )
)


@dataset.command("build")
@click.argument("dataset_id", metavar="[ID]", required=False)
@click.option("--id", "id_option", metavar="ID", help="Id of the manifest, as the argument.")
@_selecting
@_captioning
@click.option("--background", metavar="#RRGGBB", help="Colour below transparency [#FFFFFF].")
@click.option("--held-out", type=float, metavar="SHARE", help="Share held out of training [0].")
@_provenance
@scope_option
@click.option("--explain", is_flag=True, help="List every asset that is left out, and why.")
@writing_options
@click.pass_obj
def build(
    session: Session, /, dataset_id: str | None, id_option: str | None, **options: Any
) -> None:
    """Build a manifest, or build one again.

    Reads the assets that match, hashes each image, and writes one manifest: every image, its
    caption and its digest. With an id alone the rule that the manifest was built by is
    repeated; when nothing changed, not a byte of it does. Options that choose images replace
    the stored selection as a whole; the others change what they name.

    Left out of every manifest, and told: assets whose training rights are denied or withdrawn,
    rejected variants, images tagged issue:…, files that changed since import, exact duplicates.

    Exits with 0, with 3 when nothing is left to train on (the filter is named).

    \b
    lora dataset build --asset-type ui_icon --tag style:flat --trigger nctyicon
    lora dataset build ui_icon_flat
    """
    if dataset_id and id_option and dataset_id != id_option:
        raise click.UsageError("the id is given twice, and differs")
    from lora_pipeline.operations.dataset import build_dataset

    session.run(build_dataset, report.built, dataset_id or id_option, **options)


@dataset.command("list")
@click.option("--scope", type=click.Choice(["project", "baseline"]), help="Only these.")
@shared_options
@click.pass_obj
def list_command(session: Session, scope: Any) -> None:
    """List manifests.

    Reads the manifests of the project and the shared ones; all there are when no project is
    chosen. Exits with 0.

    \b
    lora dataset list
    """
    from lora_pipeline.operations.dataset_views import list_datasets

    session.run(list_datasets, report.listed, project=session.project, scope=scope)


@dataset.command("show")
@click.argument("dataset_id", metavar="ID")
@click.option("--explain", metavar="ASSET", help="Caption of an asset word by word, or why not.")
@click.option("--all", "every", is_flag=True, help="Show every image.")
@scope_option
@shared_options
@click.pass_obj
def show(session: Session, dataset_id: str, explain: str | None, every: bool, scope: Any) -> None:
    """Show a manifest: rule, images, captions.

    Reads the manifest; with --explain also the asset and its words. Exits with 0, with 3 when
    there is no such manifest or asset.

    \b
    lora dataset show ui_icon_flat --explain 01JA…
    """
    from lora_pipeline.operations.dataset_views import show_dataset

    text = report.explained if explain else report.shown(_SHOWN if not every else None)
    session.run(show_dataset, text, dataset_id, scope=scope, explain=explain)


dataset.add_command(sheet)
dataset.add_command(stats)
dataset.add_command(diff)


@dataset.command("verify")
@click.argument("dataset_id", metavar="ID")
@scope_option
@shared_options
@click.pass_obj
def verify(session: Session, dataset_id: str, scope: Any) -> None:
    """Read every image anew and compare digests.

    Reads the manifest and its images, and computes the content hash anew. A Git LFS pointer
    proves an image that was not fetched. Exits with 0, with 1 when anything differs.

    \b
    lora dataset verify ui_icon_flat
    """
    from lora_pipeline.operations.dataset_files import verify_dataset

    session.run(verify_dataset, report.verified, dataset_id, scope=scope)


@dataset.command("stage")
@click.argument("dataset_id", metavar="ID")
@scope_option
@writing_options
@click.pass_obj
def stage(session: Session, dataset_id: str, scope: Any) -> None:
    """Make the folder that trainers read.

    Reads the manifest and its images and writes a folder below .lora/staging that is named by
    its content: 000001.png with 000001.txt beside it, upright, sRGB, without transparency and
    metadata. Training does the same by itself. Exits with 0, with 3 when an image is missing
    or not what the manifest says.

    \b
    lora dataset stage ui_icon_flat
    """
    from lora_pipeline.operations.dataset_files import stage_dataset

    session.run(stage_dataset, report.staged, dataset_id, scope=scope)
