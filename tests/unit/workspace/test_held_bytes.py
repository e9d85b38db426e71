from __future__ import annotations

import os
from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import StorageError
from lora_pipeline.workspace import held_bytes
from lora_pipeline.workspace.held_bytes import HeldBytes

SOME = [b"first", b"", b"\x00" * 500, b"dritte Zeile\n"]


@pytest.mark.parametrize("room", [16, 10_000])
def test_bytes_come_back_as_they_were_in_any_order(
    monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr(held_bytes, "_IN_MEMORY", room)
    kept = HeldBytes()
    held = [kept.hold(data) for data in SOME]

    assert [kept.read(one) for one in reversed(held)] == SOME[::-1]
    assert kept.read(kept.hold(b"after reading")) == b"after reading"


def test_the_file_has_no_name_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(held_bytes, "_IN_MEMORY", 1)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    kept = HeldBytes()

    kept.hold(b"x" * 100)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="permissions bind nobody here")
def test_no_room_for_temporary_files_is_said_in_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(held_bytes, "_IN_MEMORY", 1)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    tmp_path.chmod(0o500)

    with pytest.raises(StorageError, match="the disk refused"):
        HeldBytes().hold(b"x" * 100)
