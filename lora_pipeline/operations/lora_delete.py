"""Delete a LoRA that nothing uses, with the runs, grids and verdicts that are about it."""

from __future__ import annotations

from pathlib import Path

from lora_pipeline.evaluation.records import Evaluation, Review
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.releases.lookup import ScopeName, find_lora
from lora_pipeline.releases.records import Lora
from lora_pipeline.training.records import Run
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

_UNDER_WAY = frozenset({"created", "queued", "training"})


def delete_lora(
    workspace: Workspace,
    lora: str,
    *,
    force: bool = False,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Delete a LoRA with its runs, evaluations and reviews; Git keeps what was committed.

    Weights and images stay in the store, where nothing names them any more.

    Args:
        workspace: Where it is.
        lora: Its id.
        force: Whether to delete also what is in use.
        project: Its project; else the one in use.
        scope: ``baseline`` to take the shared LoRA of that id.

    Raises:
        RecordNotFoundError: When it does not exist.
        RecordError: When a record that is about it is not valid.
    """
    loaded = find_lora(workspace, lora, project=project, scope=scope)
    place = loaded.scope
    runs = [one for one in workspace.records.all(Run, place) if one.record.lora_id == lora]
    reasons = [] if force else _reasons(loaded.record, runs)
    counts = {"releases": len(loaded.record.releases), "runs": len(runs)}
    if reasons:
        steps = _steps(loaded.record)
        return Result(
            data={"loraId": lora, "inUse": reasons, **counts},
            reasoning=f"{lora} is in use",
            suggestions=steps,
            dry_run=workspace.dry_run,
            refusal=Refusal("lora_in_use", f"{lora} is in use: {'; '.join(reasons)}", steps[0]),
        )
    changes = Changes(workspace)
    reviews = [one for one in workspace.records.all(Review, place) if one.record.lora_id == lora]
    evaluations = [
        one for one in workspace.records.all(Evaluation, place) if one.record.lora_id == lora
    ]
    for review in reviews:
        changes.remove(review)
    for evaluation in evaluations:
        changes.remove(evaluation)
        for sheet in _sheets(evaluation.path):
            changes.remove_file(sheet)
    for run in runs:
        changes.remove(run)
    changes.remove(loaded)
    return Result(
        data={
            "loraId": lora,
            "evaluations": len(evaluations),
            "reviews": len(reviews),
            **counts,
        },
        reasoning=f"Deleted LoRA {lora} with {counts['releases']} releases",
        written=changes.apply(),
        dry_run=workspace.dry_run,
    )


def _reasons(lora: Lora, runs: list[Loaded[Run]]) -> list[str]:
    reasons = []
    if lora.active_release_id:
        state = "and switched on" if lora.enabled else "though switched off"
        reasons.append(f"release {lora.active_release_id} is active, {state}")
    return reasons + [
        f"run {run.record_id} is {run.record.state}"
        for run in runs
        if run.record.state in _UNDER_WAY
    ]


def _steps(lora: Lora) -> tuple[str, ...]:
    first = "lora run list"
    if lora.active_release_id:
        first = f"lora release deprecate {lora.id} {lora.active_release_id} --deactivate --reason …"
    return first, f"lora delete {lora.id} --force"


def _sheets(record: Path) -> list[Path]:
    return sorted(path for path in record.parent.glob(f"{record.stem}.*") if path != record)
