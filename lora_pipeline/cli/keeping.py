"""Keeping an answer, so that the next call of the same words need not work it out again."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from lora_pipeline.workspace import answers

if TYPE_CHECKING:
    from lora_pipeline.foundation.result import Result


class Recorder:
    """Standard output, which remembers what was written to it."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.words: list[str] = []

    def write(self, text: str) -> int:
        """Write and remember."""
        count = self._stream.write(text)  # first: what it refuses was not written
        self.words.append(text)
        return count

    def __getattr__(self, name: str) -> object:
        """Be like the stream in everything else."""
        return getattr(self._stream, name)


@contextlib.contextmanager
def keeping(root: Path, result: Result, *, started_ns: int) -> Iterator[None]:
    """Keep what is printed meanwhile when the same call may print it again.

    Args:
        root: The workspace.
        result: What is printed.
        started_ns: When the command began.
    """
    arguments = sys.argv[1:]
    wanted = (
        result.depends_on is not None
        and result.success
        and not result.written
        and tuple(arguments[:2]) in answers.REPEATABLE
        and "--workspace" not in arguments
        and Path.cwd() == root
        and sys.platform != "win32"  # its terminals are told of colours in another way
    )
    if not wanted:
        yield
        return
    recorder = Recorder(sys.stdout)
    with contextlib.redirect_stdout(cast("TextIO", recorder)):
        yield
    assert result.depends_on is not None  # noqa: S101 - part of ``wanted``
    text = "".join(recorder.words)
    answers.keep(
        arguments,
        text.encode(sys.stdout.encoding, sys.stdout.errors or "strict"),
        result.depends_on(),
        tty=sys.stdout.isatty(),
        root=str(root),
        started_ns=started_ns,
    )
