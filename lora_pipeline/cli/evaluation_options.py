"""What the commands of ``lora eval`` have in common: which release, which grid, which scope."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import click

from lora_pipeline.cli.options import scope_option

F = TypeVar("F", bound=Callable[..., Any])
ScopeName = Literal["project", "baseline"]

scope_choice = scope_option("baseline takes the shared LoRA of that id.")
evaluation_choice = click.option(
    "--evaluation", default="", metavar="ID", help="Evaluation; else the newest complete one."
)


def release_named(command: F) -> F:
    """Let a command take a LoRA and, if wanted, one of its releases."""
    command = click.argument("release", default="")(command)
    return click.argument("lora")(command)
