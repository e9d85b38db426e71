"""Measure a complete grid, or check what is recorded of it by measuring anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec.structs import replace

from lora_pipeline.evaluation.blind.records import BlindPlan, BlindReview
from lora_pipeline.evaluation.finishing import remeasure_evaluation
from lora_pipeline.evaluation.grid import missing_cells, problems_of_grid
from lora_pipeline.evaluation.metrics.comparing import disagreements, unchecked
from lora_pipeline.evaluation.metrics.training_images import NoTrainingImages, training_images
from lora_pipeline.evaluation.metrics.words import measured_facts, title_of
from lora_pipeline.evaluation.records import Evaluation, EvaluationMetrics, Review
from lora_pipeline.foundation.errors import EvaluationIncompleteError, RecordInvalidError
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.operations.evaluation.evaluation_outcome import evaluation_facts
from lora_pipeline.operations.evaluation.evaluation_subject import (
    Target,
    find_evaluation,
    find_target,
)
from lora_pipeline.releases.evidence.facts import TrainedManifest
from lora_pipeline.releases.evidence.manifest import ManifestFinder
from lora_pipeline.releases.evidence.record_past import RecordPast
from lora_pipeline.releases.lookup import ScopeName
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

if TYPE_CHECKING:
    from lora_pipeline.evaluation.metrics.measuring import Training


def measure_evaluation(
    workspace: Workspace,
    lora: str,
    release: str = "",
    *,
    evaluation: str = "",
    void_reviews: bool = False,
    check: bool = False,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Measure a complete grid beside its effect: without models always, with those that are set.

    Verdicts bind what was measured when they were given. So a grid that somebody judged is not
    measured otherwise unless that is asked for.

    Args:
        workspace: The workspace.
        lora: Id of the LoRA.
        release: Id of the release; else the newest.
        evaluation: Id of the evaluation; else the newest complete one.
        void_reviews: Whether verdicts may lose what they are about.
        check: Write nothing: say whether the record tells what is measured now.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When there is no evaluation.
        EvaluationIncompleteError: When cells have no image yet.
        RecordInvalidError: When the record was edited by hand.
        FileMissingError, DigestMismatchError: When an image is not in the store.
    """
    from lora_pipeline.evaluation.metrics.measuring import measure_grid  # imports numpy

    target = find_target(workspace, lora, release, project=project, scope=scope)
    loaded = find_evaluation(workspace, target, evaluation)
    record, words = loaded.record, target.words
    _require_complete(record, words)
    anew = measure_grid(workspace, record, training_of(workspace, target))
    if check:
        return _checked(record, anew, words)
    if anew == record.metrics:
        return _measured(record, record, words, f"Nothing changed in what is measured of {words}")
    binding = _bound(workspace, loaded)
    if binding and not void_reviews:
        return _refused(record, anew, words, binding)
    finished = remeasure_evaluation(
        workspace, loaded, anew, trigger_word=target.lora.record.trigger_word
    )
    told = finished.loaded.record
    if workspace.dry_run:
        told = replace(record, metrics=anew)
    return replace(
        _measured(told, record, words, f"Measured the grid of {words}"),
        warnings=(f"no longer about this grid: {binding}",) if binding else (),
        written=finished.written,
        dry_run=workspace.dry_run,
    )


def training_of(workspace: Workspace, target: Target) -> Training:
    """Return the images that a release was trained on, or why they are not to be had."""
    finder = ManifestFinder(workspace, workspace.records, RecordPast(workspace))
    found = finder.trained(target.lora.scope, target.release)
    if isinstance(found, TrainedManifest):
        return training_images(workspace, found.manifest)
    return NoTrainingImages(found.reason)


def _require_complete(record: Evaluation, words: str) -> None:
    missing = missing_cells(record)
    if missing or not record.cells:
        raise EvaluationIncompleteError(
            f"{len(missing)} of {len(record.cells)} cells of {words} have no image",
            hint=f"lora eval grid {words}",
        )
    problems = problems_of_grid(record)
    if problems:
        raise RecordInvalidError(
            f"evaluation {record.id}: {problems[0]}", hint=f"lora eval grid {words} --again"
        )


def _bound(workspace: Workspace, loaded: Loaded[Evaluation]) -> str:
    """Return what was said of the grid as it is measured now, in words."""
    digest = loaded.record.result_digest
    bindings = [one.record.binding for one in workspace.records.all(Review, loaded.scope)]
    bindings += [one.record.binding for one in workspace.records.all(BlindReview, loaded.scope)]
    reviews = sum(binding.result_digest == digest for binding in bindings)
    pages = sum(
        one.record.evaluation_id == loaded.record_id
        for one in workspace.records.all(BlindPlan, loaded.scope)
    )
    counts = ((reviews, "verdict"), (pages, "blind page"))
    return " and ".join(
        f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts if count
    )


def _measured(told: Evaluation, before: Evaluation, words: str, reasoning: str) -> Result:
    return Result(
        data={
            **evaluation_facts(told),
            "changed": told.metrics != before.metrics,
        },
        reasoning=reasoning,
        suggestions=(f"lora eval review {words}",),
    )


def _refused(record: Evaluation, anew: EvaluationMetrics, words: str, binding: str) -> Result:
    again = f"lora eval metrics {words} --void-reviews"
    return Result(
        data={**evaluation_facts(record), **measured_facts(anew, record.cells), "changed": False},
        reasoning=f"The grid of {words} stays as it was measured",
        refusal=Refusal(
            "verdicts_bound",
            f"{binding} would no longer be about this grid: what is measured now is not in it",
            again,
        ),
        suggestions=(again, f"lora eval grid {words} --again"),
    )


def _checked(record: Evaluation, anew: EvaluationMetrics, words: str) -> Result:
    recorded = record.metrics or EvaluationMetrics()
    found, left = disagreements(recorded, anew), unchecked(recorded, anew)
    refusal = None
    if found:
        refusal = Refusal(
            "metrics_differ",
            f"{len(found)} recorded values are not what is measured now, first: {found[0]}",
            f"lora eval metrics {words}",
        )
    return Result(
        data={
            **evaluation_facts(record),
            **measured_facts(anew, record.cells),
            "changed": False,
            "differing": found,
            "unchecked": left,
        },
        reasoning=f"Measured {words} anew and compared it with the record",
        warnings=tuple(f"not checked: {title_of(name)}, {why}" for name, why in left.items()),
        refusal=refusal,
    )
