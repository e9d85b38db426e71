"""What is asked before work goes elsewhere: may it cost that, and may it leave this machine."""

from __future__ import annotations

from typing import Any

from lora_pipeline.catalog.records import Project
from lora_pipeline.foundation.result import Refusal
from lora_pipeline.operations.training.run_states import UNDER_WAY
from lora_pipeline.operations.training.train_request import Training
from lora_pipeline.training.hosted.interface import HostedTrainer, JobEstimate
from lora_pipeline.training.hosted.spending import (
    JOB_IN_DOUBT,
    Account,
    Caps,
    account_of,
    caps_of,
    money,
    spending_refusal,
)
from lora_pipeline.training.plan import Plan
from lora_pipeline.training.records import Expense, Run, RunError
from lora_pipeline.training.trainers.registry import TRAINERS
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace

# Failures of ours or of the way there: the job itself may be running, or done.
_JOB_MAY_LIVE = frozenset(
    {"interrupted", "service_unreachable", "service_refused", "job_in_doubt", "storage_failed"}
)


def estimate_of(workspace: Workspace, training: Training, plan: Plan) -> JobEstimate | None:
    """Return what a plan is expected to take elsewhere, or None where it stays here."""
    trainer = training.trainer
    if not isinstance(trainer, HostedTrainer):
        return None
    return trainer.estimate(plan, training.recipe.recipe, workspace.settings)


def sending_refusal(
    workspace: Workspace, training: Training, plan: Plan, estimate: JobEstimate
) -> Refusal | None:
    """Return why nothing is sent: it may cost too much, or nobody said yes to the upload.

    Where a job of this LoRA may be there already, it may be this one, which is not sent again:
    caps are then left to who sends.
    """
    refused = cap_refusal(workspace, training.lora.scope, estimate)
    if refused is not None and not _unsettled(workspace, training):
        return refused
    if training.wishes.yes_upload:
        return None
    images = sum(1 for one in plan.uploads if one.source.suffix != ".txt")
    captions = len(plan.uploads) - images
    folder = workspace.relative(plan.uploads[0].source.parent) if plan.uploads else ""
    price = f", for about {money(estimate.cost, estimate.currency)}" if estimate.cost else ""
    return Refusal(
        "upload_not_agreed",
        f"{images} images and {captions} captions of {folder} and the job itself "
        f"would be sent to {plan.service}{price}",
        "the same command with --yes-upload sends them; --plan --json lists every file",
    )


def may_have_job(run: Run) -> bool:
    """Return whether a run that nobody works on may have a job at a service."""
    if not isinstance(TRAINERS.get(run.trainer), HostedTrainer):
        return False
    if run.state in UNDER_WAY:
        return True
    if run.state != "failed":
        return False
    return _code(run.error) in (_JOB_MAY_LIVE if run.external_job_id else JOB_IN_DOUBT)


def cap_refusal(
    workspace: Workspace,
    scope: Scope,
    estimate: JobEstimate,
    *,
    besides: str = "",
    less: str = "fewer steps",
) -> Refusal | None:
    """Return why a job may not be sent for its cost, or None.

    Args:
        workspace: Where caps, and what was spent, are.
        scope: The project, or the shared scope, that it belongs to.
        estimate: What the job is expected to cost.
        besides: Id of its own record, when that is written already: it is not counted twice.
        less: What makes it cheaper, for the hint.
    """
    if estimate.cost == 0:
        return None
    caps, account = _standing(workspace, scope, besides)
    return spending_refusal(estimate, caps, account, less=less)


def sending_facts(
    workspace: Workspace, scope: Scope, plan: Plan, estimate: JobEstimate
) -> dict[str, Any]:
    """Return cost, caps and files that would leave, as every face tells them."""
    caps, account = _standing(workspace, scope, "")
    return {
        "service": plan.service,
        "uploads": [
            {"name": one.name, "source": workspace.relative(one.source), "bytes": _bytes_of(one)}
            for one in plan.uploads
        ],
        "estimate": {
            "cost": estimate.cost,
            "currency": estimate.currency,
            "minutes": estimate.minutes,
            "basis": estimate.basis,
        },
        "spending": {
            "currency": caps.currency,
            "maxPerRun": caps.per_run.amount,
            "maxPerProject": caps.per_project.amount,
            "paid": round(account.paid, 4),
            "open": round(account.open, 4),
        },
    }


def _unsettled(workspace: Workspace, training: Training) -> bool:
    runs = (one.record for one in workspace.records.all(Run, training.lora.scope))
    return any(run.lora_id == training.lora.record_id and may_have_job(run) for run in runs)


def _standing(workspace: Workspace, scope: Scope, besides: str) -> tuple[Caps, Account]:
    project = None
    if scope.project_id and workspace.records.exists(Project, scope, "project"):
        project = workspace.records.read(Project, scope, "project").record.spending
    caps = caps_of(workspace.settings, project)
    runs: list[Run | Expense] = [one.record for one in workspace.records.all(Run, scope)]
    pictures = [one.record for one in workspace.records.all(Expense, scope)]
    spent = (one for one in (*runs, *pictures) if one.id != besides)
    return caps, account_of(spent, caps.currency)


def _bytes_of(upload: Any) -> int | None:
    try:
        return int(upload.source.stat().st_size)
    except OSError:
        return None  # not staged yet; the plan is made without it


def _code(error: RunError | None) -> str:
    return error.code if error is not None else ""
