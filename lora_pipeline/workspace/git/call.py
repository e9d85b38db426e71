"""Telling Git something, and hearing why it refuses.

``GIT_*`` variables are dropped: inside a Git hook they point at an index and a folder that are
not ours. The hooks of the repository run: they are the studio's own rules. Objects that somebody
put in the place of others (``git replace``) are not looked at: history is what was committed.
"""

from __future__ import annotations

import os
from pathlib import Path

from lora_pipeline.foundation.errors import ProgramNotFoundError, RepositoryError
from lora_pipeline.foundation.process import Completed, child_environment, run

# What a commit may need to be signed.
_SIGNING = (
    "SSH_AUTH_SOCK", "SSH_AGENT_PID", "GNUPGHOME", "GPG_TTY", "XDG_CONFIG_HOME",
    "XDG_RUNTIME_DIR", "DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS",
)  # fmt: skip


def call(
    folder: Path,
    *arguments: str,
    stdin: bytes = b"",
    index: Path | None = None,
    asks: bool = False,
    timeout_s: float | None = None,
) -> Completed:
    """Run Git to its end, whatever it says.

    Args:
        folder: Where it runs.
        *arguments: What it is told.
        stdin: Given to it as its standard input.
        index: The index that it is to use instead of the repository's own.
        asks: Whether it may ask the person at the terminal, for a passphrase.
        timeout_s: How long it may take.

    Raises:
        ProgramNotFoundError: When Git is not installed, or the folder is not there.
        ProgramTimedOutError: When it takes too long.
    """
    environment = {name: os.environ[name] for name in _SIGNING if name in os.environ}
    environment |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C.UTF-8"}
    if index is not None:
        environment["GIT_INDEX_FILE"] = str(index)
    return run(
        ["git", "--no-replace-objects", "-c", "core.quotePath=false", *arguments],
        cwd=folder,
        environment=child_environment(environment),
        timeout_s=timeout_s or (600 if asks else 120),
        stdin=stdin,
        keeps_terminal=asks,
    )


def checked(
    folder: Path,
    *arguments: str,
    stdin: bytes = b"",
    index: Path | None = None,
    asks: bool = False,
    timeout_s: float | None = None,
) -> Completed:
    """Run Git as ``call`` does, and have it succeed.

    Raises:
        RepositoryError: When it is not installed, or says no; the message says why.
        ProgramTimedOutError: When it takes too long.
    """
    try:
        done = call(folder, *arguments, stdin=stdin, index=index, asks=asks, timeout_s=timeout_s)
    except ProgramNotFoundError as error:
        raise RepositoryError("git is not installed", hint="install git") from error
    if done.status != 0:
        said = done.stderr + done.stdout
        command = next(word for word in arguments if not word.startswith("-"))
        raise RepositoryError(f"git {command} failed: {reason_in(said)}", hint=_hint(said))
    return done


def names_in(listed: Completed) -> list[str]:
    """Return the names of an output with ``-z``."""
    return [one for one in listed.output.decode("utf-8", "surrogateescape").split("\0") if one]


def reason_in(said: str) -> str:
    """Return the line that says why: warnings and advice often come before it."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    fatal = (line for line in lines if line.startswith(("fatal:", "error:")))
    return next(fatal, lines[0] if lines else "no message")


def _hint(said: str) -> str | None:
    if "user.email" in said or "empty ident" in said:
        return "git config user.email you@studio && git config user.name You"
    if "dubious ownership" in said:
        return "git config --global --add safe.directory with the path of the repository"
    return None
