"""A run, and what pictures cost, as lists, pages and the state of a LoRA tell it."""

from __future__ import annotations

from typing import Any

from lora_pipeline.operations.training.run_lookup import state_now
from lora_pipeline.training.hosted.spending import counts_for
from lora_pipeline.training.records import Expense, Run
from lora_pipeline.training.runs.folder import is_here, run_folder
from lora_pipeline.training.runs.log import Progress, last_progress
from lora_pipeline.workspace.root import Workspace


def row_of(workspace: Workspace, run: Run) -> dict[str, Any]:
    """Return a run as lists and pages tell it; one under way with how far it has come."""
    state = state_now(workspace, run)
    live = last_progress(run_folder(workspace, run.id)) if state == "training" else None
    return {
        "runId": run.id,
        "loraId": run.lora_id,
        "releaseId": run.release_id,
        "state": state,
        "trainer": run.trainer,
        "datasetId": run.dataset_id,
        "createdAt": run.created_at,
        "requestedBy": run.requested_by,
        "stepsDone": live.step if live else run.steps_done,
        "stepsPlanned": run.steps_planned,
        "seconds": live.seconds if live else run.duration_seconds,
        "secondsLeft": _left(live, run) if live else None,
        "finalLoss": live.loss if live else run.final_loss,
        "attempts": len(run.attempts),
        "cost": _cost(run),
        "error": run.error.code if run.error else None,
        "folder": workspace.relative(run_folder(workspace, run.id))
        if is_here(workspace, run.id)
        else None,
    }


def expense_row(expense: Expense) -> dict[str, Any]:
    """Return what pictures cost as lists tell it."""
    amount, known = counts_for(expense)
    return {
        "expenseId": expense.id,
        "purpose": expense.purpose,
        "loraId": expense.lora_id,
        "releaseId": expense.release_id,
        "service": expense.service,
        "createdAt": expense.created_at,
        "pictures": expense.pictures,
        "requestedBy": expense.requested_by,
        "cost": {"amount": amount, "known": known, "currency": expense.cost.currency},
    }


def _cost(run: Run) -> dict[str, Any] | None:
    """Return what a run counts for, or None where nothing had a price."""
    amount, known = counts_for(run)
    if not (run.cost.estimate or run.cost.actual or amount):
        return None
    return {"amount": amount, "known": known, "currency": run.cost.currency}


def _left(live: Progress, run: Run) -> float | None:
    """Return about how many seconds a run still takes, from how long its steps took."""
    if not live.step or live.seconds <= 0:
        return None
    return round(live.seconds / live.step * max(0, run.steps_planned - live.step), 1)
