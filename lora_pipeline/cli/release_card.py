"""``lora release card``: the model card, made from records and checked against them."""

from __future__ import annotations

from typing import Literal

import click

from lora_pipeline.cli.lora_options import scope_option
from lora_pipeline.cli.options import writing_options
from lora_pipeline.cli.output import Report
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result

ScopeName = Literal["project", "baseline"]
_SHOWN = 12


@click.command()
@click.argument("lora", required=False, default="")
@click.argument("release_id", metavar="RELEASE", required=False, default="")
@click.option(
    "--output", default="", type=click.Path(), metavar="FILE",
    help="Write it there; else it is printed.",
)  # fmt: skip
@click.option("--check", is_flag=True, help="Compare what is there; without names, every card.")
@scope_option
@writing_options
@click.pass_obj
def card(
    session: Session,
    lora: str,
    release_id: str,
    *,
    output: str,
    check: bool,
    scope: ScopeName,
) -> None:
    """Make a model card from the records.

    It has the form of Hugging Face: base model, licence, trigger word, strength, how it was
    trained and on what, what was measured, who said yes, its limits and the contact sheet. The
    same records give the same bytes. Reads the records and the Git history, writes FILE.
    --check writes nothing and exits with 1 when a card is not what the records say: alone it
    looks at every card of the repository, which is what CI calls.

    \b
    lora release card ui_icons r7 --output cards/ui_icons-r7.md
    lora release card --check
    """
    if bool(lora) != bool(release_id) or not (lora or check):
        raise click.UsageError("name LORA and RELEASE, or use --check alone for every card")
    if check:
        from lora_pipeline.operations.releases.release_card import check_cards

        session.run(
            check_cards, _checked, lora, release_id,
            output=output, project=session.project, scope=scope,
        )  # fmt: skip
        return
    from lora_pipeline.operations.releases.release_card import write_card

    session.run(
        write_card, _made, lora, release_id, output=output, project=session.project, scope=scope
    )


def _made(result: Result) -> Report:
    facts = result.data
    if "output" not in facts:
        return Report(facts["card"].rstrip("\n"))
    if not result.written:
        return Report(f"nothing to do · {result.reasoning}")
    verb = "would be" if result.dry_run else "is"
    return Report(f"{facts['output']} {verb} the card of {facts['loraId']} {facts['releaseId']}")


def _checked(result: Result) -> Report:
    facts = result.data
    if result.refusal is None:
        return Report(result.reasoning, [("ok", name) for name in facts["cards"]])
    lines = [f"  {line}" for line in facts["differences"][: 2 * _SHOWN]]
    return Report("differs · a card does not say what the records say", lines=lines)
