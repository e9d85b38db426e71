"""Training runs as they stand: list them, and show one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Literal

from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.training.run_lookup import find_run, run_places
from lora_pipeline.operations.training.run_row import expense_row, row_of
from lora_pipeline.operations.training.run_states import WAITING
from lora_pipeline.releases.lookup import ScopeName
from lora_pipeline.training.records import Expense, Run
from lora_pipeline.training.runs.folder import run_folder
from lora_pipeline.training.runs.ticket import read_ticket
from lora_pipeline.workspace.root import Workspace

RunStateFilter = Literal[
    "", "created", "queued", "training", "interrupted", "ready", "failed", "cancelled"
]


def list_runs(
    workspace: Workspace,
    *,
    lora: str = "",
    state: RunStateFilter = "",
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """List training runs, newest first, and tell what they and pictures at services come to.

    Args:
        workspace: Where they are.
        lora: Only those of this LoRA.
        state: Only those in this state; ``interrupted`` are those whose process was killed.
        project: The project; else the one in use.
        scope: ``baseline`` to see only runs of shared LoRAs.

    Raises:
        RecordError: When a run is not a valid record.
    """
    places = run_places(workspace, project, scope)
    rows = [
        row_of(workspace, loaded.record)
        for place in places
        for loaded in workspace.records.all(Run, place)
        if lora in ("", loaded.record.lora_id)
    ]
    rows = sorted(
        (row for row in rows if state in ("", row["state"])),
        key=lambda row: (row["createdAt"], row["runId"]),
        reverse=True,
    )
    expenses = [
        loaded.record
        for place in places
        for loaded in workspace.records.all(Expense, place)
        if not state and lora in ("", loaded.record.lora_id)
    ]
    stuck = [row for row in rows if row["state"] == "interrupted"]
    return Result(
        data={
            "runs": rows,
            "expenses": [expense_row(one) for one in expenses],
            "costs": _costs(rows, expenses),
        },
        reasoning=f"{len(rows)} runs",
        suggestions=[f"lora run resume {row['runId']}" for row in stuck[:3]]
        or ([] if rows else ["lora train --lora ID --dataset ID --plan"]),
    )


def show_run(
    workspace: Workspace,
    run: str,
    *,
    project: str | None = None,
    scope: ScopeName = "project",
) -> Result:
    """Show a training run with its recipe and what it came to.

    Args:
        workspace: Where it is.
        run: Its id, or the beginning of it.
        project: The project; else the one in use.
        scope: ``baseline`` to look among the runs of shared LoRAs only.

    Raises:
        RecordNotFoundError: When there is no such run.
    """
    loaded = find_run(workspace, run, project=project, scope=scope)
    row = row_of(workspace, loaded.record)
    ticket = read_ticket(run_folder(workspace, loaded.record_id))
    waits = None
    if row["state"] == "queued" and ticket is not None:
        # Late: the queue can train, so all trainers come with it.
        from lora_pipeline.operations.training.run_queue import places_in_queue

        waits = {
            "place": places_in_queue(workspace).get(loaded.record_id),
            "notBefore": _moment(ticket.not_before),
        }
    return Result(
        data={"run": loaded.record.to_dict(), **row, "waits": waits},
        reasoning=f"Run {loaded.record_id} of {loaded.record.lora_id} is {row['state']}",
        suggestions=_next(loaded.record, row["state"]),
    )


def _costs(rows: list[dict[str, Any]], expenses: list[Expense]) -> list[dict[str, Any]]:
    """Return what the runs that are listed and the expenses come to, by currency."""
    found: dict[str, dict[str, Any]] = {}
    for cost, pictures in (
        *((row["cost"], None) for row in rows if row["cost"]),
        *((expense_row(one)["cost"], one.pictures) for one in expenses),
    ):
        currency = cost["currency"]
        total = found.setdefault(
            currency,
            {"currency": currency, "paid": 0.0, "open": 0.0, "pictures": 0, "ofPictures": 0.0},
        )
        kind = "paid" if cost["known"] else "open"
        total[kind] = round(total[kind] + cost["amount"], 4)
        if pictures is not None:
            total["pictures"] += pictures
            total["ofPictures"] = round(total["ofPictures"] + cost["amount"], 4)
    return [found[currency] for currency in sorted(found)]


def _moment(seconds: float) -> str | None:
    if not seconds:
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _next(run: Run, state: str) -> list[str]:
    return list(_next_commands(run, state))


def _next_commands(run: Run, state: str) -> Iterator[str]:
    # Late: it knows the services, so all trainers come with it.
    from lora_pipeline.operations.training.train_sending import may_have_job

    if state in WAITING:
        yield "lora worker"
        yield f"lora run cancel {run.id}"
    elif state == "training":
        yield f"lora run log {run.id} --follow"
        yield f"lora run cancel {run.id}"
    elif state == "interrupted" or may_have_job(run):
        yield f"lora run resume {run.id}"
        yield f"lora run cancel {run.id}"
    elif state == "ready":
        yield f"lora eval grid {run.lora_id} {run.release_id}"
    else:
        yield f"lora run log {run.id}"
        yield f"lora run resume {run.id} --detach"
