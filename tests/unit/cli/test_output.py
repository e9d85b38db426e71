"""What people read: short, aligned, and unable to steer their terminal."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from lora_pipeline.cli.output import (
    Report,
    Table,
    counted,
    plain,
    print_report,
    size_text,
)
from lora_pipeline.foundation.result import Result
from tests.support.terminals import in_terminal
from tests.support.workspace_builders import make_workspace


def printed(
    capsys: pytest.CaptureFixture[str], report: Report, result: Result | None = None
) -> list[str]:
    print_report(report, result or Result())
    return capsys.readouterr().out.splitlines()


# --- words -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("\x1b]8;;http://x\x07link\x1b]8;;\x07", "\\x1b]8;;http://x\\x07link\\x1b]8;;\\x07"),
        ("a\rb", "a\\rb"),
        ("a\tb", "a\\tb"),
        ("a\x00b\x7f", "a\\x00b\\x7f"),
        ("\u202eexe.gnp", "\\u202eexe.gnp"),
        ("a\u200bb", "a\\u200bb"),
        ("\udce9", "\\udce9"),
        ("two\nlines", "two\nlines"),
        ("猫 é 😀 · …", "猫 é 😀 · …"),
    ],
)
def test_what_could_steer_a_terminal_is_escaped(text: str, shown: str) -> None:
    assert plain(text) == shown


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (5 * 1024**2, "5.0 MiB"),
     (3 * 1024**3, "3.0 GiB"), (2048 * 1024**3, "2048.0 GiB")],
)  # fmt: skip
def test_sizes_are_read_by_people(size: int, text: str) -> None:
    assert size_text(size) == text


def test_a_number_has_its_noun() -> None:
    assert counted(1, "image") == "1 image"
    assert counted(0, "image") == "0 images"
    assert counted(2, "entry", "entries") == "2 entries"


# --- reports -----------------------------------------------------------------------------------


def test_a_report_is_the_answer_then_labelled_rows_then_what_is_next(
    capsys: pytest.CaptureFixture[str],
) -> None:
    report = Report("ui_icon · 48 images", rows=[("since", "+6"), ("content", "one\ntwo")])
    result = Result(
        written=["a.json"], warnings=["few"], suggestions=["lora status", "lora validate"]
    )

    assert printed(capsys, report, result) == [
        "ui_icon · 48 images",
        "  since      +6",
        "  content    one",
        "             two",
        "  wrote      a.json",
        "  warning    few",
        "next  lora status  ·  lora validate",
    ]


def test_a_dry_run_says_what_would_be_written_and_many_files_are_counted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    result = Result(written=[f"{number}.json" for number in range(9)], dry_run=True)

    lines = printed(capsys, Report("x"), result)

    assert lines[1].split() == ["would", "write", "0.json"]
    assert lines[-1].strip() == "… and 6 more files"
    assert len(lines) == 5


def test_hostile_text_is_escaped_wherever_it_stands(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b[2J"
    report = Report(
        evil, rows=[("label", evil)], tables=[Table(["column"], [[evil]])], lines=[evil]
    )
    result = Result(written=[evil], warnings=[evil], suggestions=[evil])

    print_report(report, result)

    output = capsys.readouterr().out
    assert "\x1b" not in output
    assert output.count("\\x1b[2J") == 7


def test_markup_in_a_table_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, Report("x", tables=[Table(["tag"], [["[bold]x[/bold]"], ["[/]"]])]))

    assert "[bold]x[/bold]" in lines[-2]
    assert "[/]" in lines[-1]


def test_without_a_terminal_a_table_is_wide_enough_to_search(
    capsys: pytest.CaptureFixture[str],
) -> None:
    row = ["x" * 60, "y" * 60]

    lines = printed(capsys, Report("x", tables=[Table(["a", "b"], [row])]))

    assert " ".join(row) in " ".join(lines[-1].split())


@pytest.mark.parametrize("columns", ["", "0", "-5", "many", "20"])
def test_any_width_that_is_said_is_survived(
    columns: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)

    lines = printed(capsys, Report("x", tables=[Table(["a", "b"], [["x" * 30, "y" * 30]])]))

    # An id that is cut could not be pasted: it goes on in the next line instead.
    text = "".join(lines)
    assert (text.count("x"), text.count("y")) == (31, 30)
    assert "…" not in text


# --- terminals ---------------------------------------------------------------------------------


def in_columns(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("NO_COLOR", "1")


def test_long_lines_go_on_below_themselves(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_columns(40, monkeypatch)
    rows = [
        ("ok", "disk       56 GiB free at the place of the store"),
        ("file", "data/projects/neon_city/datasets/ui_icon_flat.json"),
        ("", "lora dataset build icons --held-out 0.1 --explain"),
    ]

    assert printed(capsys, Report("x", rows=rows), Result(warnings=["one two " * 5]))[1:] == [
        "  ok         disk       56 GiB free at the",
        "                        place of the store",
        "  file       data/projects/neon_city/datasets/ui_icon_flat.json",
        "             lora dataset build icons --held-out 0.1 --explain",
        "  warning    one two one two one two one",
        "             two one two",
    ]


def test_next_commands_that_do_not_fit_have_a_line_each(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_columns(40, monkeypatch)
    commands = ["lora dataset check icons", "lora train --lora x --dataset icons"]

    assert printed(capsys, Report("x"), Result(suggestions=commands))[1:] == [
        "next  lora dataset check icons",
        "      lora train --lora x --dataset icons",
    ]


def test_an_id_is_not_parted_while_words_beside_it_can_be(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_columns(50, monkeypatch)
    rows = [("i" * 20, "a title of several words", "", "review")]

    lines = printed(capsys, Report("x", tables=[Table(("id", "title", "rating", "is"), rows)]))

    assert "i" * 20 in lines[3]
    assert "rating" not in lines[1], "nobody rated"
    assert all(len(line) <= 50 for line in lines)


def test_tables_stand_apart(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(["a"], [["b"]])

    lines = printed(capsys, Report("x", tables=[table, table]))

    assert [line.strip() for line in lines] == ["x", "a", "─", "b", "", "a", "─", "b"]


def test_a_terminal_gets_colour_when_it_wants_it(tmp_path: Path) -> None:
    status, output = in_terminal(["status"], tmp_path)

    assert status == 3
    assert "\x1b[31m" in output


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_terminal_that_wants_no_colour_gets_none(
    environment: dict[str, str], tmp_path: Path
) -> None:
    make_workspace(tmp_path, project="neon_city")

    for arguments in (["status"], ["config", "explain"], ["nothing"], ["doctor"], ["show", "x"]):
        _, output = in_terminal(arguments, tmp_path, environment=environment)

        assert "\x1b" not in output
        assert output.strip()


@pytest.mark.parametrize("arguments", [["--help"], ["status"], ["config", "explain"], ["doctor"]])
def test_a_terminal_of_twenty_columns_is_survived(arguments: list[str], tmp_path: Path) -> None:
    make_workspace(tmp_path, project="neon_city")

    status, output = in_terminal(arguments, tmp_path, columns=20)

    assert status == 0, output
