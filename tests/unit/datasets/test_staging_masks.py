"""Alpha as a mask: what is staged beside the images, and that it is proven as they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from msgspec.structs import replace
from PIL import Image

from lora_pipeline.datasets.image_files import ImageFiles
from lora_pipeline.datasets.records import Item, Manifest, Normalization
from lora_pipeline.datasets.staging.folder import (
    Staging,
    plan_staging,
    stage_manifest,
    staging_folder,
    verify_staging,
)
from lora_pipeline.datasets.staging.marker import FORM, mask_name
from lora_pipeline.foundation.file_facts import is_plain_rgb_png
from lora_pipeline.workspace.root import Workspace
from tests.support.dataset_builders import item, manifest
from tests.support.workspace_builders import make_workspace, tree_digest

MASK = Normalization(alpha="mask", background="#808080")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "studio", git=False)


def art(workspace: Workspace, name: str, image: Image.Image, **options: object) -> Item:
    path = workspace.data_root / "files" / name
    path.parent.mkdir(exist_ok=True)
    image.save(path, **options)  # type: ignore[arg-type]
    proof = ImageFiles(workspace.data_root).prove(f"files/{name}")
    return item(
        Path(name).stem, path=f"files/{name}", caption=f"a {Path(name).stem}",
        sha256=proof.sha256, xxh3=proof.xxh3, bytes=proof.bytes,
        width=image.width, height=image.height,
    )  # fmt: skip


def icon(workspace: Workspace, name: str = "icon.png", hidden: tuple[int, ...] = ()) -> Item:
    """Return an icon: its left column is hidden, the next half seen, the rest opaque red."""
    image = Image.new("RGBA", (4, 2), (255, 0, 0, 255))
    for y in range(2):
        image.putpixel((0, y), (*(hidden or (0, 255, 0)), 0))
        image.putpixel((1, y), (255, 0, 0, 128))
    return art(workspace, name, image)


def masked(*items: Item) -> Manifest:
    return manifest(*items, normalization=MASK)


def files_of(staging: Staging, item: Item) -> tuple[Image.Image, Image.Image]:
    name = next(one.name for one in staging.images if one.caption == item.caption)
    with Image.open(staging.folder / name) as image:
        image.load()
    with Image.open(staging.folder / mask_name(name)) as mask:
        mask.load()
    return image, mask


def test_an_image_lies_on_the_background_and_its_transparency_beside_it(
    workspace: Workspace,
) -> None:
    one = icon(workspace)

    image, mask = files_of(stage_manifest(workspace, masked(one)), one)

    assert (image.mode, image.size, mask.mode, mask.size) == ("RGB", (4, 2), "L", (4, 2))
    assert [image.getpixel((x, 0)) for x in (0, 1, 3)] == [
        (128, 128, 128), (192, 64, 64), (255, 0, 0),
    ]  # fmt: skip
    assert [mask.getpixel((x, 1)) for x in range(4)] == [0, 128, 255, 255]


@pytest.mark.parametrize("name", ["plain.png", "photo.jpg", "full.png", "grey.png"])
def test_an_image_that_hides_nothing_has_a_white_mask_of_its_own_size(
    workspace: Workspace, name: str
) -> None:
    mode = {"full.png": "RGBA", "grey.png": "L"}.get(name, "RGB")
    one = art(workspace, name, Image.new(mode, (6, 3), 255 if mode == "L" else "#ffffff"))

    _, mask = files_of(stage_manifest(workspace, masked(one)), one)

    assert (mask.mode, mask.size, mask.getextrema()) == ("L", (6, 3), (255, 255))


def test_the_mask_stands_upright_as_its_image_does(workspace: Workspace) -> None:
    image = Image.new("RGBA", (8, 4), (9, 9, 9, 255))
    image.putpixel((0, 0), (0, 0, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    one = art(workspace, "turned.png", image, exif=exif)

    _, mask = files_of(stage_manifest(workspace, masked(one)), one)

    assert mask.size == (4, 8)
    assert mask.getpixel((3, 0)) == 0


def test_opaque_images_are_still_links_and_share_one_white_mask_for_each_size(
    workspace: Workspace,
) -> None:
    items = [art(workspace, f"{n}.png", Image.new("RGB", (6, 3), (n, 0, 0))) for n in range(3)]
    other = art(workspace, "other.png", Image.new("RGB", (3, 6)))

    staging = stage_manifest(workspace, masked(*items, other))

    by_caption = {one.caption: one for one in staging.images}
    masks = [staging.folder / mask_name(by_caption[one.caption].name) for one in (*items, other)]
    assert len({path.stat().st_ino for path in masks[:3]}) == 1
    assert masks[3].stat().st_ino != masks[0].stat().st_ino
    source = workspace.data_root / items[0].path
    assert (staging.folder / by_caption[items[0].caption].name).samefile(source)


def test_every_mask_is_named_in_the_marker_and_verified(workspace: Workspace) -> None:
    one, two = icon(workspace), art(workspace, "plain.png", Image.new("RGB", (4, 4)))
    record = masked(one, two)
    staging = stage_manifest(workspace, record)
    first, second = (mask_name(image.name) for image in staging.images)
    assert all(image.mask_sha256 for image in staging.images)
    assert verify_staging(staging.folder) == []

    (staging.folder / first).unlink()
    (staging.folder / second).unlink()
    (staging.folder / second).write_bytes(b"another")
    Image.new("L", (4, 4)).save(staging.folder / "masks" / "extra.png")

    assert verify_staging(staging.folder) == [
        f"{first} is missing", f"{second} was changed", "masks/extra.png does not belong there",
    ]  # fmt: skip
    assert stage_manifest(workspace, record).made
    assert verify_staging(staging.folder) == []


def test_a_mask_that_was_changed_through_its_link_is_made_anew(workspace: Workspace) -> None:
    record = masked(icon(workspace), art(workspace, "plain.png", Image.new("RGB", (4, 4))))
    staging = stage_manifest(workspace, record)
    for image in staging.images:
        with (staging.folder / mask_name(image.name)).open("r+b") as stream:
            stream.write(b"changed")  # the files of the pool are the same ones
    before = [image.mask_sha256 for image in staging.images]

    again = stage_manifest(workspace, record)

    assert [image.mask_sha256 for image in again.images] == before
    assert verify_staging(again.folder) == []


def test_a_second_staging_decodes_nothing_that_the_first_one_did(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = icon(workspace)
    first = stage_manifest(workspace, masked(one))
    monkeypatch.setattr(
        "lora_pipeline.foundation.images.client._WORKER", "lora_pipeline.there_is_no_such_decoder"
    )

    second = stage_manifest(workspace, masked(replace(one, caption="another caption")))

    assert second.folder != first.folder
    assert [image.mask_sha256 for image in second.images] == [
        image.mask_sha256 for image in first.images
    ]


def test_half_of_a_pair_in_the_pool_is_not_believed(workspace: Workspace) -> None:
    record = masked(icon(workspace))
    staging = stage_manifest(workspace, record)
    shutil.rmtree(staging.folder)
    pool = staging.folder.parent / ".normalised"
    (mask,) = pool.glob("*.mask.png")
    mask.unlink()

    assert verify_staging(stage_manifest(workspace, record).folder) == []


def test_what_is_hidden_is_not_in_the_staged_image(workspace: Workspace) -> None:
    green = stage_manifest(workspace, masked(icon(workspace, "a.png", (0, 255, 0))))
    blue = stage_manifest(workspace, masked(icon(workspace, "b.png", (0, 0, 255))))

    assert green.images[0].image_sha256 == blue.images[0].image_sha256
    assert green.images[0].mask_sha256 == blue.images[0].mask_sha256


def test_the_plan_says_what_is_staged(workspace: Workspace) -> None:
    record, plain = masked(icon(workspace)), manifest(icon(workspace))

    assert plan_staging(workspace, record).masked
    assert stage_manifest(workspace, record).masked
    assert not plan_staging(workspace, plain).masked
    assert not stage_manifest(workspace, plain).masked
    assert not (staging_folder(workspace, plain) / "masks").exists()
    assert staging_folder(workspace, record) != staging_folder(workspace, plain)


def test_the_folder_of_a_manifest_without_masks_is_called_as_before(workspace: Workspace) -> None:
    record = replace(manifest(), content_hash="sha256:" + "0" * 64, normalization=Normalization())

    assert FORM == 2
    assert staging_folder(workspace, record).name == "43aabfa04d77997883307e5ec4b26346"


def test_masks_are_the_same_bytes_again(workspace: Workspace, tmp_path: Path) -> None:
    other = make_workspace(tmp_path / "other", git=False)
    made = []
    for place in (workspace, other):
        record = masked(icon(place), art(place, "plain.png", Image.new("RGB", (40, 70))))
        made.append(tree_digest(stage_manifest(place, record).folder))

    assert made[0] == made[1]


def test_a_white_mask_is_an_image_that_every_reader_reads(workspace: Workspace) -> None:
    one = art(workspace, "wide.png", Image.new("RGB", (3000, 2)))
    staging = stage_manifest(workspace, masked(one))

    data = (staging.folder / mask_name(staging.images[0].name)).read_bytes()

    assert not is_plain_rgb_png(data)  # grey, and never taken for an image to train on
    assert len(data) < 200
    with Image.open(staging.folder / mask_name(staging.images[0].name)) as mask:
        mask.verify()
    assert [one.name for one in (staging.folder / "masks").iterdir()] == [staging.images[0].name]
