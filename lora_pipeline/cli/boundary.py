"""The one place where errors become exit codes and words.

0 done; 1 checked, and the answer is no; 2 usage; 3 an expected failure; 70 a bug, with a log
file named; 130 interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import click

from lora_pipeline import __version__
from lora_pipeline.cli.output import print_error, print_json, say
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.errors import OperationCancelledError, PipelineError

DONE, ANSWER_IS_NO, USAGE, FAILED, BUG, INTERRUPTED = 0, 1, 2, 3, 70, 130
_SECRETS = re.compile(r"\b(hf_|r8_|ghp_|github_pat_|sk-|AKIA)[A-Za-z0-9_-]{8,}")


def run_guarded(command: click.Command, session: Session, arguments: Sequence[str]) -> int:
    """Run a command and return the exit code; no exception leaves."""
    try:
        status = command.main(list(arguments), prog_name="lora", standalone_mode=False, obj=session)
    except BaseException as error:  # noqa: BLE001 - the boundary: nothing may pass it
        if _is_broken_pipe(error) and _reader_is_gone():
            return session.exit_code  # `lora … | head`: that is not our failure
        _leave_broken_output()
        # An option that could not be read was still asked for.
        asked = "--json" in takewhile(lambda word: word != "--", arguments)
        return _explain(error, wants_json=session.json or asked)
    # click returns the status of `ctx.exit(status)` here, and the command's own value otherwise.
    return status if isinstance(status, int) and status else session.exit_code


def _explain(error: BaseException, *, wants_json: bool) -> int:
    if isinstance(error, OSError):
        from lora_pipeline.foundation.files import refusal_of  # imported late, as all below

        error = refusal_of(error) or error
    match error:
        case KeyboardInterrupt() | click.Abort():
            return _show_interruption(wants_json=wants_json)
        case click.ClickException():
            return _show_usage(error, wants_json=wants_json)
        case PipelineError():
            if wants_json:
                _print_json(error.to_answer())
            print_error(error)
            return INTERRUPTED if isinstance(error, OperationCancelledError) else FAILED
        case _:
            return _report_bug(error, wants_json=wants_json)


def _show_interruption(*, wants_json: bool) -> int:
    if wants_json:
        _print_json(_document_of("interrupted", "interrupted"))
    say("interrupted", err=True)
    say("next   lora validate says whether anything is left over", err=True)
    return INTERRUPTED


def _show_usage(error: click.ClickException, *, wants_json: bool) -> int:
    if wants_json:
        context = getattr(error, "ctx", None)
        hint = f"{context.command_path} --help" if context else "lora --help"
        words = error.format_message()
        # Without a command click's message is the whole help.
        message = "a command is missing" if words.startswith("Usage:") else words
        _print_json(_document_of("usage", message, hint))
    error.show()
    return USAGE


def _report_bug(error: BaseException, *, wants_json: bool) -> int:
    import traceback

    text = "".join(traceback.format_exception(error))
    command = " ".join(sys.argv)
    report = f"lora {__version__}, Python {sys.version.split()[0]}\n{command}\n\n{text}"
    log = _keep_log(_SECRETS.sub(r"\1…", report))
    message = _SECRETS.sub(r"\1…", f"this is a bug in lora: {type(error).__name__}: {error}")
    hint = f"report it with the log {log}" if log else "report it with the text above"
    if wants_json:
        _print_json(_document_of("bug", message, hint))
    if log is None:
        say(text, err=True)
    say(f"{message}\nnext   {hint}", err=True)
    return BUG


def _keep_log(report: str) -> Path | None:
    import tempfile

    try:
        descriptor, name = tempfile.mkstemp(prefix="lora-bug-", suffix=".log")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(report)
    except OSError:
        return None  # the disk may be what broke
    return Path(name)


def _print_json(document: dict[str, Any]) -> None:
    try:
        print_json(document)
    except OSError:
        _send_output_nowhere()  # the output is what broke; stderr and the exit code still tell


def _document_of(code: str, message: str, hint: str | None = None) -> dict[str, Any]:
    document = PipelineError(message, hint=hint).to_answer()
    document["error"]["code"] = code
    return document


def _is_broken_pipe(error: BaseException | None) -> bool:
    # click turns a broken pipe into an exit, whichever pipe it was; since 8.5 the exit does not
    # say where it comes from. Nothing else exits in here.
    if isinstance(error, SystemExit):
        return error.__context__ is None or _is_broken_pipe(error.__context__)
    return isinstance(error, OSError) and error.errno == errno.EPIPE


def _reader_is_gone() -> bool:
    """Whether nobody reads our output any more; it is sent nowhere from now on then."""
    import select

    with contextlib.suppress(OSError, ValueError, AttributeError):
        watched = select.poll()
        watched.register(sys.__stdout__.fileno(), 0)  # type: ignore[union-attr]
        if not any(event & select.POLLERR for _, event in watched.poll(0)):
            return False
    _send_output_nowhere()
    return True


def _leave_broken_output() -> None:
    """When our output cannot be written (a full disk), no later attempt shall fail again."""
    try:
        sys.stdout.flush()
    except OSError:
        _send_output_nowhere()
    except ValueError:
        return  # it is closed


def _send_output_nowhere() -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())  # type: ignore[union-attr]
