"""What of the stagings may go, and what never does."""

from __future__ import annotations

import os
import time
from collections.abc import Collection
from pathlib import Path

import pytest
from msgspec.structs import replace
from PIL import Image

from lora_pipeline.datasets.image_files import ImageFiles
from lora_pipeline.datasets.records import Item, Manifest, Normalization
from lora_pipeline.datasets.staging.folder import (
    lock_folder,
    stage_manifest,
    staging_folder,
    stagings_root,
    verify_staging,
)
from lora_pipeline.datasets.staging.garbage import StagingGarbage, find_garbage, remove_garbage
from lora_pipeline.workspace.changes import Changes
from lora_pipeline.workspace.layout import SHARED, Scope
from lora_pipeline.workspace.lock import workspace_lock
from lora_pipeline.workspace.root import Workspace
from tests.support.dataset_builders import item, manifest
from tests.support.workspace_builders import make_workspace, tree_digest

SCOPE = Scope("neon_city")
MASK = Normalization(alpha="mask")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "studio", project="neon_city", git=False)


def icon(workspace: Workspace, name: str, side: int = 8) -> Item:
    """Return an icon with transparency, so that it must be normalised."""
    path = workspace.data_root / "files" / f"{name}.png"
    path.parent.mkdir(exist_ok=True)
    Image.effect_noise((side, side), 99).convert("RGBA").save(path)
    with Image.open(path) as image:
        image.putpixel((0, 0), (len(name), 0, 0, 0))
        image.save(path)
    proof = ImageFiles(workspace.data_root).prove(f"files/{name}.png")
    return item(
        name, path=f"files/{name}.png", caption=f"a {name}", sha256=proof.sha256,
        xxh3=proof.xxh3, bytes=proof.bytes, width=side, height=side,
    )  # fmt: skip


def written(workspace: Workspace, record: Manifest, scope: Scope = SCOPE) -> Manifest:
    """Write a manifest, in the place of the one that is there."""
    workspace.records.path("dataset", scope, record.id).unlink(missing_ok=True)
    changes = Changes(workspace)
    changes.create(record, scope, record.id)
    changes.apply()
    return record


def found(
    workspace: Workspace, *, in_use: Collection[str] = (), before: float | None = None
) -> StagingGarbage:
    moment = time.time() + 3600 if before is None else before
    return find_garbage(workspace, before=moment, in_use=in_use)


def names(paths: Collection[Path]) -> list[str]:
    return [path.name for path in paths]


def test_what_a_manifest_names_stays_and_the_rest_goes(workspace: Workspace) -> None:
    one, two = icon(workspace, "one"), icon(workspace, "two")
    kept = stage_manifest(workspace, written(workspace, manifest(one))).folder
    gone = stage_manifest(workspace, manifest(two)).folder
    before = tree_digest(workspace.root)

    garbage = found(workspace)

    assert tree_digest(workspace.root) == before
    assert names(garbage.stagings) == [gone.name]
    assert len(garbage.pool) == 1
    remove_garbage(workspace, garbage)
    assert not gone.exists()
    assert verify_staging(kept) == []
    assert len(list((stagings_root(workspace) / ".normalised").iterdir())) == 1
    assert found(workspace).count == 0


def test_manifests_of_all_projects_and_shared_ones_count(workspace: Workspace) -> None:
    shared = replace(manifest(icon(workspace, "one")), scope="baseline", project_id="")
    stage_manifest(workspace, written(workspace, shared, SHARED))

    assert found(workspace).stagings == ()


def test_a_manifest_that_was_built_again_lets_its_old_staging_go(workspace: Workspace) -> None:
    one = icon(workspace, "one")
    old = stage_manifest(workspace, written(workspace, manifest(one))).folder
    new = stage_manifest(
        workspace, written(workspace, manifest(replace(one, caption="another")))
    ).folder

    garbage = found(workspace)

    assert names(garbage.stagings) == [old.name]
    assert garbage.pool == ()  # the new staging links the same image
    remove_garbage(workspace, garbage)
    assert verify_staging(new) == []


def test_the_bytes_are_those_that_the_disk_gets_back(workspace: Workspace) -> None:
    clear = icon(workspace, "clear", 64)
    path = workspace.data_root / "files" / "plain.png"
    Image.effect_noise((64, 64), 99).convert("RGB").save(path)
    proof = ImageFiles(workspace.data_root).prove("files/plain.png")
    plain = item(
        "plain", path="files/plain.png", caption="a plain", sha256=proof.sha256,
        xxh3=proof.xxh3, bytes=proof.bytes, width=64, height=64,
    )  # fmt: skip
    folder = stage_manifest(workspace, manifest(clear, plain, normalization=MASK)).folder
    (folder / "cache.npz").write_bytes(b"x" * 5000)  # of a trainer

    garbage = found(workspace)

    own = [one for one in folder.rglob("*") if one.is_file() and not one.samefile(path)]
    assert garbage.bytes == sum(one.stat().st_size for one in own)
    assert len(garbage.pool) == 3  # an image, its mask and a white one


def test_what_is_young_or_used_by_a_run_stays_and_is_counted(workspace: Workspace) -> None:
    folder = stage_manifest(workspace, manifest(icon(workspace, "one"))).folder

    young = found(workspace, before=time.time() - 3600)
    assert (young.stagings, young.pool, young.young, young.bytes) == ((), (), 1, 0)

    used = found(workspace, in_use={folder.name})
    assert (used.stagings, used.pool, used.in_use) == ((), (), 1)


@pytest.mark.parametrize("damage", [b'<<<<<<< ours\n{"id": "x"}', b"", b'{"normalization": 3}'])
def test_while_a_manifest_cannot_be_read_every_staging_stays(
    workspace: Workspace, damage: bytes
) -> None:
    stage_manifest(workspace, manifest(icon(workspace, "one")))
    record = written(workspace, manifest(icon(workspace, "other")))
    path = workspace.records.path("dataset", SCOPE, record.id)
    path.write_bytes(damage)

    garbage = found(workspace)

    assert garbage.stagings == ()
    assert garbage.pool == ()
    assert garbage.unreadable == (workspace.relative(path),)


def test_interrupted_stagings_go_unless_somebody_makes_them_now(workspace: Workspace) -> None:
    root = stagings_root(workspace)
    for name in (".unfinished-aa-01", ".unfinished-bb-02"):
        (root / name / "masks").mkdir(parents=True)
        (root / name / "a.png").write_bytes(b"half")

    with workspace_lock(lock_folder(workspace, "bb"), timeout_s=0):
        garbage = found(workspace, before=0)
        assert names(garbage.unfinished) == [".unfinished-aa-01"]
        assert garbage.bytes == 4
        remove_garbage(workspace, garbage)

    assert names(list(root.glob(".unfinished-*"))) == [".unfinished-bb-02"]


def test_nothing_of_the_pool_goes_while_somebody_stages(workspace: Workspace) -> None:
    folder = stage_manifest(workspace, manifest(icon(workspace, "one"))).folder
    garbage = found(workspace)
    assert len(garbage.pool) == 1

    with workspace_lock(lock_folder(workspace, "other"), timeout_s=0):
        assert found(workspace).pool == ()
        remove_garbage(workspace, garbage)

    assert not folder.exists()
    assert garbage.pool[0].is_file()


def test_a_staging_that_is_being_made_again_stays(workspace: Workspace) -> None:
    folder = stage_manifest(workspace, manifest(icon(workspace, "one"))).folder
    garbage = found(workspace)

    with workspace_lock(lock_folder(workspace, folder.name), timeout_s=0):
        remove_garbage(workspace, garbage)

    assert verify_staging(folder) == []


def test_other_things_in_the_folder_are_left_alone(workspace: Workspace) -> None:
    root = stagings_root(workspace)
    (root / "notes").mkdir(parents=True)
    (root / "notes" / "mine.txt").write_text("mine")
    (root / ("a" * 32)).write_text("a file")
    for one in (root / "notes", root / ("a" * 32)):
        os.utime(one, (1, 1))

    assert found(workspace).count == 0


def test_stagings_of_an_older_form_go(workspace: Workspace) -> None:
    record = written(workspace, manifest(icon(workspace, "one")))
    folder = stage_manifest(workspace, record).folder
    older = folder.rename(folder.with_name("0" * 32))

    assert names(found(workspace).stagings) == [older.name]
    assert staging_folder(workspace, record) == folder
