"""A terminal for a program: what it prints there, colours and all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.workspace_builders import REPOSITORY


def in_terminal(
    arguments: Sequence[str],
    cwd: Path,
    *,
    columns: int = 80,
    environment: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """Run ``lora`` with stdin, stdout and stderr in a terminal; return status and output."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    base = {name: os.environ[name] for name in ("PATH", "HOME")}
    with contextlib.ExitStack() as stack:
        stack.callback(os.close, ours)
        process = subprocess.Popen(
            [sys.executable, "-m", "lora_pipeline", *arguments],
            cwd=cwd,
            env=base
            | {"TERM": "xterm-256color", "PYTHONUTF8": "1", "PYTHONPATH": str(REPOSITORY)}
            | dict(environment or {}),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        output = b""
        while chunk := _read(ours):
            output += chunk
        return process.wait(), output.decode("utf-8")


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:
        return b""  # the other side of the terminal is closed
