"""Run other programs; the only module that may.

Arguments are always a list, never a shell line. A supervised program runs in a process group
of its own, below a guard that stops the whole group when we die, so that no trainer is left
running without anyone to record what it does.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue, SimpleQueue
from typing import IO

from lora_pipeline.foundation.errors import ProgramNotFoundError, ProgramTimedOutError

# What a child may see of our environment. Tokens and keys are not in it: a trainer that needs
# one gets it by name.
_INHERITED = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR",
    "TEMP", "TMP", "SYSTEMROOT", "COMSPEC", "PATHEXT", "USERPROFILE", "APPDATA",
    "LOCALAPPDATA", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES",
    "CUDA_HOME", "NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "PYTORCH_CUDA_ALLOC_CONF",
    "OMP_NUM_THREADS", "MKL_NUM_THREADS", "HF_HOME", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_MAX_WAITING_LINES = 4096
_GUARD = Path(__file__).with_name("process_guard.py")
_PACKAGE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Completed:
    """A program that ended.

    Attributes:
        argv: What was run.
        status: Exit status; negative is the signal that ended it.
        stdout: All of its standard output.
        stderr: All of its standard error.
    """

    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for a child: the allow-list, UTF-8, and ``extra``."""
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    environment |= {"PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1", "PYTHONIOENCODING": "utf-8"}
    return environment | dict(extra or {})


def own_program(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module of this package in a child.

    ``-P`` keeps the current folder out of the module search: it may be a workspace, and what
    stands in a workspace is data, never code.
    """
    return [sys.executable, "-P", "-m", module, *arguments]


def own_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for ``own_program``: the child finds this very package."""
    roots = [str(_PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return child_environment({"PYTHONPATH": os.pathsep.join(roots)} | dict(extra or {}))


def run(
    argv: Sequence[str],
    *,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout_s: float = 60.0,
    stdin: bytes = b"",
) -> Completed:
    """Run a program to its end and return what it said.

    Raises:
        ProgramNotFoundError: When it is not there or may not be run.
        ProgramTimedOutError: When it did not end within ``timeout_s``.
    """
    try:
        done = subprocess.run(
            list(argv),
            cwd=cwd,
            env=dict(environment) if environment is not None else child_environment(),
            input=stdin,
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except (FileNotFoundError, PermissionError, NotADirectoryError) as error:
        raise ProgramNotFoundError(f"cannot run {argv[0]}: {error.strerror}") from error
    except subprocess.TimeoutExpired as error:
        raise ProgramTimedOutError(f"{argv[0]} did not end within {timeout_s:g} s") from error
    return Completed(
        argv=tuple(argv),
        status=done.returncode,
        stdout=done.stdout.decode("utf-8", "replace"),
        stderr=done.stderr.decode("utf-8", "replace"),
    )


@dataclass(frozen=True)
class OutputLine:
    """One line that a supervised program printed, without colour codes."""

    stream: str
    text: str


class Supervised:
    """A long-running program whose output is read as it comes.

    Use it as a context manager: leaving the block stops the whole process group. Lines are
    split at CR as well as LF, because progress bars redraw with CR.

    Args:
        argv: Program and arguments.
        cwd: Folder to run in.
        environment: The child's whole environment.

    Raises:
        ProgramNotFoundError: When the program is not there.
    """

    def __init__(self, argv: Sequence[str], *, cwd: Path, environment: Mapping[str, str]) -> None:
        program = Path(argv[0])
        if program.is_absolute() and not os.access(program, os.X_OK):
            raise ProgramNotFoundError(f"cannot run {argv[0]}")
        self.argv = tuple(argv)
        # Bounded, so that a program that floods its output is slowed instead of filling memory.
        self._lines: Queue[OutputLine | None] = Queue(maxsize=_MAX_WAITING_LINES)
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARD), *argv],
            cwd=cwd,
            env=dict(environment),
            stdin=subprocess.PIPE,  # its end tells the guard that we are gone
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        self._readers = [
            self._reader("stdout", self._process.stdout),
            self._reader("stderr", self._process.stderr),
        ]

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
        """Yield every line until the program closes its output.

        Raises:
            ProgramTimedOutError: When nothing is printed for ``idle_timeout_s``.
        """
        open_streams = len(self._readers)
        while open_streams:
            try:
                line = self._lines.get(timeout=idle_timeout_s)
            except Empty as error:
                raise ProgramTimedOutError(
                    f"{Path(self.argv[0]).name} printed nothing for {idle_timeout_s:g} s"
                ) from error
            if line is None:
                open_streams -= 1
            else:
                yield line

    def wait(self) -> int:
        """Wait for the end and return the exit status; negative is a signal."""
        return self._process.wait()

    def stop(self, *, grace_s: float = 10.0) -> None:
        """Stop the whole group: politely first, then for certain."""
        if self._process.poll() is None:
            self._signal(signal.SIGTERM)
            deadline = time.monotonic() + grace_s
            while self._process.poll() is None and time.monotonic() < deadline:
                time.sleep(0.05)
            self._signal(signal.SIGKILL if os.name != "nt" else signal.SIGTERM)
        self._process.wait()
        if self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        deadline = time.monotonic() + 5
        while any(reader.is_alive() for reader in self._readers) and time.monotonic() < deadline:
            with contextlib.suppress(Empty):  # a reader may wait for room in the queue
                self._lines.get(timeout=0.05)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            if os.name == "nt":
                self._process.terminate()
            else:
                os.killpg(self._process.pid, number)

    def _reader(self, name: str, stream: IO[bytes] | None) -> threading.Thread:
        assert stream is not None  # noqa: S101 - Popen was given PIPE
        thread = threading.Thread(target=self._pump, args=(name, stream), daemon=True)
        thread.start()
        return thread

    def _pump(self, name: str, stream: IO[bytes]) -> None:
        rest = b""
        with stream:
            while chunk := os.read(stream.fileno(), 65536):
                *whole, rest = re.split(rb"[\r\n]", rest + chunk)
                self._emit(name, whole)
                rest = rest[-65536:]
            self._emit(name, [rest])
        self._lines.put(None)

    def _emit(self, name: str, parts: Sequence[bytes]) -> None:
        for part in parts:
            text = _ANSI.sub("", part.decode("utf-8", "replace")).rstrip()
            if text:
                self._lines.put(OutputLine(name, text))


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
            self._process = subprocess.Popen(
                list(argv),
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
        stdin = self._process.stdin
        assert stdin is not None  # noqa: S101 - Popen was given PIPE
        try:
            stdin.write(line + b"\n")
            stdin.flush()
        except (BrokenPipeError, ValueError, OSError):
            return None
        return self.next_reply(timeout_s=timeout_s)

    def next_reply(self, *, timeout_s: float) -> bytes | None:
        """Return the next line of the child, or None when it ended.

        Raises:
            ProgramTimedOutError: When none came in time; the child is stopped.
        """
        try:
            return self._replies.get(timeout=timeout_s)
        except Empty as error:
            self.stop()
            raise ProgramTimedOutError(
                f"{Path(self.argv[0]).name} gave no answer within {timeout_s:g} s"
            ) from error

    def status(self) -> int | None:
        """Return the exit status, or None while the child runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Stop the child at once and wait for its end."""
        if self._process.stdin:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                if os.name == "nt":
                    self._process.kill()
                else:
                    os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _pump(self) -> None:
        stdout = self._process.stdout
        assert stdout is not None  # noqa: S101 - Popen was given PIPE
        with stdout:
            for line in stdout:
                self._replies.put(line)
        self._replies.put(None)
