"""Statuses of many files: the same while nothing changed, whatever the files are called."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lora_pipeline.workspace.file_statuses import all_as_packed, packed

LATER_NS = 60_000_000_000
MANY = 4_100  # three groups, so two processes look at them


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    for number in range(MANY):
        place = folder / ("a" if number % 2 else "b" * 20)
        place.mkdir(exist_ok=True)
        (place / f"{number}.json").write_bytes(b"1")
    return folder


def every_path(folder: Path) -> list[bytes]:
    return [os.fsencode(path) for path in folder.rglob("*")]


def pack(paths: list[bytes]) -> list[bytes]:
    groups = packed(paths, time.time_ns() + LATER_NS)
    assert groups is not None
    return groups


@pytest.fixture
def touched(folder: Path) -> Path:
    return folder / "a" / "1.json"


def test_files_are_as_they_were_and_the_folder_is_the_same(folder: Path) -> None:
    here = Path.cwd()
    groups = pack([*every_path(folder), os.fsencode(folder / "nowhere")])

    assert len(groups) == 4
    assert all_as_packed(groups)
    assert Path.cwd() == here


@pytest.mark.parametrize("number", [0, 1, 2_050, MANY - 1])
def test_a_file_in_either_half_that_changed_is_seen(folder: Path, number: int) -> None:
    groups = pack(every_path(folder))
    path = folder / ("a" if number % 2 else "b" * 20) / f"{number}.json"
    before = path.stat()
    path.write_bytes(b"2")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert not all_as_packed(groups)


CHANGES: list[Callable[[Path], object]] = [
    lambda folder: (folder / "new").write_bytes(b""),
    lambda folder: (folder / "one").unlink(),
    lambda folder: (folder / "absent").mkdir(),
    shutil.rmtree,
    lambda folder: (folder / "one").rename(folder / "two"),
]


@pytest.mark.parametrize("change", CHANGES, ids=["new", "gone", "came", "folder", "renamed"])
def test_what_came_and_went_is_seen(tmp_path: Path, change: Callable[[Path], object]) -> None:
    (tmp_path / "art").mkdir()
    (tmp_path / "art" / "one").write_bytes(b"1")
    names = ("", "/one", "/absent")
    groups = pack([os.fsencode(f"{tmp_path / 'art'}{name}") for name in names])
    assert all_as_packed(groups)

    change(tmp_path / "art")

    assert not all_as_packed(groups)


def test_relative_and_absolute_paths_stand_side_by_side(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one").write_bytes(b"1")
    groups = pack([b"one", os.fsencode(tmp_path / "one"), b".", b"absent"])
    assert all_as_packed(groups)

    (tmp_path / "one").write_bytes(b"12")

    assert not all_as_packed(groups)


@pytest.mark.skipif(os.name == "nt", reason="no such name can be given there")
def test_a_name_that_is_no_text_or_has_a_line_feed_in_it(tmp_path: Path) -> None:
    odd, two_lines = os.fsencode(tmp_path) + b"/\xff", os.fsencode(tmp_path) + b"/a\nb"
    for path in (odd, two_lines):
        Path(os.fsdecode(path)).write_bytes(b"1")

    assert all_as_packed(pack([odd]))
    assert packed([odd, two_lines], time.time_ns() + LATER_NS) is None


def test_files_that_changed_just_now_are_not_packed(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"1")

    assert packed([os.fsencode(tmp_path / "one")], time.time_ns() - LATER_NS) is None


def test_a_damaged_group_is_not_believed(tmp_path: Path) -> None:
    (tmp_path / "one").write_bytes(b"1")
    [group] = pack([os.fsencode(tmp_path / "one")])

    for place in range(len(group)):
        damaged = bytearray(group)
        damaged[place] ^= 1
        assert not all_as_packed([bytes(damaged)])
