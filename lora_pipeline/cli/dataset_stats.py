"""``lora dataset stats``: count what is in a manifest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import click

from lora_pipeline.cli.dataset_options import scope_option
from lora_pipeline.cli.options import shared_options
from lora_pipeline.cli.output import Report, Share, Table, counted, size_text
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result

_SHOWN = 12  # values of one kind
_SPLITS = {"train": "to train on", "held_out": "held out"}
_FACTS = (
    ("pixels", "sizes"),
    ("shorter side", "shorterSides"),
    ("shape", "aspectRatios"),
    ("licence", "licenses"),
    ("author", "authors"),
    ("source", "sources"),
    ("split", "splits"),
)


@click.command("stats")
@click.argument("dataset_id", metavar="ID")
@click.option("--all", "every", is_flag=True, help="Show every value.")
@scope_option
@shared_options
@click.pass_obj
def stats(session: Session, dataset_id: str, every: bool, scope: Any) -> None:
    """Count images by tag, size, licence, author and split.

    Reads the manifest, and the records of its assets for author and source. Shows the most
    frequent values with bars, and how many images carry no tag of a group; --json has them
    all. Exits with 0.

    \b
    lora dataset stats ui_icon_flat
    """
    from lora_pipeline.operations.datasets.dataset_stats import count_dataset

    session.run(count_dataset, counts(None if every else _SHOWN), dataset_id, scope=scope)


def counts(limit: int | None) -> Callable[[Result], Report]:
    """Return what says the counts of a manifest, at most ``limit`` values of a kind."""

    def text(result: Result) -> Report:
        data = result.data
        facts = [(title, _named(data[key])) for title, key in _FACTS]
        facts.append(("caption", data["captionLengths"]["classes"]))
        # What is the same for all images is one line; the rest is told in tables.
        one_size = len(data["sizes"]) == 1
        facts = [fact for fact in facts if not (one_size and fact[0] == "shorter side")]
        rows = [(title, f"{values[0]['value']}") for title, values in facts if len(values) == 1]
        rows.append(("captions", _lengths(data["captionLengths"])))
        several = [(title, values) for title, values in facts if len(values) > 1]
        groups = [(one["group"], _with_others(one)) for one in data["tagGroups"]]
        tables = [
            Table(("tag group", "value", "images", ""), list(_rows(groups, data, limit))),
            Table(("", "value", "images", ""), list(_rows(several, data, limit))),
        ]
        headline = f"{data['datasetId']} · {counted(data['images'], 'image')}"
        headline += f" · {size_text(data['bytes'])}"
        return Report(headline, rows, [table for table in tables if table.rows])

    return text


def _named(values: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one | {"value": _SPLITS.get(one["value"], one["value"]) or "none"} for one in values]


def _with_others(group: dict[str, Any]) -> list[dict[str, Any]]:
    without = [{"value": "none of them", "images": group["without"]}] if group["without"] else []
    return [*group["values"], *without]


def _lengths(lengths: dict[str, Any]) -> str:
    words, characters = lengths["words"], lengths["characters"]
    return (
        f"{_span(words)} words, median {words['median']:g} · "
        f"{_span(characters)} characters, median {characters['median']:g}"
    )


def _span(spread: dict[str, Any]) -> str:
    if spread["shortest"] == spread["longest"]:
        return str(spread["longest"])
    return f"{spread['shortest']} to {spread['longest']}"


def _rows(
    kinds: Sequence[tuple[str, Sequence[dict[str, Any]]]], data: Any, limit: int | None
) -> Iterator[tuple[object, ...]]:
    """Yield the rows of one table: a title beside the first value of each kind."""
    for title, values in kinds:
        shown = values[:limit]
        for number, one in enumerate(shown):
            images = one["images"]
            part = images / data["images"]
            amount = f"{images:>5}  {part:>4.0%}"
            yield (title if number == 0 else "", one["value"], amount, Share(part))
        if len(values) > len(shown):
            yield ("", f"… {len(values) - len(shown)} more (--all)", "", "")
