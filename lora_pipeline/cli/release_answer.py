"""``lora release answer``."""

from __future__ import annotations

from typing import Any, Literal

import click

from lora_pipeline.cli.lora_options import scope_option
from lora_pipeline.cli.options import writing_options
from lora_pipeline.cli.output import Report
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result


@click.command()
@click.argument("lora")
@click.argument("release_id", metavar="RELEASE")
@click.argument("decision", metavar="ANSWER", type=click.Choice(["stop", "retrain", "keep"]))
@click.option("--reason", required=True, metavar="TEXT", help="Why; it is kept with the answer.")
@click.option("--days", type=int, metavar="N", help="retrain: days from now [the project's term].")
@scope_option
@writing_options
@click.pass_obj
def answer(
    session: Session,
    lora: str,
    release_id: str,
    *,
    decision: Any,
    reason: str,
    days: int | None,
    scope: Literal["project", "baseline"],
) -> None:
    """Answer for a release with withdrawn images.

    stop takes it out of use: it is deprecated, and nothing of the LoRA is active. retrain lets
    the active release stay in use while a new one is trained. keep lets it stay for good. What
    may be answered is the policy of the images' project (lora project rights); the gate judges
    every answer anew, and a further withdrawal asks again.

    Writes one record below answers/, or for stop the LoRA's record and history. Exits with 0,
    with 1 when the policy does not allow the answer, with 3 when nothing was withdrawn.

    Example: lora release answer ui_icons r7 retrain --reason "licence ended, r8 is under way"
    """
    from lora_pipeline.operations.releases.release_answer import answer_withdrawal

    session.run(
        answer_withdrawal,
        _answered,
        lora,
        release_id,
        decision,
        reason=reason,
        days=days,
        project=session.project,
        scope=scope,
    )


def _answered(result: Result) -> Report:
    facts = result.data
    if result.refusal is not None:
        rows = [("fail", f"{one['assetId']}: {one['reason']}") for one in facts["refused"][:8]]
        return Report(f"refused · {facts['answer']} does not count for {facts['releaseId']}", rows)
    rows = [("withdrawn", _images(facts["images"]))]
    if facts.get("until"):
        rows.append(("until", facts["until"][:10]))
    if facts.get("reason"):
        rows.append(("reason", f"{facts['reason']}   ({facts['answeredBy']})"))
    return Report(result.reasoning, rows)


def _images(images: list[dict[str, str]]) -> str:
    shown = ", ".join(one["assetId"] for one in images[:4])
    return shown + (f" and {len(images) - 4} more" if len(images) > 4 else "")
