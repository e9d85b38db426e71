"""What a job leaves in a storage: read bit by bit, believed only when it is what was promised."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import ServiceRefusedError, ServiceUnreachableError
from lora_pipeline.training.hosted.interface import RemoteFile
from lora_pipeline.training.hosted.left_files import Ended, LeftFiles

WHOLE = b"weights of a lora"
DIGEST = sha256(WHOLE).hexdigest()


class Memory:
    """A storage whose answers are set by tests; a list of answers is given one by one."""

    def __init__(self, **files: bytes | list[bytes]) -> None:
        self.files = {name.replace("__", "."): data for name, data in files.items()}

    def read(self, name: str, start: int = 0) -> Iterator[bytes] | None:
        data = self.files.get(name)
        if isinstance(data, list):
            data = data.pop(0) if len(data) > 1 else data[0]
        return None if data is None else iter([data[start : start + 5], data[start + 5 :]])


def named(name: str = "a.safetensors", **changes: object) -> bytes:
    row = {"name": name, "bytes": len(WHOLE), "sha256": DIGEST, "step": None, **changes}
    return json.dumps({"files": [row]}).encode()


def test_a_log_is_told_once_line_by_line_and_its_last_piece_when_the_job_ended() -> None:
    storage = Memory(log__txt=b"one\rtwo\r\n\nthr")
    left = LeftFiles(storage)

    assert left.new_lines(ended=False) == ("one", "two")
    storage.files["log.txt"] = b"one\rtwo\r\n\nthree\nfo\xffr"
    assert left.new_lines(ended=False) == ("three",)
    assert left.new_lines(ended=True) == ("fo\ufffdr",)


def test_before_there_is_anything_it_tells_nothing() -> None:
    left = LeftFiles(Memory())

    assert (left.new_lines(ended=True), left.ended(), left.weights()) == ((), None, [])


def test_how_the_program_ended_is_told() -> None:
    assert LeftFiles(Memory(ended__json=b'{"status": 3, "seconds": 1.5}')).ended() == Ended(3, 1.5)


@pytest.mark.parametrize("data", [b"[]", b'{"status": "well"}', b"{}", b'{"status": 1}'])
def test_an_end_that_is_told_otherwise_is_refused(data: bytes) -> None:
    with pytest.raises(ServiceRefusedError):
        LeftFiles(Memory(ended__json=data)).ended()


def test_a_note_that_is_half_written_is_asked_for_again() -> None:
    with pytest.raises(ServiceUnreachableError):
        LeftFiles(Memory(ended__json=b'{"status"')).ended()


def test_a_note_without_end_is_not_read_to_the_end() -> None:
    with pytest.raises(ServiceRefusedError):
        LeftFiles(Memory(files__json=b" " * 2**21)).weights()


@pytest.mark.parametrize(
    "data",
    [
        named("../a.safetensors"),
        named("a.pt"),
        named("/etc/a.safetensors"),
        named(sha256="short"),
        named(sha256=None),
    ],
)
def test_names_and_digests_that_are_none_are_refused(data: bytes) -> None:
    with pytest.raises(ServiceRefusedError):
        LeftFiles(Memory(files__json=data)).weights()


def test_weights_are_named_with_length_step_and_digest() -> None:
    left = LeftFiles(Memory(files__json=named(step=7)))

    assert left.weights() == [RemoteFile("a.safetensors", len(WHOLE), 7, DIGEST)]


def test_a_file_comes_whole(tmp_path: Path) -> None:
    left = LeftFiles(Memory(a__safetensors=WHOLE))

    left.fetch(RemoteFile("a.safetensors", len(WHOLE), None, DIGEST), tmp_path / "out")

    assert (tmp_path / "out").read_bytes() == WHOLE


@pytest.mark.parametrize("other", [WHOLE[:-1], WHOLE + b"!", WHOLE[:-1] + b"!"])
def test_other_bytes_are_fetched_again_and_nothing_half_is_left(
    other: bytes, tmp_path: Path
) -> None:
    file = RemoteFile("a.safetensors", len(WHOLE), None, DIGEST)

    LeftFiles(Memory(a__safetensors=[other, WHOLE])).fetch(file, tmp_path / "right")
    with pytest.raises(ServiceUnreachableError) as caught:
        LeftFiles(Memory(a__safetensors=other)).fetch(file, tmp_path / "wrong")

    assert "does not come whole" in caught.value.message
    assert [path.name for path in tmp_path.iterdir()] == ["right"]


def test_a_file_that_is_gone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ServiceRefusedError):
        LeftFiles(Memory()).fetch(RemoteFile("a.safetensors", 3), tmp_path / "out")
