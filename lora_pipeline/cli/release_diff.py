"""``lora release diff`` and ``lora eval compare``: two releases side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import click

from lora_pipeline.cli.compared_measures import measures_tables
from lora_pipeline.cli.lora_options import scope_option
from lora_pipeline.cli.options import writing_options
from lora_pipeline.cli.output import Report, Table, counted
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result

ScopeName = Literal["project", "baseline"]
F = TypeVar("F", bound=Callable[..., Any])
_SHOWN = 12
_LONGEST = 48


def _two(command: F) -> F:
    for option in (
        click.option("--pictures", type=int, default=60, metavar="N", help="Most pictures [60]."),
        click.option("--html", default="", metavar="FILE", help="Write a page, for offline."),
        click.argument("after", metavar="RELEASE"),
        click.argument("before", metavar="RELEASE"),
        click.argument("lora"),
    ):
        command = option(command)
    return command


@click.command("diff")
@_two
@scope_option
@writing_options
@click.pass_obj
def diff(
    session: Session,
    lora: str,
    before: str,
    after: str,
    *,
    html: str,
    pictures: int,
    scope: ScopeName,
) -> None:
    """Compare two releases: how made, and what they draw.

    Tells recipe, manifest, base model, weights, metrics and the cells at equal prompt, seed
    and strength. Reads the records, the Git history, the weights and the images that are on
    this machine; says what is not. --html writes one page that needs no network. Exits with 0.

    \b
    lora release diff ui_icons r6 r7
    lora release diff ui_icons r6 r7 --html diff.html
    """
    from lora_pipeline.operations.releases.release_diff import diff_releases

    session.run(
        diff_releases, _compared, lora, before, after,
        html=html, pictures=pictures, project=session.project, scope=scope,
    )  # fmt: skip


@click.command("compare")
@_two
@scope_option
@writing_options
@click.pass_obj
def compare(
    session: Session,
    lora: str,
    before: str,
    after: str,
    *,
    html: str,
    pictures: int,
    scope: ScopeName,
) -> None:
    """Compare what two releases draw.

    Tells the metrics of both grids and the cells at equal prompt, seed, strength and settings;
    says why grids cannot be compared. --html writes one page with base and both releases side
    by side. Exits with 0. How both were made: lora release diff.

    Example: lora eval compare ui_icons r6 r7 --html compare.html
    """
    from lora_pipeline.operations.releases.release_diff import compare_evaluations

    session.run(
        compare_evaluations, _compared, lora, before, after,
        html=html, pictures=pictures, project=session.project, scope=scope,
    )  # fmt: skip


def _compared(result: Result) -> Report:
    facts = result.data
    rows = [*_made(facts), *_dataset(facts), *_weights(facts), ("cells", _cells(facts))]
    columns = ("", facts["before"], facts["after"])
    changed = [
        (one["name"], _said(one["before"]), _said(one["after"]))
        for key in ("training", "recipe")
        for one in facts.get(key, ())
    ]
    tables = [Table(columns, changed)] if changed else []
    tables += measures_tables(facts["measures"], facts["before"], facts["after"])
    tables += _by_prompt(facts["byPrompt"])
    return Report(f"{facts['loraId']} {facts['before']} → {facts['after']}", rows, tables=tables)


def _made(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for one in facts.get("releases", ()):
        state = one["status"] + (", active" if one["active"] else "")
        rows.append((one["id"], f"{state}, made {one['createdAt'][:10]} by {one['createdBy']}"))
    return rows


def _dataset(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = facts.get("dataset")
    if not found:
        return []
    if found["notCompared"]:
        return [("not proven", f"dataset: {found['notCompared']}")]
    same = "the same, image by image" if found["sameContent"] else found["headline"]
    return [("dataset", same)]


def _weights(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = facts.get("weights")
    if not found:
        return []
    if found["notCompared"]:
        return [("not proven", f"weights: {found['notCompared']}")]
    if found["sameTensors"]:
        return [("weights", "the same tensors")]
    alike = "nothing in common" if found["likeness"] is None else f"{found['likeness']:.3f} of 1"
    return [("weights", f"alike by {alike} over {counted(found['compared'], 'module')}")]


def _by_prompt(found: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Return the prompts on which the releases differ most."""
    rows = [
        (_said(one["prompt"]), f"{one['strength']:g}", f"{one['mean']:.3f}",
         f"{one['largest']:.3f} seed {one['seed']}" if one["pairs"] > 1 else "")
        for one in found[:_SHOWN]
    ]  # fmt: skip
    more = f"differ most, {_SHOWN} of {len(found)}" if len(found) > _SHOWN else "differ by prompt"
    return [Table((more, "strength", "mean", "largest"), rows)] if rows else []


def _cells(facts: Mapping[str, Any]) -> str:
    told = f"{facts['paired']} of {len(facts['cells'])} places drawn by both"
    if facts["meanDifference"] is not None:
        told += f", mean difference {facts['meanDifference']:.3f}"
    return told + (f", {facts['sameImages']} the same image" if facts["sameImages"] else "")


def _said(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
