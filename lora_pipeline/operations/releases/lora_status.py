"""``lora status LORA``: what state a LoRA is in, and the one thing to do next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from lora_pipeline.datasets.records import Manifest
from lora_pipeline.evaluation.records import Evaluation, Review
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.training.run_lookup import state_now
from lora_pipeline.operations.training.run_queue import places_in_queue
from lora_pipeline.operations.training.run_row import row_of
from lora_pipeline.releases.lookup import ScopeName, find_lora
from lora_pipeline.releases.records import Lora
from lora_pipeline.releases.standing import next_for_lora, state_of
from lora_pipeline.training.records import Run
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace


def show_lora_status(
    workspace: Workspace,
    lora: str,
    *,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Say what state a LoRA is in and what to do next.

    The state is ``created`` (nothing was trained), ``queued``, ``training``, ``interrupted`` (the
    process of its run is gone), ``ready`` (it has a release) or ``failed`` (the last run brought
    none, and there is no other).

    Args:
        workspace: Where it is.
        lora: Its id.
        project: The project; else the one in use.
        scope: ``baseline`` for the shared LoRA.

    Raises:
        RecordNotFoundError: When there is no such LoRA.
    """
    loaded = find_lora(workspace, lora, project=project, scope=scope)
    record, place = loaded.record, loaded.scope
    runs = [one.record for one in workspace.records.all(Run, place) if one.record.lora_id == lora]
    runs.sort(key=lambda run: (run.created_at, run.id))
    last = runs[-1] if runs else None
    state: str = state_of(record, runs)
    current = _current(workspace, runs)
    if current is not None:
        state = state_now(workspace, current)
    shown = current or (last if state == "failed" else None)
    step = _next(workspace, place, record, shown, state)
    active = record.release(record.active_release_id) if record.active_release_id else None
    return Result(
        data={
            "loraId": record.id,
            "state": state,
            "active": active.id if active is not None else None,
            "enabled": record.enabled,
            "strength": record.strength,
            "releases": dict(sorted(Counter(one.status for one in record.releases).items())),
            "newest": record.releases[-1].id if record.releases else None,
            "run": row_of(workspace, shown) if shown is not None else None,
            "place": places_in_queue(workspace).get(shown.id)
            if shown is not None and state == "queued"
            else None,
            "error": shown.error.to_dict() if shown is not None and shown.error else None,
            "runs": dict(sorted(Counter(run.state for run in runs).items())),
            "next": step,
        },
        reasoning=f"{record.id} is {state}",
        suggestions=[step] if step else [],
    )


def _current(workspace: Workspace, runs: Sequence[Run]) -> Run | None:
    """Return the run that is on its way: one that trains before one that waits."""
    unfinished = [run for run in runs if run.state in ("created", "queued", "training")]
    order = {"training": 0, "interrupted": 1}
    return min(unfinished, key=lambda run: order.get(state_now(workspace, run), 2), default=None)


def _next(workspace: Workspace, scope: Scope, lora: Lora, run: Run | None, state: str) -> str:
    if run is not None:
        steps = {
            "created": "lora worker",
            "queued": "lora worker",
            "training": f"lora run log {run.id} --follow",
            "interrupted": f"lora run resume {run.id}",
            "failed": f"lora run show {run.id}",
        }
        if state in steps:
            return steps[state]
    records = workspace.records
    manifests = [one.record for one in records.all(Manifest, scope)]
    if not lora.releases and not manifests:
        return f"lora add-images {lora.id} DIR"
    evaluations = [one.record for one in records.all(Evaluation, scope)]
    reviews = [one.record for one in records.all(Review, scope)]
    fitting = [one.id for one in manifests if _fits(one, lora)] or [one.id for one in manifests]
    return next_for_lora(lora, evaluations, reviews, fitting)


def _fits(manifest: Manifest, lora: Lora) -> bool:
    return not lora.asset_types or bool(set(manifest.selection.asset_types) & set(lora.asset_types))
