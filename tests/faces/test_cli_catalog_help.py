"""Help of the commands about projects, base models, words and art."""

from __future__ import annotations

import importlib

import click
import pytest
from _pytest.mark import ParameterSet

GROUPS = ("project", "checkpoint", "catalog", "spec", "asset")


def commands() -> list[ParameterSet]:
    found = []
    for name in GROUPS:
        group = getattr(importlib.import_module(f"lora_pipeline.cli.{name}"), name)
        found.append(pytest.param(group, name, id=name))
        found += [
            pytest.param(command, f"{name} {verb}", id=f"{name}-{verb}")
            for verb, command in group.commands.items()
        ]
    return found


def help_of(command: click.Command, name: str) -> list[str]:
    context = click.Context(command, info_name=f"lora {name}", max_content_width=80)
    return command.get_help(context).splitlines()


@pytest.mark.parametrize(("command", "name"), commands())
def test_first_line_of_the_help_is_short_and_a_sentence(command: click.Command, name: str) -> None:
    first = help_of(command, name)[2].strip()

    assert len(first) < 60
    assert first.endswith(".")


@pytest.mark.parametrize(("command", "name"), commands())
def test_every_verb_has_an_example_on_a_line_of_its_own(command: click.Command, name: str) -> None:
    lines = [line.strip() for line in help_of(command, name)]

    assert isinstance(command, click.Group) or any(
        line.startswith(f"lora {name}") for line in lines
    )
    assert not any("\\b" in line for line in lines)


@pytest.mark.parametrize(("command", "name"), commands())
def test_every_option_is_explained(command: click.Command, name: str) -> None:
    for parameter in command.params:
        assert isinstance(parameter, click.Argument) or getattr(parameter, "help", None), (
            f"{name} {parameter.name}"
        )
