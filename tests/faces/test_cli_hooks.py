"""Hooks: whoever wants to know is told once what production uses from now on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.workspace.lock import workspace_lock
from tests.support.fake_web_service import Asked, FakeWebService, running
from tests.support.release_builders import (
    KIM,
    LORA,
    Studio,
    active_studio,
    add_grid,
    add_review,
    copy_of,
)
from tests.support.workspace_builders import Answer, commit_all, invoke, tree_digest

_LISTENER = """\
import json, os, sys
notice = json.loads(sys.stdin.read())
with open(sys.argv[1], "a", encoding="utf-8") as log:
    log.write(json.dumps(notice | {"variable": os.environ["LORA_NOTICE_EVENT"]}) + "\\n")
sys.exit(int(open(sys.argv[1] + ".status").read()))
"""


@dataclass
class Listener(FakeWebService):
    """Takes notices."""

    notices: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, asked: Asked) -> tuple[int, Any]:
        self.notices.append(asked.body)
        return 204, None


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    made = active_studio(tmp_path_factory.mktemp("template") / "studio")
    add_review(made, add_grid(made, "r2", lift=90), KIM)
    return made


@pytest.fixture
def studio(template: Studio, tmp_path: Path) -> Studio:
    """A studio with r1 of icons active and r2 ready to be promoted."""
    return copy_of(template, tmp_path / "studio")


@pytest.fixture
def listener() -> Iterator[Listener]:
    with running(Listener(secret="bearer-of-the-hook")) as service:
        yield service


def settings(studio: Studio, **values: Any) -> None:
    path = studio.root / "config" / "local.json"
    path.write_text(json.dumps({"hooks": values}), encoding="utf-8")


def program(studio: Studio, status: int = 0, **values: Any) -> Path:
    """Set a program that is told; returns where it writes down what it heard."""
    script, log = studio.root.parent / "listener.py", studio.root.parent / "heard.jsonl"
    script.write_text(_LISTENER, encoding="utf-8")
    Path(f"{log}.status").write_text(str(status), encoding="utf-8")
    settings(studio, command=f"{sys.executable} {script} {log}", **values)
    return log


def heard(log: Path) -> list[dict[str, Any]]:
    if not log.is_file():
        return []
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


def lora(studio: Studio, *arguments: str) -> Answer:
    return invoke([*arguments, "--json"], studio.root)


def test_a_promotion_is_told_once_with_digests_and_the_release_before(studio: Studio) -> None:
    log = program(studio)

    promoted = lora(studio, "promote", LORA, "r2")
    again = lora(studio, "hooks", "run")

    assert promoted.exit_code == again.exit_code == 0, promoted.stdout
    (notice,) = heard(log)
    record = studio.lora().record
    assert notice["event"] == notice["variable"] == "lora.promoted"
    assert (notice["lora"], notice["release"], notice["fromRelease"]) == (LORA, "r2", "r1")
    assert notice["id"] == record.history[-1].digest
    weights = record.releases[1].weights
    assert weights is not None
    assert notice["sha256"] == weights.sha256
    assert again.document["data"]["events"] == []


def test_switching_going_back_and_deprecating_are_told(studio: Studio) -> None:
    log = program(studio)
    lora(studio, "promote", LORA, "r2")

    lora(studio, "deactivate", LORA)
    lora(studio, "activate", LORA, "--strength", "0.5")
    lora(studio, "rollback", LORA)
    lora(studio, "release", "deprecate", LORA, "r2", "--reason", "worse")

    assert [one["event"].removeprefix("lora.") for one in heard(log)] == [
        "promoted", "deactivated", "activated", "rolled_back", "deprecated",
    ]  # fmt: skip
    assert [one["strength"] for one in heard(log)][2] == 0.5


def test_a_refusal_and_a_dry_run_tell_nobody(studio: Studio) -> None:
    log = program(studio)

    refused = lora(studio, "promote", LORA, "r1", "--evaluation", "x")
    dry = lora(studio, "promote", LORA, "r2", "--dry-run")

    assert refused.exit_code == 3
    assert dry.exit_code == 0
    assert heard(log) == []
    assert not (studio.root / ".lora" / "hooks").exists()


def test_what_came_with_git_is_told_by_hooks_run_and_the_past_is_not(
    studio: Studio, template: Studio, tmp_path: Path
) -> None:
    log = program(studio)
    first = lora(studio, "hooks", "run")
    elsewhere = copy_of(template, tmp_path / "elsewhere")
    invoke(["promote", LORA, "r2", "--json"], elsewhere.root)
    pulled = elsewhere.path("lora", LORA).read_bytes()
    studio.path("lora", LORA).write_bytes(pulled)

    shown = lora(studio, "hooks", "show")
    before = tree_digest(studio.root)
    dry = lora(studio, "hooks", "run", "--dry-run")
    assert tree_digest(studio.root) == before
    ran = lora(studio, "hooks", "run")

    assert first.document["data"]["began"] == [LORA]
    assert [one["title"] for one in shown.document["data"]["pending"]] == [
        "icons r2 is active, instead of r1"
    ]
    assert len(dry.document["data"]["events"]) == 1
    assert ran.exit_code == 0
    assert [one["release"] for one in heard(log)] == ["r2"]


def test_a_program_that_fails_harms_nothing_and_is_told_again(studio: Studio) -> None:
    log = program(studio, status=7)

    promoted = lora(studio, "promote", LORA, "r2")
    failed = lora(studio, "hooks", "run")
    Path(f"{log}.status").write_text("0", encoding="utf-8")
    mended = lora(studio, "hooks", "run")

    assert promoted.exit_code == 0
    assert studio.lora().record.active_release_id == "r2"
    assert any("exit status 7" in one for one in promoted.document["warnings"])
    assert (failed.exit_code, failed.error["code"]) == (1, "hooks_failed")
    assert mended.exit_code == 0
    assert len({one["id"] for one in heard(log)}) == 1
    assert len(heard(log)) == 3


def test_a_webhook_gets_the_notice_and_its_token_stands_in_no_output(
    studio: Studio, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_TOKEN", listener.secret)
    settings(studio, webhook=f"{listener.address}/hook", tokenVariable="HOOK_TOKEN")
    listener.misbehave("POST /hook", "500")

    promoted = lora(studio, "promote", LORA, "r2")
    ran = lora(studio, "hooks", "run")

    assert any("the webhook answered 500" in one for one in promoted.document["warnings"])
    assert ran.exit_code == 0
    assert [one["event"] for one in listener.notices] == ["lora.promoted"]
    assert listener.tokens[-1] == f"Bearer {listener.secret}"
    assert listener.secret not in promoted.stdout + ran.stdout


def test_each_way_is_told_once_also_when_the_other_failed(
    studio: Studio, listener: Listener
) -> None:
    log = program(studio, status=1, webhook=f"{listener.address}/hook")
    lora(studio, "promote", LORA, "r2")
    Path(f"{log}.status").write_text("0", encoding="utf-8")

    lora(studio, "hooks", "run")

    assert len(listener.notices) == 1
    assert len(heard(log)) == 2


def test_only_the_events_that_were_named_are_told(studio: Studio) -> None:
    log = program(studio, on="rolled_back")

    lora(studio, "promote", LORA, "r2")
    lora(studio, "rollback", LORA)

    assert [one["event"] for one in heard(log)] == ["lora.rolled_back"]


def test_an_event_that_is_none_is_said_and_the_promotion_stands(studio: Studio) -> None:
    program(studio, on="promotd")

    promoted = lora(studio, "promote", LORA, "r2")
    ran = lora(studio, "hooks", "run")

    assert promoted.exit_code == 0
    assert any("promotd" in one for one in promoted.document["warnings"])
    assert (ran.exit_code, ran.error["code"]) == (3, "settings_invalid")
    assert "promoted" in ran.error["hint"]


def test_without_a_hook_hooks_run_says_so_and_nothing_is_kept(studio: Studio) -> None:
    ran = lora(studio, "hooks", "run")
    lora(studio, "promote", LORA, "r2")

    assert (ran.exit_code, ran.error["code"]) == (3, "settings_invalid")
    assert not (studio.root / ".lora" / "hooks").exists()


def test_with_a_commit_it_is_told_when_the_commit_stands(studio: Studio) -> None:
    commit_all(studio.root, "r2 was looked at")
    script, log = studio.root.parent / "subject.py", studio.root.parent / "subject.txt"
    script.write_text(
        "import subprocess, sys\n"
        "subject = subprocess.run(['git', '-C', sys.argv[1], 'log', '-1', '--format=%s'],\n"
        "                         capture_output=True, check=True)\n"
        "open(sys.argv[2], 'wb').write(subject.stdout)\n",
        encoding="utf-8",
    )
    settings(studio, command=f"{sys.executable} {script} {studio.root} {log}")

    promoted = lora(studio, "promote", LORA, "r2", "--commit")

    assert promoted.exit_code == 0, promoted.stdout
    assert log.read_text().strip() == "Promoted r2 of icons, instead of r1"


def test_a_commit_that_is_refused_tells_nobody_and_leaves_it_open(studio: Studio) -> None:
    log = program(studio)
    refusing = studio.root / ".git" / "hooks" / "pre-commit"
    refusing.parent.mkdir(exist_ok=True)
    refusing.write_text("#!/bin/sh\nexit 1\n")
    refusing.chmod(0o755)

    promoted = lora(studio, "promote", LORA, "r2", "--commit")
    shown = lora(studio, "hooks", "show")

    assert promoted.exit_code == 3
    assert heard(log) == []
    assert [one["releaseId"] for one in shown.document["data"]["pending"]] == ["r2"]
    assert lora(studio, "hooks", "run").exit_code == 0
    assert [one["release"] for one in heard(log)] == ["r2"]


def test_two_runs_at_once_tell_once(studio: Studio) -> None:
    log = program(studio, status=1)
    lora(studio, "promote", LORA, "r2")
    Path(f"{log}.status").write_text("0", encoding="utf-8")
    log.unlink()

    both = [
        subprocess.Popen(
            [sys.executable, "-m", "lora_pipeline", "hooks", "run", "--quiet"], cwd=studio.root
        )
        for _ in range(2)
    ]

    assert [one.wait(timeout=60) for one in both] == [0, 0]
    assert len(heard(log)) == 1


def test_who_is_telling_is_waited_for_and_named(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = program(studio)
    monkeypatch.setenv("LORA_LOCK_TIMEOUT", "0")

    with workspace_lock(studio.workspace.runtime / "hooks", timeout_s=0):
        ran = lora(studio, "hooks", "run")
        promoted = lora(studio, "promote", LORA, "r2")

    assert (ran.exit_code, ran.error["code"]) == (3, "locked")
    assert "hooks are being told by" in ran.error["message"]
    assert promoted.exit_code == 0
    assert any("hooks are being told by" in one for one in promoted.document["warnings"])
    assert heard(log) == []


def test_people_read_whom_and_what(studio: Studio) -> None:
    program(studio)
    lora(studio, "hooks", "run")

    text = invoke(["hooks", "show"], studio.root).stdout

    assert "told are   hooks.command" in text
    assert text.startswith("0 changes are to be told")
