"""Training that is killed or stopped, at any moment: nothing is lost and it can be completed.

Real processes, real signals. The trainer is the small program of ``fake_trainer``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.releases.records import Lora
from lora_pipeline.training.records import Run
from lora_pipeline.training.runs.folder import is_alive
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.store import open_store
from tests.support.dataset_builders import PROJECT
from tests.support.fault_points import moments
from tests.support.processes import exists
from tests.support.training_builders import DATASET, LORA, training_studio
from tests.support.workspace_builders import REPOSITORY, invoke, reopen, run_lora

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
SCOPE = Scope(PROJECT)
ENDLESS = "waits"


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A studio that is ready to train; tests work on copies."""
    return training_studio(tmp_path_factory.mktemp("ready") / "studio").root


@pytest.fixture
def studio(ready: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ready, tmp_path / "studio"))


def command(studio: Path, mode: str = "good", dies_at: int = 0) -> list[str]:
    return [
        sys.executable, "-m", "tests.support.lora_with_fake_trainer", mode, str(dies_at),
        str(studio), "--workspace", str(studio), "train", "--lora", LORA, "--dataset", DATASET,
        "--trainer", "fake", "--json", "--as", "ana@studio.example",
    ]  # fmt: skip


def trained(studio: Path, mode: str = "good", dies_at: int = 0) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(studio, mode, dies_at), cwd=REPOSITORY, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip


def states(studio: Path) -> list[str]:
    records = reopen(studio).records
    return [loaded.record.state for loaded in records.all(Run, SCOPE)]


def releases(studio: Path) -> list[str]:
    lora = reopen(studio).records.read(Lora, SCOPE, LORA).record
    return [release.id for release in lora.releases]


def require_sound(studio: Path) -> None:
    """Check that every record can be read and that each release's bytes are in the store."""
    workspace = reopen(studio)
    answer = invoke(["validate", "--json"], studio)
    assert answer.exit_code == 0, answer.stdout
    lora = workspace.records.read(Lora, SCOPE, LORA).record
    for release in lora.releases:
        assert release.weights is not None
        open_store(workspace).open_path(release.weights.sha256)


# Here and there, and around the last records, where most is at stake; the slow test has them all.
@pytest.mark.parametrize("moment", [18, 52, 74, 82, 90])
def test_killed_at_a_change_it_is_sound_and_the_same_command_completes_it(
    moment: int, studio: Path
) -> None:
    killed = trained(studio, dies_at=moment)
    assert killed.returncode in (-signal.SIGKILL, 0)
    require_sound(studio)
    before = releases(studio)

    again = trained(studio)

    assert again.returncode == 0, again.stderr
    require_sound(studio)
    assert states(studio)[-1] == "ready"
    assert set(states(studio)) <= {"ready", "failed"}
    # Only when it was killed after its last record there is nothing left to complete.
    assert releases(studio) == (["r1", "r2"] if before else ["r1"])


@pytest.mark.slow
@pytest.mark.parametrize("moment", moments(99, every=8))
def test_killed_at_every_change_it_is_sound_and_the_same_command_completes_it(
    moment: int, studio: Path
) -> None:
    trained(studio, dies_at=moment)
    require_sound(studio)

    assert trained(studio).returncode == 0
    require_sound(studio)


class Running:
    """A training that goes on until it is stopped.

    Attributes:
        process: ``lora``.
        trainer: Process id of the trainer's program.
    """

    def __init__(self, studio: Path) -> None:
        self.studio = studio
        self.process = subprocess.Popen(
            command(studio, mode=ENDLESS), cwd=REPOSITORY, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.trainer = int(self._until(self._told))

    def run_id(self) -> str:
        (run_id,) = reopen(self.studio).records.ids(Run, SCOPE)
        return run_id

    def send(self, number: signal.Signals) -> int:
        """Send a signal to ``lora`` and return its exit status."""
        self.process.send_signal(number)
        self.process.communicate(timeout=30)
        return self.process.returncode

    def trainer_ends(self) -> bool:
        """Return whether the trainer ends within what the guard promises."""
        return bool(self._until(lambda: not exists(self.trainer)))

    def _told(self) -> str:
        found = list(self.studio.glob(".lora/runs/*/out/pid"))
        return found[0].read_text() if found else ""

    def _until(self, ask: Any, seconds: float = 30.0) -> Any:
        deadline = time.monotonic() + seconds
        while not (answer := ask()):
            assert time.monotonic() < deadline, self.process.poll()
            time.sleep(0.02)
        return answer


@pytest.fixture
def running(studio: Path) -> Iterator[Running]:
    """A training under way; killed at the end when the test did not end it."""
    found = Running(studio)
    yield found
    if found.process.poll() is None:
        found.process.kill()
        found.process.communicate()


def test_the_trainer_does_not_survive_a_kill(running: Running) -> None:
    assert running.send(signal.SIGKILL) == -signal.SIGKILL

    assert running.trainer_ends()
    assert states(running.studio) == ["training"]


def test_a_killed_run_is_shown_as_interrupted_and_resumed(running: Running) -> None:
    run_id = running.run_id()
    running.send(signal.SIGKILL)

    listed = invoke(["run", "list", "--json"], running.studio).document["data"]["runs"]
    shown = invoke(["run", "show", run_id], running.studio).stdout

    assert [(row["runId"], row["state"]) for row in listed] == [(run_id, "interrupted")]
    assert f"lora run resume {run_id}" in shown
    require_sound(running.studio)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_asked_to_stop_is_recorded_as_cancelled(
    running: Running, number: signal.Signals
) -> None:
    assert running.send(number) == 130

    assert running.trainer_ends()
    assert states(running.studio) == ["cancelled"]
    assert releases(running.studio) == []
    require_sound(running.studio)


def test_a_running_training_is_alive_and_cannot_be_started_twice(running: Running) -> None:
    workspace = reopen(running.studio)

    second = trained(running.studio, ENDLESS)

    assert is_alive(workspace, running.run_id())
    assert second.returncode == 3
    assert json.loads(second.stdout)["error"]["code"] == "state_forbids"
    assert states(running.studio) == ["training"]


def test_run_cancel_stops_a_run_from_another_terminal(running: Running) -> None:
    answer = run_lora(["run", "cancel", running.run_id(), "--json"], running.studio)

    running.process.communicate(timeout=30)
    assert answer.exit_code == 0, answer.stdout
    assert answer.document["data"]["state"] == "cancelled"
    assert running.process.returncode == 130
    assert states(running.studio) == ["cancelled"]
    assert running.trainer_ends()


def test_run_cancel_gives_up_a_run_that_was_killed(running: Running) -> None:
    run_id = running.run_id()
    running.send(signal.SIGKILL)

    answer = invoke(["run", "cancel", run_id[-6:], "--json"], running.studio)

    assert answer.exit_code == 0, answer.stdout
    assert states(running.studio) == ["cancelled"]
