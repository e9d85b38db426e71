"""The log of a run stays in bounds and holds no secret."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lora_pipeline.foundation.events import Event
from lora_pipeline.foundation.process import OutputLine
from lora_pipeline.training.runs import log as run_log
from lora_pipeline.training.runs.log import RunLog

SECRET = "correct-horse-battery"


def line(text: str) -> OutputLine:
    return OutputLine("stdout", text)


def test_lines_are_kept_in_order(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        for word in ("one", "two", "three"):
            log.add_line(line(word))

    assert (tmp_path / "log.txt").read_text() == "one\ntwo\nthree\n"


def test_secrets_are_hidden_in_the_log_and_in_what_is_passed_on(tmp_path: Path) -> None:
    with RunLog(tmp_path, [SECRET]) as log:
        passed_on = log.add_line(line(f"token {SECRET} and hf_abcdefghijkl"))

    assert SECRET not in passed_on.text
    assert "[hidden] and [hidden]" in (tmp_path / "log.txt").read_text()
    assert SECRET not in log.last_lines[-1].text


def test_the_middle_of_a_flood_is_left_out_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "HEAD_BYTES", 50)
    monkeypatch.setattr(run_log, "TAIL_LINES", 3)

    with RunLog(tmp_path) as log:
        for number in range(100):
            log.add_line(line(f"line {number:03}"))

    lines = (tmp_path / "log.txt").read_text().splitlines()
    assert lines[:2] == ["line 000", "line 001"]
    assert lines[-4:] == ["… 91 lines left out …", "line 097", "line 098", "line 099"]


def test_a_long_line_is_cut(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.add_line(line("x" * 100_000))

    assert (tmp_path / "log.txt").stat().st_size < 5000


def test_the_log_can_be_read_while_the_run_goes_on(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        log.add_line(line("now"))

        assert (tmp_path / "log.txt").read_text() == "now\n"


def test_of_progress_the_first_and_the_last_are_kept(tmp_path: Path) -> None:
    with RunLog(tmp_path) as log:
        for step in range(1, 1001):
            log.add_event(Event("progress", "train", step=step, total=1000))
        log.add_event(Event("finished", "train", "done"))

    events = [json.loads(one) for one in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert events[0]["step"] == 1
    assert events[-2]["step"] == 1000
    assert events[-1]["type"] == "finished"
    assert len(events) < 100


def test_after_a_kill_the_last_lines_are_there_and_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "HEAD_BYTES", 50)
    monkeypatch.setattr(run_log, "TAIL_BYTES", 100)
    log = RunLog(tmp_path)
    for number in range(100):
        log.add_line(line(f"line {number:03}"))

    lines = run_log.read_log(tmp_path)  # nobody closed it

    assert lines[:2] == ["line 000", "line 001"]
    assert lines[-1] == "line 099"
    assert sum(path.stat().st_size for path in tmp_path.glob("log*")) < 400
    log.__exit__()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["events.jsonl", "log.txt"]


def test_another_try_goes_on_in_the_same_files_within_the_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_log, "HEAD_BYTES", 50)
    killed = RunLog(tmp_path)
    for number in range(9):
        killed.add_line(line(f"first {number}"))
    killed.add_event(Event("started", "train", "first"))
    (tmp_path / "events.jsonl").write_text((tmp_path / "events.jsonl").read_text() + '{"cut off')

    with RunLog(tmp_path) as log:
        log.add_line(line("second"))
        log.add_event(Event("started", "train", "second"))

    lines = run_log.read_log(tmp_path)
    assert "first 8" in lines
    assert lines[-2:] == ["… another try …", "second"]
    last = json.loads((tmp_path / "events.jsonl").read_text().splitlines()[-1])
    assert (last["seq"], last["message"], last["run"], last["v"]) == (3, "second", tmp_path.name, 1)
    killed.__exit__()


def test_how_far_a_run_has_come_is_read_from_its_events(tmp_path: Path) -> None:
    assert run_log.last_progress(tmp_path) is None
    with RunLog(tmp_path) as log:
        log.add_event(Event("started", "train"))
        log.add_event(Event("progress", "train", step=10, total=10, data={"loss": 0.5}))

        live = run_log.last_progress(tmp_path)
        log.add_event(Event("started", "train"))

    assert live is not None
    assert (live.step, live.loss) == (10, 0.5)
    assert run_log.last_progress(tmp_path) is None  # of the try that has just begun


def test_no_event_holds_a_secret(tmp_path: Path) -> None:
    with RunLog(tmp_path, [SECRET]) as log:
        log.add_event(Event("warning", "train", f"{SECRET} and hf_abcdefghijkl"))

    (event,) = (json.loads(one) for one in (tmp_path / "events.jsonl").read_text().splitlines())
    assert event["message"] == "[hidden] and [hidden]"
