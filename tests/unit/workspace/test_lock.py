"""One writer at a time, with a name, and the lock goes with its holder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import LockedError, StorageError
from lora_pipeline.workspace.lock import lock_holder, workspace_lock
from tests.support.faults import Faults, armed, failing
from tests.support.workspace_builders import REPOSITORY

HOLD = (
    "import sys\n"
    "from pathlib import Path\n"
    "from lora_pipeline.workspace.lock import workspace_lock\n"
    "sys.argv[0] = 'lora'\n"
    "with workspace_lock(Path(sys.argv[1]), timeout_s=5):\n"
    "    print('held', flush=True)\n"
    "    sys.stdin.read()\n"
)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the lock of ``tmp_path`` until its standard input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path), "train"],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process:
        assert process.stdout.readline() == b"held\n"
        yield process


def test_a_second_writer_is_refused_and_told_who_writes(
    holder: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    with pytest.raises(LockedError) as caught, workspace_lock(tmp_path, timeout_s=0):
        pass

    assert f"locked by process {holder.pid} on " in caught.value.message
    assert caught.value.hint is not None
    assert "LORA_LOCK_TIMEOUT" in caught.value.hint
    assert str(holder.pid) in str(lock_holder(tmp_path))


def test_the_holder_tells_its_command_and_not_its_arguments(
    holder: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    words = lock_holder(tmp_path) or ""

    assert words.endswith(")")
    assert "lora" in words


def test_the_lock_is_gone_when_its_holder_is_killed(
    holder: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    os.kill(holder.pid, signal.SIGKILL)
    holder.wait()

    with workspace_lock(tmp_path, timeout_s=0):
        assert lock_holder(tmp_path) == f"process {os.getpid()} on {os.uname().nodename} ({_me()})"


def _me() -> str:
    words = [Path(sys.argv[0]).name, *sys.argv[1:2]]
    return " ".join(word for word in words if not word.startswith("-"))


def test_a_writer_that_waits_gets_the_lock_when_the_other_ends(
    holder: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    assert holder.stdin is not None
    holder.stdin.close()

    with workspace_lock(tmp_path, timeout_s=30):
        pass


def test_the_lock_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), workspace_lock(tmp_path, timeout_s=0):
        _ = 1 / 0

    assert lock_holder(tmp_path) is None
    with workspace_lock(tmp_path, timeout_s=0):
        pass
    assert not (tmp_path / "lock.holder.json").exists()


def test_the_same_process_does_not_get_it_twice(tmp_path: Path) -> None:
    with (
        workspace_lock(tmp_path, timeout_s=0),
        pytest.raises(LockedError),
        workspace_lock(tmp_path, timeout_s=0),
    ):
        pass


def test_a_time_below_zero_does_not_wait_for_ever(
    holder: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    with pytest.raises(LockedError), workspace_lock(tmp_path, timeout_s=-1):
        pass


@pytest.mark.parametrize("words", [b"", b"{", b"[]", b'{"pid": 1}', b"\xff", b'"x"'])
def test_a_holder_that_cannot_be_read_is_another_process(
    words: bytes, holder: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    (tmp_path / "lock.holder.json").write_bytes(words)

    with (
        pytest.raises(LockedError, match="locked by another process"),
        workspace_lock(tmp_path, timeout_s=0),
    ):
        pass


def test_without_a_lock_nobody_holds_it(tmp_path: Path) -> None:
    assert lock_holder(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_refuses_the_lock_is_named(tmp_path: Path) -> None:
    faults = Faults(tmp_path, 1, failing(30), only="os.mkdir")  # EROFS

    with (
        armed(faults),
        pytest.raises(StorageError, match="Read-only file system"),
        workspace_lock(tmp_path / "new", timeout_s=0),
    ):
        pass
