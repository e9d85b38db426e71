from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_pipeline.workspace.file_times import is_racy
from lora_pipeline.workspace.stat_index import Known, Stamp, StatIndex, stamp_of

SECOND = 1_000_000_000
NOON = 1_700_000_000 * SECOND + 123_456_789
KNOWN = Known(5, "ab" * 32, "cd" * 16, plain_png=True)
OLD = Stamp(5, NOON, NOON, 77)


@pytest.fixture
def index(tmp_path: Path) -> StatIndex:
    return StatIndex(tmp_path / "cache" / "images.index")


def learned(index: StatIndex, stamp: Stamp = OLD, *, read_ns: int = NOON + SECOND) -> StatIndex:
    index.learn("/art/a.png", stamp, KNOWN, read_ns=read_ns)
    return index


def test_what_was_learned_is_known_after_loading_it_again(index: StatIndex) -> None:
    learned(index).learn("/art/ö\udcff.png", OLD, KNOWN._replace(plain_png=False), read_ns=NOON * 2)
    index.save()

    again = StatIndex.load(index.path)
    assert len(again) == 2
    assert again.known("/art/a.png", OLD) == KNOWN
    assert again.known("/art/ö\udcff.png", OLD) == KNOWN._replace(plain_png=False)


@pytest.mark.parametrize("field", ["size", "mtime_ns", "ctime_ns", "inode"])
def test_a_file_of_which_anything_differs_must_be_read(index: StatIndex, field: str) -> None:
    other = OLD._replace(**{field: getattr(OLD, field) + 1})

    assert learned(index).known("/art/a.png", other) is None


@pytest.mark.parametrize(
    ("stamp", "read_ns"),
    [
        (OLD, NOON),  # changed in the moment in which it was read
        (OLD, NOON + 19_000_000),  # within a tick of the clock
        (OLD, NOON - SECOND),  # the clock was set back since
        (OLD._replace(ctime_ns=NOON + SECOND), NOON + SECOND),  # moved there while it was read
        (OLD._replace(mtime_ns=NOON - NOON % SECOND), NOON - NOON % SECOND + SECOND),  # FAT
    ],
)
def test_a_file_changed_too_shortly_before_it_was_read_is_not_kept(
    index: StatIndex, stamp: Stamp, read_ns: int
) -> None:
    assert learned(index, stamp, read_ns=read_ns).known("/art/a.png", stamp) is None


def test_what_was_known_of_a_file_is_forgotten_when_it_becomes_racy(index: StatIndex) -> None:
    learned(index)
    learned(index, OLD._replace(mtime_ns=NOON + SECOND), read_ns=NOON + SECOND)

    assert len(index) == 0


def test_a_link_that_we_made_changes_nothing_but_the_change_time(index: StatIndex) -> None:
    later = OLD._replace(ctime_ns=NOON + 2 * SECOND)
    learned(index).restamp("/art/a.png", later, now_ns=NOON + 3 * SECOND)

    assert index.known("/art/a.png", later) == KNOWN


@pytest.mark.parametrize("field", ["size", "mtime_ns", "inode"])
def test_a_file_that_changed_while_it_was_linked_is_forgotten(index: StatIndex, field: str) -> None:
    changed = OLD._replace(**{field: 1})
    learned(index).restamp("/art/a.png", changed, now_ns=NOON * 2)

    assert len(index) == 0


def test_a_link_that_is_too_young_is_forgotten(index: StatIndex) -> None:
    later = OLD._replace(ctime_ns=NOON + 2 * SECOND)
    learned(index).restamp("/art/a.png", later, now_ns=NOON + 2 * SECOND)

    assert len(index) == 0


@pytest.mark.parametrize("place", range(0, 400, 7))
def test_a_damaged_index_counts_as_empty(index: StatIndex, place: int) -> None:
    learned(index).save()
    data = bytearray(index.path.read_bytes())
    data[place % len(data)] ^= 0x10
    index.path.write_bytes(data)

    assert len(StatIndex.load(index.path)) == 0


def test_a_cut_index_counts_as_empty_and_so_does_none(index: StatIndex) -> None:
    assert len(StatIndex.load(index.path)) == 0
    learned(index).save()
    index.path.write_bytes(index.path.read_bytes()[:-1])

    assert len(StatIndex.load(index.path)) == 0


def test_nothing_is_written_when_nothing_was_learned(index: StatIndex) -> None:
    index.save()

    assert not index.path.exists()


def test_a_disk_that_refuses_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file stands where the folder should")
    index = learned(StatIndex(tmp_path / "cache" / "images.index"))

    index.save()

    assert index.known("/art/a.png", OLD) == KNOWN


def test_content_changed_with_size_and_time_put_back_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(b"12345")
    os.utime(file, ns=(NOON, NOON))
    before = stamp_of(file.stat())

    file.write_bytes(b"54321")
    os.utime(file, ns=(NOON, NOON))
    after = stamp_of(file.stat())

    assert (after.size, after.mtime_ns) == (before.size, before.mtime_ns)
    # Either the change time tells, or the file is so young that it is not believed.
    assert after != before or is_racy(before.ctime_ns, before.ctime_ns)


@given(
    st.lists(st.tuples(st.text(), st.integers(0, 2**62), st.booleans()), unique_by=lambda x: x[0])
)
def test_any_entries_come_back(entries: list[tuple[str, int, bool]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        index = StatIndex(Path(folder, "x"))
        wanted = {}
        for path, number, plain in entries:
            if "\0" in path or any("\ud800" <= letter <= "\udfff" for letter in path):
                continue
            stamp = Stamp(number, NOON, NOON, number)
            wanted[path] = (stamp, KNOWN._replace(size=number, plain_png=plain))
            index.learn(path, *wanted[path], read_ns=NOON * 2)
        index.save()
        again = StatIndex.load(index.path)
        assert {path: again.known(path, stamp) for path, (stamp, _) in wanted.items()} == {
            path: known for path, (_, known) in wanted.items()
        }
