"""What the commands of ``lora eval`` have in common: which release, which grid, which scope."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Literal, TypeVar

import click

from lora_pipeline.cli.options import scope_option

F = TypeVar("F", bound=Callable[..., Any])
ScopeName = Literal["project", "baseline"]

scope_choice = scope_option("baseline takes the shared LoRA of that id.")
evaluation_choice = click.option(
    "--evaluation", default="", metavar="ID", help="Evaluation; else the newest complete one."
)


def prompt_options(command: F) -> F:
    """Let a command take a suite, or other prompts than the suite's."""
    for option in (
        click.option(
            "--prompts-file",
            type=click.File(encoding="utf-8"),
            help="Like --prompts, one on a line; lines with # are left out.",
        ),
        click.option(
            "--prompts", default="", metavar='"A|B"', help="Other prompts, for a look only."
        ),
        click.option("--suite", default="", metavar="ID", help="Suite; else the asset type's."),
    ):
        command = option(command)
    return command


def given_prompts(text: str, file: IO[str] | None) -> tuple[str, ...]:
    """Return the prompts that ``--prompts`` and ``--prompts-file`` name.

    Raises:
        click.UsageError: When they are there and name none.
    """
    lines = [line.strip() for line in file] if file else []
    from_file = [line for line in lines if line and not line.startswith("#")]
    from_text = [part.strip() for part in text.split("|") if part.strip()]
    if (file and not from_file) or (text and not from_text):
        raise click.UsageError("No prompt was given.")
    return (*from_text, *from_file)


def absolute(path: str) -> str:
    """Return a path as it is meant where the command was typed; empty stays empty."""
    return str(Path(path).absolute()) if path else ""


def release_named(command: F) -> F:
    """Let a command take a LoRA and, if wanted, one of its releases."""
    command = click.argument("release", default="")(command)
    return click.argument("lora")(command)
