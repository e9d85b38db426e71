"""``lora eval sweep``: which step of a training to take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO, Any

import click

from lora_pipeline.cli.evaluation_options import (
    ScopeName,
    absolute,
    given_prompts,
    prompt_options,
    scope_choice,
)
from lora_pipeline.cli.options import writing_options
from lora_pipeline.cli.output import Report, Table, counted
from lora_pipeline.cli.session import Session
from lora_pipeline.cli.spending_report import refusal_rows, spent_rows
from lora_pipeline.foundation.result import Result

_LEGEND = (
    "effect: difference to the base · leaks: the same without the trigger word · "
    "variety: how far seeds are apart, beside the base's"
)


@click.command()
@click.argument("lora")
@click.argument("run", default="")
@prompt_options
@click.option("--seeds", type=int, default=2, metavar="N", help="Seeds of each prompt; else 2.")
@click.option(
    "--strength", type=float, metavar="X", help="Strength of the LoRA; else the suite's highest."
)
@click.option(
    "--most", type=int, default=12, metavar="N", help="Most checkpoints to compare; else 12."
)
@click.option(
    "--renderer",
    default="",
    metavar="NAME",
    help="diffusers, comfyui, a1111, mflux, replicate or fal; else the setting.",
)
@click.option("--yes", is_flag=True, help="Draw a large sweep without asking.")
@click.option(
    "--yes-upload", is_flag=True, help="With a renderer elsewhere: send weights and prompts there."
)
@click.option("--png", default="", metavar="FILE", help="Where the sheet goes.")
@scope_choice
@writing_options
@click.pass_obj
def sweep(
    session: Session,
    lora: str,
    run: str,
    *,
    suite: str,
    prompts: str,
    prompts_file: IO[str] | None,
    seeds: int,
    strength: float | None,
    most: int,
    renderer: str,
    yes: bool,
    yes_upload: bool,
    png: str,
    scope: ScopeName,
) -> None:
    """Compare a run's kept checkpoints: which step.

    Reads the checkpoints that RUN kept (saveEvery in its recipe), the base model and the suite;
    without RUN, the newest that kept any. Draws three prompts and two seeds with each, and says
    how much every step changes, how much of that shows without the trigger word, and how far
    the seeds are still apart. Writes the pictures into the store and a sheet below .lora/, and no
    record: a sweep is for choosing. Drawn once, a cell is not drawn again by eval grid.

    Exits with 0, or with 1 when cells have no picture or nothing was drawn.

    Example: lora eval sweep ui_icons --png sweep.png
    """
    from lora_pipeline.operations.evaluation.evaluation_sweep import sweep_run

    session.run(
        sweep_run,
        _swept,
        lora,
        run,
        suite=suite,
        prompts=given_prompts(prompts, prompts_file),
        seeds=seeds,
        strength=strength,
        most=most,
        renderer=renderer,
        yes=yes,
        yes_upload=yes_upload,
        png=absolute(png),
        project=session.project,
        scope=scope,
    )


def _swept(result: Result) -> Report:
    facts = result.data
    name = f"{facts['loraId']} run {facts['runId']}"
    compared = counted(len(facts["stepsCompared"]), "checkpoint")
    if "toRender" in facts:
        rows = [("takes", facts["estimate"]["words"])]
        rows += refusal_rows(result)
        cells = counted(facts["toRender"], "cell")
        return Report(f"{name} · {cells} of {compared} to draw", rows=rows)
    drawn = f"{facts['rendered']} drawn now, {facts['reused']} drawn before"
    failed = [("fail", f"{facts['failed']} cells could not be drawn")] if facts["failed"] else []
    return Report(
        f"{name} · {compared} at strength {facts['strength']:g}",
        rows=[
            ("cells", drawn),
            *failed,
            *spent_rows(facts["spent"]),
            ("take", facts["advice"]["words"]),
            ("look at", facts["sheet"]),
        ],
        tables=[_table(facts)],
        lines=[_LEGEND],
    )


def _table(facts: Mapping[str, Any]) -> Table:
    advised = facts["advice"]["step"]
    return Table(
        ("step", "effect", "leaks", "variety", ""),
        [
            (
                f"{one['step']:,}",
                _number(one["effect"]),
                _number(one["effectWithoutTrigger"]),
                "" if one["variety"] is None else f"{one['variety']:.0%}",
                "take" if one["step"] == advised else "",
            )
            for one in facts["steps"]
        ],
    )


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
