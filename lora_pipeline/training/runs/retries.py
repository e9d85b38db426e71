"""Which failures are worth another try, how often, and after how long. Pure.

What would fail again the same way is not tried again: too little memory, a bad caption, a
setting that the trainer does not know, a full disk that somebody has to look after. Tried
again is what depends on the moment: a process that was killed from outside, a connection, a
GPU that fell away or that somebody else holds.
"""

from __future__ import annotations

from lora_pipeline.training.records import Attempt, Run

MOST_RETRIES = 3
WORTH_RETRYING = frozenset(
    {
        "interrupted",  # our own process was killed, or the machine stopped
        "terminated",  # the trainer was ended by a signal that is not the memory's
        "connection_lost",
        "gpu_lost",
        "gpu_busy",
        "gpu_short",  # other programs hold its memory at this moment
        "program_timed_out",  # it hung: silent for longer than it may be
        "locked",  # somebody held the workspace for longer than we wait
        "record_conflict",
        "service_unreachable",
    }
)
# A try that a worker took back because it was asked to end; it is nobody's failure.
STOPPED = "stopped"
_SLOWER = 4.0


def worth_retrying(code: str) -> bool:
    """Return whether a failure with this error code may pass by itself."""
    return code in WORTH_RETRYING


def tries_made(run: Run, since: int = 0) -> int:
    """Return how many tries of a run count: those that a worker took back do not.

    Args:
        run: Its record.
        since: How many tries it had when it was put into the queue; these do not count either.
    """
    return sum(1 for attempt in run.attempts[since:] if attempt.error != STOPPED)


def tries_left(run: Run, retries: int, since: int = 0) -> bool:
    """Return whether a run may be tried once more after the tries that it had.

    Args:
        run: Its record, with the try that has just failed.
        retries: How often it may be tried again; more than three are three.
        since: How many tries it had when it was put into the queue.
    """
    return tries_made(run, since) <= min(retries, MOST_RETRIES)


def wait_before(run: Run, first_wait_s: float, since: int = 0) -> float:
    """Return how many seconds pass before the next try: four times longer each time."""
    return float(first_wait_s * _SLOWER ** max(0, tries_made(run, since) - 1))


def next_number(attempts: tuple[Attempt, ...]) -> int:
    """Return the number of the next try."""
    return attempts[-1].number + 1 if attempts else 1
