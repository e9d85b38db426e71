"""The loop of a child that answers: one JSON line in, one JSON line out.

The other end is ``process.Conversation``. The child ends when its standard input does, in the
middle of an answer if need be, so that it never outlives who asked. Everything that libraries
print goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from collections.abc import Callable
from queue import SimpleQueue
from typing import IO, Any


def serve(answer: Callable[[dict[str, Any]], dict[str, Any]]) -> int:
    """Answer requests until there are none; what ``answer`` raises is an answer too."""
    replies = _private_stdout()
    requests = _requests(sys.stdin.buffer)
    while (line := requests.get()) is not None:
        replies.write(json.dumps(_reply(answer, line)).encode() + b"\n")
        replies.flush()
    return 0


def _reply(answer: Callable[[dict[str, Any]], dict[str, Any]], line: bytes) -> dict[str, Any]:
    try:
        return {"ok": True, **answer(json.loads(line))}
    except Exception as error:  # noqa: BLE001 - the boundary of this process
        traceback.print_exc()
        return {"ok": False, "error": _one_line(error)}


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
        # Who asked is gone; nobody would take the answer that is being made.
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return queue


def _one_line(error: Exception) -> str:
    words = " ".join(str(error).split())[:400] or type(error).__name__
    ours = type(error).__module__.startswith("lora_pipeline")
    return words if ours else f"{type(error).__name__}: {words}"
