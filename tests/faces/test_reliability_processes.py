"""What is killed, hurried, copied or left without room (rows PRC of the list of faults).

The rows that are answered by tests elsewhere stand in ``docs/faults.md``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from lora_pipeline.foundation import strict_json
from lora_pipeline.operations.releases.release_register import register_release
from lora_pipeline.releases.records import Lora
from lora_pipeline.training.outcome import not_before
from lora_pipeline.training.records import Run
from lora_pipeline.training.runs.folder import is_alive
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.store import open_store
from tests.support.dataset_builders import PROJECT
from tests.support.fake_trainer import MODULE, SIZE
from tests.support.training_builders import DATASET, LORA, training_studio, write_lora
from tests.support.workspace_builders import REPOSITORY, invoke, reopen
from tests.unit.operations.training.test_train_interrupted import Running

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
SCOPE = Scope(PROJECT)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A studio that is ready to train, with weights to register beside it."""
    folder = tmp_path_factory.mktemp("ready")
    studio = training_studio(folder / "studio").root
    write_lora(folder / "made.safetensors", modules={MODULE: (SIZE, SIZE)})
    return studio


@pytest.fixture
def made(ready: Path) -> Path:
    return ready.parent / "made.safetensors"


@pytest.fixture
def studio(ready: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ready, tmp_path / "studio"))


def lora(
    studio: Path, *arguments: str, dies_at: int = 0, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run ``lora`` in a process that may be killed right before its n-th change."""
    return subprocess.run(
        [sys.executable, "-m", "tests.support.die_at_write", str(dies_at), str(studio.parent),
         "--workspace", str(studio), *arguments, "--json", "--as", "ana@studio.example"],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


def require_sound(studio: Path) -> None:
    answer = invoke(["validate", "--json"], studio)
    assert answer.exit_code == 0, answer.stdout
    workspace = reopen(studio)
    for release in workspace.records.read(Lora, SCOPE, LORA).record.releases:
        assert release.weights is not None
        open_store(workspace).open_path(release.weights.sha256)


def register(studio: Path, made: Path, dies_at: int = 0) -> subprocess.CompletedProcess[str]:
    command = ("release", "register", LORA, str(made), "--dataset", DATASET, "--release", "gold")
    return lora(studio, *command, dies_at=dies_at)


# Its changes: lock, folders, object, record; the last ones are where most is at stake.
@pytest.mark.parametrize(
    "moment",
    [
        3,
        6,
        9,
        *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 16) if n not in {3, 6, 9}),
    ],
)
def test_prc_01_registration_killed_at_a_change_is_completed_by_the_same_command(
    moment: int, studio: Path, made: Path
) -> None:
    killed = register(studio, made, dies_at=moment)
    require_sound(studio)
    if killed.returncode == 0:
        return  # there are fewer changes than this

    assert killed.returncode == -signal.SIGKILL
    there = [r.id for r in reopen(studio).records.read(Lora, SCOPE, LORA).record.releases]
    again = register(studio, made)

    assert again.returncode == (3 if there else 0), again.stdout
    require_sound(studio)


def test_prc_13_weights_without_a_record_are_told_by_the_store(studio: Path, made: Path) -> None:
    workspace = reopen(studio)
    sha256 = open_store(workspace).put_file(made)
    # What is younger than a day may be about to be named.
    os.utime(open_store(workspace).path(sha256), (1_000_000_000, 1_000_000_000))

    answer = invoke(["store", "gc", "--dry-run", "--json"], studio)

    assert sha256 in json.dumps(answer.document["data"]["unnamed"])


@pytest.mark.parametrize("moment", [1, 2, 3, *(pytest.param(n, marks=pytest.mark.slow)
                                               for n in range(4, 10))])  # fmt: skip
def test_prc_01_an_export_killed_at_a_change_is_completed_by_the_same_command(
    moment: int, studio: Path, made: Path
) -> None:
    register_release(reopen(studio), LORA, str(made))
    target = studio.parent / "out" / "x.safetensors"
    command = ("release", "export", LORA, "r1", "--output", str(target))

    killed = lora(studio, *command, dies_at=moment)
    assert killed.returncode in (0, -signal.SIGKILL)
    again = lora(studio, *command)

    assert again.returncode == 0, again.stdout
    beside = json.loads(target.with_name("x.passport.json").read_bytes())
    assert beside["file"]["bytes"] == target.stat().st_size


def test_prc_03_a_second_interrupt_leaves_no_half_record(studio: Path) -> None:
    running = Running(studio)
    try:
        running.process.send_signal(signal.SIGINT)
        running.process.send_signal(signal.SIGINT)
        running.process.communicate(timeout=60)
    finally:
        if running.process.poll() is None:
            running.process.kill()
            running.process.communicate()

    assert running.trainer_ends()
    for path in (studio / "data").rglob("*.json"):
        strict_json.load(path)
    (run,) = reopen(studio).records.all(Run, SCOPE)
    assert run.record.state in ("cancelled", "training")
    assert not is_alive(reopen(studio), run.record_id)
    assert invoke(["validate", "--json"], studio).exit_code == 0


@pytest.mark.parametrize(
    ("started", "seconds", "now", "expected"),
    [
        (1_000, 5e-7, 1_500, 1_000),  # as it should be
        (9_000, 5e-7, 2_000, 1_500),  # set back meanwhile: its own files stay its own
        (1_000, 5e-7, 99_000, 1_000),  # set forward
    ],
)
def test_prc_12_a_clock_that_is_set_back_disowns_no_weights(
    started: int, seconds: float, now: int, expected: int
) -> None:
    assert not_before(started, seconds, now) == expected


def test_prc_21_a_copy_made_while_a_run_is_under_way_knows_that_it_is_not_its_own(
    studio: Path, tmp_path: Path
) -> None:
    running = Running(studio)
    try:
        copy = Path(shutil.copytree(studio, tmp_path / "elsewhere" / "studio"))
        rows = invoke(["run", "list", "--json"], copy).document["data"]["runs"]
    finally:
        running.process.kill()
        running.process.communicate()

    assert running.trainer_ends()
    assert [row["state"] for row in rows] == ["interrupted"]
    assert invoke(["validate", "--json"], copy).exit_code == 0


def test_prc_23_no_folder_for_temporary_files_is_needed(studio: Path, made: Path) -> None:
    """Temporary files stand beside their targets, also where /tmp is full, gone or elsewhere."""
    nowhere = str(studio.parent / "nowhere")

    done = lora(studio, "release", "register", LORA, str(made), TMPDIR=nowhere)

    assert done.returncode == 0, done.stdout
    require_sound(studio)


def test_prc_24_ten_thousand_releases_are_listed(studio: Path, made: Path) -> None:
    workspace = reopen(studio)
    register_release(workspace, LORA, str(made))
    loaded = workspace.records.read(Lora, SCOPE, LORA)
    (one,) = loaded.record.releases
    many = tuple(replace(one, id=f"r{number}") for number in range(1, 10_001))
    path = workspace.data_root / "projects" / PROJECT / "loras" / f"{LORA}.json"
    path.write_bytes(strict_json.dumps(replace(loaded.record, releases=many).to_dict()))

    answer = invoke(["release", "list", LORA, "--json"], studio)

    assert answer.exit_code == 0
    assert len(answer.document["data"]["releases"]) == 10_000
