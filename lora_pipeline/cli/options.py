"""Options that mean the same on every command."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from lora_pipeline.cli.session import Session

F = TypeVar("F", bound=Callable[..., Any])


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Make one decorator of several; the help shows them in this order."""

    def decorate(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def shared_options(command: F) -> F:
    """Add the options of every command; they may stand before or after the command's name."""
    return together(
        _stored("--workspace", "workspace_path", "Workspace folder.", metavar="DIR"),
        _stored("--project", "project", "Project to work in.", metavar="ID"),
        _stored("--as", "actor", "Who acts; otherwise Git's user.email.", metavar="EMAIL"),
        _stored("--json", "json", "Print one JSON document.", is_flag=True),
        _stored("--quiet", "quiet", "Print errors only.", is_flag=True, short="-q"),
        _stored("--verbose", "verbose", "Print more of what happens.", is_flag=True, short="-v"),
    )(command)


def writing_options(command: F) -> F:
    """Add the options of every command that writes, and the shared ones."""
    return together(
        shared_options,
        _stored("--dry-run", "dry_run", "Say what would be written, write nothing.", is_flag=True),
        _stored("--commit", "commit", "Commit what was written.", is_flag=True),
    )(command)


def scope_option(help_text: str) -> Callable[[F], F]:
    """Add the option that says whether the project's own things are meant or the shared ones."""
    return click.option(
        "--scope",
        type=click.Choice(["project", "baseline"]),
        default="project",
        show_default=True,
        help=help_text,
    )


def words(name: str, target: str, metavar: str, help_text: str) -> Callable[[F], F]:
    """Add an option that takes words, several times or separated by commas."""
    return click.option(
        name, target, multiple=True, metavar=metavar, callback=_split, help=help_text
    )


def _split(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(word.strip() for value in values for word in value.split(",") if word.strip())


def _stored(
    name: str,
    attribute: str,
    help_text: str,
    *,
    is_flag: bool = False,
    metavar: str | None = None,
    short: str | None = None,
) -> Callable[[F], F]:
    def store(context: click.Context, _: click.Parameter, value: Any) -> None:
        if value not in (None, False):
            setattr(context.ensure_object(Session), attribute, value)

    names = (short, name) if short else (name,)
    return click.option(
        *names,
        f"shared_{attribute}",
        is_flag=is_flag,
        default=None,
        metavar=metavar,
        help=help_text,
        expose_value=False,
        callback=store,
    )
