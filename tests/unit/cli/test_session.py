"""One run of the command line: commits, questions, and what is printed when."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import click
import pytest

from lora_pipeline.cli.output import Report
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.errors import RepositoryError
from lora_pipeline.foundation.result import Result
from lora_pipeline.workspace.root import Workspace
from tests.support.workspace_builders import ACTOR, git, make_workspace


def write_two(workspace: Workspace, *, reasoning: str = "wrote two files.") -> Result:
    """An operation that writes a file for Git and one for this machine."""
    written = ["data/shared/a.txt", ".lora/cache.txt"]
    if not workspace.dry_run:
        for path in written:
            (workspace.root / path).parent.mkdir(exist_ok=True)
            (workspace.root / path).write_text("x")
    return Result(reasoning=reasoning, written=written, dry_run=workspace.dry_run)


def text(result: Result) -> Report:
    return Report(result.reasoning)


def test_a_commit_holds_what_belongs_into_git_and_says_why(tmp_path: Path) -> None:
    make_workspace(tmp_path)
    session = Session(workspace_path=str(tmp_path), commit=True, quiet=True, actor=ACTOR)

    result = session.run(write_two, text)

    assert result.data["commit"] == git(tmp_path, "rev-parse", "HEAD").strip()
    assert git(tmp_path, "show", "--format=%s", "--name-only").split("\n\n") == [
        "Wrote two files",
        "data/shared/a.txt\n",
    ]


@pytest.mark.parametrize(("commit", "dry_run"), [(False, False), (True, True)])
def test_without_the_wish_or_in_a_dry_run_nothing_is_committed(
    commit: bool, dry_run: bool, tmp_path: Path
) -> None:
    make_workspace(tmp_path)
    before = git(tmp_path, "rev-parse", "HEAD")
    session = Session(workspace_path=str(tmp_path), commit=commit, dry_run=dry_run, quiet=True)

    result = session.run(write_two, text)

    assert "commit" not in result.data
    assert git(tmp_path, "rev-parse", "HEAD") == before


def test_a_commit_outside_of_a_repository_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    make_workspace(tmp_path, git=False)
    session = Session(workspace_path=str(tmp_path), commit=True, quiet=True)

    with pytest.raises(RepositoryError, match="nothing was written") as refused:
        session.run(write_two, text)

    assert refused.value.hint == "git init, or leave --commit out"
    assert not (tmp_path / "data" / "shared" / "a.txt").exists()


def test_a_question_needs_somebody_to_answer_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))

    with pytest.raises(click.UsageError, match=r"Delete it\? Add --yes"):
        Session().confirm("Delete it?", yes=False)

    Session().confirm("Delete it?", yes=True)
    Session(dry_run=True).confirm("Delete it?", yes=False)


@pytest.mark.parametrize(("answer", "goes_on"), [("y\n", True), ("n\n", False), ("\n", False)])
def test_an_answer_at_the_terminal_decides(
    answer: str, goes_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    try:
        Session().confirm("Delete it?", yes=False)
        went_on = True
    except click.Abort:
        went_on = False
    assert went_on is goes_on
