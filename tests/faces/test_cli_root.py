"""The program as a whole: fast to start, honest in its codes, one JSON document, good guesses."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.workspace_builders import (
    REPOSITORY,
    Answer,
    invoke,
    make_workspace,
    run_lora,
)

SHAPE = {
    "success", "data", "error", "reasoning", "warnings", "suggestions", "written", "dryRun",
}  # fmt: skip
HEAVY = {
    "torch", "numpy", "PIL", "jsonschema", "jsonschema_rs", "rich", "yaml", "msgspec", "filelock",
    "safetensors", "rfc8785", "diffusers", "transformers", "referencing",
}  # fmt: skip
MODULES = (
    "import sys\n"
    "from lora_pipeline.cli.boundary import run_guarded\n"
    "from lora_pipeline.cli.main import root\n"
    "from lora_pipeline.cli.session import Session\n"
    "status = run_guarded(root, Session(), sys.argv[1:])\n"
    "print('MODULES', *sorted({name.partition('.')[0] for name in sys.modules}))\n"
    "print('OURS', *sorted(name for name in sys.modules if name.startswith('lora_pipeline.')))\n"
    "sys.exit(status)\n"
)


def modules_after(*arguments: str) -> tuple[set[str], set[str]]:
    """Which packages, and which modules of ours, a call has loaded."""
    done = subprocess.run(
        [sys.executable, "-c", MODULES, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
        encoding="utf-8",
    )
    lines = {line.split()[0]: set(line.split()[1:]) for line in done.stdout.splitlines()[-2:]}
    return lines["MODULES"], lines["OURS"]


# --- start-up ----------------------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_the_help_loads_nothing_heavy(arguments: list[str]) -> None:
    packages, ours = modules_after(*arguments)

    assert packages & HEAVY == set()
    assert not [name for name in ours if name.startswith("lora_pipeline.operations")]
    below = {name for name in ours if name.startswith("lora_pipeline.workspace")}
    lean = ("", ".answers", ".file_statuses", ".file_times")
    assert below <= {f"lora_pipeline.workspace{name}" for name in lean}
    assert len(ours) <= 14, sorted(ours)


@pytest.mark.parametrize(
    "arguments",
    [["status", "--help"], ["train", "--help"], ["dataset", "build", "--help"],
     ["eval", "grid", "--help"], ["promote", "--help"], ["asset", "import", "--help"]],
)  # fmt: skip
def test_the_help_of_a_command_loads_no_heavy_package(arguments: list[str]) -> None:
    packages, ours = modules_after(*arguments)

    assert packages & {"torch", "numpy", "PIL", "jsonschema", "rich", "diffusers"} == set()
    assert not [name for name in ours if name.startswith("lora_pipeline.operations")]


def test_an_empty_status_loads_no_torch_and_no_pillow(tmp_path: Path) -> None:
    make_workspace(tmp_path, git=False)

    packages, _ = modules_after("--workspace", str(tmp_path), "status")

    assert packages & {"torch", "numpy", "PIL", "jsonschema", "diffusers"} == set()


# --- exit codes and one document ---------------------------------------------------------------


def check_document(answer: Answer) -> None:
    assert set(answer.document) == SHAPE
    assert answer.document["success"] is (answer.exit_code == 0)


def test_success_failure_and_usage_are_one_json_document_each(tmp_path: Path) -> None:
    make_workspace(tmp_path, project="neon_city")
    cases = [
        (["status", "--json"], 0, None),
        (["show", "nothing", "--json"], 3, "record_not_found"),
        (["stauts", "--json"], 2, "usage"),
        (["status", "--nope", "--json"], 2, "usage"),
        (["--json"], 2, "usage"),
        (["dataset", "--json"], 2, "usage"),
        (["dataset", "biuld", "--json"], 2, "usage"),
        (["train", "--steps", "--json"], 2, "usage"),
        (["status", "--project", "other", "--json"], 3, "record_not_found"),
    ]
    for arguments, code, word in cases:
        answer = run_lora(arguments, tmp_path)

        assert answer.exit_code == code, arguments
        check_document(answer)
        if word:
            assert answer.error["code"] == word, arguments
            assert answer.stderr
        else:
            assert answer.document["error"] is None


def test_logs_and_words_go_to_stderr_and_data_to_stdout(tmp_path: Path) -> None:
    make_workspace(tmp_path, git=False)

    done = run_lora(["status"], tmp_path)
    failed = run_lora(["show", "nothing"], tmp_path)

    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout
    assert (failed.exit_code, failed.stdout) == (3, "")
    assert failed.stderr.startswith("error  ")


def test_quiet_prints_errors_only(tmp_path: Path) -> None:
    make_workspace(tmp_path, git=False)

    assert run_lora(["status", "--quiet"], tmp_path) == Answer(0, "", "")
    assert run_lora(["-q", "status", "--project", "x"], tmp_path).stderr.startswith("error  ")


def test_outside_of_a_workspace_the_next_command_is_init(tmp_path: Path) -> None:
    answer = run_lora(["status"], tmp_path)

    assert answer.exit_code == 3
    assert answer.stderr.splitlines() == [
        f"error  no workspace at {tmp_path} or above it  [workspace_not_found]",
        "next   lora init",
    ]


def test_a_workspace_is_found_from_below_and_by_its_path(tmp_path: Path) -> None:
    make_workspace(tmp_path / "studio", project="neon_city")
    below = tmp_path / "studio" / "data" / "projects" / "neon_city"

    expected = run_lora(["status"], tmp_path / "studio")
    assert expected.exit_code == 0
    assert run_lora(["status"], below) == expected
    assert run_lora(["--workspace", "studio", "status"], tmp_path) == expected
    assert run_lora(["status", "--workspace", str(below)], tmp_path) == expected


INTERRUPTED_WHILE_READING = (
    "import os, signal, sys, time\n"
    "from lora_pipeline.cli.main import main\n"
    "class Input:\n"
    "    buffer = property(lambda self: self)\n"
    "    def read(self):\n"
    "        os.kill(os.getpid(), signal.SIGINT)\n"
    "        time.sleep(60)\n"
    "sys.stdin = Input()\n"
    "main()\n"
)


def test_an_interruption_ends_with_130_and_a_document(tmp_path: Path) -> None:
    make_workspace(tmp_path, git=False)

    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED_WHILE_READING, "call", "workspace.status", "-"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        check=False,
        encoding="utf-8",
    )

    answer = Answer(done.returncode, done.stdout, done.stderr)
    assert answer.exit_code == 130
    check_document(answer)
    assert answer.error["code"] == "interrupted"
    assert answer.stderr.strip().splitlines()[0] == "interrupted"
    assert "lora validate" in answer.stderr


# --- guesses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "guess"),
    [
        (["datset"], "Did you mean dataset?"),
        (["stauts"], "Did you mean status?"),
        (["dataset", "biuld"], "build"),
        (["asset", "aprove"], "approve"),
        (["status", "--projct", "x"], "--project"),
    ],
)
def test_a_typing_error_is_answered_with_what_was_meant(
    arguments: list[str], guess: str, tmp_path: Path
) -> None:
    answer = invoke(arguments, tmp_path)

    assert answer.exit_code == 2
    assert answer.stdout == ""
    assert guess in answer.stderr


def test_a_word_that_is_like_none_is_not_guessed(tmp_path: Path) -> None:
    answer = invoke(["xyzzy"], tmp_path)

    assert answer.exit_code == 2
    assert "Did you mean" not in answer.stderr
    assert "'lora --help'" in answer.stderr


# --- options before and after ------------------------------------------------------------------


@pytest.mark.parametrize("options", [["--json"], ["--project", "a"], ["--quiet"], ["--json", "-v"]])
def test_an_option_means_the_same_before_and_after_the_command(
    options: list[str], tmp_path: Path
) -> None:
    make_workspace(tmp_path, project="a")

    before = invoke([*options, "status"], tmp_path)
    after = invoke(["status", *options], tmp_path)

    assert before == after
    assert before.exit_code == 0


def test_the_later_of_two_values_wins(tmp_path: Path) -> None:
    make_workspace(tmp_path, project="a")

    assert invoke(["--project", "other", "status", "--project", "a"], tmp_path).exit_code == 0


def test_hostile_arguments_are_escaped_where_they_are_shown(tmp_path: Path) -> None:
    make_workspace(tmp_path, project="a")

    for arguments in (["show", "\x1b[2J\x1b]0;x\x07"], ["status", "--project", "\x1b[31mx"]):
        answer = run_lora(arguments, tmp_path)

        assert answer.exit_code == 3
        assert "\x1b" not in answer.stderr
        assert "\\x1b[" in answer.stderr


def test_the_version_is_told(tmp_path: Path) -> None:
    answer = invoke(["--version"], tmp_path)

    assert answer.exit_code == 0
    assert answer.stdout.startswith("lora, version ")


def test_the_overview_follows_the_work(tmp_path: Path) -> None:
    text = invoke(["--help"], tmp_path).stdout
    order = ["Workspace:", "Catalog:", "Dataset:", "Training:", "LoRA:", "Evaluation:"]

    assert [text.index(word) for word in order] == sorted(text.index(word) for word in order)
    assert "assets -> dataset manifest -> training run -> release -> evaluation" in text
