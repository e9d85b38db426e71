"""``lora eval``: render grids, look at them, give a verdict."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, TypeVar

import click

from lora_pipeline.cli.evaluation_report import created, rendered, reviewed, shown
from lora_pipeline.cli.options import scope_option, shared_options, writing_options
from lora_pipeline.cli.output import plain, print_report
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.errors import EvaluationIncompleteError

F = TypeVar("F", bound=Callable[..., Any])
ScopeName = Literal["project", "baseline"]
Verdict = Literal["approved", "rejected", "needs_work"]
VERDICTS: tuple[Verdict, ...] = ("approved", "rejected", "needs_work")


@dataclass(frozen=True)
class _Word:
    """What a reviewer says."""

    verdict: Verdict
    comment: str = ""
    signs: tuple[str, ...] = ()
    cells_seen: int | None = None


_scope = scope_option("baseline takes the shared LoRA of that id.")
_evaluation = click.option(
    "--evaluation", default="", metavar="ID", help="Evaluation; else the newest complete one."
)
_comment = click.option("--comment", default="", metavar="TEXT", help="Why, in your words.")
_sign = click.option(
    "--sign", "signs", multiple=True, metavar="SIGN", help="Sign of over-training that you saw."
)
_seen = click.option(
    "--cells-seen", type=int, metavar="N", help="How many cells you looked at; else all of them."
)
_png = click.option("--png", default="", metavar="FILE", help="Write the contact sheet as PNG.")


def _what(command: F) -> F:
    command = click.argument("release", default="")(command)
    return click.argument("lora")(command)


def _making(command: F) -> F:
    for option in (
        click.option("--notes", default="", metavar="TEXT", help="Anything worth keeping."),
        click.option(
            "--prompts-file",
            type=click.File(encoding="utf-8"),
            help="Like --prompts, one on a line; lines with # are left out.",
        ),
        click.option(
            "--prompts", default="", metavar='"A|B"', help="Other prompts, for a look only."
        ),
        click.option("--suite", default="", metavar="ID", help="Suite; else the asset type's."),
    ):
        command = option(command)
    return command


@click.group("eval")
def evaluate() -> None:
    """Render grids, look at them, give a verdict.

    A grid shows base and LoRA at equal seeds, for the prompts and strengths of a suite.
    LORA is the id of a LoRA, RELEASE one of its releases; without it, the newest.
    """


@evaluate.command()
@_what
@_making
@_scope
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
    from lora_pipeline.operations.evaluate import create_evaluation

    session.run(
        create_evaluation,
        created,
        lora,
        release,
        suite=suite,
        prompts=_prompts(prompts, prompts_file),
        notes=notes,
        project=session.project,
        scope=scope,
    )


@evaluate.command()
@_what
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
@_scope
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
    from lora_pipeline.operations.evaluate import render_evaluation

    session.run(
        render_evaluation,
        rendered,
        lora,
        release,
        suite=suite,
        renderer=renderer,
        prompts=_prompts(prompts, prompts_file),
        notes=notes,
        limit=limit,
        again=again,
        yes=yes,
        yes_upload=yes_upload,
        png=_absolute(png),
        project=session.project,
        scope=scope,
    )


@evaluate.command()
@_what
@_evaluation
@_png
@_scope
@shared_options
@click.pass_obj
def show(
    session: Session, lora: str, release: str, *, evaluation: str, png: str, scope: ScopeName
) -> None:
    """Show a grid, its measurements and its reviews.

    Reads the evaluation and its reviews. Writes nothing, but for the picture of --png.
    Exits with 0, or with 3 when nothing was rendered.

    Example: lora eval show ui_icons r7 --png sheet.png
    """
    from lora_pipeline.operations.evaluate import show_evaluation, write_sheet

    if png:
        session.run(
            write_sheet,
            shown,
            lora,
            release,
            png=_absolute(png),
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


@evaluate.command()
@_what
@click.option("--verdict", type=click.Choice(VERDICTS), help="Your verdict; else you are asked.")
@_comment
@_sign
@_seen
@_evaluation
@_scope
@writing_options
@click.pass_obj
def review(
    session: Session,
    lora: str,
    release: str,
    *,
    verdict: Verdict | None,
    comment: str,
    signs: tuple[str, ...],
    cells_seen: int | None,
    evaluation: str,
    scope: ScopeName,
) -> None:
    """Give a verdict on a complete grid.

    In a terminal it shows where the contact sheet is and asks what you see. Reads the
    evaluation; writes one review, which is never changed again and counts only for exactly
    these weights, images and suite.

    Exits with 0, or with 3 when the grid has holes.

    Example: lora eval review ui_icons r7
    """
    if verdict is None:
        word = _asked(session, lora, release, evaluation, scope)
    else:
        word = _Word(verdict, comment, signs, cells_seen)
    _review(session, lora, release, word, evaluation, scope)


@evaluate.command()
@_what
@_comment
@_seen
@_evaluation
@_scope
@writing_options
@click.pass_obj
def approve(
    session: Session,
    lora: str,
    release: str,
    *,
    comment: str,
    cells_seen: int | None,
    evaluation: str,
    scope: ScopeName,
) -> None:
    """Approve a complete grid that you have looked at.

    The same as review --verdict approved. Who trained the release may approve it, but most
    policies do not count that.

    Example: lora eval approve ui_icons r7 --comment "outline holds at small sizes"
    """
    word = _Word("approved", comment, cells_seen=cells_seen)
    _review(session, lora, release, word, evaluation, scope)


@evaluate.command()
@_what
@_comment
@_sign
@_seen
@_evaluation
@_scope
@writing_options
@click.pass_obj
def reject(
    session: Session,
    lora: str,
    release: str,
    *,
    comment: str,
    signs: tuple[str, ...],
    cells_seen: int | None,
    evaluation: str,
    scope: ScopeName,
) -> None:
    """Reject a complete grid, with the reason.

    The same as review --verdict rejected. --comment is needed.

    Example: lora eval reject ui_icons r7 --comment "copies the red heart" --sign little_variety
    """
    word = _Word("rejected", comment, signs, cells_seen)
    _review(session, lora, release, word, evaluation, scope)


def _review(
    session: Session,
    lora: str,
    release: str,
    word: _Word,
    evaluation: str,
    scope: ScopeName,
) -> None:
    from lora_pipeline.operations.review import review_evaluation

    session.run(
        review_evaluation,
        reviewed,
        lora,
        release,
        verdict=word.verdict,
        comment=word.comment,
        signs=word.signs,
        cells_seen=word.cells_seen,
        evaluation=evaluation,
        project=session.project,
        scope=scope,
    )


def _asked(session: Session, lora: str, release: str, evaluation: str, scope: ScopeName) -> _Word:
    """Show what there is to judge and ask for the verdict."""
    from lora_pipeline.evaluation.reviews import SIGNS
    from lora_pipeline.operations.evaluate import show_evaluation

    if session.json or not sys.stdin.isatty():
        raise click.UsageError("Without a terminal a verdict is needed: --verdict approved.")
    result = show_evaluation(
        session.open_workspace(),
        lora,
        release,
        evaluation=evaluation,
        project=session.project,
        scope=scope,
    )
    print_report(shown(result), result)
    if result.data["problems"]:
        raise EvaluationIncompleteError(
            f"evaluation {result.data['evaluationId']} cannot be judged: "
            + result.data["problems"][-1],
            hint=f"lora eval grid {result.data['loraId']} {result.data['releaseId']}",
        )
    total = result.data["cellsTotal"]
    click.echo(f"\nOpen {plain(result.data['sheet'])} and look at all {total} cells.")
    seen = total
    if not click.confirm("Have you looked at every cell?"):
        seen = click.prompt("How many cells have you seen", type=click.IntRange(0, total))
    signs = tuple(sign for sign, question in SIGNS.items() if click.confirm(question))
    verdict = click.prompt("Verdict", type=click.Choice(VERDICTS))
    comment = click.prompt("Comment", default="", show_default=False)
    return _Word(verdict, comment, signs, seen)


def _prompts(text: str, file: IO[str] | None) -> tuple[str, ...]:
    lines = [line.strip() for line in file] if file else []
    from_file = [line for line in lines if line and not line.startswith("#")]
    from_text = [part.strip() for part in text.split("|") if part.strip()]
    if (file and not from_file) or (text and not from_text):
        raise click.UsageError("No prompt was given.")
    return (*from_text, *from_file)


def _absolute(path: str) -> str:
    return str(Path(path).absolute()) if path else ""
