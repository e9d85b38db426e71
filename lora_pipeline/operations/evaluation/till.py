"""What pictures at a service cost: recorded before the first is ordered, counted however it ends.

A grid that was killed leaves its expense open, which counts with its estimate, and beside the
renderer's files what it had ordered. Whoever draws for money next on this machine counts that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from msgspec.structs import replace

from lora_pipeline.evaluation.orders import NAME, OrderBook
from lora_pipeline.evaluation.rendering import private_folder
from lora_pipeline.foundation.errors import LockedError, SettingsError, StateError
from lora_pipeline.foundation.ids import new_ulid
from lora_pipeline.foundation.result import Result
from lora_pipeline.operations.evaluation.evaluation_cost import GridEstimate, drawing_refusal
from lora_pipeline.operations.evaluation.evaluation_subject import Target
from lora_pipeline.training.hosted.spending import account_of
from lora_pipeline.training.records import Cost, Expense
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

_ACTUAL = "{pictures} pictures ordered, at the price that is set; no bill"


@dataclass
class Till:
    """Takes the money for what one command draws; does nothing where that costs nothing.

    Attributes:
        workspace: The workspace.
        scope: Where the expense is recorded.
        planned: The expense as it begins, or None.
        settled: The expense as it was counted, or None.
        written: Records that were written, relative to the workspace.
    """

    workspace: Workspace
    scope: Scope
    planned: Expense | None = None
    settled: Expense | None = None
    written: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def opened(self, folder: Path) -> Iterator[None]:
        """Record what may be spent while the block runs, and count it in the end.

        Args:
            folder: The private folder that is drawn in; the caller holds it.

        Raises:
            StateError: When the project's cap is used up by what somebody else began meanwhile.
        """
        if self.planned is None:
            yield
            return
        folder.mkdir(parents=True, exist_ok=True)
        self.written += _settle(self.workspace, folder)[0]
        # The lines first: an expense without them would stay open for ever.
        OrderBook(folder).begin(self.planned.id, self.scope.project_id or "")
        try:
            self._record(self.planned)
            yield
        finally:
            written, self.settled = _settle(self.workspace, folder)
            self.written += written

    def facts(self) -> dict[str, Any] | None:
        """Return what was spent, as every face tells it; None where nothing was."""
        if self.settled is None:
            return None
        cost = self.settled.cost
        return {
            "expenseId": self.settled.id,
            "pictures": self.settled.pictures,
            "cost": cost.actual,
            "currency": cost.currency,
            "basis": cost.actual_basis,
        }

    def _record(self, expense: Expense) -> None:
        changes = Changes(self.workspace)
        changes.create(expense, self.scope, expense.id)
        changes.apply()
        cost = expense.cost
        refused = drawing_refusal(
            self.workspace, self.scope, cost.estimate, cost.currency, besides=expense.id
        )
        if refused is not None:
            # Whoever is recorded counts, so of two that begin at once both may be refused.
            raise StateError(refused.message, hint=refused.hint)


def till_for(
    workspace: Workspace,
    target: Target,
    estimate: GridEstimate,
    *,
    service: str,
    purpose: Literal["grid", "sweep", "scene"],
    evaluation_id: str = "",
    run_id: str = "",
) -> Till:
    """Return the till for what a command is about to draw."""
    scope = target.lora.scope
    if not (estimate.sent_to and estimate.cost):
        return Till(workspace, scope)
    now = workspace.now()
    expense = Expense(
        id=new_ulid(),
        purpose=purpose,
        lora_id=target.lora.record_id,
        release_id=target.release.id,
        service=service,
        created_at=now,
        cost=Cost(
            estimate=round(estimate.cost, 6),
            currency=estimate.currency,
            estimate_basis=estimate.basis,
        ),
        evaluation_id=evaluation_id,
        run_id=run_id,
        requested_by=_who(workspace),
    )
    return Till(workspace, scope, expense)


def with_spent(result: Result, till: Till | None, counted: Sequence[str]) -> Result:
    """Return a result that tells what was spent.

    Args:
        result: What was drawn, or why nothing was.
        till: What took the money; None where nothing was drawn.
        counted: Expenses of killed commands that were counted before.
    """
    taken = till.written if till else []
    return replace(
        result,
        data={**result.data, "spent": till.facts() if till else None},
        written=tuple(dict.fromkeys((*result.written, *counted, *taken))),
    )


def spent_on(workspace: Workspace, scope: Scope, evaluation_id: str) -> dict[str, Any] | None:
    """Return what the pictures of an evaluation come to; None where nothing was paid."""
    every = [
        one.record
        for one in workspace.records.all(Expense, scope)
        if one.record.evaluation_id == evaluation_id
    ]
    if not every:
        return None
    currency = every[-1].cost.currency
    account = account_of(every, currency)
    return {
        "pictures": sum(one.pictures for one in every),
        "cost": round(account.total, 6),
        "currency": currency,
        "open": round(account.open, 6),
    }


def settle_left(workspace: Workspace) -> list[str]:
    """Count what killed commands ordered on this machine; return what was written."""
    written = []
    for path in sorted((workspace.runtime / "render").glob(f"*/{NAME}")):
        # Whoever holds it is drawing, and counts it.
        with contextlib.suppress(LockedError), private_folder(workspace, path.parent.name):
            written += _settle(workspace, path.parent)[0]
    return written


def _who(workspace: Workspace) -> str:
    try:
        return workspace.require_actor()
    except SettingsError:
        return ""  # pictures need no name; a verdict on them does


def _settle(workspace: Workspace, folder: Path) -> tuple[list[str], Expense | None]:
    """Record what was ordered in a folder; an expense that bought nothing is removed."""
    book = OrderBook(folder)
    ordered = book.read()
    if ordered is None:
        return [], None
    written, settled = list[str](), None
    loaded = _expense(workspace, Scope(ordered.project_id or None), ordered.expense_id)
    if loaded is not None and not loaded.record.ended_at:
        changes = Changes(workspace)
        if ordered.pictures > 0:
            cost = replace(
                loaded.record.cost,
                actual=max(ordered.cost, 0.0),
                actual_basis=_ACTUAL.format(pictures=ordered.pictures),
            )
            settled = replace(
                loaded.record, cost=cost, pictures=ordered.pictures, ended_at=workspace.now()
            )
            changes.update(loaded, settled)
            written = changes.apply()
        else:
            changes.remove(loaded)
            changes.apply()
    book.remove()
    return written, settled


def _expense(workspace: Workspace, scope: Scope, expense_id: str) -> Loaded[Expense] | None:
    if not expense_id or not workspace.records.exists(Expense, scope, expense_id):
        return None
    return workspace.records.read(Expense, scope, expense_id)
