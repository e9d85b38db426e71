"""Progress: bars in a terminal, lines elsewhere, and no text that steers either."""

from __future__ import annotations

import io
import re
import sys

import pytest

from lora_pipeline.cli.progress import Bars, Lines, terminal_sink
from lora_pipeline.foundation.events import Event, discard


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def as_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Make stderr a terminal; called in the test, because pytest captures each phase anew."""
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    return stream


def words(stream: io.StringIO) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())


def test_the_sink_fits_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    as_terminal(monkeypatch)
    assert terminal_sink(show=False, verbose=True) is discard
    assert isinstance(terminal_sink(show=True, verbose=False), Bars)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert isinstance(terminal_sink(show=True, verbose=False), Lines)


def test_a_bar_shows_how_far_each_topic_is(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = as_terminal(monkeypatch)
    bars = Bars(verbose=False)
    for step in range(5):
        bars(Event("progress", "import", step=step, total=4, message="icon.png"))
        bars(Event("progress", "train", step=step, total=100, message="loss 0.5"))
    bars.close()

    shown = words(terminal)
    for word in ("import", "4/4", "icon.png", "train", "loss 0.5"):
        assert word in shown


def test_a_bar_without_a_total_and_bars_without_events_are_survived(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = as_terminal(monkeypatch)
    bars = Bars(verbose=False)
    bars.close()
    bars(Event("progress", "import"))
    bars.close()

    assert "import" in words(terminal)


@pytest.mark.parametrize("text", ["[bold]x[/bold]", "[/]", "[red", "\x1b[2Jx", "a]b"])
def test_text_in_a_bar_is_text(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = as_terminal(monkeypatch)
    bars = Bars(verbose=True)
    bars(Event("progress", text, step=1, total=2, message=text))
    bars(Event("log", "t", message=text))
    bars(Event("warning", "t", message=text))
    bars.close()

    assert "\x1b[2J" not in terminal.getvalue()
    assert words(terminal).count(text.replace("\x1b", "\\x1b")) >= 3


def test_logs_are_shown_when_they_are_wanted(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = as_terminal(monkeypatch)
    for verbose in (False, True):
        bars = Bars(verbose=verbose)
        bars(Event("log", "train", message=f"line of a trainer {verbose}"))
        bars.close()

    assert "line of a trainer False" not in words(terminal)
    assert "line of a trainer True" in words(terminal)


def test_lines_tell_what_matters_and_not_every_step(
    capsys: pytest.CaptureFixture[str],
) -> None:
    lines = Lines(verbose=False)
    for step in range(1000):
        lines(Event("progress", "import", step=step, total=1000, unit="images"))
    lines(Event("log", "train", message="noise"))
    lines(Event("finished", "train", message="trained"))
    lines(Event("warning", "train", message="\x1b[2J"))

    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines()[-2:] == ["  trained", "  \\x1b[2J"]
    assert "noise" not in shown.err
    assert len(shown.err.splitlines()) < 20


def test_a_line_that_is_due_says_how_far(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lora_pipeline.cli.progress._LINE_EVERY_S", 0.0)
    lines = Lines(verbose=True)
    lines(Event("progress", "grid", step=3, total=60, unit="cells", message="p1 seed 7"))
    lines(Event("log", "grid", message="said the renderer"))

    assert capsys.readouterr().err.splitlines() == [
        "  grid  3/60 cells  p1 seed 7",
        "  said the renderer",
    ]
