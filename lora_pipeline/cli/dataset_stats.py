"""``lora dataset stats``: count what is in a manifest."""

from __future__ import annotations

from typing import Any

import click

from lora_pipeline.cli.dataset_options import scope_option
from lora_pipeline.cli.options import shared_options
from lora_pipeline.cli.output import Report, Table, counted, size_text
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result


@click.command("stats")
@click.argument("dataset_id", metavar="ID")
@scope_option
@shared_options
@click.pass_obj
def stats(session: Session, dataset_id: str, scope: Any) -> None:
    """Count images by tag, size, licence and split.

    Reads the manifest. Exits with 0.

    \b
    lora dataset stats ui_icon_flat
    """
    from lora_pipeline.operations.dataset_views import count_dataset

    session.run(count_dataset, counts, dataset_id, scope=scope)


def counts(result: Result) -> Report:
    """Say the counts of a manifest."""
    data = result.data
    tables = [
        Table((title, "images"), [(one["value"] or "none", one["images"]) for one in data[key]])
        for title, key in (("tag", "tags"), ("pixels", "sizes"), ("licence", "licenses"))
    ]
    return Report(
        f"{data['datasetId']} · {counted(data['images'], 'image')} · {size_text(data['bytes'])}",
        [("split", " · ".join(f"{one['images']} {one['value']}" for one in data["splits"]))],
        tables,
    )
