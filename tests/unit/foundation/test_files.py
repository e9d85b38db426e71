"""Files are whole or not there, and no path leaves its folder."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_pipeline.foundation import files
from lora_pipeline.foundation.errors import (
    DigestMismatchError,
    FileMissingError,
    StorageError,
    UnsafePathError,
)
from tests.support.faults import Faults, armed, failing
from tests.support.workspace_builders import REPOSITORY

OLD, NEW = b"old\n", b"new" * 1000


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# --- whole or not there ------------------------------------------------------------------------


def test_a_file_is_written_with_the_folders_that_it_needs(tmp_path: Path) -> None:
    files.write_atomic(tmp_path / "a" / "b" / "c.json", NEW)

    assert (tmp_path / "a" / "b" / "c.json").read_bytes() == NEW
    assert names(tmp_path) == ["a", "a/b", "a/b/c.json"]


def test_a_file_is_replaced_and_its_old_readers_keep_the_old_bytes(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    target.write_bytes(OLD)
    with target.open("rb") as reader:
        files.write_atomic(target, NEW)

        assert reader.read() == OLD
    assert target.read_bytes() == NEW
    assert names(tmp_path) == ["a.json"]


def test_a_written_file_is_as_readable_as_the_umask_says(tmp_path: Path) -> None:
    code = (
        "import os, sys; os.umask(0o027)\n"
        "from pathlib import Path\n"
        "from lora_pipeline.foundation import files\n"
        "files.write_atomic(Path(sys.argv[1]), b'x')\n"
    )
    target = tmp_path / "a.json"

    subprocess.run([sys.executable, "-c", code, str(target)], cwd=REPOSITORY, check=True)

    assert stat.S_IMODE(target.stat().st_mode) == 0o640


def test_writers_in_threads_leave_the_umask_as_it_is(tmp_path: Path) -> None:
    before = os.umask(0o022)
    os.umask(before)
    files._umask.cache_clear()
    writers = [
        threading.Thread(target=files.write_atomic, args=(tmp_path / str(number), NEW))
        for number in range(16)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()

    after = os.umask(before)
    assert after == before
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o666 & ~before}


def test_the_target_may_be_a_link_and_the_link_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(OLD)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")

    files.write_atomic(tmp_path / "link", NEW)

    assert (tmp_path / "elsewhere").read_bytes() == OLD
    assert not (tmp_path / "link").is_symlink()


# --- the fault loop: fail the k-th call, for every k -------------------------------------------


def write_one(folder: Path) -> None:
    files.write_atomic(folder / "one.json", NEW)


def write_deep(folder: Path) -> None:
    files.write_atomic(folder / "new" / "folders" / "one.json", NEW)


def copy_one(folder: Path) -> None:
    files.copy_atomic(folder / "source", folder / "one.json")


def stream_one(folder: Path) -> None:
    with files.open_atomic(folder / "one.json") as stream:
        stream.write(NEW[:10])
        stream.write(NEW[10:])


def write_several(folder: Path) -> None:
    files.write_all(
        [
            files.Write(folder / "copies" / "a", source=folder / "source"),
            files.Write(folder / "records" / "b.json", data=NEW),
            files.Write(folder / "one.json", data=NEW),  # the pointer
        ]
    )


SCENARIOS = [write_one, write_deep, copy_one, stream_one, write_several]


def prepared(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "source").write_bytes(NEW)
    (folder / "one.json").write_bytes(OLD)
    return folder


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EMFILE])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_whichever_call_fails_every_file_is_old_or_new_and_nothing_is_left(
    scenario: object, number: int, tmp_path: Path
) -> None:
    assert callable(scenario)
    at, seen = 0, set()
    while True:
        at += 1
        folder = prepared(tmp_path / str(at))
        with armed(Faults(folder, at, failing(number))) as faults:
            try:
                scenario(folder)
                error = None
            except (OSError, FileMissingError) as raised:
                error = raised
        seen.add(faults.names[-1])
        if not faults.fired:
            break
        assert error is not None, f"the fault at {faults.names} was swallowed"
        check_old_or_new(folder)
        assert not [path for path in folder.rglob("*") if path.name.startswith(".lora-tmp-")]
        scenario(folder)  # running again completes it
        assert (folder / "one.json").read_bytes() in (NEW, OLD)
    assert (folder / "one.json").read_bytes() == NEW or scenario is write_deep
    assert {"open", "fsync", "os.rename"} <= seen | set(faults.names)
    assert at > 6


def check_old_or_new(folder: Path) -> None:
    """What the promise is: no file is half, and the pointer comes last."""
    assert (folder / "one.json").read_bytes() in (OLD, NEW)
    assert (folder / "source").read_bytes() == NEW
    others = [
        folder / "copies" / "a",
        folder / "records" / "b.json",
        folder / "new/folders/one.json",
    ]
    for path in others:
        assert not path.exists() or path.read_bytes() == NEW
    several = (folder / "copies").exists()
    if several and (folder / "one.json").read_bytes() == NEW:
        assert others[0].exists()
        assert others[1].exists()


@pytest.mark.parametrize("name", ["write_one", "write_several", "stream_one"])
def test_wherever_the_process_dies_every_file_is_old_or_new(name: str, tmp_path: Path) -> None:
    prepared(tmp_path / "before")

    done = subprocess.run(
        [sys.executable, "-m", "tests.support.faults", f"{__name__}:{name}", str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
        encoding="utf-8",
    )

    assert done.returncode == 0, done.stderr
    deaths = int(done.stdout)
    assert deaths > 5
    scenario = {"write_one": write_one, "write_several": write_several, "stream_one": stream_one}[
        name
    ]
    for at in range(1, deaths + 1):
        folder = tmp_path / str(at)
        check_old_or_new(folder)
        scenario(folder)
        assert (folder / "one.json").read_bytes() == NEW
    # What died writers left is found by its name, and by nothing else.
    stale = files.stale_temporaries(tmp_path)
    assert stale
    assert all(path.name.startswith(files.TEMPORARY_PREFIX) for path in stale)


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.EINVAL, errno.ENOTTY])
def test_a_file_system_that_cannot_force_to_disk_is_accepted(number: int, tmp_path: Path) -> None:
    with armed(Faults(tmp_path, 1, failing(number), only="fsync")) as faults:
        files.write_atomic(tmp_path / "one.json", NEW)

    assert len(faults.names) == 2  # the file, and its folder
    assert (tmp_path / "one.json").read_bytes() == NEW


def test_a_disk_that_is_full_for_real_leaves_the_old_file(tmp_path: Path) -> None:
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from lora_pipeline.foundation import files\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try:\n"
        "    with files.disk_refusals():\n"
        "        files.write_atomic(Path(sys.argv[1]), b'x' * 5000)\n"
        "except files.StorageError as error:\n"
        "    print(error.code, error.hint)\n"
    )
    (tmp_path / "one.json").write_bytes(OLD)

    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "one.json")],
        cwd=REPOSITORY,
        capture_output=True,
        check=True,
        encoding="utf-8",
    )

    assert done.stdout == "storage_failed free disk space, then run the command again\n"
    assert (tmp_path / "one.json").read_bytes() == OLD
    assert names(tmp_path) == ["one.json"]


# --- copies and links --------------------------------------------------------------------------


def test_a_copy_that_is_not_what_was_expected_is_not_made(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(NEW)

    with pytest.raises(DigestMismatchError, match="changed while it was copied"):
        files.write_all([files.Write(tmp_path / "a", source=tmp_path / "source", sha256="0" * 64)])

    assert names(tmp_path) == ["source"]


def test_a_source_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileMissingError, match="gone"):
        files.copy_atomic(tmp_path / "gone", tmp_path / "a")
    with pytest.raises(FileMissingError, match="gone"):
        files.link_or_copy(tmp_path / "gone", tmp_path / "a")

    assert names(tmp_path) == []


def test_a_link_shares_the_bytes_and_makes_its_folder(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(NEW)

    files.link_or_copy(tmp_path / "source", tmp_path / "new" / "target")

    assert (tmp_path / "new" / "target").samefile(tmp_path / "source")


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EPERM, errno.EMLINK])
def test_where_no_link_can_be_made_the_bytes_are_copied(number: int, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(NEW)

    with armed(Faults(tmp_path, 1, failing(number), only="os.link")):
        files.link_or_copy(tmp_path / "source", tmp_path / "target")

    assert (tmp_path / "target").read_bytes() == NEW
    assert not (tmp_path / "target").samefile(tmp_path / "source")


@pytest.mark.parametrize("number", [0, errno.EXDEV])
def test_a_link_never_replaces_what_is_there(number: int, tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(NEW)
    (tmp_path / "target").write_bytes(OLD)

    links = Faults(tmp_path, 1 if number else 99, failing(number), only="os.link")
    with armed(links), pytest.raises(FileExistsError):
        files.link_or_copy(tmp_path / "source", tmp_path / "target")

    assert (tmp_path / "target").read_bytes() == OLD


# --- what the disk refuses ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "free disk space"),
        (errno.EDQUOT, "free disk space"),
        (errno.EROFS, "make the folder writable"),
        (errno.EACCES, "permissions"),
        (errno.EIO, "lora validate"),
        (errno.EMFILE, "ulimit"),
    ],
)
def test_what_the_disk_refuses_is_said_with_a_way_out(number: int, hint: str) -> None:
    with pytest.raises(StorageError) as caught, files.disk_refusals():
        raise OSError(number, os.strerror(number), "data/a.json")

    assert os.strerror(number) in caught.value.message
    assert "data/a.json" in caught.value.message
    assert caught.value.hint is not None
    assert hint in caught.value.hint


def test_an_error_that_is_no_refusal_of_the_disk_stays_what_it_is() -> None:
    with pytest.raises(FileNotFoundError), files.disk_refusals():
        raise FileNotFoundError(errno.ENOENT, "no such file", "x")


# --- paths -------------------------------------------------------------------------------------

HOSTILE = [
    "", "/etc/passwd", "~/x", "~", ".", "..", "../x", "a/../../x", "a/..", "a//b", "a/", "./a",
    "C:\\x", "C:/x", "\\\\server\\share", "a\\..\\x", "x:stream", "file:///etc/passwd",
    "con", "CON", "aux.png", "nul.tar.gz", "com1", "LPT9.txt", "com¹", "aux .png",
    "a.", "a ", "a./b", "a?", "a*", "a|b", 'a"b', "a<b", "a\nb", "a\tb", "a\x00b", "a\x7f",
    "x" * 256, "é" * 128, "a/" * 600 + "a", "a\udc80b",
]  # fmt: skip


@pytest.mark.parametrize("relative", HOSTILE)
def test_a_path_that_could_lead_out_or_is_not_portable_is_refused(
    relative: str, tmp_path: Path
) -> None:
    with pytest.raises(UnsafePathError) as caught:
        files.safe_join(tmp_path, relative)

    assert caught.value.code == "unsafe_path"
    assert repr(relative) in caught.value.message


@pytest.mark.parametrize(
    "relative",
    ["a", "a/b.json", "猫.png", "犬/猫.png", "😀.png", "a~b", "..a", "a..b", ".hidden", "console",
     "-x", "$(x)", "a;b", "a'b", "x" * 255, "%2e%2e"],
)  # fmt: skip
def test_unusual_names_that_every_system_stores_are_accepted(relative: str, tmp_path: Path) -> None:
    assert files.safe_join(tmp_path, relative) == tmp_path / relative


@given(st.text(max_size=40))
def test_whatever_is_joined_stays_inside(relative: str) -> None:
    root = Path("/tmp/workspace")
    try:
        joined = files.safe_join(root, relative)
    except UnsafePathError:
        return
    assert os.path.commonpath([os.path.normpath(joined), root]) == str(root)


@given(st.lists(st.sampled_from(["..", ".", "a", "~", "", "C:", "/"]), max_size=6))
def test_no_way_of_writing_dots_leads_outside(parts: list[str]) -> None:
    root = Path("/tmp/workspace")
    try:
        joined = files.safe_join(root, "/".join(parts))
    except UnsafePathError:
        return
    assert os.path.normpath(joined).startswith(f"{root}/")


def test_a_link_that_leads_out_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "root-sibling").mkdir()
    (root / "out").symlink_to(tmp_path)
    (root / "sibling").symlink_to(tmp_path / "root-sibling")
    (root / "file").symlink_to("/etc/passwd")

    for relative in ("out", "out/x", "sibling", "sibling/new/x", "file"):
        with pytest.raises(UnsafePathError, match="leads outside"):
            files.safe_join(root, relative)


def test_a_link_that_stays_inside_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")

    assert files.safe_join(tmp_path, "link/x.json") == tmp_path / "link" / "x.json"


def test_a_root_that_is_a_link_itself_is_a_root(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "real")

    assert files.safe_join(tmp_path / "root", "a.json") == tmp_path / "root" / "a.json"


def test_a_loop_of_links_is_refused_and_ends(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")

    with pytest.raises(UnsafePathError):
        files.safe_join(tmp_path, "a/x.json")


@pytest.mark.parametrize(
    "path",
    ["con.png", "a/NUL.png", "aux/b.png", "com1.png", "lpt9/x.png", "prn/x", "a/..", "a./b.png"],
)
def test_the_short_way_for_plain_paths_lets_no_device_through(path: str) -> None:
    assert files.unsafe_reason(path)


@pytest.mark.parametrize(
    "path", ["console/a.png", "nullify.png", "common/com.x/a.png", "a-b_c/1.webp"]
)
def test_names_that_only_begin_like_a_device_are_allowed(path: str) -> None:
    assert files.unsafe_reason(path) is None
