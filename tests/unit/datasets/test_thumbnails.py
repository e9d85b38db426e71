from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace
from PIL import Image

from lora_pipeline.datasets.image_sources import image_sources, read_image
from lora_pipeline.datasets.records import Item
from lora_pipeline.datasets.thumbnails import Thumbnail, thumbnails
from lora_pipeline.workspace.git.history import require_commit
from lora_pipeline.workspace.root import Workspace
from tests.support.dataset_builders import PROJECT
from tests.support.looking_builders import RED, lfs_pointer, pictured, png
from tests.support.workspace_builders import commit_all, make_workspace

BLUE = (0, 0, 200)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "studio", project=PROJECT)


def file_of(workspace: Workspace, item: Item) -> Path:
    return workspace.data_root / item.path


def shown(
    workspace: Workspace, items: Sequence[Item], *commits: str, **options: str
) -> list[Thumbnail]:
    return list(thumbnails(workspace, items, image_sources(workspace, *commits), **options))


def pixels(thumbnail: Thumbnail) -> Image.Image:
    with Image.open(io.BytesIO(thumbnail.webp)) as image:
        return image.convert("RGB")


def test_a_small_picture_keeps_every_pixel_and_a_large_one_its_shape(workspace: Workspace) -> None:
    items = [
        pictured(workspace, "A", png(RED, (64, 32))),
        pictured(workspace, "B", png(BLUE, (1000, 500))),
    ]

    small, large = shown(workspace, items)

    assert pixels(small).size == (64, 32)
    assert pixels(small).getpixel((5, 5)) == RED
    assert pixels(large).size == (224, 112)


def test_transparency_lies_on_the_background_of_the_manifest(workspace: Workspace) -> None:
    stream = io.BytesIO()
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(stream, "PNG")
    item = pictured(workspace, "A", stream.getvalue())

    white, green = (
        shown(workspace, [item], background=colour)[0] for colour in ("#FFFFFF", "#00FF00")
    )

    assert pixels(white).getpixel((0, 0)) == (255, 255, 255)
    assert pixels(green).getpixel((0, 0)) == (0, 255, 0)


def test_what_was_made_once_is_kept_by_content(workspace: Workspace) -> None:
    item = pictured(workspace, "A", png())
    first = shown(workspace, [item])
    file_of(workspace, item).unlink()

    assert shown(workspace, [replace(item, path="elsewhere.png")]) == first


def test_half_of_what_was_kept_is_made_again(workspace: Workspace) -> None:
    item = pictured(workspace, "A", png())
    first = shown(workspace, [item])
    [kept] = (workspace.runtime / "cache").rglob("*.webp")
    kept.write_bytes(kept.read_bytes()[:-5])

    assert shown(workspace, [item]) == first


def test_a_file_that_is_another_one_now_is_not_shown_in_its_place(workspace: Workspace) -> None:
    item = pictured(workspace, "A", png())
    file_of(workspace, item).write_bytes(png(BLUE))

    assert shown(workspace, [item]) == [Thumbnail(missing="file changed since")]
    assert list((workspace.runtime / "cache").rglob("*.webp")) == []


def test_each_reason_is_said(workspace: Workspace) -> None:
    data = png()
    pointer = pictured(workspace, "A", data)
    file_of(workspace, pointer).write_bytes(lfs_pointer(data))
    gone = pictured(workspace, "B", png(BLUE))
    file_of(workspace, gone).unlink()
    damaged = pictured(workspace, "C", png(BLUE, (80, 80)))
    broken = file_of(workspace, damaged).read_bytes()[:-20]
    file_of(workspace, damaged).write_bytes(broken)
    damaged = replace(damaged, sha256=hashlib.sha256(broken).hexdigest())
    outside = replace(gone, path="../../secret.png")
    elsewhere = replace(gone, path="assetsRoot:a.png")

    found = shown(workspace, [pointer, gone, damaged, outside, elsewhere])

    reasons = [one.missing for one in found]
    assert reasons[:2] == ["not fetched from Git LFS", "file missing"]
    assert reasons[2].startswith("is truncated")
    assert reasons[3:] == ["path not safe", "assetsRoot not set here"]


def test_a_file_above_the_limit_is_not_read(workspace: Workspace) -> None:
    (workspace.root / "config" / "pipeline.yaml").write_text("images: {maxBytes: 50}\n")
    from tests.support.workspace_builders import reopen

    small = reopen(workspace.root)

    assert shown(small, [pictured(small, "A", png())])[0].missing == "file too large to read"


def test_an_image_that_is_gone_comes_from_the_history_of_git(workspace: Workspace) -> None:
    item = pictured(workspace, "A", png())
    commit_all(workspace.root, "Art")
    commit = require_commit(workspace.root, "HEAD")
    file_of(workspace, item).unlink()

    assert shown(workspace, [item])[0].missing == "file missing"
    assert pixels(shown(workspace, [item], commit)[0]).getpixel((0, 0)) == RED


def test_a_path_in_history_stays_inside_the_records(workspace: Workspace) -> None:
    commit = require_commit(workspace.root, "HEAD")
    item = pictured(workspace, "A", png())
    outside = replace(item, sha256="0" * 64, path="../config/pipeline.yaml")

    assert read_image(image_sources(workspace, commit), outside) == "path not safe"


def test_a_pointer_in_history_is_answered_by_git_lfs(workspace: Workspace) -> None:
    data = png()
    item = pictured(workspace, "A", data)
    file_of(workspace, item).write_bytes(lfs_pointer(data))
    commit_all(workspace.root, "Pointer")
    commit = require_commit(workspace.root, "HEAD")

    assert read_image(image_sources(workspace, commit), item) == "not fetched from Git LFS"

    kept = workspace.root / ".git/lfs/objects" / item.sha256[:2] / item.sha256[2:4] / item.sha256
    kept.parent.mkdir(parents=True)
    kept.write_bytes(data)

    assert read_image(image_sources(workspace, commit), item) == data


def test_git_lfs_content_that_is_not_what_its_name_says_is_not_taken(workspace: Workspace) -> None:
    item = pictured(workspace, "A", png())
    file_of(workspace, item).unlink()
    kept = workspace.root / ".git/lfs/objects" / item.sha256[:2] / item.sha256[2:4] / item.sha256
    kept.parent.mkdir(parents=True)
    kept.write_bytes(png(BLUE))
    commit = require_commit(workspace.root, "HEAD")

    assert read_image(image_sources(workspace, commit), item) == "file changed since"


def test_progress_is_told_for_each_image(workspace: Workspace) -> None:
    steps: list[int | None] = []
    told = replace_events(workspace, steps)

    shown(told, [pictured(told, name, png(BLUE, (8, size))) for size, name in enumerate("ABC", 8)])

    assert steps == [1, 2, 3]


def replace_events(workspace: Workspace, steps: list[int | None]) -> Workspace:
    from msgspec.structs import replace as changed

    return changed(workspace, events=lambda event: steps.append(event.step))
