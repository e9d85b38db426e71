"""Programs are run without a shell, with a bare environment, and never outlive us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import ProgramNotFoundError, ProgramTimedOutError
from lora_pipeline.foundation.process import (
    Conversation,
    Supervised,
    child_environment,
    own_environment,
    own_program,
    run,
)

PYTHON = sys.executable
SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN);" + SLEEPER
# Starts a deaf child of its own, names it, and waits.
PARENT = (
    "import subprocess, sys, time\n"
    f"child = subprocess.Popen([sys.executable, '-c', {DEAF!r}], stdout=subprocess.PIPE)\n"
    "child.stdout.readline()\n"
    "print(child.pid, flush=True)\n"
)


def python(code: str) -> list[str]:
    return [PYTHON, "-c", code]


def supervised(code: str, folder: Path) -> Supervised:
    return Supervised(python(code), cwd=folder, environment=child_environment())


def is_gone(pid: int, within_s: float = 10.0) -> bool:
    """Whether the process ends within the time; a zombie counts as ended."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


# --- run ---------------------------------------------------------------------------------------


def test_a_program_is_run_with_its_arguments_as_they_are(tmp_path: Path) -> None:
    hostile = ["$(touch pwned)", "; touch pwned", "a\nb", "*", "%PATH%", "--help", ""]

    done = run(python("import sys; print(ascii(sys.argv[1:]))") + hostile, cwd=tmp_path)

    assert done.stdout.strip() == ascii(hostile)
    assert list(tmp_path.iterdir()) == []


def test_output_is_kept_byte_for_byte(tmp_path: Path) -> None:
    done = run(python(r"import sys; sys.stdout.buffer.write(b'\xff\x00a\r\n')"), cwd=tmp_path)

    assert done.output == b"\xff\x00a\r\n"
    assert done.stdout == "�\x00a\r\n"


def test_standard_input_is_given_and_then_at_its_end(tmp_path: Path) -> None:
    done = run(python("import sys; print(sys.stdin.read().upper())"), cwd=tmp_path, stdin=b"abc")

    assert done.stdout == "ABC\n"


def test_the_status_of_a_program_is_its_own_or_the_signal(tmp_path: Path) -> None:
    assert run(python("raise SystemExit(7)"), cwd=tmp_path).status == 7
    assert run(python("import os; os.abort()"), cwd=tmp_path).status == -signal.SIGABRT


@pytest.mark.parametrize("program", ["no-such-program", "/no/such/program", "./missing"])
def test_a_missing_program_is_named(program: str, tmp_path: Path) -> None:
    with pytest.raises(ProgramNotFoundError, match=program):
        run([program], cwd=tmp_path)


def test_a_file_that_is_no_program_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"\x00\x01 no program")
    (tmp_path / "text").chmod(0o755)

    with pytest.raises(ProgramNotFoundError, match="text"):
        run([str(tmp_path / "text")], cwd=tmp_path)


def test_a_missing_folder_is_named_instead_of_the_program(tmp_path: Path) -> None:
    with pytest.raises(ProgramNotFoundError, match="gone: no such folder"):
        run(python("pass"), cwd=tmp_path / "gone")


def test_a_program_that_takes_too_long_is_stopped_with_all_it_started(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = PARENT.replace("print(child.pid", f"open({str(pid_file)!r}, 'w').write(str(child.pid)")
    code = code.replace(", flush=True)", ")") + "time.sleep(600)"

    with pytest.raises(ProgramTimedOutError, match="did not end within 3 s"):
        run(python(code), cwd=tmp_path, timeout_s=3.0)

    assert is_gone(int(pid_file.read_text()))


# --- environment -------------------------------------------------------------------------------


def test_tokens_are_not_inherited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "GITHUB_TOKEN", "GIT_DIR", "PYTHONPATH"):
        monkeypatch.setenv(name, "leaked")

    done = run(python("import os; print(dict(os.environ))"), cwd=tmp_path)

    assert "leaked" not in done.stdout


def test_a_variable_that_is_named_is_passed(tmp_path: Path) -> None:
    environment = child_environment({"HF_TOKEN": "given"})

    done = run(
        python("import os; print(os.environ['HF_TOKEN'])"), cwd=tmp_path, environment=environment
    )

    assert done.stdout == "given\n"


def test_children_speak_utf8(tmp_path: Path) -> None:
    done = run(python("print('猫', flush=True)"), cwd=tmp_path)

    assert done.output == "猫\n".encode()


def test_a_module_of_ours_runs_in_any_folder_and_takes_no_code_from_it(tmp_path: Path) -> None:
    (tmp_path / "lora_pipeline.py").write_text("raise SystemExit('code from a workspace')")
    (tmp_path / "click.py").write_text("raise SystemExit('code from a workspace')")

    done = run(
        own_program("lora_pipeline", "--version"), cwd=tmp_path, environment=own_environment()
    )

    assert done.status == 0, done.stderr
    assert "lora" in done.stdout


# --- Supervised --------------------------------------------------------------------------------


def test_lines_are_split_at_carriage_returns_and_freed_of_colour(tmp_path: Path) -> None:
    code = (
        r"import sys; sys.stdout.write('step 1\rstep 2\r\n\x1b[31mred\x1b[0m\n\n"
        r"\x1b]8;;http://x\x07link\x1b]8;;\x07\nno end')"
    )

    with supervised(code, tmp_path) as program:
        lines = [line.text for line in program.lines()]

    assert lines == ["step 1", "step 2", "red", "link", "no end"]


def test_lines_name_their_stream(tmp_path: Path) -> None:
    with supervised("import sys; print('o'); print('e', file=sys.stderr)", tmp_path) as program:
        lines = {(line.stream, line.text) for line in program.lines()}

    assert lines == {("stdout", "o"), ("stderr", "e")}


def test_lines_of_both_streams_come_in_the_order_in_which_they_were_printed(
    tmp_path: Path,
) -> None:
    # As a trainer fails: progress on one stream, then the reason on the other.
    code = "import sys\nprint('step 5/5')\nprint('out of memory', file=sys.stderr)\n"

    for _ in range(5):
        with supervised(code, tmp_path) as program:
            assert [line.text for line in program.lines()] == ["step 5/5", "out of memory"]


def test_bytes_that_are_no_text_do_not_end_the_reading(tmp_path: Path) -> None:
    with supervised(
        r"import sys; sys.stdout.buffer.write(b'\xff\xfe\nafter\n')", tmp_path
    ) as program:
        lines = [line.text for line in program.lines()]

    assert lines == ["��", "after"]


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path) -> None:
    with supervised("import sys; sys.stdout.write('x' * 3_000_000)", tmp_path) as program:
        lines = [line.text for line in program.lines()]

    assert len(lines) == 1
    assert len(lines[0]) <= 2 * 65536


@pytest.mark.parametrize("status", [0, 1, 77])
def test_the_status_passes_through_the_guard(status: int, tmp_path: Path) -> None:
    with supervised(f"raise SystemExit({status})", tmp_path) as program:
        assert list(program.lines()) == []
        assert program.wait() == status


def test_a_signal_that_ends_the_program_passes_through_the_guard(tmp_path: Path) -> None:
    code = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"

    with supervised(code, tmp_path) as program:
        assert program.wait() == -signal.SIGKILL


def test_a_program_gets_no_answer_when_it_asks_on_standard_input(tmp_path: Path) -> None:
    with supervised("print(repr(input('really? ')))", tmp_path) as program:
        lines = [line.text for line in program.lines()]

    assert any("EOFError" in line for line in lines)


@pytest.mark.parametrize("program", ["no-such-program", "/no/such/program", "./missing"])
def test_a_missing_program_is_refused_before_a_guard_starts(program: str, tmp_path: Path) -> None:
    with pytest.raises(ProgramNotFoundError, match=program):
        Supervised([program], cwd=tmp_path, environment=child_environment())


def test_a_program_beside_the_folder_is_found(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text(f"#!{PYTHON}\nprint('here')\n")
    (tmp_path / "tool").chmod(0o755)

    with Supervised(["./tool"], cwd=tmp_path, environment=child_environment()) as program:
        assert [line.text for line in program.lines()] == ["here"]


def test_a_silent_program_times_out_and_is_stopped(tmp_path: Path) -> None:
    with supervised(SLEEPER, tmp_path) as program:
        lines = program.lines(idle_timeout_s=0.2)
        assert next(lines).text == "up"
        with pytest.raises(ProgramTimedOutError, match=r"printed nothing for 0\.2 s"):
            next(lines)

    assert is_gone(program.pid)


def test_leaving_the_block_stops_the_child_of_the_child(tmp_path: Path) -> None:
    with supervised(PARENT + "time.sleep(600)", tmp_path) as program:
        grandchild = int(next(program.lines()).text)
        program.stop(grace_s=0.2)

    assert is_gone(grandchild)
    assert program.wait() == -signal.SIGTERM


def test_a_program_that_does_not_listen_is_stopped_for_certain(tmp_path: Path) -> None:
    with supervised(DEAF, tmp_path) as program:
        assert next(program.lines()).text == "up"
        program.stop(grace_s=0.2)

    assert program.wait() == -signal.SIGKILL


def test_what_a_program_left_running_in_silence_is_stopped_when_it_ends(tmp_path: Path) -> None:
    code = PARENT.replace("stdout=subprocess.PIPE", "stdout=subprocess.PIPE, stderr=-3")

    with supervised(code, tmp_path) as program:
        grandchild = int(next(program.lines()).text)
        assert program.wait() == 0

    assert is_gone(grandchild)


def test_what_a_program_left_running_is_stopped_when_it_ends(tmp_path: Path) -> None:
    # Such a child holds the output open: reading it would never end.
    code = PARENT.replace("stdout=subprocess.PIPE", "stdout=None").replace(
        "child.stdout.readline()\n", ""
    )

    with supervised(code, tmp_path) as program:
        lines = [line.text for line in program.lines()]

    grandchild = next(int(line) for line in lines if line.isdigit())
    assert is_gone(grandchild)


def test_the_guard_stops_the_group_when_we_are_killed(tmp_path: Path) -> None:
    # A process in our place starts the program, names the grandchild, and is killed.
    us = (
        "from pathlib import Path\n"
        "from lora_pipeline.foundation.process import Supervised, child_environment\n"
        f"program = Supervised([{PYTHON!r}, '-c', {PARENT + 'time.sleep(600)'!r}],"
        f" cwd=Path({str(tmp_path)!r}), environment=child_environment())\n"
        "print(program.pid, next(program.lines()).text, flush=True)\n"
        "program.wait()\n"
    )
    process = subprocess.Popen(
        [PYTHON, "-c", us], stdout=subprocess.PIPE, env=own_environment(), cwd=tmp_path
    )
    assert process.stdout is not None
    with process.stdout:
        guard, grandchild = map(int, process.stdout.readline().split())
        os.kill(process.pid, signal.SIGKILL)
        process.wait()

    assert is_gone(grandchild)
    assert is_gone(guard)


# --- Conversation ------------------------------------------------------------------------------

ECHO = "import sys\nfor line in sys.stdin: print(line.strip()[::-1], flush=True)"


def talk(code: str, log: Path | None = None) -> Conversation:
    return Conversation(python(code), environment=child_environment(), log=log)


def test_each_line_gets_its_reply() -> None:
    child = talk(ECHO)

    assert child.ask(b"abc", timeout_s=30) == b"cba\n"
    assert child.ask(b"123", timeout_s=30) == b"321\n"
    child.stop()
    assert child.status() == -signal.SIGKILL


def test_a_child_that_does_not_answer_is_stopped() -> None:
    child = talk("import time; time.sleep(600)")

    with pytest.raises(ProgramTimedOutError, match=r"gave no answer within 0\.2 s"):
        child.ask(b"hello", timeout_s=0.2)

    assert child.status() == -signal.SIGKILL


def test_a_child_that_does_not_read_a_long_line_is_stopped() -> None:
    child = talk("import time; time.sleep(600)")

    with pytest.raises(ProgramTimedOutError):
        child.ask(b"x" * 1_000_000, timeout_s=0.2)

    assert child.status() == -signal.SIGKILL


def test_a_child_that_ended_gives_no_reply_however_often_it_is_asked(tmp_path: Path) -> None:
    log = tmp_path / "log"
    child = talk("raise SystemExit('model not found')", log)

    assert child.ask(b"hello", timeout_s=30) is None
    assert child.ask(b"hello", timeout_s=30) is None
    child.stop()
    assert child.status() == 1
    assert log.read_text() == "model not found\n"


def test_stopping_a_conversation_stops_the_child_of_the_child() -> None:
    child = talk(PARENT + "sys.stdin.read()")
    reply = child.next_reply(timeout_s=30)
    assert reply is not None

    child.stop()

    assert is_gone(int(reply))
