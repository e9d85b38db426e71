from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from lora_pipeline.engine import children, many_files
from lora_pipeline.engine.many_files import place_each, read_each
from lora_pipeline.foundation.errors import ProcessError
from lora_pipeline.foundation.file_facts import FileFacts
from lora_pipeline.foundation.placing import Placement

MANY = children.FEW + 50  # so many that children do the work


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.bin" for number in range(MANY)]
    for path in paths:
        path.write_bytes(path.name.encode() * 10)
    return paths


@pytest.mark.parametrize("count", [0, 1, 20, MANY])
def test_every_file_is_read_and_the_order_is_kept(files: list[Path], count: int) -> None:
    found = list(read_each((number, str(files[number])) for number in range(count)))

    assert [number for number, _ in found] == list(range(count))
    for number, facts in found:
        assert isinstance(facts, FileFacts)
        assert facts.sha256 == hashlib.sha256(files[number].read_bytes()).hexdigest()
        assert facts.head == files[number].read_bytes()


@pytest.mark.parametrize("count", [20, MANY])
def test_what_cannot_be_read_says_why_in_its_place(files: list[Path], count: int) -> None:
    files[7].unlink()

    found = dict(read_each((number, str(files[number])) for number in range(count)))

    assert isinstance(found[7], FileNotFoundError)
    assert isinstance(found[8], FileFacts)


def test_work_is_not_taken_long_before_it_can_be_done(files: list[Path]) -> None:
    taken = 0

    def work() -> Iterator[tuple[int, str]]:
        nonlocal taken
        while True:
            taken += 1
            yield taken, str(files[taken % MANY])

    reading = read_each(work(), workers=1)
    next(reading)
    reading.close()  # type: ignore[attr-defined]

    assert taken < 20_000


@pytest.mark.parametrize("count", [20, MANY])
def test_images_and_captions_are_placed(files: list[Path], tmp_path: Path, count: int) -> None:
    target = tmp_path / "staging"
    target.mkdir()
    work = [
        (
            number,
            Placement(
                str(files[number]),
                f"{target}/{number}.png",
                f"{target}/{number}.txt",
                f"ä {number}",
            ),
        )
        for number in range(count)
    ]

    assert [error for _, error in place_each(work)] == [None] * count
    assert (target / "3.png").samefile(files[3])
    assert (target / "3.txt").read_bytes() == "ä 3".encode()


def test_what_stands_there_already_is_not_overwritten(files: list[Path], tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("mine")
    one = Placement(str(files[0]), f"{tmp_path}/a.png", f"{tmp_path}/a.txt", "theirs")

    [(_, error)] = place_each([(1, one)])

    assert isinstance(error, FileExistsError)
    assert (tmp_path / "a.txt").read_text() == "mine"


def test_a_child_that_dies_is_an_error_and_no_answer(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(many_files, "WORKER", "lora_pipeline.no_such_module")

    with pytest.raises(ProcessError, match="ended early"):
        list(read_each((path, str(path)) for path in files))


@pytest.mark.parametrize("count", [20, MANY])
def test_names_that_are_no_text_reach_the_children(tmp_path: Path, count: int) -> None:
    folder = tmp_path / "no\udcfftext"
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system holds text only")
    for number in range(count):
        (folder / f"{number}").write_bytes(b"x")

    found = [facts for _, facts in read_each((n, f"{folder}/{n}") for n in range(count))]
    assert all(isinstance(facts, FileFacts) for facts in found)
    placed = [
        (n, Placement(f"{folder}/{n}", f"{folder}/{n}.png", f"{folder}/{n}.txt", "a"))
        for n in range(count)
    ]
    assert [error for _, error in place_each(placed)] == [None] * count
