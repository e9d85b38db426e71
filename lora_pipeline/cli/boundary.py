"""The one place where errors become exit codes and words.

0 done; 1 checked, and the answer is no; 2 usage; 3 an expected failure; 70 a bug, with a log
file named; 130 interrupted.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from lora_pipeline import __version__
from lora_pipeline.cli.output import print_error, print_json
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.errors import PipelineError
from lora_pipeline.foundation.result import error_document

DONE, ANSWER_IS_NO, USAGE, FAILED, BUG, INTERRUPTED = 0, 1, 2, 3, 70, 130
_SECRETS = re.compile(r"\b(hf_|r8_|ghp_|sk-|AKIA)[A-Za-z0-9_-]{8,}")


def run_guarded(command: click.Command, session: Session, arguments: Sequence[str]) -> int:
    """Run a command and return the exit code; no exception leaves."""
    wants_json = "--json" in arguments
    try:
        command.main(list(arguments), prog_name="lora", standalone_mode=False, obj=session)
    except click.exceptions.Exit as exit_request:
        return exit_request.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return INTERRUPTED
    except click.ClickException as error:
        _show_usage(error, wants_json=wants_json)
        return USAGE
    except PipelineError as error:
        if wants_json:
            print_json(error_document(error))
        print_error(error)
        return FAILED
    except BrokenPipeError:
        # The reader of our output went away (``lora … | head``); that is not our failure.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as error:  # noqa: BLE001 - the boundary: what is left is a bug
        return _report_bug(error, wants_json=wants_json)
    return session.exit_code


def _show_usage(error: click.ClickException, *, wants_json: bool) -> None:
    if wants_json:
        document = error_document(PipelineError(error.format_message()))
        document["error"]["code"] = "usage"
        print_json(document)
    error.show()


def _report_bug(error: Exception, *, wants_json: bool) -> int:
    import tempfile  # imported late: start-up is part of the product
    import traceback

    text = "".join(traceback.format_exception(error))
    arguments = " ".join(sys.argv)
    report = f"lora {__version__}, Python {sys.version.split()[0]}\n{arguments}\n\n{text}"
    descriptor, name = tempfile.mkstemp(prefix="lora-bug-", suffix=".log")
    with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
        stream.write(_SECRETS.sub(r"\1…", report))
    message = f"this is a bug in lora: {type(error).__name__}: {error}"
    if wants_json:
        document = error_document(PipelineError(message, hint=f"report it with {Path(name)}"))
        document["error"]["code"] = "bug"
        print_json(document)
    click.echo(f"{message}\nnext   report it with the log {name}", err=True)
    return BUG
