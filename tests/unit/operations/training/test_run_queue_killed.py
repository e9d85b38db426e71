"""The queue of runs: killed at any moment nothing runs twice and nothing is forgotten.

Real programs, a real queue, ``kill -9``. The trainer is the small program of ``fake_trainer``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.releases.records import Lora
from lora_pipeline.training.records import Run
from lora_pipeline.training.runs.ticket import tickets
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.store import open_store
from tests.support.dataset_builders import PROJECT
from tests.support.fault_points import moments
from tests.support.processes import exists
from tests.support.training_builders import DATASET, LORA, training_studio
from tests.support.workspace_builders import REPOSITORY, invoke, reopen

pytest.importorskip("huey")
pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
SCOPE = Scope(PROJECT)
KILLED = -signal.SIGKILL
TRAIN = ("train", "--lora", LORA, "--dataset", DATASET, "--trainer", "fake", "--detach", "--json")


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A studio that is ready to train, where a second try follows at once."""
    root = training_studio(tmp_path_factory.mktemp("ready") / "studio", git=False).root
    (root / "config" / "local.json").write_text(json.dumps({"identity": "ana@studio.example"}))
    (root / "config" / "pipeline.yaml").write_text("runs:\n  retryWaitSeconds: 0.0\n")
    return root


@pytest.fixture(scope="module")
def queued(ready: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with one run that waits."""
    root = Path(shutil.copytree(ready, tmp_path_factory.mktemp("queued") / "studio"))
    assert lora(root, *TRAIN).returncode == 0
    return root


@pytest.fixture
def studio(queued: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(queued, tmp_path / "studio"))


def environment(root: Path, **variables: object) -> dict[str, str]:
    return (
        dict(os.environ)
        | {"FAKE_ROOT": str(root), "CHILD_DIES_ONCE": str(root / ".lora" / "died")}
        | {name: str(value) for name, value in variables.items()}
    )


def command(root: Path, *arguments: str) -> list[str]:
    return [
        sys.executable, "-m", "tests.support.queue_programs", "lora", "--workspace", str(root),
        *arguments,
    ]  # fmt: skip


def lora(root: Path, *arguments: str, **variables: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(root, *arguments), cwd=REPOSITORY, env=environment(root, **variables),
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def drained(root: Path, **variables: object) -> list[dict[str, Any]]:
    """Let a worker do all that is owed, and return what it said."""
    done = lora(root, "worker", "--drain", **variables)
    assert done.returncode in (0, 1), done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def runs(root: Path) -> list[Run]:
    return [loaded.record for loaded in reopen(root).records.all(Run, SCOPE)]


def states(root: Path) -> list[str]:
    return [run.state for run in runs(root)]


def attempts(root: Path) -> list[str]:
    """Return what each try of the only run came to."""
    (run,) = runs(root)
    return [attempt.error for attempt in run.attempts]


def releases(root: Path) -> list[str]:
    lora_record = reopen(root).records.read(Lora, SCOPE, LORA).record
    return [release.id for release in lora_record.releases]


def require_settled(root: Path) -> None:
    """Check that all records are sound, and that nothing is owed to any run."""
    answer = invoke(["validate", "--json"], root)
    assert answer.exit_code == 0, answer.stdout
    workspace = reopen(root)
    assert list(tickets(workspace)) == []
    made_by = [
        release.training["runId"]
        for release in workspace.records.read(Lora, SCOPE, LORA).record.releases
    ]
    assert len(made_by) == len(set(made_by))
    for release in workspace.records.read(Lora, SCOPE, LORA).record.releases:
        assert release.weights is not None
        open_store(workspace).open_path(release.weights.sha256)


def until(ask: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return answer


# ---- killed at a call


def killed_while_queueing(ready: Path, moment: int, root: Path) -> None:
    shutil.copytree(ready, root)
    killed = lora(root, *TRAIN, LORA_DIES_AT=moment)
    assert killed.returncode in (KILLED, 0)
    assert invoke(["validate"], root).exit_code == 0
    promised = len(runs(root))

    drained(root)

    # What was recorded is done, once; what was not recorded was never promised.
    assert states(root) == ["ready"] * promised
    assert len(releases(root)) == promised
    assert promised == 1 or killed.returncode == KILLED
    require_settled(root)


@pytest.mark.parametrize("moment", [14])
def test_killed_while_it_queues_a_run_is_there_whole_or_not_at_all(
    moment: int, ready: Path, tmp_path: Path
) -> None:
    killed_while_queueing(ready, moment, tmp_path / "studio")


@pytest.mark.slow
@pytest.mark.parametrize("moment", moments(39, every=6))
def test_killed_at_every_call_while_it_queues(moment: int, ready: Path, tmp_path: Path) -> None:
    killed_while_queueing(ready, moment, tmp_path / "studio")


def killed_while_trying(studio: Path, moment: int) -> None:
    drained(studio, CHILD_DIES_AT=moment)

    assert (studio / ".lora" / "died").exists()
    assert states(studio) == ["ready"]
    assert releases(studio) == ["r1"]
    # Killed before the try was written down, or after the weights were verified: one try.
    assert attempts(studio) in (["interrupted", ""], [""], ["interrupted"])
    require_settled(studio)


@pytest.mark.parametrize("moment", [55])
def test_a_child_killed_at_a_call_is_followed_by_one_more_try(moment: int, studio: Path) -> None:
    killed_while_trying(studio, moment)


@pytest.mark.slow
@pytest.mark.parametrize("moment", moments(129, every=12))
def test_a_child_killed_at_every_second_call(moment: int, studio: Path) -> None:
    killed_while_trying(studio, moment)


def killed_while_handing_out(studio: Path, moment: int) -> None:
    killed = lora(studio, "worker", "--drain", LORA_DIES_AT=moment)
    assert killed.returncode in (KILLED, 0), killed.stderr

    drained(studio)

    assert states(studio) == ["ready"]
    assert releases(studio) == ["r1"]
    assert set(attempts(studio)) <= {"", "stopped", "interrupted"}
    require_settled(studio)


@pytest.mark.parametrize("moment", [5])
def test_a_worker_killed_at_a_call_loses_nothing(moment: int, studio: Path) -> None:
    killed_while_handing_out(studio, moment)


@pytest.mark.slow
@pytest.mark.parametrize("moment", moments(29, every=6))
def test_a_worker_killed_at_every_call(moment: int, studio: Path) -> None:
    killed_while_handing_out(studio, moment)


# ---- killed while a trainer works


class Working:
    """A worker with a run under way whose trainer goes on until it is stopped.

    Attributes:
        process: The worker.
        trainer: Process id of the trainer's program.
    """

    def __init__(self, root: Path, *options: str) -> None:
        self.root = root
        self.process = subprocess.Popen(
            command(root, "worker", *options), cwd=REPOSITORY, text=True,
            env=environment(root, FAKE_MODES="waits,good"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.trainer = int(until(self._told))

    @property
    def child(self) -> int:
        """Process id of the child that tries the run."""
        (path,) = self.root.glob(".lora/runs/*/process.json")
        return int(json.loads(path.read_text())["pid"])

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal to the worker and return its exit status."""
        self.process.send_signal(number)
        self.process.communicate(timeout=60)
        return self.process.returncode

    def _told(self) -> str:
        found = list(self.root.glob(".lora/runs/*/out/pid"))
        return found[0].read_text() if found else ""


@pytest.fixture
def working(studio: Path) -> Iterator[Working]:
    """A worker with a run under way; killed at the end when the test did not end it."""
    found = Working(studio)
    yield found
    if found.process.poll() is None:
        found.process.kill()
        found.process.communicate()


def test_a_killed_worker_takes_its_trainer_along_and_the_next_one_goes_on(
    working: Working,
) -> None:
    assert working.end(signal.SIGKILL) == KILLED

    drained(working.root)

    assert not exists(working.trainer)
    assert states(working.root) == ["ready"]
    assert len(attempts(working.root)) == 2
    require_settled(working.root)


@pytest.mark.slow
def test_a_killed_child_is_tried_again_by_the_same_worker(working: Working) -> None:
    os.kill(working.child, signal.SIGKILL)

    until(lambda: states(working.root) == ["ready"])

    assert not exists(working.trainer)
    assert attempts(working.root) == ["interrupted", ""]
    assert working.end() == 0
    require_settled(working.root)


@pytest.mark.slow
def test_a_killed_trainer_is_no_failure_that_passes_and_is_not_tried_again(
    working: Working,
) -> None:
    os.kill(working.trainer, signal.SIGKILL)

    until(lambda: states(working.root) == ["failed"])

    assert attempts(working.root) == ["killed"]  # by the system, most likely: out of memory
    assert working.end() == 0
    require_settled(working.root)


@pytest.mark.slow
def test_a_worker_that_is_asked_to_stop_puts_its_run_back(working: Working) -> None:
    assert working.end(signal.SIGTERM) == 0

    assert not exists(working.trainer)
    assert states(working.root) == ["queued"]
    assert attempts(working.root) == ["stopped"]
    drained(working.root)
    assert states(working.root) == ["ready"]
    require_settled(working.root)


@pytest.mark.slow
def test_ctrl_c_lets_a_run_come_to_its_end_and_takes_no_other(working: Working) -> None:
    second = lora(working.root, *TRAIN, "--steps", "7")
    assert second.returncode == 0, second.stderr
    working.process.send_signal(signal.SIGINT)
    os.kill(working.child, signal.SIGKILL)  # the end of the run under way, whatever it is

    working.process.communicate(timeout=60)

    assert working.process.returncode == 0
    assert states(working.root) == ["queued", "queued"]


def test_cancelling_ends_the_whole_group_and_is_not_tried_again(working: Working) -> None:
    (run,) = runs(working.root)

    answer = invoke(["run", "cancel", run.id, "--json"], working.root)

    assert answer.document["data"]["state"] == "cancelled"
    assert not exists(working.trainer)
    assert states(working.root) == ["cancelled"]
    assert working.end() == 0
    require_settled(working.root)


@pytest.mark.slow
def test_a_run_cancelled_while_its_process_dies_stays_cancelled(working: Working) -> None:
    (run,) = runs(working.root)
    folder = working.root / ".lora" / "runs" / run.id
    (folder / "cancel.json").write_text("{}")  # written first; then the canceller was killed
    working.end(signal.SIGKILL)

    drained(working.root)

    assert states(working.root) == ["cancelled"]
    require_settled(working.root)


@pytest.mark.slow
def test_a_second_worker_leaves_a_run_under_way_alone(working: Working) -> None:
    second = lora(working.root, "worker", "--once")

    assert second.returncode == 0
    assert states(working.root) == ["training"]
    assert len(attempts(working.root)) == 1
    assert exists(working.trainer)


# ---- several workers


@pytest.mark.slow
def test_two_workers_racing_for_one_queue_do_each_run_once(studio: Path) -> None:
    for steps in ("2", "3", "4"):
        assert lora(studio, *TRAIN, "--steps", steps).returncode == 0
    both = [
        subprocess.Popen(
            command(studio, "worker", "--drain", "--per-gpu", "2"), cwd=REPOSITORY, text=True,
            env=environment(studio), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    said = [one.communicate(timeout=120)[0] for one in both]
    drained(studio)  # one of the two may have left while the other's last run went on

    assert [one.returncode for one in both] == [0, 0]
    assert states(studio) == ["ready"] * 4
    assert sorted(releases(studio)) == ["r1", "r2", "r3", "r4"]
    assert all(len(run.attempts) == 1 for run in runs(studio))
    started = [
        json.loads(line)["run"]
        for text in said
        for line in text.splitlines()
        if json.loads(line)["type"] == "started" and "run" in json.loads(line)
    ]
    assert len(started) == len(set(started))
    require_settled(studio)


@pytest.mark.slow
def test_an_entry_that_is_doubled_or_names_nothing_does_no_harm(studio: Path) -> None:
    from lora_pipeline.engine.queue import Queue

    (run,) = runs(studio)
    with Queue(studio / ".lora" / "queue" / "runs.db") as queue:
        for name in (run.id, "01KAYX3M8Q4Z6V0N5T2R7C9HJD", run.id):
            queue.put(name)

    drained(studio)

    assert states(studio) == ["ready"]
    assert attempts(studio) == [""]


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["gone", "broken"])
def test_a_queue_that_is_lost_is_filled_anew(damage: str, studio: Path) -> None:
    folder = studio / ".lora" / "queue"
    for path in folder.glob("runs.db*"):
        path.unlink()
    if damage == "broken":
        (folder / "runs.db").write_bytes(b"no database at all" * 100)

    drained(studio)

    assert states(studio) == ["ready"]
    require_settled(studio)


# ---- tries


def test_a_failure_that_passes_is_tried_again_and_every_try_is_recorded(studio: Path) -> None:
    said = drained(studio, FAKE_MODES="connection_lost,gpu_lost,good")

    assert attempts(studio) == ["connection_lost", "gpu_lost", ""]
    assert states(studio) == ["ready"]
    ends = [line["data"] for line in said if line["type"] == "finished" and "run" in line]
    assert [(end["attempt"], end["state"]) for end in ends] == [
        (1, "queued"), (2, "queued"), (3, "ready"),
    ]  # fmt: skip


@pytest.mark.slow
def test_after_three_more_tries_it_has_failed(studio: Path) -> None:
    drained(studio, FAKE_MODES="connection_lost")

    assert attempts(studio) == ["connection_lost"] * 4
    assert states(studio) == ["failed"]
    require_settled(studio)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["out_of_memory", "traceback", "nan"])
def test_a_failure_that_would_come_again_is_not_tried_again(mode: str, studio: Path) -> None:
    said = lora(studio, "worker", "--drain", FAKE_MODE=mode)

    assert said.returncode == 1  # it saw a run fail
    assert len(attempts(studio)) == 1
    assert states(studio) == ["failed"]
    require_settled(studio)


@pytest.mark.slow
def test_a_run_that_kills_its_process_every_time_ends(studio: Path) -> None:
    drained(studio, CHILD_DIES_AT=40, CHILD_DIES_ONCE="")

    assert attempts(studio) == ["interrupted"] * 4
    assert states(studio) == ["failed"]
    require_settled(studio)


@pytest.mark.slow
def test_what_was_queued_is_what_is_trained_or_nothing(studio: Path) -> None:
    rebuilt = invoke(
        ["dataset", "build", DATASET, "--asset-type", "ui_icon", "--trigger", "other"], studio
    )
    assert rebuilt.exit_code == 0, rebuilt.stderr

    drained(studio)

    (run,) = runs(studio)
    assert run.error is not None
    assert (run.state, run.error.code) == ("failed", "plan_outdated")
    assert "was built anew" in run.error.message


@pytest.mark.slow
def test_a_run_that_failed_is_queued_again_with_new_tries(studio: Path) -> None:
    drained(studio, FAKE_MODE="out_of_memory")
    (run,) = runs(studio)

    answer = lora(studio, "run", "resume", run.id, "--detach", "--json")
    assert answer.returncode == 0, answer.stderr
    drained(studio)

    assert attempts(studio) == ["out_of_memory", ""]
    assert states(studio) == ["ready"]
    require_settled(studio)
