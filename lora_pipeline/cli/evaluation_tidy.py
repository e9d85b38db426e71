"""``lora eval normalize`` and ``lora eval cleanup``: evaluations in order."""

from __future__ import annotations

import click

from lora_pipeline.cli.evaluation_options import ScopeName, scope_choice
from lora_pipeline.cli.options import writing_options
from lora_pipeline.cli.output import Report, counted
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result


@click.command()
@scope_choice
@writing_options
@click.pass_obj
def normalize(session: Session, *, scope: ScopeName) -> None:
    """Correct the states of evaluations.

    Reads every evaluation of the project. Writes those whose state is not what their cells, or
    the outputs of the base format, come to. A grid is never called complete here: lora eval
    grid does that, from its pictures. Exits with 0.

    Example: lora eval normalize --dry-run
    """
    from lora_pipeline.operations.evaluation.evaluation_tidy import normalize_evaluations

    session.run(normalize_evaluations, _normalized, project=session.project, scope=scope)


@click.command()
@click.argument("evaluation", default="")
@scope_choice
@writing_options
@click.pass_obj
def cleanup(session: Session, evaluation: str, *, scope: ScopeName) -> None:
    """Remove grids that nobody needs.

    Reads every evaluation of the project, and which records name it. Removes unfinished grids
    of which a newer whole one exists, with their sheets; or EVALUATION alone. What a verdict, a
    promotion or a waiver names always stays. Pictures go with lora store gc. Exits with 0, or
    with 1 when EVALUATION is evidence.

    Example: lora eval cleanup --dry-run
    """
    from lora_pipeline.operations.evaluation.evaluation_tidy import cleanup_evaluations

    session.run(cleanup_evaluations, _cleaned, evaluation, project=session.project, scope=scope)


def _normalized(result: Result) -> Report:
    changed = result.data["changed"]
    verb = "would be corrected" if result.dry_run else "corrected"
    return Report(
        f"{counted(len(changed), 'evaluation')} {verb}",
        rows=[("state", f"{one['evaluationId']}  {one['from']} → {one['to']}") for one in changed],
    )


def _cleaned(result: Result) -> Report:
    if result.refusal:
        return Report(f"refused · {result.refusal.message}")
    removed = result.data["removed"]
    verb = "would be removed" if result.dry_run else "removed"
    rows = [
        ("removed", f"{one['evaluationId']}  {one['loraId']} {one['releaseId']}, {one['status']}")
        for one in removed
    ]
    rows += [
        ("kept", f"{one['evaluationId']}  {one['namedBy']} names it") for one in result.data["kept"]
    ]
    return Report(f"{counted(len(removed), 'evaluation')} {verb}", rows=rows)
