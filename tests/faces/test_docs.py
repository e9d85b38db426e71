"""The pages: every command that they show can be typed, and every link leads somewhere."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lora_pipeline.cli.main import root
from lora_pipeline.cli.session import Session
from tests.support.workspace_builders import REPOSITORY

PAGES = [
    path
    for folder in ("", "docs")
    for path in sorted((REPOSITORY / folder).glob("*.md"))
    if path.name != "commands.md"  # written by the program
]
DECISIONS = sorted((REPOSITORY / "docs/decisions").glob("*.md"))
# A command in a block; what is said about it stands after three spaces or a #.
COMMAND = re.compile(r"^ {4,}(?:\$ )?lora (.*)$", re.MULTILINE)
REMARK = re.compile(r"\s{3,}| # |  #")
LINK = re.compile(r"\]\(([^)\s]+)\)")


def commands(page: Path) -> Iterator[str]:
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for match in COMMAND.finditer(text):
        for one in re.split(r" · lora | && ", REMARK.split(match.group(1))[0]):
            if not one.startswith("cd "):
                yield one.replace("[", "").replace("]", "").replace("…", "X")


def typed(words: list[str]) -> None:
    """Read words as the command line does, without doing anything.

    Raises:
        click.UsageError: When there is no such command, option or choice.
    """
    command: click.Command = root
    context = command.make_context("lora", words, obj=Session())
    while isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        name, inner, words = command.resolve_command(context, rest)
        assert inner is not None
        command = inner
        context = command.make_context(name, words, parent=context)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_command_of_a_page_can_be_typed(page: Path) -> None:
    for one in commands(page):
        try:
            words = shlex.split(one.split(" | ")[0])
            typed(words)
        except (ValueError, click.exceptions.Exit):
            continue  # a quotation that goes on in the next line; --help
        except click.UsageError as error:
            pytest.fail(f"lora {one}: {error.format_message()}")


def anchors(page: Path) -> set[str]:
    text = page.read_text(encoding="utf-8")
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
    return made | set(re.findall(r'<a id="([^"]+)">', text))


def test_every_link_leads_somewhere() -> None:
    astray = [
        f"{page.name}: {link}"
        for page in (*PAGES, *DECISIONS)
        for link in LINK.findall(page.read_text(encoding="utf-8"))
        if not link.startswith(("http://", "https://", "mailto:")) and not leads(page, link)
    ]

    assert astray == []


def leads(page: Path, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.exists():
        return False
    return not anchor or target.suffix != ".md" or anchor in anchors(target)
