"""The boundary: every way to end has its exit code and its words, and no exception leaves."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from lora_pipeline.cli.boundary import run_guarded
from lora_pipeline.cli.options import shared_options
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.errors import (
    OperationCancelledError,
    RecordInvalidError,
    SettingsError,
    Violation,
)
from lora_pipeline.foundation.result import Refusal, Result
from tests.support.workspace_builders import REPOSITORY, Answer, invoke, run_lora

SHAPE = {
    "success", "data", "error", "reasoning", "warnings", "suggestions", "written", "dryRun",
}  # fmt: skip


def failing(error: BaseException) -> click.Command:
    @click.command()
    @shared_options
    def command() -> None:
        raise error

    return command


def answer(capsys: pytest.CaptureFixture[str], command: click.Command, *arguments: str) -> Answer:
    code = run_guarded(command, Session(), arguments)
    output = capsys.readouterr()
    return Answer(code, output.out, output.err)


# --- exit codes --------------------------------------------------------------------------------

ENDS: list[tuple[BaseException, int, str]] = [
    (SettingsError("no such setting", hint="lora config explain"), 3, "settings_invalid"),
    (OperationCancelledError("cancelled"), 130, "cancelled"),
    (KeyboardInterrupt(), 130, "interrupted"),
    (click.Abort(), 130, "interrupted"),
    (EOFError(), 130, "interrupted"),
    (click.UsageError("bad option"), 2, "usage"),
    (click.BadParameter("bad value"), 2, "usage"),
    (OSError(errno.ENOSPC, "No space left on device", "x.json"), 3, "storage_failed"),
    (PermissionError(errno.EACCES, "Permission denied", "x.json"), 3, "storage_failed"),
    (ZeroDivisionError("division by zero"), 70, "bug"),
    (FileNotFoundError(errno.ENOENT, "No such file", "x"), 70, "bug"),
    (RecursionError("too deep"), 70, "bug"),
    (SystemExit(1), 70, "bug"),
    (BrokenPipeError(errno.EPIPE, "Broken pipe"), 70, "bug"),
]


@pytest.mark.parametrize(("error", "code", "word"), ENDS, ids=lambda one: type(one).__name__)
def test_every_end_has_its_code_and_one_json_document(
    error: BaseException, code: int, word: str, capsys: pytest.CaptureFixture[str],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    found = answer(capsys, failing(error), "--json")

    assert found.exit_code == code
    assert set(found.document) == SHAPE
    assert found.document["success"] is False
    assert found.error["code"] == word
    assert found.stderr.strip()


@pytest.mark.parametrize(("error", "code", "_word"), ENDS, ids=lambda one: type(one).__name__)
def test_without_json_the_words_are_on_stderr_alone(
    error: BaseException, code: int, _word: str, capsys: pytest.CaptureFixture[str],
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    found = answer(capsys, failing(error))

    assert found.exit_code == code
    assert found.stdout == ""
    assert found.stderr.strip()
    assert "Traceback" not in found.stderr


def test_success_and_refusal_are_answers(capsys: pytest.CaptureFixture[str]) -> None:
    def giving(result: Result) -> click.Command:
        @click.command()
        @shared_options
        @click.pass_obj
        def command(session: Session) -> None:
            session.show(result, lambda _: pytest.fail("no text with --json"))

        return command

    done = answer(capsys, giving(Result(data={"a": 1})), "--json")
    refused = answer(
        capsys, giving(Result(refusal=Refusal("gate_refused", "no", "lora eval review"))), "--json"
    )

    assert (done.exit_code, refused.exit_code) == (0, 1)
    assert set(done.document) == set(refused.document) == SHAPE
    assert refused.error == {"code": "gate_refused", "message": "no", "hint": "lora eval review"}


def test_a_refusal_is_heard_also_when_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    @click.command()
    @shared_options
    @click.pass_obj
    def command(session: Session) -> None:
        result = Result(refusal=Refusal("x", "stays a candidate"))
        session.show(result, lambda _: pytest.fail("nothing is printed when quiet"))

    found = answer(capsys, command, "--quiet")

    assert (found.exit_code, found.stdout, found.stderr) == (1, "", "stays a candidate\n")


def test_a_status_that_a_command_asks_for_is_the_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @click.command()
    @click.pass_context
    def command(context: click.Context) -> None:
        context.exit(5)

    assert answer(capsys, command).exit_code == 5


# --- words -------------------------------------------------------------------------------------


def test_a_failure_says_the_rule_where_it_came_from_every_place_and_what_to_do(
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = [Violation(f"$.a[{number}]", "is wrong") for number in range(12)]
    error = RecordInvalidError(
        "x.json: $.a[0]: is wrong", source="--rank", hint="lora validate", violations=places
    )

    lines = answer(capsys, failing(error)).stderr.splitlines()

    assert lines[0] == "error  x.json: $.a[0]: is wrong  [record_invalid]"
    assert lines[1] == "  from   --rank"
    assert lines[2] == "  also   $.a[1]: is wrong"
    assert lines[-2] == "  also   3 more"
    assert lines[-1] == "next   lora validate"


def test_a_bug_leaves_a_log_with_the_traceback_and_without_secrets(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["lora", "x", "ghp_abcdefghijkl"])

    found = answer(capsys, failing(ValueError("token hf_abcdefghijklmnop is bad")))

    (log,) = tmp_path.iterdir()
    text = log.read_text(encoding="utf-8")
    assert str(log) in found.stderr
    assert "Traceback" in text
    assert "ValueError" in text
    for secret in ("hf_abcdefghijklmnop", "ghp_abcdefghijkl"):
        assert secret not in text + found.stderr + found.stdout


def test_a_bug_on_a_machine_without_room_for_a_log_is_still_told(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "gone"))

    found = answer(capsys, failing(ValueError("odd")), "--json")

    assert found.exit_code == 70
    assert found.error["message"] == "this is a bug in lora: ValueError: odd"
    assert "Traceback" in found.stderr


# --- the real program --------------------------------------------------------------------------


def test_both_ways_to_run_it_print_the_same(tmp_path: Path) -> None:
    assert invoke(["--help"], tmp_path).stdout == run_lora(["--help"], tmp_path).stdout


def test_a_reader_that_goes_away_is_no_failure_and_a_refusal_stays_one(tmp_path: Path) -> None:
    # The reader is gone before the first line is written.
    code = (
        "import sys, os, json\n"
        "from lora_pipeline.cli.boundary import run_guarded\n"
        "from lora_pipeline.cli.session import Session\n"
        "from lora_pipeline.foundation.result import Refusal, Result\n"
        "import click\n"
        "@click.command()\n"
        "@click.pass_obj\n"
        "def command(session):\n"
        "    session.json = True\n"
        "    session.show(Result(data={'a': 'x' * 200000}, refusal=%s), None)\n"
        "sys.exit(run_guarded(command, Session(), []))\n"
    )
    for refusal, expected in (("None", 0), ("Refusal('x', 'no')", 1)):
        process = subprocess.Popen(
            [sys.executable, "-c", code % refusal],
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        with process.stderr:
            errors = process.stderr.read()
        assert process.wait() == expected
        assert errors == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("mode", [[], ["--json"]])
def test_an_output_that_cannot_be_written_is_a_failure_in_words(mode: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "lora_pipeline", "call", "--list", *mode],
            cwd=REPOSITORY,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )

    assert done.returncode == 3
    assert b"No space left on device" in done.stderr


def in_encoding(command: Callable[[], list[str]], encoding: str, cwd: Path) -> Answer:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ["HOME"],
        "PYTHONIOENCODING": encoding,
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": str(REPOSITORY),
    }
    done = subprocess.run(
        [sys.executable, "-m", "lora_pipeline", *command()],
        cwd=cwd,
        env=environment,
        capture_output=True,
        check=False,
    )
    return Answer(done.returncode, done.stdout.decode(encoding), done.stderr.decode(encoding))


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_a_terminal_that_cannot_show_a_character_gets_its_number(
    encoding: str, tmp_path: Path
) -> None:
    found = in_encoding(lambda: ["--workspace", "猫", "status"], encoding, tmp_path)

    assert found.exit_code == 3
    assert "\\u732b" in found.stderr
    found = in_encoding(lambda: ["--workspace", "猫😀", "status", "--json"], encoding, tmp_path)
    assert "猫😀" in json.loads(found.stdout)["error"]["message"]


def test_arguments_that_are_no_utf8_are_shown_and_do_not_break_json(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lora_pipeline", "--workspace", b"caf\xe9", "status", "--json"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        check=False,
    )

    document: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == 3
    assert document["error"]["code"] == "workspace_not_found"
