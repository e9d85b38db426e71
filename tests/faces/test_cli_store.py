"""lora store: what is in it, whether it is whole, and what may go."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from lora_pipeline.training.runs.folder import working_in
from lora_pipeline.workspace.root import Workspace
from lora_pipeline.workspace.store import ObjectStore, open_store
from tests.support.store_builders import put_bytes
from tests.support.workspace_builders import commit_all, git, invoke, make_workspace, tree_digest


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path, project="neon_city")


@pytest.fixture
def store(workspace: Workspace) -> ObjectStore:
    return open_store(workspace)


def name_in_a_record(workspace: Workspace, *digests: str) -> None:
    """Write a file that names objects as the records of LoRAs do."""
    weights = [{"weights": {"kind": "store", "sha256": digest}} for digest in digests]
    path = workspace.data_root / "projects" / "neon_city" / "loras" / "icons.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"releases": weights}))


def staged(workspace: Workspace, *, age_days: int) -> Path:
    """Return a staging that no manifest names, and an image that it alone links."""
    root = workspace.runtime / "staging"
    folder, pooled = root / ("a" * 32), root / ".normalised" / f"k.{'0' * 64}.png"
    folder.mkdir(parents=True)
    pooled.parent.mkdir()
    pooled.write_bytes(b"x" * 2000)
    os.link(pooled, folder / "one.png")
    for path in (pooled, folder):
        os.utime(path, (time.time() - age_days * 86_400,) * 2)
    return folder


def put_old(store: ObjectStore, data: bytes) -> str:
    """Store an object that is older than any command that runs now."""
    digest = put_bytes(store, data)
    os.utime(store.path(digest), (1_700_000_000,) * 2)
    return digest


# --- status ------------------------------------------------------------------------------------


def test_an_empty_store_is_no_error(workspace: Workspace) -> None:
    answer = invoke(["store", "status", "--json"], workspace.root)

    assert answer.exit_code == 0
    assert answer.document["data"] == {
        "root": str(workspace.root / ".lora" / "store"),
        "objects": 0,
        "bytes": 0,
        "missing": [],
        "missingCount": 0,
    }
    assert invoke(["store", "verify"], workspace.root).stdout == "The store is empty\n"
    assert not (workspace.root / ".lora" / "store").exists()


def test_what_is_there_and_what_records_need_is_told(
    workspace: Workspace, store: ObjectStore
) -> None:
    here, gone = put_bytes(store, b"x" * 1000), "0" * 64
    name_in_a_record(workspace, here, gone)

    data = invoke(["store", "status", "--json"], workspace.root).document["data"]

    assert (data["objects"], data["bytes"], data["missingCount"]) == (1, 1000, 1)
    assert data["missing"] == [
        {"sha256": gone, "namedBy": "data/projects/neon_city/loras/icons.json"}
    ]
    assert invoke(["store", "status"], workspace.root).stdout.splitlines()[:3] == [
        "1 object · 1000 B",
        f"  folder     {store.root}",
        "  not here   1 object, such as 000000000000… of data/projects/neon_city/loras/icons.json",
    ]


# --- verify ------------------------------------------------------------------------------------


def test_a_whole_store_verifies(workspace: Workspace, store: ObjectStore) -> None:
    for number in range(5):
        put_bytes(store, bytes([number]) * 1000)

    answer = invoke(["store", "verify", "--json"], workspace.root)

    assert answer.exit_code == 0
    assert answer.document["reasoning"] == "5 of 5 objects are what their names say"


@pytest.mark.parametrize("damage", [b"", b"x" * 999, b"y" + b"x" * 999])
def test_a_damaged_object_is_found_and_is_a_no(
    damage: bytes, workspace: Workspace, store: ObjectStore
) -> None:
    put_bytes(store, b"whole")
    digest = put_bytes(store, b"x" * 1000)
    store.path(digest).write_bytes(damage)
    before = tree_digest(workspace.root)

    answer = invoke(["store", "verify", "--json"], workspace.root)

    assert answer.exit_code == 1
    assert answer.error["code"] == "store_damaged"
    assert answer.error["message"] == "1 of 2 objects are damaged"
    (damaged,) = answer.document["data"]["damaged"]
    assert damaged["sha256"] == digest
    assert damaged["path"] == str(store.path(digest))
    assert "backup" in answer.error["hint"]
    assert tree_digest(workspace.root) == before
    assert str(store.path(digest)) in invoke(["store", "verify"], workspace.root).stdout


def test_an_object_that_is_replaced_by_a_link_to_other_bytes_is_damaged(
    workspace: Workspace, store: ObjectStore, tmp_path_factory: pytest.TempPathFactory
) -> None:
    digest = put_bytes(store, b"x" * 1000)
    other = tmp_path_factory.mktemp("other") / "file"
    other.write_bytes(b"y" * 1000)
    store.path(digest).unlink()
    store.path(digest).symlink_to(other)

    assert invoke(["store", "verify"], workspace.root).exit_code == 1


def test_what_is_not_here_is_told_and_no_damage(workspace: Workspace, store: ObjectStore) -> None:
    put_bytes(store, b"x")
    name_in_a_record(workspace, "0" * 64)

    answer = invoke(["store", "verify", "--json"], workspace.root)

    assert answer.exit_code == 0
    assert answer.document["data"]["missingCount"] == 1


# --- gc ----------------------------------------------------------------------------------------


def test_only_what_nothing_names_is_listed_and_nothing_is_deleted(
    workspace: Workspace, store: ObjectStore
) -> None:
    named, unnamed = put_old(store, b"named"), put_old(store, b"unnamed")
    name_in_a_record(workspace, named)
    before = tree_digest(workspace.root)

    answer = invoke(["store", "gc", "--json"], workspace.root)

    assert answer.exit_code == 0
    assert answer.document["data"] == {
        "root": str(store.root),
        "unnamed": [unnamed],
        "bytes": 7,
        "keptAsYoung": 0,
        "staging": {
            "stagings": [],
            "unfinished": 0,
            "images": 0,
            "bytes": 0,
            "keptAsYoung": 0,
            "keptForRuns": 0,
        },
        "deleted": False,
    }
    assert answer.document["suggestions"] == ["lora store gc --yes"]
    assert tree_digest(workspace.root) == before


def test_with_yes_it_is_deleted_and_the_rest_stays(
    workspace: Workspace, store: ObjectStore
) -> None:
    named, unnamed = put_old(store, b"named"), put_old(store, b"unnamed")
    name_in_a_record(workspace, named)

    answer = invoke(["store", "gc", "--yes", "--json"], workspace.root)

    assert answer.document["data"]["deleted"] is True
    assert answer.document["reasoning"] == "Deleted 1 object"
    assert store.all() == [named]
    assert not store.has(unnamed)
    assert invoke(["store", "gc", "--yes"], workspace.root).stdout.startswith("Nothing to delete")


def test_a_dry_run_deletes_nothing_whatever_else_is_said(
    workspace: Workspace, store: ObjectStore
) -> None:
    digest = put_old(store, b"unnamed")

    answer = invoke(["store", "gc", "--yes", "--dry-run", "--json"], workspace.root)

    assert answer.document["data"]["deleted"] is False
    assert answer.document["dryRun"] is True
    assert store.has(digest)


def test_what_is_young_stays_because_somebody_may_be_about_to_name_it(
    workspace: Workspace, store: ObjectStore
) -> None:
    young = put_bytes(store, b"young")

    kept = invoke(["store", "gc", "--yes", "--json"], workspace.root)
    assert kept.document["data"]["keptAsYoung"] == 1
    assert store.has(young)

    invoke(["store", "gc", "--yes", "--older-than", "0"], workspace.root)
    assert not store.has(young)


def test_what_only_another_branch_names_stays(workspace: Workspace, store: ObjectStore) -> None:
    digest = put_old(store, b"on a branch")
    git(workspace.root, "checkout", "--quiet", "-b", "other")
    name_in_a_record(workspace, digest)
    commit_all(workspace.root, "a release on a branch")
    git(workspace.root, "checkout", "--quiet", "main")
    assert not (workspace.data_root / "projects/neon_city/loras").exists()

    invoke(["store", "gc", "--yes"], workspace.root)

    assert store.has(digest)


def test_what_a_run_of_this_machine_names_stays(workspace: Workspace, store: ObjectStore) -> None:
    digest = put_old(store, b"of a run")
    run = workspace.runtime / "runs" / "r1" / "state.json"
    run.parent.mkdir(parents=True)
    run.write_text(json.dumps({"weights": digest}))

    invoke(["store", "gc", "--yes"], workspace.root)

    assert store.has(digest)


def test_when_git_cannot_say_what_branches_name_nothing_is_deleted(
    workspace: Workspace, store: ObjectStore
) -> None:
    digest = put_old(store, b"unnamed")
    blob = git(workspace.root, "rev-parse", "HEAD:config/pipeline.yaml").strip()
    path = workspace.root / ".git" / "objects" / blob[:2] / blob[2:]
    path.chmod(0o644)
    path.write_bytes(b"damaged")
    (workspace.root / "config" / "pipeline.yaml").write_text("{}\n")

    answer = invoke(["store", "gc", "--yes", "--json"], workspace.root)

    assert answer.exit_code == 3
    assert answer.error["code"] == "git_failed"
    assert store.has(digest)


def test_what_interrupted_writes_left_in_the_store_goes_too(
    workspace: Workspace, store: ObjectStore
) -> None:
    named = put_old(store, b"named")
    name_in_a_record(workspace, named)
    left = store.root / "ab" / ".lora-tmp-x"
    left.parent.mkdir()
    left.write_bytes(b"half")
    os.utime(left, (1_700_000_000,) * 2)

    answer = invoke(["store", "gc", "--yes", "--json"], workspace.root)

    assert answer.document["data"]["unnamed"] == [".lora-tmp-x"]
    assert not left.exists()
    assert store.has(named)


def test_an_age_below_zero_is_a_question_of_usage(workspace: Workspace) -> None:
    assert invoke(["store", "gc", "--older-than", "-1"], workspace.root).exit_code == 2
    called = invoke(["call", "store.gc", '{"olderThanHours": -1}'], workspace.root)
    assert called.exit_code == 3
    assert called.error["code"] == "argument_invalid"


# --- gc of stagings ----------------------------------------------------------------------------


def test_a_staging_that_no_manifest_names_is_listed_with_its_size_and_then_deleted(
    workspace: Workspace, store: ObjectStore
) -> None:
    folder = staged(workspace, age_days=3)
    digest = put_old(store, b"x" * 100)
    before = tree_digest(workspace.root)

    dry = invoke(["store", "gc", "--yes", "--dry-run", "--json"], workspace.root)
    listed = invoke(["store", "gc"], workspace.root)
    assert tree_digest(workspace.root) == before
    assert dry.document["data"]["staging"] == {
        "stagings": ["a" * 32],
        "unfinished": 0,
        "images": 1,
        "bytes": 2000,
        "keptAsYoung": 0,
        "keptForRuns": 0,
    }
    assert dry.document["data"]["deleted"] is False
    assert listed.stdout.splitlines() == [
        "1 object, 1 staging and 1 normalised image that nothing names could go · 2.1 KiB",
        "  objects    100 B",
        "  stagings   2.0 KiB",
        f"  {digest}",
        f"  staging {'a' * 32}",
        "next  lora store gc --yes",
    ]

    answer = invoke(["store", "gc", "--yes", "--json"], workspace.root)

    assert answer.document["reasoning"] == "Deleted 1 object, 1 staging and 1 normalised image"
    assert not folder.exists()
    assert list((folder.parent / ".normalised").iterdir()) == []


def test_a_young_staging_stays_and_the_next_command_keeps_the_age_that_was_said(
    workspace: Workspace,
) -> None:
    folder = staged(workspace, age_days=0)

    assert (
        "1 staging as too young to tell" in invoke(["store", "gc", "--yes"], workspace.root).stdout
    )
    assert folder.is_dir()

    young = invoke(["store", "gc", "--older-than", "0", "--json"], workspace.root)
    assert young.document["suggestions"] == ["lora store gc --older-than 0 --yes"]


@pytest.mark.parametrize("name", ["job.json", "dataset.toml", "job.yaml"])
def test_a_staging_that_a_run_works_with_stays_as_long_as_it_runs(
    name: str, workspace: Workspace
) -> None:
    folder = staged(workspace, age_days=3)
    run = workspace.runtime / "runs" / "01JZ8B9Q6V3W2K4M5N7P8R9S0T"
    with working_in(run, "2026-03-01T12:00:00Z"):
        (run / name).write_text(f'"images": "{folder}/one.png"')

        answer = invoke(["store", "gc", "--yes", "--json"], workspace.root)

        assert answer.document["data"]["staging"]["keptForRuns"] == 1
        assert folder.is_dir()
    invoke(["store", "gc", "--yes"], workspace.root)
    assert not folder.exists()


def test_with_a_manifest_that_cannot_be_read_every_staging_stays_and_it_is_told(
    workspace: Workspace,
) -> None:
    folder = staged(workspace, age_days=3)
    path = workspace.data_root / "projects" / "neon_city" / "datasets" / "icons.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text("<<<<<<< ours")

    answer = invoke(["store", "gc", "--yes", "--json"], workspace.root)

    assert answer.exit_code == 0
    assert folder.is_dir()
    manifest = "data/projects/neon_city/datasets/icons.json"
    (warning,) = answer.document["warnings"]
    assert warning == f"every staging is kept: nobody can read what {manifest} names"


def test_the_doctor_says_how_much_could_go(workspace: Workspace) -> None:
    staged(workspace, age_days=3)

    checks = invoke(["doctor", "--json"], workspace.root).document["data"]["checks"]

    (check,) = [one for one in checks if one["name"] == "stagings"]
    assert check["state"] == "ok"
    assert check["message"] == "0.0 MiB could go, which can be made again: lora store gc"
