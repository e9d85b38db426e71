"""The child of the renderer ``diffusers``: one JSON line in, one JSON line out.

Started as ``python -m``; ends when its standard input does, in the middle of a picture if need
be, so that it never outlives who asked. Everything that libraries print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lora_pipeline.evaluation.renderers.diffusers_drawing import Drawing


def main() -> int:
    """Answer requests until there are none."""
    replies = _private_stdout()
    requests = _requests(sys.stdin.buffer)
    worker = _Worker()
    while (line := requests.get()) is not None:
        replies.write(json.dumps(worker.answer(line)).encode() + b"\n")
        replies.flush()
    return 0


class _Worker:
    """Holds the loaded models between requests."""

    def __init__(self) -> None:
        self._drawing: Drawing | None = None

    def answer(self, line: bytes) -> dict[str, Any]:
        """Return the reply to one request; an error is a reply too."""
        try:
            request = json.loads(line)
            steps: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
                "load": self._load,
                "render": self._render,
            }
            return {"ok": True, **steps[request["do"]](request)}
        except Exception as error:  # noqa: BLE001 - the boundary of this process
            traceback.print_exc()
            return {"ok": False, "error": _one_line(error)}

    def _load(self, request: dict[str, Any]) -> dict[str, Any]:
        from lora_pipeline.evaluation.renderers.diffusers_drawing import Drawing

        self._drawing = Drawing.load(
            checkpoint=Path(request["checkpoint"]),
            config=Path(request["config"]) if request["config"] else None,
            architecture=request["architecture"],
            weights=Path(request["weights"]),
            device=request["device"],
            threads=request["threads"],
        )
        return {"identity": self._drawing.identity}

    def _render(self, request: dict[str, Any]) -> dict[str, Any]:
        if self._drawing is None:
            raise RuntimeError("nothing is loaded yet")
        self._drawing.draw(request["cell"], Path(request["target"]))
        return {}


def _private_stdout() -> IO[bytes]:
    # Libraries print where they like; our replies are the only thing on the real stdout.
    descriptor = os.dup(1)
    os.dup2(2, 1)
    return os.fdopen(descriptor, "wb")


def _requests(stdin: IO[bytes]) -> SimpleQueue[bytes | None]:
    queue: SimpleQueue[bytes | None] = SimpleQueue()

    def read() -> None:
        for line in stdin:
            queue.put(line)
        # Who asked is gone; nobody would take the picture that is being drawn.
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return queue


def _one_line(error: Exception) -> str:
    words = " ".join(str(error).split()) or type(error).__name__
    return (
        words[:400]
        if type(error).__module__.startswith("lora_pipeline")
        else (f"{type(error).__name__}: {words[:400]}")
    )


if __name__ == "__main__":
    sys.exit(main())
