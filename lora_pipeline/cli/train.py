"""``lora train``: plan a training, or do it."""

from __future__ import annotations

from typing import Any, Literal

import click

from lora_pipeline.cli.options import scope_option, together, writing_options
from lora_pipeline.cli.session import Session

ScopeName = Literal["project", "baseline"]

_HELP = {
    "lora": "LoRA to train (lora create makes one).",
    "dataset": "Manifest to train on, id or path; else the LoRA's own.",
    "trainer": "Trainer; else the one of the settings.",
    "preset": "Named recipe; else the one that fits the base model.",
    "file": "Recipe in a YAML or JSON file; wins over the preset.",
    "config": "Recipe as JSON; wins over the file.",
    "arguments": "JSON list of arguments for the trainer's program.",
    "trainer_config": "The trainer's own configuration file.",
}


_recipe_options = together(
    click.option("--preset", default="", metavar="ID", help=_HELP["preset"]),
    click.option(
        "--config-file", default="", type=click.Path(), metavar="FILE", help=_HELP["file"]
    ),
    click.option("--config", default="", metavar="JSON", help=_HELP["config"]),
    click.option("--resolution", type=int, metavar="PX", help="Width and height."),
    click.option("--steps", type=int, metavar="N", help="Optimiser steps."),
    click.option("--epochs", type=int, metavar="N", help="Passes over the images."),
    click.option("--rank", type=int, metavar="N", help="Rank of the LoRA."),
    click.option("--alpha", type=float, metavar="X", help="Scale times rank."),
    click.option("--lr", type=float, metavar="X", help="Learning rate."),
    click.option("--batch", type=int, metavar="N", help="Images in one forward pass."),
    click.option("--seed", type=int, metavar="N", help="Seed of everything random."),
)


@click.command()
@click.option("--lora", default="", metavar="ID", help=_HELP["lora"])
@click.option("--dataset", default="", metavar="ID", help=_HELP["dataset"])
@click.option("--trainer", default="", metavar="NAME", help=_HELP["trainer"])
@_recipe_options
@click.option("--trainer-args", default="", metavar="JSON", help=_HELP["arguments"])
@click.option(
    "--trainer-config", default="", type=click.Path(), metavar="FILE", help=_HELP["trainer_config"]
)
@click.option("--release", default="", metavar="ID", help="Id of the release; else the next one.")
@click.option(
    "--weights", default="", type=click.Path(), metavar="FILE",
    help="With --trainer manual: weights made elsewhere.",
)  # fmt: skip
@click.option("--notes", default="", metavar="TEXT", help="Kept with the release.")
@click.option("--plan", is_flag=True, help="Print what would be run, and run nothing.")
@click.option("--run", is_flag=True, help="Run it, which is the default.")
@click.option(
    "--output", default="", type=click.Path(), metavar="FILE",
    help="With --plan: write it into a .yaml file, to be reviewed and run later.",
)  # fmt: skip
@click.option(
    "--from-plan", default="", type=click.Path(), metavar="FILE",
    help="Run a plan that was written; refused when anything has changed since.",
)  # fmt: skip
@click.option(
    "--yes-upload", is_flag=True, help="With a trainer elsewhere: send images and captions there."
)
@click.option("--detach", is_flag=True, help="Put it into the queue; lora worker executes it.")
@click.option(
    "--skip-preflight", is_flag=True, help="Start although disk, memory or GPU look too small."
)
@click.option("--set-active", is_flag=True, help="Refused: only lora promote makes one active.")
@scope_option("baseline takes the shared LoRA of that id.")
@writing_options
@click.pass_obj
def train(session: Session, /, **given: Any) -> None:
    """Train a LoRA from a manifest.

    Recipe: preset < --config-file < --config < single flags; each value knows where it comes
    from. --plan prints the files, command, environment and outputs and writes nothing; with
    --output it is kept in a file that reads the same on every machine, for a pull request, and
    --from-plan runs it later, or names what has changed since.

    Writes the run under data/…/runs, the weights into the store and a candidate release into
    the LoRA. Success is what is found and verified on disk, never an exit code: the weights
    parse, are finite and not all zero, and fit the base model. Ctrl-C stops the trainer and
    records the run as cancelled; after a crash the same command completes it.

    Before it starts, free disk, memory and GPU are held against what it needs; too little is a
    refusal. With --detach the run waits in this machine's queue for lora worker, which tries it
    again after failures that may pass.

    A trainer elsewhere (lora setup lists them) gets images and captions only with --yes-upload.
    Its job is recorded before anybody waits for it, and is never sent a second time.

    Exits with 0 when there is a release, 1 when it is refused (rights, too little room,
    --set-active, no --yes-upload, a plan that is out of date), 3 when training failed, 130 when
    it was stopped.

    \b
    lora train --lora ui_icons --dataset ui_icon_flat --preset icons-sdxl --plan
    lora train --lora ui_icons --dataset ui_icon_flat --steps 800 --rank 8
    lora train --lora ui_icons --dataset ui_icon_flat --detach
    lora train --lora ui_icons --dataset ui_icon_flat --plan --output plans/ui_icons-r1.yaml
    lora train --from-plan plans/ui_icons-r1.yaml
    lora train --lora ui_icons --dataset ui_icon_flat --trainer manual --weights made.safetensors
    """
    if given["from_plan"]:
        _run_plan(session, given)
        return
    _require_sense(given)
    from lora_pipeline.cli.run_report import queued
    from lora_pipeline.cli.train_report import planned, trained
    from lora_pipeline.operations.training import train as operations

    wishes = _wishes(session, given)
    if given["output"]:
        from lora_pipeline.operations.training.train_plan import save_plan

        output = given["output"]
        session.run(save_plan, planned, given["lora"], given["dataset"], output=output, **wishes)
        return
    if given["plan"]:
        session.run(operations.plan_training, planned, given["lora"], given["dataset"], **wishes)
        return
    session.run(
        operations.train,
        queued if given["detach"] else trained,
        given["lora"],
        given["dataset"],
        weights=given["weights"],
        set_active=given["set_active"],
        **_starting(given),
        **wishes,
    )


def _require_sense(given: dict[str, Any]) -> None:
    if not given["lora"]:
        raise click.UsageError("Missing option '--lora'.")
    if given["plan"] and given["run"]:
        raise click.UsageError("--plan and --run exclude each other.")
    if given["output"] and not given["plan"]:
        raise click.UsageError("--output is for --plan: the file that the plan is written into.")


def _run_plan(session: Session, given: dict[str, Any]) -> None:
    context = click.get_current_context()
    besides = {"from_plan", "notes", "yes_upload", "detach", "skip_preflight", "run"}
    for name in given:
        said = context.get_parameter_source(name) is click.core.ParameterSource.COMMANDLINE
        if said and name not in besides:
            option = "--" + name.replace("_", "-")
            raise click.UsageError(
                f"--from-plan runs what the plan says; {option} would change it."
            )
    from lora_pipeline.cli.run_report import queued
    from lora_pipeline.cli.train_report import trained
    from lora_pipeline.operations.training.train_plan import train_from_plan

    text = queued if given["detach"] else trained
    session.run(train_from_plan, text, given["from_plan"], **_starting(given))


def _starting(given: dict[str, Any]) -> dict[str, Any]:
    """Return what is said about the start, whatever is trained."""
    names = ("notes", "yes_upload", "detach", "skip_preflight")
    return {name: given[name] for name in names if name in given}


def _wishes(session: Session, given: dict[str, Any]) -> dict[str, Any]:
    from lora_pipeline.training.recipe import COMMAND_LINE, parse_config

    config = given["config"]
    same = ("trainer", "preset", "config_file", "trainer_config", "release", "scope", "seed")
    numbers = ("resolution", "steps", "epochs", "rank", "alpha")
    return {name: given[name] for name in (*same, *numbers)} | {
        "config": parse_config(config.encode(), f"--config {COMMAND_LINE}") if config else None,
        "trainer_arguments": _argument_list(given["trainer_args"]),
        "learning_rate": given["lr"],
        "batch_size": given["batch"],
        "project": session.project,
    }


def _argument_list(text: str) -> tuple[str, ...]:
    if not text:
        return ()
    import json

    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise click.UsageError("--trainer-args takes a JSON list of texts: '[\"--lowram\"]'.")
    return tuple(found)
