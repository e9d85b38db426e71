"""``lora backup``: what is in it is proven, and restoring never overwrites silently."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lora_pipeline.foundation import strict_json
from lora_pipeline.workspace.lock import workspace_lock
from lora_pipeline.workspace.store import open_store
from tests.support.release_builders import Studio, copy_of, edit, make_studio
from tests.support.workspace_builders import Answer, invoke, tree_digest


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    return make_studio(tmp_path_factory.mktemp("template") / "studio")


@pytest.fixture
def studio(template: Studio, tmp_path: Path) -> Studio:
    return copy_of(template, tmp_path / "studio")


def backup(studio: Studio, *options: str) -> Path:
    answer = invoke(["backup", "create", "--json", *options], studio.root)
    assert answer.exit_code == 0, answer.stdout
    return Path(answer.document["data"]["path"])


def restore(studio: Studio, path: Path, *options: str) -> Answer:
    return invoke(["backup", "restore", str(path), "--json", *options], studio.root)


def records(studio: Studio) -> dict[str, bytes]:
    return {
        path: data
        for path, data in tree_digest(studio.root).items()
        if not path.startswith(".lora/") and "/files/" not in path
    }


def test_a_backup_holds_records_and_settings_and_nothing_of_one_machine(studio: Studio) -> None:
    (studio.root / "config/local.json").write_text("{}")

    path = backup(studio)

    with zipfile.ZipFile(path) as archive:
        listed = json.loads(archive.read("backup.json"))
    assert listed["schema"] == "backup/v1"
    assert len(listed["commit"]) == 40
    assert {one["path"] for one in listed["files"]} == set(records(studio)) - {"config/local.json"}


def test_the_same_records_make_the_same_archive(studio: Studio, tmp_path: Path) -> None:
    one, two = backup(studio, "--out", "../a.zip"), backup(studio, "--out", "../b.zip")

    assert one.parent.resolve() == tmp_path
    with zipfile.ZipFile(one) as first, zipfile.ZipFile(two) as second:
        assert first.namelist() == second.namelist()
        assert all(first.read(n) == second.read(n) for n in first.namelist() if n != "backup.json")


def test_all_of_it_comes_back_into_an_empty_folder(studio: Studio, tmp_path: Path) -> None:
    path = backup(studio, "--images", "--store")
    place = tmp_path / "other"
    place.mkdir()

    answer = invoke(["backup", "restore", str(path), "--into", str(place), "--json"], tmp_path)

    assert answer.exit_code == 0, answer.stdout
    before, after = tree_digest(studio.root), tree_digest(place)
    kept = {name for name in before if not name.startswith(".lora/")}
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert open_store(studio.workspace).all() == sorted(
        name.rpartition("/")[2] for name in after if name.startswith(".lora/store/")
    )
    assert not (place / ".lora/restore").exists()


def test_what_is_missing_comes_back_and_what_is_new_stays(studio: Studio) -> None:
    path = backup(studio)
    before = records(studio)
    studio.path("lora", "icons").unlink()
    added = studio.root / "data/projects/neon_city/datasets/new.json"
    added.write_bytes(studio.path("dataset", "icons").read_bytes())

    answer = restore(studio, path)

    assert answer.document["data"]["restored"] == ["data/projects/neon_city/loras/icons.json"]
    assert records(studio) == before | {
        "data/projects/neon_city/datasets/new.json": added.read_bytes()
    }
    assert restore(studio, path).document["written"] == []


def test_a_file_that_differs_is_not_overwritten(studio: Studio) -> None:
    path = backup(studio)
    studio.path("lora", "icons").unlink()
    edit(studio.path("checkpoint", "tiny"), "Tiny", "Small")
    before = tree_digest(studio.root)

    answer = restore(studio, path)

    assert answer.exit_code == 1
    assert answer.error["code"] == "restore_conflicts"
    assert (
        "1 file differs from the backup: data/projects/neon_city/checkpoints/tiny.json"
        in (answer.error["message"])
    )
    assert "--replace" in answer.error["hint"]
    assert tree_digest(studio.root) == before


def test_what_is_replaced_was_backed_up_before(studio: Studio) -> None:
    path = backup(studio)
    before = records(studio)
    edit(studio.path("checkpoint", "tiny"), "Tiny", "Small")
    changed = records(studio)

    answer = restore(studio, path, "--replace")

    assert records(studio) == before
    safety = studio.root / answer.document["data"]["safetyBackup"]
    restore(studio, safety, "--replace")
    assert records(studio) == changed
    assert len(invoke(["backup", "list", "--json"], studio.root).document["data"]["backups"]) == 3


def test_dry_runs_write_nothing(studio: Studio) -> None:
    path = backup(studio)
    edit(studio.path("checkpoint", "tiny"), "Tiny", "Small")
    before = tree_digest(studio.root)

    made = invoke(["backup", "create", "--dry-run", "--json"], studio.root)
    back = restore(studio, path, "--replace", "--dry-run")

    assert made.document["data"]["files"] == len(records(studio))
    assert back.document["data"]["replaced"] == ["data/projects/neon_city/checkpoints/tiny.json"]
    assert tree_digest(studio.root) == before


def rebuilt(path: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    """Write an archive with other entries beside a backup."""
    with zipfile.ZipFile(path) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
    change(entries)
    forged = path.with_name("forged.lora-backup.zip")
    with zipfile.ZipFile(forged, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return forged


def with_list(change: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, bytes]], object]:
    def apply(entries: dict[str, bytes]) -> None:
        listed = json.loads(entries["backup.json"])
        change(listed)
        entries["backup.json"] = strict_json.dumps(listed)

    return apply


def bit_flipped(entries: dict[str, bytes]) -> None:
    entries["files/config/pipeline.yaml"] = b"{]\n"


FORGED: dict[str, tuple[Callable[[dict[str, bytes]], object], str]] = {
    "a byte": (bit_flipped, "is not what"),
    "a file more": (lambda entries: entries.update({"files/x": b""}), "does not hold what"),
    "a file less": (lambda entries: entries.pop("files/config/pipeline.yaml"), "does not hold"),
    "no list": (lambda entries: entries.pop("backup.json"), "is no backup: it has no backup.json"),
    "a path upwards": (
        with_list(lambda one: one["files"][0].update(path="../x")), "$.files[0].path"),
    "a path into Git": (
        with_list(lambda one: one["files"].append(
            {"path": ".git/hooks/x", "bytes": 0, "sha256": "0" * 64})), "is not for records"),
    "a wrong length": (
        with_list(lambda one: one["files"][0].update(bytes=10**12)), "is not what the list says"),
    "a file twice": (
        with_list(lambda one: one["files"].append(one["files"][0])), "does not hold what"),
    "an object by another name": (
        with_list(lambda one: one.update(
            objects=[{"path": "a", "bytes": 0, "sha256": "0" * 64}])), "named by another digest"),
    "another schema": (with_list(lambda one: one.update(schema="backup/v9")), "backup/v9"),
}  # fmt: skip


@pytest.mark.parametrize("case", FORGED)
def test_an_archive_that_is_not_what_its_list_says_is_refused(case: str, studio: Studio) -> None:
    change, message = FORGED[case]
    forged = rebuilt(backup(studio), change)
    studio.path("lora", "icons").unlink()
    before = tree_digest(studio.root)

    for arguments in (["verify", str(forged)], ["restore", str(forged), "--replace"]):
        answer = invoke(["backup", *arguments, "--json"], studio.root)
        assert answer.exit_code == 3, case
        assert message in answer.error["message"]
    assert tree_digest(studio.root) == before


@pytest.mark.parametrize("data", [b"", b"text", b"PK\x03\x04 half"])
def test_what_is_no_archive_is_said_so(data: bytes, studio: Studio) -> None:
    path = studio.root.parent / "x.zip"
    path.write_bytes(data)

    answer = invoke(["backup", "verify", str(path), "--json"], studio.root)

    assert answer.exit_code == 3
    assert answer.error["code"] == "integrity"
    assert "is damaged, or no backup" in answer.error["message"]


def test_a_backup_is_verified_and_a_damaged_one_is_told_in_the_list(studio: Studio) -> None:
    path = backup(studio)
    assert invoke(["backup", "verify", str(path)], studio.root).stdout.startswith("whole · ")
    path.write_bytes(path.read_bytes()[:-30])

    answer = invoke(["backup", "list", "--json"], studio.root)

    assert answer.document["data"]["backups"] == []
    assert "damaged" in answer.document["warnings"][0]


def test_a_name_that_is_taken_and_a_backup_that_is_not_there_are_refused(studio: Studio) -> None:
    path = backup(studio)

    taken = invoke(["backup", "create", "--out", str(path), "--json"], studio.root)
    lost = invoke(["backup", "restore", "nothing.zip", "--json"], studio.root)

    assert taken.error["code"] == "record_exists"
    assert lost.error["code"] == "file_missing"


def test_nothing_is_backed_up_while_somebody_writes(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORA_LOCK_TIMEOUT", "0")

    with workspace_lock(studio.workspace.runtime, timeout_s=0):
        answer = invoke(["backup", "create", "--json"], studio.root)

    assert answer.error["code"] == "locked"
    assert not (studio.workspace.runtime / "backups").exists()


def test_a_folder_in_the_place_of_a_file_is_told(studio: Studio) -> None:
    path = backup(studio)
    studio.path("lora", "icons").unlink()
    studio.path("lora", "icons").mkdir()

    answer = restore(studio, path, "--replace")

    assert answer.error["code"] == "state_forbids"
    assert "is a folder by now" in answer.error["message"]
