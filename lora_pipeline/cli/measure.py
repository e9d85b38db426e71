"""``lora eval metrics``: measure a complete grid, or check what is recorded of it."""

from __future__ import annotations

import click

from lora_pipeline.cli.evaluation_options import (
    ScopeName,
    evaluation_choice,
    release_named,
    scope_choice,
)
from lora_pipeline.cli.measured_report import measured
from lora_pipeline.cli.options import writing_options
from lora_pipeline.cli.session import Session


@click.command()
@release_named
@evaluation_choice
@click.option("--check", is_flag=True, help="Write nothing; say whether the record tells the same.")
@click.option("--void-reviews", is_flag=True, help="Measure anew, though verdicts lose the grid.")
@scope_choice
@writing_options
@click.pass_obj
def metrics(
    session: Session,
    lora: str,
    release: str,
    *,
    evaluation: str,
    check: bool,
    void_reviews: bool,
    scope: ScopeName,
) -> None:
    """Measure a complete grid beside its effect.

    Reads the images of the grid and those that the release was trained on; each is decoded
    once. Sharpness, palette, tones, variety of seeds and the nearest training image need no
    model. CLIP, DINOv2, LPIPS and the copy check need the extra metrics and the folders that
    metrics.clipModel, metrics.dinoModel, metrics.lpipsModel and metrics.copyModel name; nothing
    is fetched. What could not be computed is not proven, with its reason.

    Writes the values into evals/ID.json and onto the sheet. Verdicts bind what was measured, so
    a grid that was judged stays as it is without --void-reviews.

    Exits with 0; with 1 when verdicts are bound, or --check found another value.

    Example: lora eval metrics ui_icons r7
    """
    from lora_pipeline.operations.evaluation.evaluation_metrics import measure_evaluation

    session.run(
        measure_evaluation,
        measured,
        lora,
        release,
        evaluation=evaluation,
        check=check,
        void_reviews=void_reviews,
        project=session.project,
        scope=scope,
    )
