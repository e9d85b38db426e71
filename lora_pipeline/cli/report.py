"""``lora report``: what a pull request changes, for whoever reviews it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lora_pipeline.cli.options import writing_options
from lora_pipeline.cli.output import Report, Table, counted
from lora_pipeline.cli.session import Session

if TYPE_CHECKING:
    from lora_pipeline.foundation.result import Result

_SHOWN = 12  # sentences about a LoRA


@click.command()
@click.argument("revision", default="HEAD", metavar="[BASE..HEAD]")
@click.option("--markdown", is_flag=True, help="Print Markdown for a pull request.")
@click.option("--html", default="", metavar="FILE", help="Write a page with pictures, for offline.")
@click.option("--pictures", type=int, default=300, metavar="N", help="Pictures a dataset [300].")
@writing_options
@click.pass_obj
def report(session: Session, revision: str, *, markdown: bool, html: str, pictures: int) -> None:
    """Tell what changed between two commits.

    Reads two commits, A..B or A...B (from where they parted), or one and the work tree [HEAD].
    Tells which images came, went or changed in manifests, what became of LoRAs and releases,
    what people said of grids, which policies changed, and what the gate and `lora validate` say
    now. --html writes one page that needs no network, with contact sheets and thumbnails.
    Exits with 0 whatever it tells (`lora validate` decides), with 3 without such a commit.

    \b
    lora report main...HEAD --markdown
    lora report main...HEAD --html report.html
    """
    if html and markdown:
        raise click.UsageError("--html and --markdown: one of them, please")
    from lora_pipeline.operations.pull_requests.report import report_changes, write_report_page

    if html:
        session.run(write_report_page, _text, revision, html=html, pictures=pictures)
    else:
        session.run(report_changes, _markdown if markdown else _text, revision, markdown=markdown)


def _markdown(result: Result) -> Report:
    return Report(result.data["markdown"])


def _text(result: Result) -> Report:
    data = result.data
    rows = [("asked for", f"{one['file']} {one['kind']}") for one in data["rules"]]
    rows += [("warning", one) for one in data["unreadable"]]
    rows += [(one["loraId"], "\n".join(_sentences(one))) for one in data["loras"]]
    rows += [("dataset", f"{one['datasetId']}  {one['headline']}") for one in data["datasets"]]
    rows += [("verdict", _verdict(one)) for one in data["reviews"]]
    rows += [("grid", _grid(one)) for one in data["evaluations"]]
    assets = {**data["assets"]["counts"], **data["assets"]["decisions"]}
    if assets:
        rows.append(("assets", " · ".join(f"{count} {what}" for what, count in assets.items())))
    if data["others"]:
        told = (f"{count} {kind}" for kind, count in data["others"].items())
        rows.append(("others", " · ".join(told)))
    errors = [one for one in data["findings"] or () if one["severity"] == "error"]
    tables = [Table(("error", "what"), [(one["where"], one["message"]) for one in errors])]
    return Report(
        f"{data['older']['label']} → {data['newer']['label']} · {data['headline']}",
        [*rows, ("now", data["verdict"])] if rows or errors else [],
        tables if errors else [],
    )


def _sentences(lora: Any) -> list[str]:
    lines = lora["changes"][:_SHOWN]
    more = len(lora["changes"]) - len(lines)
    lines += [f"… and {counted(more, 'more change')} (--json has them)"] if more else []
    return [*lines, *(_decision(one) for one in lora["decisions"])] or ["nothing of its record"]


def _decision(decision: Any) -> str:
    from lora_pipeline.operations.pull_requests.reporting.words import decision_words

    active = ", active," if decision["active"] else ""
    return f"{decision['releaseId']}{active} {decision_words(decision)}"


def _verdict(review: Any) -> str:
    words = f"{review['loraId']} {review['releaseId']} {review['verdict']} by {review['reviewer']}"
    return f"{words}: {review['comment']}" if review["comment"] else words


def _grid(grid: Any) -> str:
    return (
        f"{grid['loraId']} {grid['releaseId']} {grid['kind']}, {grid['status']}, "
        f"{counted(grid['cells'], 'cell')}"
    )
