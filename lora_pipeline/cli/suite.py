"""``lora suite``: the fixed evaluations of asset types."""

from __future__ import annotations

from typing import Literal

import click

from lora_pipeline.cli.options import scope_option, shared_options, writing_options
from lora_pipeline.cli.output import Report, Table, counted
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result

ScopeName = Literal["project", "baseline"]


@click.group()
def suite() -> None:
    """Show evaluation suites, and choose the one that judges.

    A suite holds the prompts, seeds, strengths and settings with which every release of an
    asset type is rendered. They are YAML files in config/suites/, which win over those that
    ship with lora-pipeline.
    """


@suite.command("list")
@click.option("--asset-type", default="", metavar="ID", help="Only those for this asset type.")
@shared_options
@click.pass_obj
def list_(session: Session, *, asset_type: str) -> None:
    """List evaluation suites.

    Reads config/suites/ and the suites that ship. Exits with 0.

    Example: lora suite list --asset-type ui_icon
    """
    from lora_pipeline.operations.evaluation.suite import list_suites

    session.run(list_suites, _listed, asset_type=asset_type)


@suite.command()
@click.argument("suite_id", metavar="SUITE")
@shared_options
@click.pass_obj
def show(session: Session, suite_id: str) -> None:
    """Show the prompts, seeds and settings of a suite.

    Reads one suite. Exits with 0, or with 3 when there is none of that id.

    Example: lora suite show ui_icon
    """
    from lora_pipeline.operations.evaluation.suite import show_suite

    session.run(show_suite, _shown, suite_id)


@suite.command()
@click.argument("suite_id", metavar="SUITE")
@click.option("--asset-type", default="", metavar="ID", help="Else the only one it is for.")
@scope_option("baseline: the catalog that all projects share.")
@writing_options
@click.pass_obj
def use(session: Session, suite_id: str, *, asset_type: str, scope: ScopeName) -> None:
    """Judge an asset type by this suite from now on.

    Writes suiteId of the asset type into the catalog. The gate judges by that suite alone; what
    was rendered with another one is for a look. Exits with 0, or with 3 when the suite is not
    for that asset type.

    Example: lora suite use brand_icon --asset-type ui_icon
    """
    from lora_pipeline.operations.evaluation.suite import use_suite

    session.run(
        use_suite, _used, suite_id, asset_type=asset_type, project=session.project, scope=scope
    )


def _used(result: Result) -> Report:
    return Report(result.reasoning)


def _listed(result: Result) -> Report:
    suites = result.data["suites"]
    rows = [
        (one["id"], ", ".join(one["assetTypes"]), one["prompts"], one["cells"], one["summary"])
        for one in suites
    ]
    headline = f"{len(suites)} of {counted(result.data['total'], 'suite')}"
    tables = [Table(("suite", "asset types", "prompts", "cells", "what it looks at"), rows)]
    return Report(headline, tables=tables if rows else ())


def _shown(result: Result) -> Report:
    one = result.data["suite"]
    render = one["render"]
    settings = (
        f"{render['width']} x {render['height']} px, {render['steps']} steps, "
        f"guidance {render['guidance']:g}, sampler {render.get('sampler', 'default')}"
    )
    strengths = ", ".join(f"{strength:g}" for strength in one["strengths"])
    return Report(
        f"{one['id']} · {one['summary']}",
        rows=[
            ("asset types", ", ".join(one["assetTypes"])),
            ("cells", f"{result.data['cells']}, base included"),
            ("strengths", f"base, {strengths}"),
            ("seeds", ", ".join(map(str, one["seeds"]))),
            ("settings", settings),
            *(("rule", f"{prompt} {words}") for prompt, words in result.data["rules"].items()),
            ("from", f"{result.data['source']}    {result.data['digest'][:19]}…"),
        ],
        tables=[
            Table(
                ("prompt", "kind", "text", "negative"),
                [
                    (
                        p["id"],
                        p["kind"].replace("_", " "),
                        p.get("text") or "what an image that was trained on is called",
                        p.get("negative", ""),
                    )
                    for p in one["prompts"]
                ],
            )
        ],
    )
