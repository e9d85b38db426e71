"""Pictures that were ordered at a service and are paid for: a line for each, durable before it is.

The lines stand in the private folder of what is drawn, below a first line that names the expense
that they belong to. So a kill loses no cost: who comes next finds what was ordered, and counts it.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from lora_pipeline.foundation import files

NAME = "orders.jsonl"


class Ordered(msgspec.Struct, frozen=True):
    """What was ordered.

    Attributes:
        expense_id: Whose it is; empty where nobody began to count.
        project_id: Whose that is; empty for the shared scope.
        pictures: How many.
        cost: What they come to, at the prices of the moment.
    """

    expense_id: str
    project_id: str
    pictures: int
    cost: float


class OrderBook:
    """The lines of one private folder; only who holds its lock may write them.

    Args:
        folder: The folder; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME

    def begin(self, expense_id: str, project_id: str) -> None:
        """Begin to count for an expense; what was counted before is forgotten."""
        line = json.dumps({"expense": expense_id, "project": project_id}) + "\n"
        files.write_atomic(self._path, line.encode())

    def add(self, cost: float) -> None:
        """Note a picture that is about to be ordered, and return when that is on the disk."""
        self._note(1, cost)

    def take_back(self, cost: float) -> None:
        """Note that a picture was surely not taken on."""
        self._note(-1, -cost)

    def read(self) -> Ordered | None:
        """Return what was ordered, or None where nothing was noted.

        A line that was cut off is left out: it was not on the disk, so nothing was sent.
        """
        try:
            lines = self._path.read_bytes().split(b"\n")[:-1]
        except OSError:
            return None
        expense_id, project_id, pictures, cost = "", "", 0, 0.0
        for line in lines:
            try:
                found = json.loads(line)
                expense_id = str(found.get("expense", expense_id))
                project_id = str(found.get("project", project_id))
                pictures += int(found.get("pictures", 0))
                cost += float(found.get("cost", 0.0))
            except (ValueError, AttributeError, TypeError):
                continue
        return Ordered(expense_id, project_id, pictures, round(cost, 6))

    def remove(self) -> None:
        """Forget all of it: the record says it now."""
        self._path.unlink(missing_ok=True)

    def _note(self, pictures: int, cost: float) -> None:
        line = json.dumps({"pictures": pictures, "cost": cost})
        files.append_durably(self._path, line.encode())
