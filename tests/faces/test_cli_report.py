"""``lora report``: what a pull request changes, from real commits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support import attacks
from tests.support.release_builders import (
    KIM,
    LORA,
    Studio,
    active_studio,
    add_grid,
    add_release,
    add_review,
    copy_of,
    edit,
)
from tests.support.workspace_builders import Answer, commit_all, git, invoke, tree_digest


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    studio = active_studio(tmp_path_factory.mktemp("template") / "studio")
    commit_all(studio.root, "All of it")
    return studio


@pytest.fixture
def studio(template: Studio, tmp_path: Path) -> Studio:
    return copy_of(template, tmp_path / "studio")


def report(studio: Studio, *options: str) -> Answer:
    return invoke(["report", *options], studio.root)


def told(studio: Studio, *options: str) -> dict[str, Any]:
    answer = report(studio, *options, "--json")
    assert answer.exit_code == 0, answer.stderr
    return dict(answer.document["data"])


def test_nothing_changed_is_said_in_one_line(studio: Studio) -> None:
    before = tree_digest(studio.root)

    answer = report(studio)

    assert answer.stdout == "HEAD → work tree · nothing of the pipeline changed\n"
    assert tree_digest(studio.root) == before


def test_a_branch_is_told_from_where_it_parted(studio: Studio) -> None:
    git(studio.root, "checkout", "--quiet", "-b", "topic")
    add_release(studio, "r3")
    add_review(studio, add_grid(studio, "r3"), KIM)
    commit_all(studio.root, "r3")
    git(studio.root, "checkout", "--quiet", "main")
    edit(studio.path("lora", LORA), '"name"', '"description": "on main", "name"')
    commit_all(studio.root, "Something else on main")
    git(studio.root, "checkout", "--quiet", "topic")

    data = told(studio, "main...HEAD")

    [lora] = data["loras"]
    assert any(one.startswith("r3 came as candidate") for one in lora["changes"])
    assert not any("description" in one for one in lora["changes"])
    named = {one["releaseId"]: one for one in lora["decisions"]}
    assert named["r3"]["active"] is False
    [grid] = data["evaluations"]
    assert (grid["releaseId"], grid["kind"]) == ("r3", "came")
    [review] = data["reviews"]
    assert review["reviewer"] == KIM
    assert data["findings"] is not None


def test_what_the_gate_refuses_stands_first(studio: Studio) -> None:
    attacks.forged_pointer(studio)

    answer = report(studio)

    assert "active release r1 → r2" in answer.stdout
    assert "active without passing the gate" in answer.stdout
    assert answer.exit_code == 0


def test_a_verdict_that_was_changed_or_removed_is_named(studio: Studio) -> None:
    attacks.edited_verdict(studio)
    assert "a verdict was changed; no command does that" in report(studio).stdout
    attacks.removed_verdict(studio)
    assert "a verdict was removed; no command does that" in report(studio).stdout


def test_a_policy_that_changes_together_with_a_promotion_is_named(studio: Studio) -> None:
    gates = studio.root / "config" / "gates"
    gates.mkdir(parents=True, exist_ok=True)
    (gates / "lax.yaml").write_text("id: lax\nsummary: nothing is asked\napprovals: 0\n")

    data = told(studio)

    assert data["rules"] == [{"file": "config/gates/lax.yaml", "kind": "came"}]
    assert "What is asked for changes" in report(studio, "--markdown").stdout


def test_a_record_that_cannot_be_read_is_named_and_the_rest_is_told(studio: Studio) -> None:
    edit(studio.path("lora", LORA), '"schema": "lora/v1"', '"schema": "lora/v9"')

    data = told(studio)

    assert "lora/v9" in str(data["unreadable"])


def test_another_commit_is_told_without_the_gate(studio: Studio) -> None:
    (studio.root / "note.txt").write_text("x")
    commit_all(studio.root, "One more")

    data = told(studio, "HEAD~1..HEAD~1")

    assert data["findings"] is None
    assert "is not checked out" in str(data["verdict"])


def test_the_work_tree_is_said_to_be_other_than_the_commit(studio: Studio) -> None:
    (studio.root / "data" / "shared").mkdir(parents=True, exist_ok=True)
    (studio.root / "data" / "shared" / "stray.txt").write_text("x")

    assert "1 file is not as committed" in str(told(studio, "HEAD..HEAD")["verdict"])


def test_markdown_holds_nothing_that_names_or_links(studio: Studio) -> None:
    edit(studio.path("lora", LORA), '"triggerWord": "', '"triggerWord": "@all <img src=x> ')

    text = report(studio, "--markdown").stdout

    assert "@all" in text
    for line in text.splitlines():
        outside = "".join(line.split("`")[::2])
        assert "<img" not in outside
        assert "@all" not in outside


def test_the_page_stands_alone_and_shows_the_contact_sheet(studio: Studio) -> None:
    git(studio.root, "rm", "--quiet", "-r", "--cached", "data/projects")
    git(studio.root, "commit", "--quiet", "-m", "Not in Git any more")

    answer = report(studio, "--html", "report.html", "--json")
    page = (studio.root / "report.html").read_text()

    assert answer.document["written"] == ["report.html"]
    assert "data:image/webp;base64," in page
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
    assert "passes" in page or "refused" in page


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        (("nowhere..HEAD",), 3, "no revision 'nowhere'"),
        (("--html", "x.html", "--markdown"), 2, "one of them"),
        (("--html", "data/x.html"), 3, "which is for records"),
        (("--html", "x.txt"), 3, "must end with .html"),
        (("--html", "x.html", "--pictures", "-1"), 3, "0 to 5000 pictures"),
    ],
)
def test_a_wrong_question_is_answered_in_one_line(
    studio: Studio, options: tuple[str, ...], code: int, says: str
) -> None:
    answer = report(studio, *options)

    assert answer.exit_code == code
    assert says in answer.stderr
    assert not list(studio.root.glob("x.*"))


def test_a_dry_run_writes_no_page(studio: Studio) -> None:
    answer = report(studio, "--html", "report.html", "--dry-run")

    assert answer.exit_code == 0
    assert not (studio.root / "report.html").exists()


def test_without_git_it_is_said(tmp_path: Path) -> None:
    answer = invoke(["init", "--no-git"], tmp_path)
    answer = invoke(["report", "--json"], tmp_path)

    assert answer.exit_code == 3
    assert "Git" in json.dumps(answer.document["error"])
