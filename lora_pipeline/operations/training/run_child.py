"""The child that tries one run of the queue: ``python -m … ROOT RUN ACTOR``.

Started by ``run_worker.py`` below a guard, so that a worker that is killed leaves no trainer
behind. It prints one JSON line for each event; what the run came to stands in the run's record.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.foundation.events import Event

ENDED, SKIPPED, STOPPED, BROKEN = 0, 75, 130, 3
_EVERY_S = 1.0


class Lines:
    """Prints events as JSON lines: no line of a trainer, and progress at most every second."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, event: Event) -> None:
        """Print one event when it is due."""
        if event.type == "log":
            return
        if event.type == "progress":
            now = time.monotonic()
            if now - self._last < _EVERY_S and event.step != event.total:
                return
            self._last = now
        sys.stdout.buffer.write(json.dumps(event.to_dict(), ensure_ascii=False).encode() + b"\n")
        sys.stdout.buffer.flush()


def main(root: str, run_id: str, actor: str = "") -> int:
    """Try the run and return how that went."""
    from lora_pipeline.operations.training.run_attempt import attempt_run
    from lora_pipeline.workspace.root import open_workspace

    tell = Lines()
    try:
        workspace = open_workspace(Path(root), actor=actor or None, sink=tell)
        end = attempt_run(workspace, run_id)
    except KeyboardInterrupt:
        return STOPPED
    except PipelineError as error:
        tell(Event("warning", "worker", f"{error.message}  [{error.code}]"))
        return BROKEN
    return ENDED if end.tried else SKIPPED


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
