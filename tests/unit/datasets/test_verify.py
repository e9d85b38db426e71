from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from lora_pipeline.datasets.image_files import ImageFiles
from lora_pipeline.datasets.records import Item, Manifest
from lora_pipeline.datasets.verify import Verification, verify_manifest
from lora_pipeline.workspace.root import Workspace
from tests.support.dataset_builders import item, manifest
from tests.support.workspace_builders import make_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "studio", git=False)


def stored(workspace: Workspace, name: str = "a") -> Item:
    path = workspace.data_root / f"{name}.png"
    path.write_bytes(f"pixels of {name}".encode())
    proof = ImageFiles(workspace.data_root).prove(f"{name}.png")
    return item(name, path=f"{name}.png", sha256=proof.sha256, xxh3=proof.xxh3, bytes=proof.bytes)


def verified(workspace: Workspace, record: Manifest) -> Verification:
    return verify_manifest(workspace, record, "datasets/icons.json")


def codes(found: Verification) -> list[str]:
    return [one.code for one in found.findings]


def test_a_true_manifest_holds(workspace: Workspace) -> None:
    found = verified(workspace, manifest(stored(workspace, "a"), stored(workspace, "b")))

    assert found.holds
    assert found.findings == ()
    assert found.images == 2


def test_another_byte_in_an_image_is_found_and_named(workspace: Workspace) -> None:
    record = manifest(stored(workspace))
    (workspace.data_root / "a.png").write_bytes(b"pixels of b")

    found = verified(workspace, record)

    assert codes(found) == ["image_differs"]
    assert found.findings[0].where == "a.png"
    assert "sha256" in found.findings[0].message
    assert not found.holds


@pytest.mark.parametrize(
    ("change", "word"), [({"bytes": 3}, "bytes"), ({"xxh3": "0" * 32}, "xxh3")]
)
def test_a_digest_that_disagrees_with_the_other_is_found(
    workspace: Workspace, change: dict[str, object], word: str
) -> None:
    found = verified(workspace, manifest(replace(stored(workspace), **change)))

    assert codes(found) == ["image_differs"]
    assert word in found.findings[0].message


def test_a_missing_image_is_found(workspace: Workspace) -> None:
    record = manifest(stored(workspace))
    (workspace.data_root / "a.png").unlink()

    assert codes(verified(workspace, record)) == ["file_missing"]


def test_a_caption_edited_by_hand_breaks_the_content_hash(workspace: Workspace) -> None:
    record = manifest(stored(workspace))
    edited = replace(record, items=(replace(record.items[0], caption="edited"),))

    found = verified(workspace, edited)

    assert codes(found) == ["content_differs"]
    assert found.content_hash in found.findings[0].message


def test_an_image_swapped_together_with_its_digest_breaks_the_content_hash(
    workspace: Workspace,
) -> None:
    record = manifest(stored(workspace, "a"))
    swapped = replace(record, items=(replace(stored(workspace, "b"), asset_id="a"),))

    assert codes(verified(workspace, swapped)) == ["content_differs"]


def test_a_pointer_proves_an_image_that_was_not_fetched(workspace: Workspace) -> None:
    one = stored(workspace)
    (workspace.data_root / one.path).write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{one.sha256}\nsize {one.bytes}\n"
    )

    found = verified(workspace, manifest(one))

    assert found.holds
    assert found.findings == ()
    assert found.by_pointer == 1


def test_a_pointer_to_something_else_is_found(workspace: Workspace) -> None:
    one = stored(workspace)
    (workspace.data_root / one.path).write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize {one.bytes}\n"
    )

    assert codes(verified(workspace, manifest(one))) == ["image_differs"]


def test_images_below_an_unset_root_are_not_proven(workspace: Workspace) -> None:
    one = replace(stored(workspace), path="assetsRoot:a.png")

    found = verified(workspace, manifest(one))

    assert [(one.code, one.severity) for one in found.findings] == [
        ("image_unproven", "not_proven")
    ]


def test_a_manifest_without_digests_is_not_proven(workspace: Workspace) -> None:
    old = replace(manifest(), items=(replace(stored(workspace), sha256="0123456789abcdef"),))

    found = verified(workspace, replace(old, content_hash=""))

    assert codes(found) == ["content_unproven", "image_unproven"]
    assert {one.severity for one in found.findings} == {"not_proven"}


def test_an_asset_that_stands_twice_is_found(workspace: Workspace) -> None:
    one = stored(workspace)

    assert codes(verified(workspace, manifest(one, replace(one, variant_id="v2")))) == [
        "item_repeated"
    ]


def test_a_path_that_leaves_the_workspace_is_found(workspace: Workspace) -> None:
    one = replace(stored(workspace), path="../a.png")

    assert codes(verified(workspace, manifest(one))) == ["unsafe_path"]
