"""Every command, given what it cannot use: one clear error with what to do, and nothing written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from lora_pipeline.cli.main import root
from tests.support.export_builders import studio_with_dataset
from tests.support.workspace_builders import invoke, tree_digest

# They start something, or go on until they are stopped, whatever they are given.
STARTS = {"demo", "worker", "setup"}
BAD_WORDS = ("nope", "", "../../etc", "x" * 300, "{}", "ünï cöde")


def commands(command: click.Command = root, *path: str) -> Iterator[tuple[str, ...]]:
    """Yield the words of every command."""
    if not isinstance(command, click.Group):
        yield path
        return
    context = click.Context(command)
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        if name not in STARTS:
            yield from commands(inner, *path, name)


def parameters(words: tuple[str, ...]) -> list[click.Parameter]:
    command: click.Command | None = root
    for word in words:
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), word)
    assert command is not None
    return command.params


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    return studio_with_dataset(folder / "studio", folder / "art", count=4)


@pytest.fixture
def studio(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "studio"))


@pytest.mark.parametrize("bad", BAD_WORDS)
def test_a_word_that_names_nothing_is_one_clear_error(bad: str, studio: Path) -> None:
    before = tree_digest(studio / "data")
    tried = 0
    for words in commands():
        taken = [one for one in parameters(words) if isinstance(one, click.Argument)]
        if not taken:
            continue
        writes = any("--dry-run" in one.opts for one in parameters(words))
        argv = [*words, *(["--dry-run"] if writes else []), *(bad for _ in taken)]
        answer = invoke(argv, studio)
        tried += 1

        said = answer.stdout + answer.stderr
        assert answer.exit_code in (0, 1, 2, 3), (argv, said)
        assert "this is a bug" not in said, (argv, said)
        assert said.strip() or answer.exit_code == 0, argv
        if answer.exit_code == 3:
            assert "\nnext" in answer.stderr, (argv, said)
        assert tree_digest(studio / "data") == before, argv
    assert tried > 60


def test_json_is_one_document_whatever_is_left_out(studio: Path) -> None:
    for words in commands():
        answer = invoke([*words, "--json"], studio)

        assert answer.exit_code in (0, 1, 2, 3), (words, answer.stdout)
        document = json.loads(answer.stdout)
        assert document["success"] is (answer.exit_code == 0), words
        if not document["success"]:
            assert document["error"]["code"], words
            assert document["error"]["message"], words
