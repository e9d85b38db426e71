"""Changes: bytes before records, the pointer last, all or nothing, and no lost update."""

from __future__ import annotations

import errno
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from lora_pipeline.catalog.records import Project
from lora_pipeline.foundation.errors import (
    DigestMismatchError,
    FileMissingError,
    LockedError,
    PipelineError,
    RecordConflictError,
    RecordExistsError,
    RecordInvalidError,
    StorageError,
    UnsafePathError,
)
from lora_pipeline.foundation.files import stale_temporaries
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.lock import workspace_lock
from lora_pipeline.workspace.records import Loaded
from lora_pipeline.workspace.root import Workspace
from tests.support.change_scenarios import (
    BLOB,
    IMAGE,
    SCOPE,
    change,
    prepare,
    styles,
)
from tests.support.faults import (
    Faults,
    armed,
    failing,
    make_read_only,
    make_writable,
)
from tests.support.workspace_builders import (
    REPOSITORY,
    add_project,
    make_workspace,
    reopen,
    tree_digest,
)

FILES = "data/projects/neon_city/files"
WRITTEN = [
    f"{FILES}/image.png",
    f"{FILES}/blob",
    "data/shared/catalogs/styles.json",
    "data/projects/neon_city/project.json",
]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "workspace", git=False, project="neon_city")


def project_of(workspace: Workspace) -> Loaded[Project]:
    return workspace.records.read(Project, SCOPE, "project")


def noted(loaded: Loaded[Project], notes: str) -> Project:
    return msgspec.structs.replace(loaded.record, notes=notes)


# --- what is written ---------------------------------------------------------------------------


def test_everything_is_written_and_named_in_order(tmp_path: Path) -> None:
    prepare(tmp_path)

    assert change(tmp_path) == WRITTEN

    workspace = reopen(tmp_path / "workspace")
    assert (workspace.root / WRITTEN[0]).read_bytes() == IMAGE
    assert (workspace.root / WRITTEN[1]).read_bytes() == BLOB
    assert project_of(workspace).record.notes == "points at all of it"


def test_a_record_whose_bytes_stay_the_same_is_not_written(workspace: Workspace) -> None:
    loaded = project_of(workspace)
    changes = Changes(workspace)
    changes.update(loaded, loaded.record)

    assert changes.apply() == []
    assert project_of(workspace).digest == loaded.digest


def test_a_record_in_another_form_is_brought_to_ours(workspace: Workspace) -> None:
    path = project_of(workspace).path
    path.write_bytes(json.dumps(json.loads(path.read_bytes())).encode())
    loaded = project_of(workspace)
    changes = Changes(workspace)
    changes.update(loaded, loaded.record)

    assert changes.apply() == [WRITTEN[3]]
    assert path.read_bytes().startswith(b"{\n  ")


def test_a_record_is_removed_after_what_is_written(workspace: Workspace) -> None:
    loaded = project_of(workspace)
    changes = Changes(workspace)
    changes.remove(loaded)
    changes.create(styles(workspace.now()), SHARED, "styles")

    assert changes.apply() == ["data/shared/catalogs/styles.json", WRITTEN[3]]
    assert not loaded.path.exists()


# --- conflicts write nothing -------------------------------------------------------------------


def assert_refused(changes: Changes, kind: type[PipelineError]) -> PipelineError:
    before = tree_digest(changes.workspace.data_root)
    with pytest.raises(kind) as caught:
        changes.apply()
    assert tree_digest(changes.workspace.data_root) == before
    return caught.value


def with_bytes(workspace: Workspace) -> Changes:
    changes = Changes(workspace)
    changes.write_file(workspace.data_root / SCOPE.folder / "files" / "blob", BLOB)
    return changes


def test_a_record_that_changed_meanwhile_is_a_conflict(workspace: Workspace) -> None:
    mine, theirs = project_of(workspace), project_of(workspace)
    changes = with_bytes(workspace)
    changes.update(mine, noted(mine, "mine"))
    other = Changes(workspace)
    other.update(theirs, noted(theirs, "theirs"))
    other.apply()

    error = assert_refused(changes, RecordConflictError)

    assert error.message == "project.json was changed meanwhile; nothing was written"
    assert error.hint == "run the command again"
    assert project_of(workspace).record.notes == "theirs"


def test_a_record_that_went_away_meanwhile_is_a_conflict(workspace: Workspace) -> None:
    mine = project_of(workspace)
    changes = with_bytes(workspace)
    changes.update(mine, noted(mine, "mine"))
    mine.path.unlink()

    error = assert_refused(changes, RecordConflictError)

    assert "was removed meanwhile" in error.message


def test_a_record_to_be_removed_that_changed_is_a_conflict(workspace: Workspace) -> None:
    mine, theirs = project_of(workspace), project_of(workspace)
    changes = with_bytes(workspace)
    changes.remove(mine)
    other = Changes(workspace)
    other.update(theirs, noted(theirs, "theirs"))
    other.apply()

    assert_refused(changes, RecordConflictError)


def test_a_new_record_that_is_there_already_is_refused(workspace: Workspace) -> None:
    changes = with_bytes(workspace)
    changes.create(project_of(workspace).record, SCOPE, "project")

    error = assert_refused(changes, RecordExistsError)

    assert error.code == "record_exists"


def test_a_source_that_is_gone_leaves_no_record(workspace: Workspace, tmp_path: Path) -> None:
    changes = with_bytes(workspace)
    changes.copy_file(tmp_path / "gone.png", workspace.data_root / "files" / "x.png")
    changes.create(styles(workspace.now()), SHARED, "styles")

    with pytest.raises(FileMissingError, match=r"gone\.png"):
        changes.apply()

    assert not (workspace.root / WRITTEN[2]).exists()
    assert not (workspace.root / WRITTEN[1]).exists()


def test_a_source_that_is_another_one_by_now_leaves_no_record(
    workspace: Workspace, tmp_path: Path
) -> None:
    image = tmp_path / "image.png"
    image.write_bytes(IMAGE)
    changes = Changes(workspace)
    recorded = hashlib.sha256(IMAGE).hexdigest()
    changes.copy_file(image, workspace.root / WRITTEN[0], sha256=recorded)
    changes.create(styles(workspace.now()), SHARED, "styles")
    image.write_bytes(b"another one")

    with pytest.raises(DigestMismatchError):
        changes.apply()

    assert not (workspace.root / WRITTEN[0]).exists()
    assert not (workspace.root / WRITTEN[2]).exists()


def test_a_record_that_breaks_its_schema_is_refused_when_it_is_added(
    workspace: Workspace,
) -> None:
    loaded = project_of(workspace)
    changes = Changes(workspace)

    with pytest.raises(RecordInvalidError, match=r"project\.json"):
        changes.update(loaded, msgspec.structs.replace(loaded.record, id="Not A Slug"))

    assert changes.apply() == []


def test_an_id_that_leads_elsewhere_is_refused(workspace: Workspace) -> None:
    changes = Changes(workspace)

    with pytest.raises(UnsafePathError):
        changes.create(styles(workspace.now()), Scope("../../x"), "styles")


def test_a_locked_workspace_is_not_written(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORA_LOCK_TIMEOUT", "0")
    changes = with_bytes(reopen(workspace.root))

    with workspace_lock(workspace.runtime, timeout_s=0):
        error = assert_refused(changes, LockedError)

    assert error.code == "locked"


# --- two processes at once ---------------------------------------------------------------------


def test_two_processes_that_count_lose_no_number(workspace: Workspace) -> None:
    rounds = 50
    counters = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tests.support.change_scenarios",
                str(workspace.root),
                str(rounds),
            ],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for _ in range(2)
    ]
    for counter in counters:
        assert counter.stdout is not None
        assert counter.stdout.readline() == b"ready\n"
    answers = [counter.communicate(b"go\n", timeout=120)[0] for counter in counters]

    made = [int(word) for answer in answers for word in answer.split()]
    assert sorted(made) == list(range(1, 2 * rounds + 1))
    assert project_of(workspace).record.notes == str(2 * rounds)
    assert stale_temporaries(workspace.root) == []


# --- a dry run writes nothing ------------------------------------------------------------------

DRY = (
    "import sys\n"
    "from pathlib import Path\n"
    "from lora_pipeline.foundation.errors import StorageError\n"
    "from tests.support.change_scenarios import change_in\n"
    "from tests.support.faults import obey_permissions\n"
    "from tests.support.workspace_builders import reopen\n"
    "obey_permissions()\n"
    "folder = Path(sys.argv[1])\n"
    "print(change_in(reopen(folder / 'workspace', dry_run=True), folder / 'image.png'))\n"
    "try:\n"
    "    change_in(reopen(folder / 'workspace'), folder / 'image.png')\n"
    "except StorageError as error:\n"
    "    print(error.message.partition(' (')[0], '-', error.hint)\n"
)


def test_a_dry_run_works_where_nothing_can_be_written(tmp_path: Path) -> None:
    prepare(tmp_path)
    before = tree_digest(tmp_path)
    make_read_only(tmp_path)
    try:
        done = subprocess.run(
            [sys.executable, "-c", DRY, str(tmp_path)],
            cwd=REPOSITORY,
            capture_output=True,
            check=False,
            encoding="utf-8",
        )
    finally:
        make_writable(tmp_path)

    assert done.returncode == 0, done.stderr
    planned, refused = done.stdout.splitlines()
    assert planned == str(WRITTEN)
    # The same change without --dry-run is refused: the tree really was read-only.
    assert refused == (
        "the disk refused: Permission denied - check who owns the folder and its permissions"
    )
    assert tree_digest(tmp_path) == before


# --- interrupted anywhere ----------------------------------------------------------------------


def check(folder: Path) -> None:
    """Every record is whole and names only what is there; at most temporaries are left."""
    workspace = reopen(folder / "workspace")
    record = project_of(workspace).record
    bytes_there = [(workspace.root / path).is_file() for path in WRITTEN[:2]]
    styles_there = (workspace.root / WRITTEN[2]).is_file()
    if record.notes:
        assert all(bytes_there)
        assert styles_there
    if styles_there:
        assert all(bytes_there)
    for path, data in zip(WRITTEN[:2], (IMAGE, BLOB), strict=True):
        assert not (workspace.root / path).exists() or (workspace.root / path).read_bytes() == data


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS])
def test_whichever_call_fails_records_are_whole_and_running_again_completes_it(
    number: int, tmp_path: Path
) -> None:
    at = 0
    while True:
        at += 1
        folder = tmp_path / str(at)
        prepare(folder)
        with armed(Faults(folder, at, failing(number))) as faults:
            try:
                change(folder)
                error = None
            except PipelineError as raised:
                error = raised
        if not faults.fired:
            break
        check(folder)
        assert stale_temporaries(folder) == []
        if error is None:  # making a folder that is there, naming the holder: not needed
            assert project_of(reopen(folder / "workspace")).record.notes
        else:
            assert isinstance(error, StorageError | FileMissingError)
        change(folder)
        assert project_of(reopen(folder / "workspace")).record.notes
    assert at > 20


def test_wherever_the_process_dies_records_are_whole_and_running_again_completes_it(
    tmp_path: Path,
) -> None:
    prepare(tmp_path / "before")

    done = subprocess.run(
        [sys.executable, "-m", "tests.support.faults", "tests.support.change_scenarios:change",
         str(tmp_path)],
        cwd=REPOSITORY,
        capture_output=True,
        check=False,
        encoding="utf-8",
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    deaths = int(done.stdout)
    assert deaths > 20
    for at in range(1, deaths + 1):
        folder = tmp_path / str(at)
        check(folder)
        change(folder)
        check(folder)
        assert project_of(reopen(folder / "workspace")).record.notes


def test_a_second_project_is_another_scope(workspace: Workspace) -> None:
    add_project(workspace, "other")

    assert workspace.records.project_ids() == ["neon_city", "other"]
