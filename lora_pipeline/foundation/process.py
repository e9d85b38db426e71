"""Run other programs; the only module that may.

Arguments are always a list, never a shell line. A supervised program runs in a process group
of its own, below a guard that stops the whole group when we die, so that no trainer is left
running without anyone to record what it does.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from queue import Empty, Queue, SimpleQueue
from typing import IO, Any

import msgspec

from lora_pipeline.foundation.child_environment import (
    child_environment,
    own_environment,
    own_program,
)
from lora_pipeline.foundation.errors import ProgramNotFoundError, ProgramTimedOutError
from lora_pipeline.foundation.process_output import OutputLine, start_readers

__all__ = [
    "Completed", "Conversation", "OutputLine", "Supervised", "child_environment",
    "own_environment", "own_program", "run",
]  # fmt: skip
_MAX_WAITING_LINES = 4096
_LOOK_EVERY_S = 1.0
_PIPE_HOLDS = 4096  # bytes; the least that POSIX lets a pipe take without blocking
_KILL = signal.SIGTERM if os.name == "nt" else signal.SIGKILL
_GUARD = Path(__file__).with_name("process_guard.py")


class Completed(msgspec.Struct, frozen=True):
    """A program that ended.

    Attributes:
        argv: What was run.
        status: Exit status; negative is the signal that ended it.
        output: All of its standard output, byte for byte.
        stderr: All of its standard error.
    """

    argv: tuple[str, ...]
    status: int
    output: bytes
    stderr: str

    @property
    def stdout(self) -> str:
        """All of its standard output as text; what is no UTF-8 is replaced."""
        return self.output.decode("utf-8", "replace")


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 60.0,
    stdin: bytes = b"",
    keeps_terminal: bool = False,
) -> Completed:
    """Run a program to its end and return what it said.

    Args:
        argv: Program and arguments.
        cwd: Folder to run in.
        environment: The child's whole environment; ``child_environment()`` when left out.
        timeout_s: After this time the program and all that it started are stopped.
        stdin: Given to it as its standard input.
        keeps_terminal: True for a program that may ask the person at the terminal (Git for
            the passphrase of a signing key). Such a one is stopped alone, not as a group.

    Raises:
        ProgramNotFoundError: When it is not there or may not be run.
        ProgramTimedOutError: When it did not end within ``timeout_s``.
    """
    with _started(
        argv,
        cwd=cwd,
        env=dict(environment) if environment is not None else child_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=not keeps_terminal,
    ) as process:
        try:
            output, errors = process.communicate(stdin, timeout=timeout_s)
        except BaseException as error:
            _kill(process, group=not keeps_terminal)
            if isinstance(error, subprocess.TimeoutExpired):
                raise ProgramTimedOutError(
                    f"{argv[0]} did not end within {timeout_s:g} s"
                ) from error
            raise
    return Completed(
        argv=tuple(argv),
        status=process.returncode,
        output=output,
        stderr=errors.decode("utf-8", "replace"),
    )


class Supervised:
    """A long-running program whose output is read as it comes.

    Use it as a context manager: leaving the block stops the whole process group. Lines are
    split at CR as well as LF, because progress bars redraw with CR.

    Args:
        argv: Program and arguments.
        cwd: Folder to run in.
        environment: The child's whole environment.
        held: Open files that the guard keeps open as long as anything of the group may run: a
            lock on one of them outlives us until then. Where files cannot be passed on, it is
            not used.

    Raises:
        ProgramNotFoundError: When the program is not there.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        held: Sequence[int] = (),
    ) -> None:
        self.argv = tuple(argv)
        in_place = Path(argv[0]).name != argv[0]
        # Looked for here, because the guard could only say it in the log.
        if not shutil.which(cwd / argv[0] if in_place else argv[0], path=environment.get("PATH")):
            raise ProgramNotFoundError(f"cannot run {argv[0]}: no such program")
        # Bounded, so that a program that floods its output is slowed instead of filling memory.
        self._lines: Queue[OutputLine | None] = Queue(maxsize=_MAX_WAITING_LINES)
        self._process = _started(
            [sys.executable, "-I", "-S", str(_GUARD), *argv],
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.PIPE,  # its end tells the guard that we are gone
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=() if os.name == "nt" else tuple(held),
        )
        stdout, stderr = self._process.stdout, self._process.stderr
        assert stdout is not None and stderr is not None  # noqa: S101, PT018 - Popen was given PIPE
        self._readers = start_readers({"stdout": stdout, "stderr": stderr}, self._lines.put)

    def __enter__(self) -> Supervised:
        """Return the running program."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop whatever still runs."""
        self.stop()

    @property
    def pid(self) -> int:
        """Process id of the guard, which is the id of the whole group."""
        return self._process.pid

    def lines(self, *, idle_timeout_s: float | None = None) -> Iterator[OutputLine]:
        """Yield every line until the program ends or closes its output.

        What it started and left running is stopped then, so that it cannot hold the output
        open for ever.

        Raises:
            ProgramTimedOutError: When nothing is printed for ``idle_timeout_s``.
        """
        open_streams, last = len(self._readers), time.monotonic()
        while open_streams:
            try:
                line = self._lines.get(timeout=_LOOK_EVERY_S)
            except Empty as error:
                if self._ended():
                    self._signal(_KILL)
                elif idle_timeout_s is not None and time.monotonic() - last > idle_timeout_s:
                    raise ProgramTimedOutError(
                        f"{Path(self.argv[0]).name} printed nothing for {idle_timeout_s:g} s"
                    ) from error
                continue
            last = time.monotonic()
            if line is None:
                open_streams -= 1
            else:
                yield line

    def wait(self) -> int:
        """Wait for the end and return the exit status; negative is a signal.

        What the program started and left running is stopped with it.
        """
        if self._process.returncode is None and hasattr(os, "waitid"):
            os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            self._signal(_KILL)
        return self._process.wait()

    def ask_to_stop(self) -> None:
        """Ask the whole group to end, and wait for nothing; may be called from any thread."""
        if not self._ended():
            self._signal(signal.SIGTERM)

    def stop(self, *, grace_s: float = 10.0) -> None:
        """Stop the whole group: politely first, then for certain."""
        if self._alive():
            self._signal(signal.SIGTERM)
            if not self._ends_within(grace_s):
                self._signal(_KILL)
        self.wait()
        if self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._ends_within(5.0)

    def _ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._alive():
            if time.monotonic() > deadline:
                return False
            with contextlib.suppress(Empty):  # a reader may wait for room in the queue
                self._lines.get(timeout=0.05)
        return True

    def _alive(self) -> bool:
        # A reader lives as long as some process of the group holds its pipe open.
        return not self._ended() or any(reader.is_alive() for reader in self._readers)

    def _ended(self) -> bool:
        # Looks without reaping: as long as the guard is not reaped, the number of its group
        # cannot go to a stranger, and a signal to the group is safe.
        if self._process.returncode is None and hasattr(os, "waitid"):
            flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self.pid, flags) is not None
        return self._process.poll() is not None

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.name == "nt":
                self._process.terminate()
            else:
                os.killpg(self._process.pid, number)


_END_GRACE_S = 5.0


class Conversation:
    """A child of ours that answers one JSON line for each line it is given.

    Its standard error is kept in a file, so that a crash can be explained.

    Args:
        argv: Program and arguments.
        environment: The child's whole environment.
        log: File that takes the child's standard error.
    """

    def __init__(
        self, argv: Sequence[str], *, environment: Mapping[str, str], log: Path | None = None
    ) -> None:
        self.argv = tuple(argv)
        with contextlib.ExitStack() as stack:
            target: int | IO[bytes] = subprocess.DEVNULL
            if log is not None:
                target = stack.enter_context(log.open("ab"))
            self._process = _started(
                argv,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=target,
                start_new_session=True,
            )
        self._replies: SimpleQueue[bytes | None] = SimpleQueue()
        threading.Thread(target=self._pump, daemon=True).start()

    def ask(self, line: bytes, *, timeout_s: float) -> bytes | None:
        """Send one line and return the reply, or None when the child ended instead.

        Raises:
            ProgramTimedOutError: When no reply came in time; the child is stopped.
        """
        # A child that does not read would block us once the pipe is full, so a thread writes
        # what may not fit; the reply, its absence or the end of the child ends the wait.
        if len(line) < _PIPE_HOLDS:
            self._write(line)
        else:
            threading.Thread(target=self._write, args=(line,), daemon=True).start()
        return self.next_reply(timeout_s=timeout_s)

    def next_reply(self, *, timeout_s: float) -> bytes | None:
        """Return the next line of the child, or None when it ended.

        Raises:
            ProgramTimedOutError: When none came in time; the child is stopped.
        """
        try:
            reply = self._replies.get(timeout=timeout_s)
        except Empty as error:
            self.stop()
            raise ProgramTimedOutError(
                f"{Path(self.argv[0]).name} gave no answer within {timeout_s:g} s"
            ) from error
        if reply is None:
            self._replies.put(None)  # it stays ended for whoever asks next
            # Its output ends a moment before it does; whoever asks for its status wants the end.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=_END_GRACE_S)
        return reply

    def status(self) -> int | None:
        """Return the exit status, or None while the child runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Stop the child at once and wait for its end."""
        if self._process.poll() is None:
            _kill(self._process, group=True)
        self._process.wait()
        # Only now: a thread that writes to the child would hold the pipe until the child ends.
        if self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def _write(self, line: bytes) -> None:
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101 - Popen was given PIPE
        # When the child is gone, the end of its output says so.
        with contextlib.suppress(OSError, ValueError):
            stdin.write(line + b"\n")
            stdin.flush()

    def _pump(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None  # noqa: S101 - Popen was given PIPE
        try:
            with stdout:
                for line in stdout:
                    self._replies.put(line)
        finally:
            self._replies.put(None)


def _started(argv: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(list(argv), **options)
    except OSError as error:
        folder = options.get("cwd")
        if folder is not None and not Path(folder).is_dir():
            raise ProgramNotFoundError(
                f"cannot run {argv[0]} in {folder}: no such folder"
            ) from error
        raise ProgramNotFoundError(f"cannot run {argv[0]}: {error.strerror}") from error


def _kill(process: subprocess.Popen[bytes], *, group: bool) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if group and os.name != "nt":
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
