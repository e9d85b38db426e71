"""The states of a run, and how it passes from one to the next.

``created`` → ``queued`` → ``training`` → ``ready``, ``failed`` or ``cancelled``; back to
``queued`` where a run belongs to the queue and another try is worth it. A run that nobody
queued goes from ``training`` to its end. The order of the writes is always: what stands in the
run's folder first, then the record, then whoever wants to know is told.
"""

from __future__ import annotations

from msgspec.structs import replace

from lora_pipeline.operations.training.run_notices import tell
from lora_pipeline.training.records import Attempt, Run, RunError
from lora_pipeline.training.runs.folder import run_folder
from lora_pipeline.training.runs.retries import (
    STOPPED,
    next_number,
    tries_left,
    wait_before,
    worth_retrying,
)
from lora_pipeline.training.runs.ticket import (
    cancel_asked,
    drop_ticket,
    read_ticket,
    write_ticket,
)
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace

UNDER_WAY = ("created", "queued", "training")
WAITING = ("created", "queued")
INTERRUPTED = RunError(
    code="interrupted",
    message="the process that trained was killed or the machine stopped",
    hint="the same lora train command again does the work anew",
)


def begun(workspace: Workspace, run: Run) -> Run:
    """Return a run whose next try starts."""
    now = workspace.now()
    attempt = Attempt(number=next_number(run.attempts), started_at=now)
    return replace(
        run,
        state="training",
        updated_at=now,
        started_at=run.started_at or now,
        ended_at="",
        error=None,
        steps_done=0,
        final_loss=None,
        attempts=(*run.attempts, attempt),
    )


def stopped(workspace: Workspace, run: Run) -> Run:
    """Return a run that was asked to stop: given up, or back in the queue that it came from."""
    folder = run_folder(workspace, run.id)
    if read_ticket(folder) is None or cancel_asked(folder):
        return replace(run, state="cancelled", error=None)
    return _waiting_again(run, STOPPED)


def failed(workspace: Workspace, run: Run, error: RunError) -> Run:
    """Return a run that failed: for good, or back in the queue when another try is worth it."""
    folder, run = run_folder(workspace, run.id), replace(run, error=error)
    ticket = read_ticket(folder)
    if ticket is None or not worth_retrying(error.code):
        return replace(run, state="failed")
    if not tries_left(run, ticket.retries, ticket.since):
        return replace(run, state="failed")
    if cancel_asked(folder):
        return replace(run, state="cancelled", error=None)
    first_wait_s = workspace.settings.number("runs.retryWaitSeconds")
    wait_s = wait_before(run, first_wait_s, ticket.since)
    then = workspace.clock().timestamp() + wait_s
    write_ticket(folder, replace(ticket, not_before=then))
    return _waiting_again(run, error.code)


def interrupted(workspace: Workspace, run: Run, *, taken_back: bool = False) -> Run:
    """Return a run whose process is gone without having said so.

    Args:
        workspace: Where it is.
        run: The run.
        taken_back: Whether its worker ended its process, which is nobody's failure.
    """
    now = workspace.now()
    attempts = closed(run.attempts, now, None, INTERRUPTED.code)
    run = replace(run, updated_at=now, attempts=attempts)
    return _waiting_again(run, STOPPED) if taken_back else failed(workspace, run, INTERRUPTED)


def closed(
    attempts: tuple[Attempt, ...], now: str, status: int | None, code: str
) -> tuple[Attempt, ...]:
    """Return attempts of which the last has ended."""
    if not attempts:
        return ()
    last = replace(attempts[-1], ended_at=now, exit_status=status, error=code)
    return (*attempts[:-1], last)


def update_run(workspace: Workspace, scope: Scope, run: Run) -> list[str]:
    """Write the record of a run that only this process works on, and return what was written."""
    changes = Changes(workspace)
    loaded: Loaded[Run] = workspace.records.read(Run, scope, run.id)
    changes.update(loaded, run)
    return changes.apply()


def record_end(workspace: Workspace, scope: Scope, run: Run) -> list[str]:
    """Write what a try came to, and settle what was owed to the run."""
    written = update_run(workspace, scope, run)
    after_end(workspace, run)
    return written


def after_end(workspace: Workspace, run: Run) -> None:
    """Let go of a run's place in the queue when it is at its end, and tell who wants to know."""
    if run.state == "queued":
        return
    drop_ticket(run_folder(workspace, run.id))
    tell(workspace, run)


def _waiting_again(run: Run, code: str) -> Run:
    attempts = run.attempts
    if attempts:
        attempts = (*attempts[:-1], replace(attempts[-1], error=code))
    return replace(run, state="queued", ended_at="", attempts=attempts)
