"""Compare two releases of a LoRA: how they were made, and what they draw."""

from __future__ import annotations

from typing import Any

from lora_pipeline.datasets.diff.pictures import pictures_of
from lora_pipeline.datasets.diff.view import DiffView
from lora_pipeline.datasets.diff.words import headline
from lora_pipeline.foundation.files import disk_refusals, write_atomic
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.releases.release_diff_page import ComparisonPage, comparison_page
from lora_pipeline.operations.releases.release_sides import (
    Measured,
    Sides,
    cell_facts,
    dataset_view,
    measured_cells,
    metric_facts,
    release_facts,
    two_releases,
    weights_facts,
)
from lora_pipeline.operations.workspace.output_file import HTML, require_output, require_pictures
from lora_pipeline.releases.lookup import ScopeName
from lora_pipeline.workspace.root import Workspace

PICTURES = 60
_MOST_PICTURES = 1000


def diff_releases(
    workspace: Workspace,
    lora: str,
    before: str,
    after: str,
    *,
    html: str = "",
    pictures: int = PICTURES,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Compare two releases: recipe, manifest, base model, weights, metrics, cells.

    Args:
        workspace: Where they are.
        lora: Id of their LoRA.
        before: The release that is taken as the older one.
        after: The other.
        html: Also write one page that needs nothing but itself; only an earlier page is replaced.
        pictures: How many cells and how many images of the manifest it shows at most.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When LoRA or a release do not exist.
        ArgumentInvalidError, UnsafePathError, StateError: When nothing may be written there.
    """
    sides = two_releases(workspace, lora, before, after, project=project, scope=scope)
    view = dataset_view(sides)
    told = view.to_dict() | {"headline": headline(view)} if isinstance(view, DiffView) else {}
    data = release_facts(sides) | {
        "dataset": told | {"notCompared": view if isinstance(view, str) else ""},
        "weights": weights_facts(workspace, sides),
    }
    return _told(workspace, sides, data, view, html, pictures)


def compare_evaluations(
    workspace: Workspace,
    lora: str,
    before: str,
    after: str,
    *,
    html: str = "",
    pictures: int = PICTURES,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Compare what two releases draw: metrics, and cells at equal prompt, seed and strength.

    Args:
        workspace: Where they are.
        lora: Id of their LoRA.
        before: The release that is taken as the older one.
        after: The other.
        html: As ``diff_releases`` has it.
        pictures: How many cells the page shows at most.
        project: Project of the LoRA; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When LoRA or a release do not exist.
        ArgumentInvalidError, UnsafePathError, StateError: When nothing may be written there.
    """
    sides = two_releases(workspace, lora, before, after, project=project, scope=scope)
    return _told(workspace, sides, {}, None, html, pictures)


def _told(
    workspace: Workspace,
    sides: Sides,
    data: dict[str, Any],
    view: DiffView | str | None,
    html: str,
    pictures: int,
) -> Result:
    require_pictures(pictures, _MOST_PICTURES)
    target = require_output(workspace, html, (HTML,))[0] if html else None
    first, second = sides.before.release.id, sides.after.release.id
    cells = measured_cells(workspace, sides)
    facts = {
        "loraId": sides.lora.record_id, "before": first, "after": second,
        **data, **metric_facts(sides), **cell_facts(cells),
    }  # fmt: skip
    written: tuple[str, ...] = ()
    if target is not None:
        written = (workspace.relative(target),)
        if not workspace.dry_run:
            page = _page(workspace, facts, view, cells, pictures)
            with disk_refusals():
                write_atomic(target, page.encode("utf-8", "backslashreplace"))
    missing = [
        f"lora eval grid {sides.lora.record_id} {name}"
        for name, grid in zip((first, second), sides.grids, strict=True)
        if grid is None
    ]
    return Result(
        data=facts,
        reasoning=f"{sides.lora.record_id}: {first} and {second}, {_summary(facts)}",
        warnings=tuple(facts["notComparable"]),
        suggestions=tuple(missing),
        written=written,
        dry_run=workspace.dry_run,
    )


def _page(
    workspace: Workspace,
    facts: dict[str, Any],
    view: DiffView | str | None,
    cells: list[Measured],
    most: int,
) -> str:
    pictures = pictures_of(workspace, view, most) if isinstance(view, DiffView) else None
    dataset = (view, pictures) if isinstance(view, DiffView) and pictures is not None else None
    return comparison_page(ComparisonPage(workspace, facts, dataset, cells, most))


def _summary(facts: dict[str, Any]) -> str:
    if facts["meanDifference"] is None:
        return f"{facts['paired']} cells in common"
    return f"{facts['paired']} cells in common differ by {facts['meanDifference']:.3f}"
