"""``lora eval``: render grids, look at them, give a verdict."""

from __future__ import annotations

from collections.abc import Callable
from typing import IO, Any, TypeVar

import click

from lora_pipeline.cli.evaluation_options import (
    ScopeName,
    absolute,
    evaluation_choice,
    given_prompts,
    prompt_options,
    release_named,
    scope_choice,
)
from lora_pipeline.cli.evaluation_report import created, rendered, shown
from lora_pipeline.cli.evaluation_tidy import cleanup, normalize
from lora_pipeline.cli.measure import metrics
from lora_pipeline.cli.options import shared_options, writing_options
from lora_pipeline.cli.release_diff import compare
from lora_pipeline.cli.review import approve, blind, reject, review
from lora_pipeline.cli.session import Session
from lora_pipeline.cli.sweep import sweep
from lora_pipeline.cli.waive import waive

F = TypeVar("F", bound=Callable[..., Any])


_png = click.option("--png", default="", metavar="FILE", help="Write the contact sheet as PNG.")


def _making(command: F) -> F:
    noted = click.option("--notes", default="", metavar="TEXT", help="Anything worth keeping.")
    return prompt_options(noted(command))


@click.group("eval")
def evaluate() -> None:
    """Render grids, look at them, give a verdict.

    A grid shows base and LoRA at equal seeds, for the prompts and strengths of a suite.
    LORA is the id of a LoRA, RELEASE one of its releases; without it, the newest.
    """


@evaluate.command()
@release_named
@_making
@scope_choice
@writing_options
@click.pass_obj
def create(
    session: Session,
    lora: str,
    release: str,
    *,
    suite: str,
    prompts: str,
    prompts_file: IO[str] | None,
    notes: str,
    scope: ScopeName,
) -> None:
    """Create an evaluation without rendering it.

    Reads the release, the checkpoint and the suite. Writes evals/ID.json with every cell that
    is to be rendered. Exits with 0.

    Example: lora eval create ui_icons r7
    """
    from lora_pipeline.operations.evaluation.evaluate import create_evaluation

    session.run(
        create_evaluation,
        created,
        lora,
        release,
        suite=suite,
        prompts=given_prompts(prompts, prompts_file),
        notes=notes,
        project=session.project,
        scope=scope,
    )


@evaluate.command()
@release_named
@_making
@click.option(
    "--renderer",
    default="",
    metavar="NAME",
    help="diffusers, comfyui, a1111, mflux, replicate or fal; else the setting.",
)
@click.option("--limit", type=int, metavar="N", help="Draw at most N cells now.")
@click.option("--again", is_flag=True, help="Render anew where a grid is complete.")
@click.option("--yes", is_flag=True, help="Draw a large grid without asking.")
@click.option(
    "--yes-upload", is_flag=True, help="With a renderer elsewhere: send weights and prompts there."
)
@_png
@scope_choice
@writing_options
@click.pass_obj
def grid(
    session: Session,
    lora: str,
    release: str,
    *,
    suite: str,
    prompts: str,
    prompts_file: IO[str] | None,
    notes: str,
    renderer: str,
    limit: int | None,
    again: bool,
    yes: bool,
    yes_upload: bool,
    png: str,
    scope: ScopeName,
) -> None:
    """Render base against LoRA, measure, draw the sheet.

    Reads the release, its weights, the checkpoint and the suite. Writes the images into the
    store, and evals/ID.json with evals/ID.webp, the contact sheet, beside it. An interrupted
    grid is continued. --dry-run says how many cells there are to draw, how long that takes and
    what it costs. A renderer on another machine gets weights and prompts only with --yes-upload.

    Exits with 0 when every cell that was to be drawn has its image, 1 when some have none or
    nothing was sent.

    Example: lora eval grid ui_icons r7 --suite ui_icon
    """
    from lora_pipeline.operations.evaluation.evaluate import render_evaluation

    session.run(
        render_evaluation,
        rendered,
        lora,
        release,
        suite=suite,
        renderer=renderer,
        prompts=given_prompts(prompts, prompts_file),
        notes=notes,
        limit=limit,
        again=again,
        yes=yes,
        yes_upload=yes_upload,
        png=absolute(png),
        project=session.project,
        scope=scope,
    )


@evaluate.command()
@release_named
@evaluation_choice
@_png
@click.option(
    "--page",
    type=click.IntRange(min=1),
    default=1,
    metavar="N",
    help="With --png: which page, where a large grid has several.",
)
@scope_choice
@shared_options
@click.pass_obj
def show(
    session: Session,
    lora: str,
    release: str,
    *,
    evaluation: str,
    png: str,
    page: int,
    scope: ScopeName,
) -> None:
    """Show a grid, its measurements and its reviews.

    Reads the evaluation and its reviews. Writes nothing, but for the picture of --png.
    Exits with 0, or with 3 when nothing was rendered.

    Example: lora eval show ui_icons r7 --png sheet.png
    """
    from lora_pipeline.operations.evaluation.evaluate import show_evaluation, write_sheet

    if png:
        session.run(
            write_sheet,
            shown,
            lora,
            release,
            png=absolute(png),
            page=page,
            evaluation=evaluation,
            project=session.project,
            scope=scope,
        )
    else:
        session.run(
            show_evaluation,
            shown,
            lora,
            release,
            evaluation=evaluation,
            project=session.project,
            scope=scope,
        )


for _command in (
    compare,
    sweep,
    normalize,
    cleanup,
    metrics,
    review,
    approve,
    reject,
    blind,
    waive,
):
    evaluate.add_command(_command)
