"""What stands in a run's folder while the run belongs to the queue of this machine.

A *ticket* says that a worker is to execute the run, and when at the earliest. It is written
before the run's record and removed after the record's last state, so that whoever finds a
ticket knows what is still owed; whether that is a turn in the queue, another try or only the
removal of the ticket follows from the record. A *wish to cancel* outlives everybody who was
told of it by a signal and did not get to write it down.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec

from lora_pipeline.foundation import files
from lora_pipeline.workspace.root import Workspace

_TICKET = "ticket.json"
_CANCEL = "cancel.json"


class Ticket(msgspec.Struct, frozen=True):
    """A place in the queue of this machine.

    Attributes:
        project: Project of the run, or empty for the shared scope.
        not_before: Seconds since 1970 before which no try starts; 0 is at once.
        retries: How often it is tried again after a failure that may pass.
        since: How many tries it had when it was put into the queue.
        skip_preflight: Whether it starts although disk, memory or GPU look too small.
    """

    project: str
    not_before: float = 0.0
    retries: int = 0
    since: int = 0
    skip_preflight: bool = False


def write_ticket(folder: Path, ticket: Ticket) -> None:
    """Put a run's ticket into its folder."""
    document = {
        "project": ticket.project,
        "notBefore": ticket.not_before,
        "retries": ticket.retries,
        "since": ticket.since,
        "skipPreflight": ticket.skip_preflight,
    }
    files.write_atomic(folder / _TICKET, json.dumps(document).encode() + b"\n")


def read_ticket(folder: Path) -> Ticket | None:
    """Return a run's ticket, or None when it has none that can be read."""
    try:
        document = json.loads((folder / _TICKET).read_bytes())
        return Ticket(
            project=str(document["project"]),
            not_before=float(document["notBefore"]),
            retries=int(document["retries"]),
            since=int(document["since"]),
            skip_preflight=document["skipPreflight"] is True,
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def drop_ticket(folder: Path) -> None:
    """Remove a run's ticket, and a wish to cancel with it; there may be none."""
    (folder / _TICKET).unlink(missing_ok=True)
    (folder / _CANCEL).unlink(missing_ok=True)


def ask_to_cancel(folder: Path, actor: str) -> None:
    """Write down that somebody wants the run to end."""
    files.write_atomic(folder / _CANCEL, json.dumps({"by": actor}).encode() + b"\n")


def cancel_asked(folder: Path) -> bool:
    """Return whether somebody wants the run to end."""
    return (folder / _CANCEL).is_file()


def tickets(workspace: Workspace) -> Iterator[tuple[str, Ticket]]:
    """Yield the id and the ticket of every run that belongs to the queue, oldest run first."""
    for path in sorted((workspace.runtime / "runs").glob(f"*/{_TICKET}")):
        ticket = read_ticket(path.parent)
        if ticket is not None:
            yield path.parent.name, ticket
