"""``lora`` and the child of its worker, with the trainer ``fake``; either may die on its way.

``python -m … lora ARGS…`` runs the command line, ``python -m … child ROOT RUN`` one try. They
are told by variables, which a worker passes on to its children:

- ``FAKE_MODE``: how the trainer behaves.
- ``FAKE_MODES``: how it behaves in one try after the other, separated by commas.
- ``LORA_DIES_AT``, ``CHILD_DIES_AT``: the call at which that program is killed, counted from 1.
- ``CHILD_DIES_ONCE``: a file; only the child that makes it dies.
"""

from __future__ import annotations

import os
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, cast

from tests.support.die_at_write import Reaper
from tests.support.fake_trainer import FakeTrainer

MODULE = "tests.support.queue_programs"
_ALSO = ("sqlite3.connect", "subprocess.Popen", "fcntl.flock", "os.kill", "os.killpg")


class QueueReaper(Reaper):
    """Counts also what reaches the queue, locks and other processes."""

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Count one audited call."""
        if event in _ALSO:
            super().__call__("os.mkdir", (self._folder,))
        else:
            super().__call__(event, arguments)


def main() -> None:
    """Run one of the two programs."""
    kind, *arguments = sys.argv[1:]
    from lora_pipeline.operations.training import run_child, run_worker
    from lora_pipeline.training.trainers.interface import Trainer
    from lora_pipeline.training.trainers.registry import TRAINERS

    cast(MutableMapping[str, Trainer], TRAINERS)["fake"] = FakeTrainer(_mode())
    root = os.environ["FAKE_ROOT"]
    if kind == "child":
        _arm("CHILD_DIES_AT", root)
        sys.exit(run_child.main(*arguments))
    run_worker.own_child = _own_child
    sys.argv = ["lora", *arguments]
    from lora_pipeline.cli.main import main as lora

    _arm("LORA_DIES_AT", root)
    lora()


def _own_child(workspace: Any, run_id: str) -> list[str]:
    return [
        sys.executable, "-P", "-m", MODULE, "child",
        str(workspace.root), run_id, workspace.actor or "",
    ]  # fmt: skip


def _arm(variable: str, root: str) -> None:
    at = int(os.environ.get(variable, "0"))
    once = os.environ.get("CHILD_DIES_ONCE") if variable == "CHILD_DIES_AT" else None
    if not at:
        return
    if once:
        try:
            Path(once).touch(exist_ok=False)
        except FileExistsError:
            return
    sys.addaudithook(QueueReaper(at, root))


def _mode() -> str:
    modes = os.environ.get("FAKE_MODES")
    if not modes:
        return os.environ.get("FAKE_MODE", "good")
    words = modes.split(",")
    tries = Path(os.environ["FAKE_ROOT"]) / ".lora" / "tries"
    done = tries.read_text().count("\n") if tries.is_file() else 0
    if sys.argv[1] == "child":
        with tries.open("a") as stream:
            stream.write("try\n")
    return words[min(done, len(words) - 1)]


if __name__ == "__main__":
    main()
