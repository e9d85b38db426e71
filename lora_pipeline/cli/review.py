"""``lora eval review`` and its kin: verdicts, blind comparison, and what it comes to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Literal

import click
import msgspec

from lora_pipeline.cli.blind_report import answered, compared, planned
from lora_pipeline.cli.evaluation_options import (
    ScopeName,
    evaluation_choice,
    release_named,
    scope_choice,
)
from lora_pipeline.cli.evaluation_report import reviewed, shown
from lora_pipeline.cli.options import shared_options, writing_options
from lora_pipeline.cli.output import plain, print_report
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.errors import EvaluationIncompleteError

Verdict = Literal["approved", "rejected", "needs_work"]
VERDICTS: tuple[Verdict, ...] = ("approved", "rejected", "needs_work")


class _Word(msgspec.Struct, frozen=True):
    """What a reviewer says."""

    verdict: Verdict
    comment: str = ""
    signs: tuple[str, ...] = ()
    broken: tuple[str, ...] = ()
    cells_seen: int | None = None


_comment = click.option("--comment", default="", metavar="TEXT", help="Why, in your words.")
_sign = click.option(
    "--sign", "signs", multiple=True, metavar="SIGN", help="Sign of over-training that you saw."
)
_broken = click.option(
    "--broken", multiple=True, metavar="PROMPT",
    help="Prompt that shows what it must never, or not what it must.",
)  # fmt: skip
_seen = click.option(
    "--cells-seen", type=int, metavar="N", help="How many cells you looked at; else all of them."
)


@click.command()
@release_named
@click.option("--verdict", type=click.Choice(VERDICTS), help="Your verdict; else you are asked.")
@_comment
@_sign
@_broken
@_seen
@click.option("--blind", is_flag=True, help="Write a page to compare on blindly, for one person.")
@click.option("--answers", default="", metavar="FILE", help="Record what such a page saved.")
@click.option("--against", default="", metavar="RELEASE|base", help="--blind: else what is active.")
@click.option("--pairs", type=int, metavar="N", help="--blind: at most N pairs; else all.")
@click.option("--strength", type=float, metavar="X", help="--blind: else the one in use.")
@click.option("--output", default="", metavar="FILE", help="--blind: the page.")
@evaluation_choice
@scope_choice
@writing_options
@click.pass_obj
def review(
    session: Session,
    /,
    lora: str,
    release: str,
    *,
    verdict: Verdict | None,
    comment: str,
    signs: tuple[str, ...],
    broken: tuple[str, ...],
    cells_seen: int | None,
    evaluation: str,
    scope: ScopeName,
    **page: Any,
) -> None:
    """Give a verdict on a complete grid, or compare blindly.

    In a terminal it shows where the contact sheet is and asks what you see. Reads the
    evaluation; writes one review, which is never changed again and counts only for exactly
    these weights, images and suite.

    --blind writes one HTML file with pairs of images, candidate against the active release (or
    the base), in an order that the file does not tell. Whoever answers saves a file, and
    --answers takes it. One page is for one person: make another for the next.

    Exits with 0, or with 3 when the grid has holes.

    Example: lora eval review ui_icons r7

    Example: lora eval review ui_icons r7 --blind --pairs 24

    Example: lora eval review ui_icons r7 --answers blind-01K9….json --as kim@studio
    """
    asked = _Word(verdict or "approved", comment, signs, broken, cells_seen)
    given = bool(verdict or comment or signs or broken or cells_seen is not None)
    _require_one_way(page, given=given)
    if page["answers"]:
        _record_answers(session, lora, release, page["answers"], scope)
    elif page["blind"]:
        _write_page(session, lora, release, page, evaluation, scope)
    else:
        word = asked if verdict else _asked(session, lora, release, evaluation, scope)
        _review(session, lora, release, word, evaluation, scope)


@click.command()
@release_named
@_comment
@_seen
@evaluation_choice
@scope_choice
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


@click.command()
@release_named
@_comment
@_sign
@_broken
@_seen
@evaluation_choice
@scope_choice
@writing_options
@click.pass_obj
def reject(
    session: Session,
    lora: str,
    release: str,
    *,
    comment: str,
    signs: tuple[str, ...],
    broken: tuple[str, ...],
    cells_seen: int | None,
    evaluation: str,
    scope: ScopeName,
) -> None:
    """Reject a complete grid, with the reason.

    The same as review --verdict rejected. --comment is needed.

    Example: lora eval reject ui_icons r7 --comment "copies the red heart" --sign little_variety
    """
    word = _Word("rejected", comment, signs, broken, cells_seen)
    _review(session, lora, release, word, evaluation, scope)


@click.command()
@release_named
@scope_choice
@shared_options
@click.pass_obj
def blind(session: Session, lora: str, release: str, *, scope: ScopeName) -> None:
    """Say what blind comparisons come to, and what that is worth.

    Reads the blind reviews of a release and the plans of their pages; checks that the order of
    each is the one that was committed to. Writes nothing. Exits with 0.

    Example: lora eval blind ui_icons r7
    """
    from lora_pipeline.operations.evaluation.review_answers import show_blind

    session.run(show_blind, compared, lora, release, project=session.project, scope=scope)


def _require_one_way(page: dict[str, Any], *, given: bool) -> None:
    if page["blind"] and page["answers"]:
        raise click.UsageError("--blind makes a page, --answers takes what it saved: one of them.")
    if given and (page["blind"] or page["answers"]):
        raise click.UsageError("A blind comparison is no verdict: leave --verdict and its kin out.")
    loose = [name for name in ("against", "pairs", "strength", "output") if page[name]]
    if loose and not page["blind"]:
        raise click.UsageError(f"--{loose[0]} is for --blind.")


def _write_page(
    session: Session,
    lora: str,
    release: str,
    page: dict[str, Any],
    evaluation: str,
    scope: ScopeName,
) -> None:
    from lora_pipeline.operations.evaluation.review_blind import make_blind_page

    session.run(
        make_blind_page,
        planned,
        lora,
        release,
        against=page["against"],
        pairs=page["pairs"],
        strength=page["strength"],
        output=str(Path(page["output"]).absolute()) if page["output"] else "",
        evaluation=evaluation,
        project=session.project,
        scope=scope,
    )


def _record_answers(
    session: Session, lora: str, release: str, answers: str, scope: ScopeName
) -> None:
    from lora_pipeline.operations.evaluation.review_answers import record_blind_review

    session.run(
        record_blind_review,
        answered,
        lora,
        release,
        answers=str(Path(answers).absolute()),
        project=session.project,
        scope=scope,
    )


def _review(
    session: Session,
    lora: str,
    release: str,
    word: _Word,
    evaluation: str,
    scope: ScopeName,
) -> None:
    from lora_pipeline.operations.evaluation.review import review_evaluation

    session.run(
        review_evaluation,
        reviewed,
        lora,
        release,
        verdict=word.verdict,
        comment=word.comment,
        signs=word.signs,
        broken=word.broken,
        cells_seen=word.cells_seen,
        evaluation=evaluation,
        project=session.project,
        scope=scope,
    )


def _asked(session: Session, lora: str, release: str, evaluation: str, scope: ScopeName) -> _Word:
    """Show what there is to judge and ask for the verdict."""
    from lora_pipeline.evaluation.reviews import SIGNS
    from lora_pipeline.operations.evaluation.evaluate import show_evaluation

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
    broken = tuple(
        prompt
        for prompt, rule in result.data["rules"].items()
        if not click.confirm(f"{prompt} {plain(rule)}. Does every cell of it keep to that?")
    )
    verdict = click.prompt("Verdict", type=click.Choice(VERDICTS))
    comment = click.prompt("Comment", default="", show_default=False)
    return _Word(verdict, comment, signs, broken, seen)
