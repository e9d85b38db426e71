"""The store keeps bytes by their digest, and knows what still names them."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from pathlib import Path

import pytest

from lora_pipeline.foundation.errors import (
    DigestMismatchError,
    FileMissingError,
    StorageError,
    UnsafePathError,
)
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import ObjectStore, open_store
from lora_pipeline.workspace.store_references import expected_here, named_anywhere
from tests.support.faults import Faults, armed, failing
from tests.support.workspace_builders import commit_all, git, make_workspace

DATA = b"weights" * 100
SHA = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> ObjectStore:
    return ObjectStore(tmp_path / "store")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "lora.safetensors"
    path.write_bytes(DATA)
    return path


def test_a_file_is_kept_under_its_digest(store: ObjectStore, source: Path) -> None:
    assert not store.has(SHA)

    assert store.put_file(source) == SHA

    assert store.has(SHA)
    assert store.open_path(SHA) == store.root / SHA[:2] / SHA
    assert store.open_path(SHA).read_bytes() == DATA
    assert store.all() == [SHA]


def test_the_same_bytes_are_kept_once(store: ObjectStore, source: Path) -> None:
    store.put_file(source)
    inode = store.path(SHA).stat().st_ino

    assert store.put_file(source) == SHA

    assert store.path(SHA).stat().st_ino == inode
    assert store.all() == [SHA]


def test_an_object_that_is_brought_again_is_young_again(store: ObjectStore, source: Path) -> None:
    store.put_file(source)
    os.utime(store.path(SHA), (0, 0))

    store.put_file(source)

    assert store.path(SHA).stat().st_mtime > 0


def test_a_damaged_object_is_never_opened_and_is_replaced_when_it_comes_again(
    store: ObjectStore, source: Path
) -> None:
    store.put_file(source)
    store.path(SHA).write_bytes(DATA[:-1])
    with pytest.raises(DigestMismatchError):
        store.open_path(SHA)

    store.put_file(source)

    assert store.open_path(SHA).read_bytes() == DATA


def test_an_object_that_is_not_there_is_named(store: ObjectStore) -> None:
    with pytest.raises(FileMissingError, match=SHA[:12]):
        store.open_path(SHA)
    assert store.all() == []


@pytest.mark.parametrize(
    "name", ["", "../../etc/passwd", SHA[:-1], SHA.upper(), f"sha256:{SHA}", f"{SHA}\n", "/" * 64]
)
def test_what_is_no_digest_leads_nowhere(name: str, store: ObjectStore) -> None:
    with pytest.raises(UnsafePathError, match="is no SHA-256"):
        store.path(name)


def test_a_full_disk_leaves_nothing(store: ObjectStore, source: Path, tmp_path: Path) -> None:
    full = Faults(tmp_path / "store", 1, failing(errno.ENOSPC), only="write")
    with armed(full), pytest.raises(StorageError, match="No space left"):
        store.put_file(source)

    assert store.all() == []
    assert not [path for path in store.root.rglob("*") if path.is_file()]


def test_temporaries_and_other_files_are_no_objects(store: ObjectStore) -> None:
    (store.root / "ab").mkdir(parents=True)
    for name in (".lora-tmp-x", "x" * 64, "README"):
        (store.root / "ab" / name).touch()

    assert store.all() == []


def test_the_store_stands_where_the_settings_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = make_workspace(tmp_path / "w", git=False)
    assert open_store(workspace).root == workspace.root / ".lora" / "store"

    monkeypatch.setenv("LORA_STORE_ROOT", str(tmp_path / "big"))
    assert open_store(make_workspace(tmp_path / "w", git=False)).root == tmp_path / "big"


# --- what is named -----------------------------------------------------------------------------


def digests(*numbers: int) -> list[str]:
    return [hashlib.sha256(bytes([number])).hexdigest() for number in numbers]


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "workspace")


def test_whatever_could_name_an_object_counts(workspace: Workspace) -> None:
    valid, broken, running, branch, stash = digests(1, 2, 3, 4, 5)
    records = workspace.data_root / "shared"
    (records / "a.json").write_text(f'{{"anything": ["{valid}"]}}')
    (records / "b.json").write_text(f'{{"broken": "{broken}"')
    runs = workspace.runtime / "runs" / "r1"
    runs.mkdir(parents=True)
    (runs / "state.json").write_text(f'"{running}"')
    git(workspace.root, "checkout", "--quiet", "-b", "other")
    (workspace.root / "note.md").write_text(branch)
    commit_all(workspace.root, "on a branch")
    git(workspace.root, "checkout", "--quiet", "main")
    (workspace.root / "README").write_text("x")
    commit_all(workspace.root, "main")
    (workspace.root / "README").write_text(stash)
    git(workspace.root, "stash")

    assert {valid, broken, running, branch, stash} <= named_anywhere(workspace)


def test_a_digest_that_stands_nowhere_is_not_named(workspace: Workspace) -> None:
    assert digests(9)[0] not in named_anywhere(workspace)


def test_records_expect_their_weights_and_images_here(workspace: Workspace) -> None:
    weights, image, other = digests(1, 2, 3)
    records = workspace.data_root / "shared"
    (records / "lora.json").write_text(
        f'{{"releases": [{{"weights": {{"kind": "store", "sha256": "{weights}"}}}},'
        f'{{"weights": {{"kind": "absolute", "sha256": "{other}"}}}}]}}'
    )
    cells = [{"imageSha256": image}, {"imageSha256": ""}, {"sha256": other}]
    (records / "eval.json").write_text(json.dumps({"cells": cells}))
    (records / "broken.json").write_text("{")

    assert expected_here(workspace) == {
        weights: "data/shared/lora.json",
        image: "data/shared/eval.json",
    }
