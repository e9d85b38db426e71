"""Several writes in one step: all of them prepared before the first, or nothing left over."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import DigestMismatchError, FileMissingError
from lora_pipeline.foundation.files import Write, write_all


def everything(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_bytes_and_copies_stand_in_new_folders(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"picture")
    root = tmp_path / "data"

    write_all(
        [
            Write(root / "files/a/original/1.png", source=tmp_path / "source"),
            Write(root / "assets/a.json", data=b"{}"),
        ]
    )

    assert everything(root) == {"files/a/original/1.png": b"picture", "assets/a.json": b"{}"}


def test_nothing_to_write_is_nothing(tmp_path: Path) -> None:
    write_all([])

    assert list(tmp_path.iterdir()) == []


def test_many_writes_all_arrive(tmp_path: Path) -> None:
    write_all([Write(tmp_path / f"{number}.json", data=b"%d" % number) for number in range(200)])

    assert len(everything(tmp_path)) == 200
    assert (tmp_path / "137.json").read_bytes() == b"137"


def test_missing_source_leaves_what_was_there_and_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"before")

    with pytest.raises(FileMissingError):
        write_all(
            [
                Write(tmp_path / "a.json", data=b"after"),
                Write(tmp_path / "b.json", source=tmp_path / "nothing"),
            ]
        )

    assert everything(tmp_path) == {"a.json": b"before"}


def test_source_that_changed_since_its_digest_was_taken_is_not_copied(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"picture")
    sha256 = hashlib.sha256(b"picture").hexdigest()
    write_all([Write(tmp_path / "out/1", source=source, sha256=sha256)])
    source.write_bytes(b"another")

    with pytest.raises(DigestMismatchError, match="changed while it was copied"):
        write_all([Write(tmp_path / "out/2", source=source, sha256=sha256)])

    assert everything(tmp_path / "out") == {"1": b"picture"}


def test_target_below_a_file_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")

    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the system
        write_all([Write(tmp_path / "a", data=b"1"), Write(tmp_path / "file/b", data=b"2")])

    assert everything(tmp_path) == {"file": b"x"}
