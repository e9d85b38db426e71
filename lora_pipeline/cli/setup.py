"""The command that sets up trainers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from lora_pipeline.cli.options import writing_options
from lora_pipeline.cli.output import Report, Table
from lora_pipeline.cli.session import Session

if TYPE_CHECKING:
    from lora_pipeline.foundation.result import Result


@click.command()
@click.argument("trainer", required=False)
@click.option("--source", metavar="DIR", help="Checkout of sd-scripts or ai-toolkit.")
@click.option("--python", metavar="PATH", help="Python of its environment, or to make one with.")
@click.option("--check", is_flag=True, help="Only say whether it can run.")
@writing_options
@click.pass_obj
def setup(
    session: Session, trainer: str | None, source: str | None, python: str | None, check: bool
) -> None:
    """Install a trainer in its own environment.

    kohya_ss: fetches kohya-ss/sd-scripts, or takes the checkout at --source (kohya_ss has it as
    its submodule sd-scripts), and installs its requirements. ai_toolkit: the same with
    ostris/ai-toolkit. mflux: installs it with pip. diffusers: says which extra to install.
    ai_toolkit_server, replicate, fal, runpod, azure_ml, modal: asks whether we are let in, and
    for settings that are not set yet. manual: needs nothing.
    Without TRAINER: all of them.

    Writes .lora/trainers/TRAINER and config/local.json, both outside Git. What cannot be
    finished is taken away again.

    Exits with 0 when the trainer can run, 1 when it cannot (--check, diffusers), 3 when it
    could not be installed.

    \b
    lora setup kohya_ss --source ~/sd-scripts
    lora setup mflux --check
    """
    from lora_pipeline.operations.training.setup import list_trainers, setup_trainer

    if trainer is None:
        if source or python:
            raise click.UsageError("Name the trainer that --source or --python is for.")
        session.run(list_trainers, _list_text)
    else:
        session.run(setup_trainer, _text, trainer, source=source, python=python, check=check)


def _list_text(result: Result) -> Report:
    rows = [(one["trainer"], _ready(one), one["summary"]) for one in result.data["trainers"]]
    return Report(
        headline=result.reasoning, tables=[Table(("trainer", "here", "what it is"), rows)]
    )


def _text(result: Result) -> Report:
    state = result.data
    rows = []
    if result.refusal:
        rows.append(("fail", state["problem"]))
    if state["where"] and not result.dry_run:
        rows.append(("where", state["where"]))
    if state["architectures"]:
        rows.append(("trains", ", ".join(state["architectures"])))
    if result.dry_run:
        rows += [("would", step) for step in state.get("steps", ())]
    return Report(headline=result.reasoning, rows=rows)


def _ready(state: dict[str, Any]) -> str:
    if state["ready"]:
        return "ready" if state["version"] == "unknown" else f"ready, {state['version']}"
    return str(state["problem"])
