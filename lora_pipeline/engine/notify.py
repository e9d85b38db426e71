"""Telling people outside of the terminal: a program, an address, the desktop.

None of them may harm what it tells of: each has little time, its failure is returned as words,
and nothing is tried a second time.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
from collections.abc import Callable, Mapping
from typing import Any

from lora_pipeline.foundation import process
from lora_pipeline.foundation.errors import PipelineError, SettingsError
from lora_pipeline.foundation.redaction import redacted

TIMEOUT_S = 10.0
_LONGEST = 200


def run_command(line: str, notice: Mapping[str, Any], *, timeout_s: float = TIMEOUT_S) -> None:
    """Run a program with the notice as JSON on its standard input; no shell is asked.

    It also finds the notice's plain values in ``LORA_NOTICE_…`` variables.

    Raises:
        SettingsError: When the line is no command, or the program fails.
        ProcessError: When it is not there, or does not end in time.
    """
    try:
        argv = shlex.split(line)
    except ValueError as error:
        raise SettingsError(f"the command to notify by is no command line: {error}") from error
    if not argv:
        return
    facts = {
        f"LORA_NOTICE_{name.upper()}": str(value)
        for name, value in notice.items()
        if isinstance(value, str | int | float)
    }
    done = process.run(
        argv,
        environment=process.child_environment(facts),
        timeout_s=timeout_s,
        stdin=json.dumps(notice).encode() + b"\n",
    )
    if done.status != 0:
        raise SettingsError(f"{argv[0]} ended with exit status {done.status}")


def show_on_desktop(title: str, text: str) -> None:
    """Show a line on the desktop of this machine, with the program that its system has.

    Raises:
        SettingsError: When it says no.
        ProcessError: When there is no such program.
    """
    done = process.run(
        _desktop_argv(title, text), environment=_desktop_environment(), timeout_s=TIMEOUT_S
    )
    if done.status != 0:
        raise SettingsError(f"the desktop refused: {done.stderr.strip()[:_LONGEST]}")


def attempt(name: str, tell: Callable[[], None], secrets: tuple[str, ...] = ()) -> str | None:
    """Try to tell, and return why it failed in one line without secrets, or None."""
    try:
        tell()
    except PipelineError as error:
        words = error.message
    except OSError as error:
        reason = getattr(error, "reason", None) or error.strerror or error
        words = f"no answer: {reason}"
    else:
        return None
    return redacted(f"{name}: {' '.join(words.split())[:_LONGEST]}", secrets)


def _desktop_argv(title: str, text: str) -> list[str]:
    if sys.platform == "darwin":
        # The words are arguments of the script and never part of it.
        script = (
            "on run argv\ndisplay notification (item 2 of argv) with title (item 1 of argv)\nend"
        )
        return ["osascript", "-e", script, title, text]
    if sys.platform == "win32":
        return ["msg", "*", f"{title}: {text}"]
    return ["notify-send", "--app-name=lora", "--", title, text]


def _desktop_environment() -> dict[str, str]:
    session: dict[str, str] = {}
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR"):
        with contextlib.suppress(KeyError):
            session[name] = os.environ[name]
    return process.child_environment(session)
