"""``lora dataset``: build, compare, verify and stage manifests."""

from __future__ import annotations

from typing import Any

import click

from lora_pipeline.cli import dataset_report as report
from lora_pipeline.cli.dataset_build import build
from lora_pipeline.cli.dataset_check import check
from lora_pipeline.cli.dataset_croissant import croissant
from lora_pipeline.cli.dataset_diff import diff
from lora_pipeline.cli.dataset_export import export
from lora_pipeline.cli.dataset_impact import impact
from lora_pipeline.cli.dataset_options import scope_option
from lora_pipeline.cli.dataset_sheet import sheet
from lora_pipeline.cli.dataset_stats import stats
from lora_pipeline.cli.options import shared_options, writing_options
from lora_pipeline.cli.session import Session

_SHOWN = 20


@click.group()
def dataset() -> None:
    """Build, compare, verify and stage manifests.

    A manifest is the hashed list of images and captions that a rule chose. Its content hash
    names what training sees, and nothing else.
    """


dataset.add_command(build)


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
    from lora_pipeline.operations.datasets.dataset_views import list_datasets

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

    Reads the manifest. With --explain it says of one asset (id, or the end of it) where every
    word of its caption comes from, or why it is left out; for that the rule is followed again,
    and nothing is written. Exits with 0, with 3 when there is no such manifest or asset.

    \b
    lora dataset show ui_icon_flat --explain 4FQ2ZP
    """
    from lora_pipeline.operations.datasets.dataset_views import show_dataset

    text = report.explained if explain else report.shown(_SHOWN if not every else None)
    session.run(show_dataset, text, dataset_id, scope=scope, explain=explain)


dataset.add_command(sheet)
dataset.add_command(stats)
dataset.add_command(check)
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
    from lora_pipeline.operations.datasets.dataset_files import verify_dataset

    session.run(verify_dataset, report.verified, dataset_id, scope=scope)


@dataset.command("stage")
@click.argument("dataset_id", metavar="ID")
@scope_option
@writing_options
@click.pass_obj
def stage(session: Session, dataset_id: str, scope: Any) -> None:
    """Make the folder that trainers read.

    Reads the manifest and its images and writes a folder below .lora/staging that is named by
    its content: images named by their digest, each with a text file beside it; upright, sRGB,
    without transparency and metadata. A dataset that was built with --alpha mask gets a mask of
    each image's transparency, too. Training does the same by itself. Exits with 0, with 3 when
    an image is missing or not what the manifest says.

    \b
    lora dataset stage ui_icon_flat
    """
    from lora_pipeline.operations.datasets.dataset_files import stage_dataset

    session.run(stage_dataset, report.staged, dataset_id, scope=scope)


dataset.add_command(impact)
dataset.add_command(croissant)
dataset.add_command(export)
