"""Two releases of a LoRA, gathered to be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from lora_pipeline.catalog.weight_files import weights_path
from lora_pipeline.datasets.diff.view import DiffView, Side, view_of
from lora_pipeline.evaluation.compare import (
    CellPair,
    differences_by_prompt,
    metric_values,
    not_comparable,
    pair_cells,
)
from lora_pipeline.evaluation.compare_measures import compare_measures
from lora_pipeline.evaluation.records import Evaluation
from lora_pipeline.foundation.errors import ArgumentInvalidError, PipelineError
from lora_pipeline.operations.releases.cell_differences import differences_of
from lora_pipeline.operations.training.weights_compare import compare_weights
from lora_pipeline.releases.card_facts import CardFacts, card_facts
from lora_pipeline.releases.evidence.facts import TrainedManifest
from lora_pipeline.releases.lookup import ScopeName, find_lora, require_release
from lora_pipeline.releases.records import Lora, Release
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace


class Measured(msgspec.Struct, frozen=True):
    """A pair of cells with what lies between its images.

    Attributes:
        pair: The cells.
        difference: Mean absolute difference of both images, in 0..1; None where an
            image is not here.
    """

    pair: CellPair
    difference: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON-ready form."""
        cell = self.pair.cell
        return {
            "promptId": cell.prompt_id, "prompt": cell.prompt, "seed": cell.seed,
            "strength": cell.strength,
            "before": self.pair.before.image_sha256 if self.pair.before else None,
            "after": self.pair.after.image_sha256 if self.pair.after else None,
            "base": self.pair.base.image_sha256 if self.pair.base else None,
            "sameImage": self.pair.same_image, "difference": self.difference,
        }  # fmt: skip


class Sides(msgspec.Struct, frozen=True):
    """What is known of two releases.

    Attributes:
        lora: Their LoRA.
        before: Records about the one that is taken as the older.
        after: Records about the other.
    """

    lora: Loaded[Lora]
    before: CardFacts
    after: CardFacts

    @property
    def grids(self) -> tuple[Evaluation | None, Evaluation | None]:
        """The grid of each."""
        return self.before.evaluation, self.after.evaluation


def two_releases(
    workspace: Workspace,
    lora: str,
    before: str,
    after: str,
    *,
    project: str | None,
    scope: ScopeName,
) -> Sides:
    """Return two releases of a LoRA.

    Raises:
        RecordNotFoundError: When one does not exist.
        ArgumentInvalidError: When both are the same.
    """
    loaded = find_lora(workspace, lora, project=project, scope=scope)
    first, second = (require_release(loaded.record, one) for one in (before, after))
    if first.id == second.id:
        raise ArgumentInvalidError(f"{before} is compared with itself", hint="name two releases")
    return Sides(
        loaded, card_facts(workspace, loaded, first), card_facts(workspace, loaded, second)
    )


def release_facts(sides: Sides) -> dict[str, Any]:
    """Return how both were made, and in what that differs."""
    return {
        "releases": [_release(one) for one in (sides.before, sides.after)],
        "training": _changed(
            *({key: value for key, value in one.release.training.items()
               if key not in ("recipe", "runId")} for one in (sides.before, sides.after))
        ),
        "recipe": _changed(*(_recipe(one.release) for one in (sides.before, sides.after))),
    }  # fmt: skip


def dataset_view(sides: Sides) -> DiffView | str:
    """Return what changed between the manifests, or why that cannot be said."""
    found = (sides.before.trained, sides.after.trained)
    for one, facts in zip(found, (sides.before, sides.after), strict=True):
        if not isinstance(one, TrainedManifest):
            return f"{facts.release.id}: {one.reason}"
    first, second = (
        Side(facts.release.id, one.manifest)
        for one, facts in zip(found, (sides.before, sides.after), strict=True)
        if isinstance(one, TrainedManifest)
    )
    return view_of("Dataset", first, second)


def weights_facts(workspace: Workspace, sides: Sides) -> dict[str, Any]:
    """Return how alike the weights are, or why that cannot be said here."""
    paths = []
    for facts in (sides.before, sides.after):
        release = facts.release
        if release.weights is None:
            return {"notCompared": f"{release.id} names no weights"}
        try:
            paths.append(weights_path(workspace, release.weights, name=f"weights of {release.id}"))
        except PipelineError as error:
            return {"notCompared": error.message}
    try:
        compared = compare_weights(workspace, *map(str, paths))
    except PipelineError as error:
        return {"notCompared": error.message}
    kept = {key: value for key, value in compared.data.items() if key not in ("paths", "metadata")}
    return kept | {"notCompared": ""}


def metric_facts(sides: Sides) -> dict[str, Any]:
    """Return what was measured on both grids, side by side."""
    metrics = [one.metrics if one else None for one in sides.grids]
    first, second = map(metric_values, metrics)
    measures = compare_measures(*metrics, than_what=sides.before.release.id)
    return {
        "measures": [one.to_dict() for one in measures],
        "metrics": [
            {"name": name, "before": first.get(name), "after": second.get(name)}
            for name in dict.fromkeys([*first, *second])
        ],
        "evaluations": [one.id if one else None for one in sides.grids],
        "notComparable": not_comparable(*sides.grids),
    }


def measured_cells(workspace: Workspace, sides: Sides) -> list[Measured]:
    """Return every place of both grids, with what lies between its images."""
    pairs = pair_cells(*sides.grids)
    found = differences_of(workspace, pairs)
    return [Measured(pair, one) for pair, one in zip(pairs, found, strict=True)]


def cell_facts(cells: Sequence[Measured]) -> dict[str, Any]:
    """Return the pairs and what they say together."""
    both = [one for one in cells if one.pair.before and one.pair.after]
    differences = [one.difference for one in both if one.difference is not None]
    return {
        "cells": [one.to_dict() for one in cells],
        "paired": len(both),
        "onlyBefore": sum(one.pair.after is None for one in cells),
        "onlyAfter": sum(one.pair.before is None for one in cells),
        "sameImages": sum(one.pair.same_image for one in both),
        "measured": len(differences),
        "meanDifference": round(sum(differences) / len(differences), 6) if differences else None,
        "byPrompt": [
            one.to_dict()
            for one in differences_by_prompt((one.pair, one.difference) for one in both)
        ],
    }


def _release(facts: CardFacts) -> dict[str, Any]:
    release, weights = facts.release, facts.release.weights
    return {
        "id": release.id, "status": release.status, "active": facts.active,
        "createdAt": release.created_at, "createdBy": release.created_by,
        "sha256": weights.sha256 if weights else "", "bytes": weights.bytes if weights else 0,
        "verdicts": [{"reviewer": one.reviewer, "verdict": one.verdict} for one in facts.reviews],
    }  # fmt: skip


def _recipe(release: Release) -> Mapping[str, Any]:
    recipe = release.training.get("recipe")
    return recipe if isinstance(recipe, dict) else {}


def _changed(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(_differing(first, second))


def _differing(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name in sorted(first.keys() | second.keys()):
        if first.get(name) != second.get(name):
            yield {"name": name, "before": first.get(name), "after": second.get(name)}
