"""lora store push, pull, status, verify --remote and gc --remote, with a folder as the remote."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from lora_pipeline.catalog.records import Weights
from lora_pipeline.catalog.weight_files import weights_path
from lora_pipeline.foundation.errors import FileMissingError
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import ObjectStore, open_store
from tests.support.remote_builders import empty, name_objects, noise
from tests.support.store_builders import put_bytes
from tests.support.workspace_builders import (
    commit_all,
    git,
    invoke,
    make_workspace,
    reopen,
    tree_digest,
)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "ws", project="neon_city")


@pytest.fixture
def store(workspace: Workspace) -> ObjectStore:
    return open_store(workspace)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The remote store, set by its variable."""
    place = tmp_path / "shared"
    place.mkdir()
    monkeypatch.setenv("LORA_STORE_REMOTE", place.as_uri())
    return place


def there(folder: Path, sha256: str) -> Path:
    return folder / sha256[:2] / sha256


def make_old(folder: Path, hours: int) -> None:
    age = time.time() - hours * 3600
    for path in folder.glob("??/*"):
        os.utime(path, (age, age))


# --- push and pull -----------------------------------------------------------------------------


def test_what_records_need_goes_there_and_comes_back(
    workspace: Workspace, store: ObjectStore, folder: Path
) -> None:
    named, other = put_bytes(store, noise(1000)), put_bytes(store, b"named by nothing")
    name_objects(workspace, "icons", named)

    answer = invoke(["store", "push", "--json"], workspace.root)

    assert answer.exit_code == 0
    data = answer.document["data"]
    assert data["sent"] == [named]
    assert (data["provenByReading"], data["provenByChecksum"]) == (1, 0)
    assert there(folder, named).read_bytes() == noise(1000)
    assert not there(folder, other).exists()

    empty(store)
    pulled = invoke(["store", "pull", "--json"], workspace.root).document["data"]
    assert (pulled["fetched"], pulled["bytes"]) == ([named], 1000)
    assert store.open_path(named).is_file()
    assert "Nothing to pull" in invoke(["store", "pull"], workspace.root).stdout
    assert "Nothing to push: 1 object there" in invoke(["store", "push"], workspace.root).stdout


def test_a_dry_run_says_it_all_and_does_nothing(
    workspace: Workspace, store: ObjectStore, folder: Path
) -> None:
    sha256 = put_bytes(store, b"weights")
    name_objects(workspace, "icons", sha256)

    pushed = invoke(["store", "push", "--dry-run"], workspace.root)
    assert pushed.stdout.startswith("Would push 1 object · 7 B")
    assert tree_digest(folder) == {}

    invoke(["store", "push"], workspace.root)
    empty(store)
    before = tree_digest(workspace.root)
    pulled = invoke(["store", "pull", "--dry-run"], workspace.root)
    assert pulled.stdout.startswith("Would pull 1 object · 7 B")
    assert tree_digest(workspace.root) == before


@pytest.mark.parametrize("word", ["icons", "digest", "digits", "sha256:"])
def test_an_object_is_named_by_its_record_or_its_digest(
    workspace: Workspace, store: ObjectStore, folder: Path, word: str
) -> None:
    sha256, other = put_bytes(store, b"one"), put_bytes(store, b"two")
    name_objects(workspace, "icons", sha256)
    name_objects(workspace, "frames", other)
    invoke(["store", "push"], workspace.root)
    empty(store)
    said = {"digest": sha256, "digits": sha256[:8], "sha256:": f"sha256:{sha256}"}.get(word, word)

    assert invoke(["store", "pull", said], workspace.root).exit_code == 0
    assert store.all() == [sha256]


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("nobody", "record_not_found"),
        ("../escape", "record_not_found"),
        ("0123abcd", "argument_invalid"),
        ("nobody/r1", "record_not_found"),
        ("f" * 64, "remote_missing"),
    ],
)
def test_a_word_that_means_nothing_is_said(
    workspace: Workspace, folder: Path, word: str, code: str
) -> None:
    before = tree_digest(workspace.root)

    answer = invoke(["store", "pull", word, "--json"], workspace.root)

    assert (answer.exit_code, answer.error["code"]) == (3, code)
    assert answer.error["hint"]
    assert tree_digest(workspace.root) == before


def test_an_object_that_is_damaged_here_is_not_sent(
    workspace: Workspace, store: ObjectStore, folder: Path
) -> None:
    sha256 = put_bytes(store, b"whole")
    name_objects(workspace, "icons", sha256)
    store.path(sha256).write_bytes(b"hole!")

    answer = invoke(["store", "push", "--json"], workspace.root)

    assert (answer.exit_code, answer.error["code"]) == (3, "digest_mismatch")
    assert tree_digest(folder) == {}


@pytest.mark.parametrize("other", [b"hole!", b"of another length"])
def test_damage_there_is_told_and_neither_replaced_nor_fetched(
    workspace: Workspace, store: ObjectStore, folder: Path, other: bytes
) -> None:
    sha256 = put_bytes(store, b"whole")
    name_objects(workspace, "icons", sha256)
    invoke(["store", "push"], workspace.root)
    there(folder, sha256).write_bytes(other)

    verified = invoke(["store", "verify", "--remote", "--json"], workspace.root)
    assert (verified.exit_code, verified.error["code"]) == (1, "remote_damaged")
    assert verified.document["data"]["damaged"][0]["sha256"] == sha256
    pushed = invoke(["store", "push", "--json"], workspace.root)
    assert pushed.exit_code == (0 if len(other) == 5 else 1)
    assert there(folder, sha256).read_bytes() == other

    empty(store)
    pulled = invoke(["store", "pull", "--json"], workspace.root)
    assert (pulled.exit_code, pulled.error["code"]) == (3, "digest_mismatch")
    assert [path for path in store.root.rglob("*") if path.is_file() and "lock" not in path.name
            ] == []  # fmt: skip


def test_without_a_remote_store_the_hint_says_how_to_set_one(workspace: Workspace) -> None:
    for command in (["push"], ["pull"], ["verify", "--remote"], ["gc", "--remote"]):
        answer = invoke(["store", *command, "--json"], workspace.root)
        assert (answer.exit_code, answer.error["code"]) == (3, "settings_invalid")
        assert "store.remote" in answer.error["hint"]


def test_a_share_that_is_not_mounted_is_no_empty_store(
    workspace: Workspace, store: ObjectStore, folder: Path
) -> None:
    name_objects(workspace, "icons", put_bytes(store, b"x"))
    folder.rmdir()

    answer = invoke(["store", "push", "--json"], workspace.root)

    assert (answer.exit_code, answer.error["code"]) == (3, "remote_missing")
    assert "mount" in answer.error["hint"]
    assert not folder.exists()


def test_the_extra_is_named_when_a_client_is_missing(
    workspace: Workspace, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "s3fs" else real(name)
    )
    monkeypatch.setenv("LORA_STORE_REMOTE", "s3://bucket/loras")

    answer = invoke(["store", "push", "--json"], workspace.root)

    assert (answer.exit_code, answer.error["code"]) == (3, "extra_missing")
    assert answer.error["hint"] == "pip install 'lora-pipeline[storage]'"


# --- status ------------------------------------------------------------------------------------


def test_status_says_what_is_where(workspace: Workspace, store: ObjectStore, folder: Path) -> None:
    here, remote = put_bytes(store, b"here"), put_bytes(store, b"there")
    name_objects(workspace, "icons", here, remote, "e" * 64)
    invoke(["store", "push", remote], workspace.root)
    store.path(remote).unlink()

    answer = invoke(["store", "status", "--json"], workspace.root)

    assert answer.exit_code == 0
    found = answer.document["data"]["remote"]
    assert (found["objects"], found["toPush"], found["toPull"]) == (1, 1, 1)
    assert found["nowhere"] == [
        {"sha256": "e" * 64, "namedBy": "data/projects/neon_city/loras/icons.json"}
    ]
    assert answer.document["suggestions"][:2] == ["lora store push", "lora store pull"]
    assert "remote" not in invoke(["store", "status", "--offline"], workspace.root).stdout


def test_status_answers_when_the_remote_does_not(workspace: Workspace, folder: Path) -> None:
    folder.rmdir()

    answer = invoke(["store", "status"], workspace.root)

    assert answer.exit_code == 0
    assert "was not compared" in answer.stdout


def test_weights_that_are_not_here_name_the_command(workspace: Workspace, folder: Path) -> None:
    weights = Weights(kind="store", sha256="a" * 64)

    with pytest.raises(FileMissingError) as caught:
        weights_path(reopen(workspace.root), weights)
    assert caught.value.hint == f"lora store pull {'a' * 64}"


# --- gc ----------------------------------------------------------------------------------------


def sent(workspace: Workspace, store: ObjectStore, data: bytes) -> str:
    sha256 = put_bytes(store, data)
    assert invoke(["store", "push", sha256], workspace.root).exit_code == 0
    return sha256


def test_nothing_goes_without_a_grace_period_that_was_named(
    workspace: Workspace, store: ObjectStore, folder: Path
) -> None:
    kept, lone = sent(workspace, store, b"kept"), sent(workspace, store, b"lone")
    name_objects(workspace, "icons", kept)
    commit_all(workspace.root, "Icons")
    make_old(folder, 1000)
    before = tree_digest(folder)

    listed = invoke(["store", "gc", "--remote", "--json"], workspace.root)
    assert (listed.exit_code, listed.document["data"]["unnamed"]) == (0, [lone])
    refused = invoke(["store", "gc", "--remote", "--yes", "--json"], workspace.root)
    assert (refused.exit_code, refused.error["code"]) == (1, "grace_period_needed")
    short = ["store", "gc", "--remote", "--yes", "--older-than", "1", "--json"]
    assert invoke(short, workspace.root).error["code"] == "argument_invalid"
    dry = ["store", "gc", "--remote", "--yes", "--older-than", "24", "--dry-run"]
    assert invoke(dry, workspace.root).exit_code == 0
    assert tree_digest(folder) == before

    done = invoke(["store", "gc", "--remote", "--yes", "--older-than", "24"], workspace.root)
    assert done.stdout.startswith("Deleted 1 remote object")
    assert there(folder, kept).is_file()
    assert not there(folder, lone).exists()


def test_what_a_branch_names_and_what_is_young_stays(
    workspace: Workspace, store: ObjectStore, folder: Path
) -> None:
    branched = sent(workspace, store, b"on a branch")
    kept = sent(workspace, store, b"kept")
    git(workspace.root, "switch", "--quiet", "--create", "other")
    name_objects(workspace, "theirs", branched)
    commit_all(workspace.root, "Theirs")
    git(workspace.root, "switch", "--quiet", "main")
    name_objects(workspace, "icons", kept)
    make_old(folder, 1000)
    young = sent(workspace, store, b"young")

    done = invoke(
        ["store", "gc", "--remote", "--yes", "--older-than", "720", "--json"], workspace.root
    )

    assert done.exit_code == 0
    assert (done.document["data"]["unnamed"], done.document["data"]["keptAsYoung"]) == ([], 1)
    assert all(there(folder, one).is_file() for one in (branched, kept, young))


def test_the_store_of_another_repository_is_left_alone(
    workspace: Workspace, store: ObjectStore, folder: Path
) -> None:
    sha256 = sent(workspace, store, b"theirs")
    make_old(folder, 1000)

    done = invoke(
        ["store", "gc", "--remote", "--yes", "--older-than", "720", "--json"], workspace.root
    )

    assert (done.exit_code, done.error["code"]) == (1, "remote_of_another")
    assert there(folder, sha256).is_file()


def test_without_git_nobody_knows_what_branches_name(
    tmp_path: Path, store: ObjectStore, folder: Path
) -> None:
    lone = make_workspace(tmp_path / "alone", git=False, project="neon_city")
    kept = sent(lone, open_store(lone), b"kept")
    other = sent(lone, open_store(lone), b"other")
    name_objects(lone, "icons", kept)
    make_old(folder, 1000)

    done = invoke(["store", "gc", "--remote", "--yes", "--older-than", "720", "--json"], lone.root)

    assert (done.exit_code, done.error["code"]) == (1, "branches_unknown")
    assert there(folder, other).is_file()
