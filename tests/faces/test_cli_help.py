"""The help of every command reads as it was written."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import click
import pytest

from lora_pipeline.cli.main import COMMANDS


def _commands() -> Iterator[tuple[str, click.Command]]:
    for name, lazy in COMMANDS.items():
        module = importlib.import_module(f"lora_pipeline.cli.{lazy.module}")
        yield from _below(name, getattr(module, lazy.attribute))


def _below(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for inner, one in command.commands.items():
            yield from _below(f"{name} {inner}", one)


ALL = dict(_commands())


@pytest.mark.parametrize("name", sorted(ALL))
def test_no_mark_of_the_layout_is_shown(name: str) -> None:
    command = ALL[name]

    text = command.get_help(click.Context(command, info_name=name))

    assert "\\b" not in text
