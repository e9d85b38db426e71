from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lora_pipeline.evaluation.records import Evaluation, Review
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import open_store
from tests.support.evaluation_builders import LORA, PROJECT, SCOPE, add_subject, files_below
from tests.support.fake_renderer import FakeRenderer
from tests.support.grid_rendering import render
from tests.support.workspace_builders import (
    ACTOR,
    commit_all,
    git,
    invoke,
    make_workspace,
    tree_digest,
)


@pytest.fixture
def studio(tmp_path: Path) -> Workspace:
    workspace = make_workspace(tmp_path, project=PROJECT)
    add_subject(workspace)
    commit_all(tmp_path, "A LoRA")
    return workspace


def test_create_writes_one_record_and_names_the_next_command(studio: Workspace) -> None:
    answer = invoke(["eval", "create", LORA, "r1"], studio.root)
    [evaluation_id] = studio.records.ids(Evaluation, SCOPE)
    assert answer.exit_code == 0
    assert "ui_icons r1 · 12 cells to render" in answer.stdout
    assert f"evals/{evaluation_id}.json" in answer.stdout
    assert "next  lora eval grid ui_icons r1" in answer.stdout


def test_create_takes_prompts_from_words_and_from_a_file(studio: Workspace) -> None:
    (studio.root / "prompts.txt").write_text("# two more\n{trigger} tree\n\n  a house  \n")
    invoke(
        ["eval", "create", LORA, "--prompts", "{trigger} star|", "--prompts-file", "prompts.txt"],
        studio.root,
    )
    [loaded] = list(studio.records.all(Evaluation, SCOPE))
    assert loaded.record.prompts == ("trg star", "trg tree", "a house")


def test_create_with_dry_run_writes_nothing(studio: Workspace) -> None:
    before = tree_digest(studio.root)
    answer = invoke(["eval", "create", LORA, "--dry-run", "--json"], studio.root)
    assert answer.document["dryRun"] is True
    assert len(answer.document["written"]) == 1
    assert tree_digest(studio.root) == before


def test_create_with_commit_commits_the_record_alone(studio: Workspace) -> None:
    (studio.root / "other.txt").write_text("not mine")
    invoke(["eval", "create", LORA, "--commit"], studio.root)
    subject = git(studio.root, "log", "-1", "--format=%s").strip()
    assert subject == "Created an evaluation of ui_icons r1 with suite tiny_icon"
    assert git(studio.root, "status", "--porcelain").strip() == "?? other.txt"


def test_grid_with_dry_run_says_how_many_cells_there_are_to_draw(studio: Workspace) -> None:
    pytest.importorskip("diffusers")
    before = tree_digest(studio.root)
    answer = invoke(["eval", "grid", LORA, "--dry-run"], studio.root)
    assert "ui_icons r1 · would draw · 12 of 12 cells" in answer.stdout
    assert tree_digest(studio.root) == before


def test_show_tells_the_effect_the_cells_and_where_to_look(studio: Workspace) -> None:
    render(studio)
    answer = invoke(["eval", "show", "r1"], studio.root)
    assert answer.exit_code == 0
    assert "ui_icons r1 · complete · 12 of 12 cells" in answer.stdout
    assert "effect      0.08" in answer.stdout
    assert ".webp" in answer.stdout
    assert "nobody has given a verdict yet" in answer.stdout
    assert "next  lora eval review ui_icons r1" in answer.stdout


def test_show_of_an_unfinished_grid_says_what_is_missing(studio: Workspace) -> None:
    render(studio, FakeRenderer(fault="black", only=("trg",)))
    answer = invoke(["eval", "show", LORA], studio.root)
    assert "6 of 12 cells have no image, 6 of them failed" in answer.stdout
    assert "failed" in answer.stdout
    assert "next  lora eval grid ui_icons r1" in answer.stdout


def test_show_writes_the_sheet_as_png_where_the_caller_stands(studio: Workspace) -> None:
    render(studio)
    folder = studio.root / "data"
    answer = invoke(["eval", "show", LORA, "--png", "sheet.png"], folder)
    assert answer.exit_code == 0
    assert (folder / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_approve_writes_one_review_and_says_what_it_holds_for(studio: Workspace) -> None:
    render(studio)
    answer = invoke(["eval", "approve", LORA, "r1", "--comment", "good"], studio.root)
    [loaded] = list(studio.records.all(Review, SCOPE))
    assert answer.exit_code == 0
    assert f"ui_icons r1 is approved by {ACTOR}" in answer.stdout
    assert loaded.record.verdict == "approved"
    assert f"reviews/{loaded.record_id}.json" in answer.stdout
    assert "next  lora promote ui_icons r1" in answer.stdout


def test_after_an_approval_showing_names_the_promotion(studio: Workspace) -> None:
    render(studio)
    invoke(["eval", "approve", LORA], studio.root)
    answer = invoke(["eval", "show", LORA], studio.root)
    assert "next  lora promote ui_icons r1" in answer.stdout


def test_reject_takes_signs_and_shows_them(studio: Workspace) -> None:
    render(studio)
    invoke(
        [
            "eval",
            "reject",
            LORA,
            "--comment",
            "too hot",
            "--sign",
            "burnt",
            "--as",
            "lee@x.example",
        ],
        studio.root,
    )
    answer = invoke(["eval", "show", LORA], studio.root)
    assert "rejected by lee@x.example" in answer.stdout
    assert "signs: burnt" in answer.stdout


def test_a_review_that_was_edited_by_hand_shows(studio: Workspace) -> None:
    render(studio)
    invoke(["eval", "reject", LORA, "--comment", "bad"], studio.root)
    [loaded] = list(studio.records.all(Review, SCOPE))
    loaded.path.write_text(loaded.path.read_text().replace('"rejected"', '"approved"'))
    answer = invoke(["eval", "show", LORA], studio.root)
    assert "edited by hand: approved by" in answer.stdout


@pytest.mark.parametrize(
    ("arguments", "exit_code", "error", "words"),
    [
        (["approve", LORA], 3, "evaluation_incomplete", "7 of 12 cells have no image"),
        (["reject", LORA], 3, "evaluation_incomplete", "7 of 12 cells have no image"),
        (["approve", "nothing"], 3, "record_not_found", "no LoRA 'nothing'"),
        (["approve", LORA, "r9"], 3, "record_not_found", "no release 'r9'"),
        (["show", LORA, "--evaluation", "x"], 3, "record_not_found", "no evaluation 'x'"),
        (["grid", LORA, "--suite", "none"], 3, "record_not_found", "no suite 'none'"),
        (["grid", LORA, "--renderer", "diffuser"], 3, "argument_invalid", "no renderer"),
        (["create", LORA, "--prompts", " | "], 2, "usage", "No prompt was given"),
        (["review", LORA], 2, "usage", "a verdict is needed"),
        (["review", LORA, "--verdict", "ok"], 2, "usage", "'ok' is not one of"),
    ],
)
def test_bad_input_is_one_clear_error_and_nothing_is_written(
    studio: Workspace, arguments: list[str], exit_code: int, error: str, words: str
) -> None:
    render(studio, limit=5)
    before = tree_digest(studio.root)
    answer = invoke(["eval", *arguments, "--json"], studio.root)
    assert (answer.exit_code, answer.error["code"]) == (exit_code, error)
    assert words in answer.error["message"]
    assert tree_digest(studio.root) == before


def test_a_rejection_without_a_comment_is_an_error(studio: Workspace) -> None:
    render(studio)
    answer = invoke(["eval", "reject", LORA], studio.root)
    assert answer.exit_code == 3
    assert "a verdict of rejected needs a comment" in answer.stderr
    assert files_below(studio.data_root / "projects" / PROJECT / "reviews") == []


def test_weights_that_are_not_here_are_named_with_the_next_command(studio: Workspace) -> None:
    [weights] = open_store(studio).all()
    open_store(studio).path(weights).unlink()
    pytest.importorskip("diffusers")
    answer = invoke(["eval", "grid", LORA], studio.root)
    assert answer.exit_code == 3
    assert "weights of ui_icons r1: nothing at .lora/store" in answer.stderr
    assert "lora store pull" in answer.stderr
    assert studio.records.ids(Evaluation, SCOPE) == []


@pytest.mark.skipif(os.name == "nt", reason="needs a pseudo-terminal")
def test_a_reviewer_in_a_terminal_is_asked_for_the_verdict(studio: Workspace) -> None:
    import pty

    render(studio)
    controller, terminal = pty.openpty()
    answers = ["n", "9", "y", *["n"] * 6, "needs_work", "the heart is a copy"]
    with subprocess.Popen(
        [sys.executable, "-m", "lora_pipeline", "eval", "review", "r1", "--as", "kim@x.example"],
        cwd=studio.root,
        stdin=terminal,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "TERM": "dumb"},
    ) as child:
        os.close(terminal)
        os.write(controller, ("\n".join(answers) + "\n").encode())
        output, _ = child.communicate(timeout=60)
        os.close(controller)
    [loaded] = list(studio.records.all(Review, SCOPE))
    review = loaded.record
    assert child.returncode == 0, output
    assert b"look at all 12 cells" in output
    assert (review.verdict, review.cells_seen, review.signs) == (
        "needs_work",
        9,
        ("copies_training_image",),
    )
    assert review.comment == "the heart is a copy"


def test_the_help_of_every_command_has_an_example_and_its_exits() -> None:
    for name in ("create", "grid", "show", "review", "approve", "reject"):
        answer = invoke(["eval", name, "--help"], Path.cwd())
        assert "Example: lora eval" in answer.stdout
        first = answer.stdout.split("\n\n")[1].strip().splitlines()[0]
        assert len(first) < 60
