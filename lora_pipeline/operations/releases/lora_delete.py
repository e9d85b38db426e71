"""Delete a LoRA that nothing uses, with the runs, grids and verdicts that are about it."""

from __future__ import annotations

from pathlib import Path

from lora_pipeline.evaluation.blind.records import BlindPlan, BlindReview
from lora_pipeline.evaluation.records import Evaluation, Review
from lora_pipeline.foundation.errors import RecordNotFoundError
from lora_pipeline.foundation.result import Refusal, Result
from lora_pipeline.releases.lookup import ScopeName, find_lora, scope_of
from lora_pipeline.releases.records import Lora, Waiver, WithdrawalAnswer
from lora_pipeline.training.records import Run
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
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
    """Delete a LoRA with its runs, evaluations, reviews and answers; Git keeps what was committed.

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
    about = _About(workspace, *_place(workspace, lora, project, scope))
    if about.loaded is not None and not force:
        reasons = _reasons(about.loaded.record, about.runs)
        if reasons:
            return _in_use(workspace, about.loaded.record, reasons)
    changes = Changes(workspace)
    # Once the LoRA is gone nothing is active any more; running again removes the rest.
    if about.loaded is not None:
        changes.remove(about.loaded)
    for review in about.reviews:
        changes.remove(review)
    for answer in (*about.answers, *about.blind_plans, *about.blind_reviews, *about.waivers):
        changes.remove(answer)
    for evaluation in about.evaluations:
        for sheet in _sheets(evaluation.path):
            changes.remove_file(sheet)
        changes.remove(evaluation)
    for run in about.runs:
        changes.remove(run)
    releases = len(about.loaded.record.releases) if about.loaded else 0
    return Result(
        data={
            "loraId": lora,
            "releases": releases,
            "runs": len(about.runs),
            "evaluations": len(about.evaluations),
            "reviews": len(about.reviews),
        },
        reasoning=f"Deleted LoRA {lora} with {releases} releases",
        written=changes.apply(),
        dry_run=workspace.dry_run,
    )


class _About:
    """The records that are about a LoRA; the LoRA itself is gone when it was half deleted."""

    def __init__(
        self, workspace: Workspace, lora_id: str, scope: Scope, loaded: Loaded[Lora] | None
    ) -> None:
        records = workspace.records
        self.loaded = loaded
        self.runs = [one for one in records.all(Run, scope) if one.record.lora_id == lora_id]
        self.evaluations = [
            one for one in records.all(Evaluation, scope) if one.record.lora_id == lora_id
        ]
        self.reviews = [one for one in records.all(Review, scope) if one.record.lora_id == lora_id]
        self.answers = [
            one for one in records.all(WithdrawalAnswer, scope) if one.record.lora_id == lora_id
        ]
        self.blind_plans = [
            one for one in records.all(BlindPlan, scope) if one.record.lora_id == lora_id
        ]
        self.blind_reviews = [
            one for one in records.all(BlindReview, scope) if one.record.lora_id == lora_id
        ]
        self.waivers = [one for one in records.all(Waiver, scope) if one.record.lora_id == lora_id]


def _place(
    workspace: Workspace, lora: str, project: str | None, scope: ScopeName
) -> tuple[str, Scope, Loaded[Lora] | None]:
    try:
        loaded = find_lora(workspace, lora, project=project, scope=scope)
    except RecordNotFoundError:
        place = scope_of(workspace, project, scope)
        rest = _About(workspace, lora, place, None)
        if not (rest.runs or rest.evaluations or rest.reviews or rest.answers):
            raise
        return lora, place, None
    return lora, loaded.scope, loaded


def _in_use(workspace: Workspace, lora: Lora, reasons: list[str]) -> Result:
    steps = _steps(lora)
    return Result(
        data={"loraId": lora.id, "inUse": reasons},
        reasoning=f"{lora.id} is in use",
        suggestions=steps,
        dry_run=workspace.dry_run,
        refusal=Refusal("lora_in_use", f"{lora.id} is in use: {'; '.join(reasons)}", steps[0]),
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
