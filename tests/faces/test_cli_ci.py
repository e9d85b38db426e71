"""``lora ci init``: what it writes does what it says, run for real."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from lora_pipeline.releases.card import MARK
from tests.support.workspace_builders import (
    Answer,
    commit_all,
    git,
    invoke,
    make_repository,
    run_lora,
    tree_digest,
)

ACTION = ".github/actions/lora/action.yml"
WORKFLOW = ".github/workflows/lora.yml"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "studio"
    folder.mkdir()
    make_repository(folder)
    assert invoke(["init"], folder).exit_code == 0
    assert invoke(["project", "create", "neon"], folder).exit_code == 0
    commit_all(folder, "A workspace")
    return folder


def ci(folder: Path, *options: str) -> Answer:
    return invoke(["ci", "init", *options], folder)


def document(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_the_files_are_there_and_a_second_call_changes_nothing(folder: Path) -> None:
    first = ci(folder, "--owner", "@neon/leads")
    before = tree_digest(folder)
    second = ci(folder, "--owner", "@neon/leads")

    assert first.exit_code == second.exit_code == 0
    assert tree_digest(folder) == before
    assert "kept" in second.stdout
    assert document(folder / WORKFLOW)["jobs"]["check"]["steps"]
    assert "@neon/leads" in (folder / ".github" / "CODEOWNERS").read_text()


def test_what_people_wrote_stays(folder: Path) -> None:
    own = {
        WORKFLOW: "name: mine\n",
        ".pre-commit-config.yaml": "repos: []\n",
        "CODEOWNERS": "* @everybody\n",
        ".gitattributes": "*.bin -text\n",
    }
    for name, text in own.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    answer = ci(folder, "--owner", "@neon/leads", "--owner", "lead@neon.example")

    for name, text in own.items():
        assert (folder / name).read_text().startswith(text)
    assert "add to it a local hook lora-validate" in answer.stdout
    assert not (folder / ".github" / "CODEOWNERS").exists()
    owners = (folder / "CODEOWNERS").read_text()
    lines = [" ".join(line.split()) for line in owners.splitlines()]
    for path in ("/config/gates/", "/config/suites/", "/data/**/catalogs/asset-types.json"):
        assert f"{path} @neon/leads lead@neon.example" in lines


def test_owners_are_replaced_in_their_place(folder: Path) -> None:
    path = folder / ".github" / "CODEOWNERS"
    path.parent.mkdir()
    path.write_text("* @everybody")
    ci(folder, "--owner", "@one")
    path.write_text(path.read_text() + "/docs/ @writers\n")

    ci(folder, "--owner", "@two")
    text = path.read_text()

    assert text.startswith("* @everybody\n\n# lora: begin\n")
    assert text.endswith("# lora: end\n/docs/ @writers\n")
    assert "@one" not in text
    assert text.count("# lora: begin") == 1


def test_nobody_owns_the_policies_is_said(folder: Path) -> None:
    assert "nobody owns the gate policies" in ci(folder).stdout


@pytest.mark.parametrize("owner", ["nobody", "@", "@a b", "@a\n* @b", ""])
def test_an_owner_must_be_one(folder: Path, owner: str) -> None:
    before = tree_digest(folder)

    answer = ci(folder, "--owner", owner)

    assert answer.exit_code == 3
    assert "is no owner" in answer.stderr
    assert tree_digest(folder) == before


def test_a_dry_run_writes_nothing(folder: Path) -> None:
    before = tree_digest(folder)

    assert "would write" in ci(folder, "--dry-run").stdout
    assert tree_digest(folder) == before


def test_a_workspace_below_the_top_is_refused(tmp_path: Path) -> None:
    make_repository(tmp_path)
    (tmp_path / "art").mkdir()
    invoke(["init"], tmp_path / "art")

    answer = ci(tmp_path / "art")

    assert answer.exit_code == 3
    assert "not the top of its repository" in answer.stderr


def test_without_git_it_is_said(tmp_path: Path) -> None:
    invoke(["init", "--no-git"], tmp_path)

    assert ci(tmp_path).exit_code == 3


def test_nothing_of_a_pull_request_stands_in_a_script(folder: Path) -> None:
    ci(folder)

    steps = document(folder / ACTION)["runs"]["steps"]

    assert len([step for step in steps if "run" in step]) == 5
    for step in steps:
        assert "${{" not in step.get("run", "")


def test_every_input_that_the_workflow_gives_is_one(folder: Path) -> None:
    ci(folder)
    action, workflow = document(folder / ACTION), document(folder / WORKFLOW)
    [given] = [step for step in workflow["jobs"]["check"]["steps"] if "lora" in step["uses"]]

    assert set(given["with"]) <= set(action["inputs"])
    assert given["uses"] == f"./{ACTION.rpartition('/')[0]}"


def test_the_steps_do_what_they_say(folder: Path, tmp_path: Path) -> None:
    ci(folder)
    commit_all(folder, "Checks")
    base = git(folder, "rev-parse", "HEAD").strip()
    git(folder, "checkout", "--quiet", "-b", "topic")
    assert invoke(["project", "create", "other"], folder).exit_code == 0
    commit_all(folder, "Another project")
    steps = {step.get("name"): step for step in document(folder / ACTION)["runs"]["steps"]}
    runner = _runner(tmp_path, {"BASE": base, "PULL_REQUEST": "7", "GH_TOKEN": "t"})

    told = _run(steps["Tell what changed"], folder, runner)
    commented = _run(steps["Comment"], folder, runner)
    checked = _run(steps["Check every record"], folder, runner)
    cards = _run(steps["Check every model card"], folder, runner)

    assert (told, commented, checked, cards) == (0, 0, 0, 0)
    assert "## lora" in (tmp_path / "summary").read_text()
    assert (tmp_path / "output").read_text() == "page=lora-report.html\n"
    assert (folder / "lora-report.html").read_text().startswith("<!doctype html>")
    assert "pr comment 7 --body-file" in (tmp_path / "gh-called").read_text()


def test_the_check_asks_for_the_history_of_the_base(folder: Path, tmp_path: Path) -> None:
    ci(folder)
    commit_all(folder, "Checks")
    git(folder, "checkout", "--quiet", "--orphan", "fresh")
    commit_all(folder, "As if nothing had been before")
    steps = {step.get("name"): step for step in document(folder / ACTION)["runs"]["steps"]}
    base = git(folder, "rev-parse", "main").strip()

    assert _run(steps["Check every record"], folder, _runner(tmp_path, {"BASE": base})) == 3
    shutil.rmtree(tmp_path / "bin")
    assert _run(steps["Check every record"], folder, _runner(tmp_path, {})) == 0


def test_the_check_fails_when_a_record_is_wrong(folder: Path, tmp_path: Path) -> None:
    ci(folder)
    (folder / "data" / "projects" / "neon" / "project.json").write_text("{}")
    steps = {step.get("name"): step for step in document(folder / ACTION)["runs"]["steps"]}

    assert _run(steps["Check every record"], folder, _runner(tmp_path, {})) == 1


def test_the_check_fails_when_a_model_card_is_not_what_the_records_say(
    folder: Path, tmp_path: Path
) -> None:
    ci(folder)
    (folder / "card.md").write_text(f"---\n{MARK} icons r1;\n---\n")
    steps = {step.get("name"): step for step in document(folder / ACTION)["runs"]["steps"]}

    assert _run(steps["Check every model card"], folder, _runner(tmp_path, {})) != 0


def test_the_hook_stops_a_commit(folder: Path) -> None:
    ci(folder)
    [hook] = document(folder / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    words = hook["entry"].split()[1:]

    assert run_lora(words, folder).exit_code == 0
    (folder / "data" / "projects" / "neon" / "project.json").write_text("{}")
    assert run_lora(words, folder).exit_code == 1


def test_the_hooks_of_this_repository_call_commands_that_exist(folder: Path) -> None:
    hooks = yaml.safe_load(
        (Path(__file__).parents[2] / ".pre-commit-hooks.yaml").read_text(encoding="utf-8")
    )

    for hook in hooks:
        program, *words = hook["entry"].split()
        assert program == "lora"
        assert run_lora(words, folder).exit_code == 0


def _runner(tmp_path: Path, variables: dict[str, str]) -> dict[str, str]:
    """Return the variables of a step, on a machine whose ``gh`` writes down how it was called."""
    import sys

    programs = tmp_path / "bin"
    programs.mkdir()
    _program(programs / "gh", f'echo "$@" > {tmp_path}/gh-called')
    _program(programs / "lora", f'exec {sys.executable} -P -m lora_pipeline "$@"')
    return {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "RUNNER_TEMP": str(tmp_path),
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
        "GITHUB_OUTPUT": str(tmp_path / "output"),
        **variables,
    }


def _program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


def _run(step: dict[str, Any], folder: Path, variables: dict[str, str]) -> int:
    assert step["shell"] == "bash"
    # As a runner calls it.
    command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", step["run"]]
    return subprocess.run(command, cwd=folder, env=variables, check=False, timeout=120).returncode
