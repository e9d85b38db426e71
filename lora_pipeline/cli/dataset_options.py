"""Options of several commands of ``lora dataset``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def scope_option(command: F) -> F:
    """Add the option that says whether a manifest is a project's or a shared one."""
    return click.option(
        "--scope",
        type=click.Choice(["project", "baseline"]),
        default="project",
        help="baseline: a manifest that all projects share.",
    )(command)
