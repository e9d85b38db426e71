"""Run ``lora`` and die at the n-th call that changes something below a folder.

``python -m tests.support.die_at_write N FOLDER ARGS…``: the process ends itself with SIGKILL
right before that call, as a power cut would. It ends as ``lora`` does when there are fewer.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

_MAKES_NAMES = frozenset(
    {"os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.symlink"}
)
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Reaper:
    """An audit hook that counts the calls which change files, and kills at one of them."""

    def __init__(self, at: int, folder: str) -> None:
        self._left = at
        self._folder = folder

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Count one audited call."""
        if event == "open":
            path, _, flags = arguments
            counts = isinstance(path, str | bytes | os.PathLike) and bool(flags & _WRITES)
        else:
            path, counts = (arguments or ("",))[0], event in _MAKES_NAMES
        if not counts or not os.fsdecode(path).startswith(self._folder):
            return
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run the command line under the hook."""
    at, folder, *arguments = sys.argv[1:]
    sys.argv = ["lora", *arguments]
    from lora_pipeline.cli.main import main as lora

    sys.addaudithook(Reaper(int(at), folder))
    lora()


if __name__ == "__main__":
    main()
