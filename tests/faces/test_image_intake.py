"""The fault list of image intake: every row by its id, through the command line where it counts.

Many bad files are imported at once, and each row looks at what was said about its own; so the
decoders start once.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, PngImagePlugin, features

from lora_pipeline.catalog.image_index import read_image_index
from lora_pipeline.catalog.imports.cache import FactsCache
from lora_pipeline.catalog.imports.folder import BadFile, FoundImage
from lora_pipeline.catalog.imports.images import InspectedImage, inspect_image
from lora_pipeline.catalog.imports.plan import PlannedAsset
from lora_pipeline.catalog.records import Provenance, Rights
from lora_pipeline.foundation.events import Event
from lora_pipeline.foundation.images.client import ImageFacts, ImageLimits, ImageWorker
from lora_pipeline.operations.catalog.asset_import import import_assets
from lora_pipeline.workspace.layout import Scope
from lora_pipeline.workspace.root import Workspace
from tests.support import hostile_images as hostile
from tests.support.asset_commands import import_art
from tests.support.catalog_builders import add_catalogs, draw_icon, draw_icons
from tests.support.workspace_builders import ACTOR, invoke, make_workspace, reopen

PROJECT = "neon_city"
RED = (255, 0, 0)
BOMB = hostile.packed_zeros(100_000_000)
Said = dict[str, str]


def studio_at(folder: Path) -> Path:
    add_catalogs(make_workspace(folder, project=PROJECT, git=False), PROJECT)
    return folder


def bad_files() -> Iterator[tuple[str, bytes]]:
    jpeg = hostile.noisy_jpeg()
    yield "empty.png", b""
    yield "text.png", b"hello artist"
    yield "page.png", b"<!DOCTYPE html><title>404</title>"
    yield "answer.png", b'{"error": "not found"}'
    yield "pointer.png", hostile.LFS_POINTER
    yield "jpeg.png", jpeg
    for share in (10, 50, 99):
        yield f"cut-{share}.jpg", jpeg[: len(jpeg) * share // 100]
    yield "huge.png", hostile.png_header(100_000, 100_000)
    yield "big.png", hostile.saved_as(Image.new("1", (12_000, 12_000)), "PNG")
    yield "ztxt.png", hostile.png_with((b"zTXt", b"workflow\0\0" + BOMB))
    yield "iccp.png", hostile.png_with((b"iCCP", b"profile\0\0" + BOMB))
    yield "itxt.png", hostile.png_with((b"iTXt", b"workflow\0\1\0\0\0" + BOMB))
    small = hostile.packed_zeros(1_000_000)
    yield (
        "many-ztxt.png",
        hostile.png_with(*((b"zTXt", b"k%d\0\0" % number + small) for number in range(80))),
    )
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    moving: dict[str, Any] = {"save_all": True, "append_images": frames[1:]}
    yield "move.png", hostile.saved_as(frames[0], "PNG", **moving)
    yield "move.webp", hostile.saved_as(frames[0], "WEBP", **moving)
    yield "move.gif", hostile.saved_as(frames[0], "GIF", **moving)
    yield "pages.tif", hostile.saved_as(frames[0], "TIFF", **moving)
    for name, data in other_formats():
        yield f"{name}.png", data
    yield "deep.jpg", hostile.other_frame(0xC1, bits=12)
    yield "lossless.jpg", hostile.other_frame(0xC3)


def other_formats() -> Iterator[tuple[str, bytes]]:
    flat = Image.new("RGB", (16, 16), "red")
    avif = features.check("avif")
    yield "avif", hostile.saved_as(flat, "AVIF") if avif else b"\0\0\0\x20ftypavif"
    yield "heic", b"\0\0\0\x18ftypheic" + bytes(20)
    yield "jxl", b"\xff\x0a" + bytes(20)
    yield "psd", b"8BPS\0\1" + bytes(20)
    yield "exr", b"\x76\x2f\x31\x01" + bytes(20)
    yield "svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"
    yield "eps", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"


@pytest.fixture(scope="module")
def refusals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """What an import says about each bad file; nothing was written."""
    folder = tmp_path_factory.mktemp("bad")
    (folder / "art").mkdir()
    for name, data in bad_files():
        (folder / "art" / name).write_bytes(data)
    draw_icon(folder / "art/good.png")
    studio = studio_at(folder / "studio")
    answer = import_art(studio, folder / "art")

    assert (answer.exit_code, answer.error["code"]) == (1, "import_incomplete")
    assert not (studio / f"data/projects/{PROJECT}/assets").exists()
    assert not (studio / f"data/projects/{PROJECT}/files").exists()
    return {bad["file"]: bad for bad in answer.document["data"]["refused"]}


def test_all_bad_files_are_refused_and_no_good_one(refusals: dict[str, Said]) -> None:
    assert set(refusals) == {name for name, _ in bad_files()}
    assert {bad["code"] for bad in refusals.values()} == {"image_refused"}


@pytest.mark.parametrize(
    ("row", "name", "words", "hint"),
    [
        ("IMG-01", "empty.png", "is empty (0 bytes)", ""),
        ("IMG-02", "text.png", "is a text file", "export it as PNG"),
        ("IMG-02", "page.png", "is a web page (HTML)", "export it as PNG"),
        ("IMG-02", "answer.png", "is a JSON file", "export it as PNG"),
        ("IMG-03", "pointer.png", "is a Git LFS pointer", "git lfs pull"),
        ("IMG-04", "jpeg.png", "is a JPEG image, its name says PNG", "rename it to jpeg.jpg"),
        ("IMG-05", "cut-10.jpg", "is truncated", "export or copy it again"),
        ("IMG-05", "cut-50.jpg", "is truncated", "export or copy it again"),
        ("IMG-05", "cut-99.jpg", "is truncated", "export or copy it again"),
        ("IMG-07", "huge.png", "has 100,000 x 100,000 pixels", "images.maxPixels"),
        ("IMG-08", "big.png", "has 12,000 x 12,000 pixels (144,000,000)", "images.maxPixels"),
        ("IMG-09", "ztxt.png", "carries text or a profile that unpacks to too much", ""),
        ("IMG-09", "iccp.png", "carries text or a profile that unpacks to too much", ""),
        ("IMG-09", "itxt.png", "carries text or a profile that unpacks to too much", ""),
        ("IMG-09", "many-ztxt.png", "carries text or a profile that unpacks to too much", ""),
        ("IMG-10", "move.png", "is animated (2 frames)", "export the one frame that is meant"),
        ("IMG-10", "move.webp", "is animated (2 frames)", "export the one frame that is meant"),
        ("IMG-10", "move.gif", "is a GIF image", "export it as PNG"),
        ("IMG-10", "pages.tif", "is a TIFF image", "export it as PNG"),
        ("IMG-18", "avif.png", "is an AVIF image", "export it as PNG"),
        ("IMG-18", "heic.png", "is a HEIC image", "export it as PNG"),
        ("IMG-18", "jxl.png", "is a JPEG XL image", "export it as PNG"),
        ("IMG-18", "psd.png", "is a Photoshop file", "export it as PNG"),
        ("IMG-18", "exr.png", "is an OpenEXR image", "export it as PNG"),
        ("IMG-18", "svg.png", "is an SVG drawing", "export it as PNG"),
        ("IMG-18", "eps.png", "is an EPS or PostScript file", "export it as PNG"),
        ("IMG-21", "deep.jpg", "is a JPEG of 12 bits a channel", ""),
        ("IMG-21", "lossless.jpg", "is a lossless JPEG", ""),
    ],
)
def test_bad_image_is_refused_by_name_with_what_it_is(
    refusals: dict[str, Said], row: str, name: str, words: str, hint: str
) -> None:
    assert refusals[name]["reason"].startswith(f"{name} {words}"), row
    assert hint in refusals[name]["hint"], row


def good_files() -> Iterator[tuple[str, bytes]]:
    wide = Image.linear_gradient("L").resize((48, 40)).convert("RGB")
    yield "first.png", hostile.saved_as(wide, "PNG")
    yield "again.png", hostile.saved_as(wide, "PNG")
    yield "other-bytes.webp", hostile.saved_as(wide, "WEBP", lossless=True, exact=True)
    yield "lossy.webp", hostile.saved_as(wide, "WEBP", quality=70)
    yield "progressive.jpg", hostile.saved_as(wide, "JPEG", progressive=True)
    yield "arithmetic.jpg", hostile.other_frame(0xC9)
    yield "grey.png", hostile.saved_as(Image.linear_gradient("L"), "PNG")
    yield "ink.png", hostile.saved_as(Image.new("1", (20, 20), 1), "PNG")
    yield "half.png", hostile.png_bytes("RGBA", (20, 20), (255, 0, 0, 128))
    yield "dot.png", hostile.png_bytes(size=(1, 1), colour=(1, 2, 3))
    yield "line.png", hostile.png_bytes(size=(1, 4096), colour=(1, 2, 4))
    yield "banner.png", hostile.png_bytes(size=(640, 40), colour=(1, 2, 5))
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0)}
    yield "trip.jpg", hostile.saved_as(wide.rotate(90, expand=True), "JPEG", exif=exif)
    info = PngImagePlugin.PngInfo()
    info.add_text("workflow", "{" * 4_000_000)
    info.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta><script>alert(1)</script></x:xmpmeta>")
    yield "workflow.png", hostile.saved_as(wide.rotate(180), "PNG", pnginfo=info)
    texts = ((b"tEXt", b"k%d\0v" % number) for number in range(50_000))
    yield "texts.png", hostile.png_with(*texts)
    yield "inks.jpg", hostile.saved_as(Image.new("CMYK", (20, 20), (255, 0, 0, 0)), "JPEG")
    yield "tail.jpg", hostile.noisy_jpeg((40, 40)) + b"<script>alert(1)</script>"


@pytest.fixture(scope="module")
def brought(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A workspace into which all the good files came, and what the import said."""
    folder = tmp_path_factory.mktemp("good")
    (folder / "art").mkdir()
    for name, data in good_files():
        (folder / "art" / name).write_bytes(data)
    studio = studio_at(folder / "studio")
    answer = import_art(studio, folder / "art", "--tag", "style:flat")
    assert answer.exit_code == 0, answer.stdout
    return studio, answer.document


def findings(document: dict[str, Any], code: str) -> set[str]:
    return {
        name
        for finding in document["data"]["findings"]
        if finding["code"] == code
        for name in finding["files"]
    }


def test_img_26_same_bytes_are_left_out_and_same_pixels_are_told(
    brought: tuple[Path, dict[str, Any]],
) -> None:
    _, document = brought

    assert document["data"]["duplicates"] == [{"file": "first.png", "sameAs": "again.png"}]
    assert document["data"]["samePictures"] == [{"file": "other-bytes.webp", "sameAs": "again.png"}]


def test_img_26_pixels_that_the_project_has_are_told_by_the_asset(
    brought: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    studio = Path(shutil.copytree(brought[0], tmp_path / "studio"))
    first = {one["file"]: one["id"] for one in brought[1]["data"]["assets"]}["again.png"]
    (tmp_path / "art").mkdir()
    wide = Image.linear_gradient("L").resize((48, 40)).convert("RGB")
    wide.save(tmp_path / "art/loose.png", compress_level=0)

    document = import_art(studio, tmp_path / "art").document

    assert document["data"]["samePictures"] == [{"file": "loose.png", "assetId": first}]
    assert any(f"loose.png is asset {first}, in different" in one for one in document["warnings"])


@pytest.mark.parametrize(
    ("row", "code", "files"),
    [
        ("IMG-11", "image_note", {"inks.jpg", "tail.jpg"}),
        ("IMG-15", "has_alpha", {"half.png"}),
        ("IMG-16", "greyscale", {"grey.png", "ink.png"}),
        ("IMG-17", "tiny", {"dot.png", "line.png"}),
        ("IMG-17", "extreme_shape", {"line.png", "banner.png"}),
        ("IMG-20", "location_data", {"trip.jpg"}),
        ("IMG-09 IMG-20", "text_data", {"workflow.png", "texts.png"}),
    ],
)
def test_odd_image_is_imported_with_a_finding(
    brought: tuple[Path, dict[str, Any]], row: str, code: str, files: set[str]
) -> None:
    assert findings(brought[1], code) == files, row


@pytest.mark.parametrize(
    ("row", "name"),
    [
        ("IMG-18", "other-bytes.webp"),
        ("IMG-18", "lossy.webp"),
        ("IMG-21", "progressive.jpg"),
        ("IMG-21", "arithmetic.jpg"),
    ],
)
def test_unusual_coding_of_an_allowed_format_is_read(
    brought: tuple[Path, dict[str, Any]], row: str, name: str
) -> None:
    assert name in {one["file"] for one in brought[1]["data"]["assets"]}, row


def test_img_20_nothing_of_metadata_gets_into_staging(
    brought: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    studio = Path(shutil.copytree(brought[0], tmp_path / "studio"))
    assert invoke(["asset", "approve", "--all", "--as", ACTOR], studio).exit_code == 0
    assert invoke(["dataset", "build", "all", "--asset-type", "ui_icon"], studio).exit_code == 0

    staged = invoke(["dataset", "stage", "all", "--json"], studio).document["data"]

    images = sorted((studio / staged["folder"]).glob("*.png"))
    assert len(images) == staged["images"] == len(brought[1]["data"]["assets"])
    for path in images:
        data = path.read_bytes()
        assert b"workflow" not in data
        assert b"script" not in data
        with Image.open(path) as image:
            assert (image.mode, dict(image.info), dict(image.getexif())) == ("RGB", {}, {})


@pytest.fixture(scope="module")
def worker() -> Iterator[ImageWorker]:
    with ImageWorker() as one:
        yield one


def normal_form(worker: ImageWorker, path: Path) -> Image.Image:
    target = path.with_name(f"{path.name}.normal.png")
    worker.normalise(path, target)
    with Image.open(target) as image:
        image.load()
        return image


def pixel(image: Image.Image, x: int = 0, y: int = 0) -> tuple[int, int, int]:
    found = image.getpixel((x, y))
    assert isinstance(found, tuple)
    return found[0], found[1], found[2]


def saved(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_img_07_enormous_header_is_refused_before_any_decoder_starts(tmp_path: Path) -> None:
    path = saved(tmp_path / "huge.png", hostile.png_header(100_000, 100_000))
    planned = plan_for(path)

    with ImageWorker() as fresh:
        outcome = inspect_image(fresh, planned, (), no_cache(tmp_path))

        assert isinstance(outcome, BadFile)
        assert fresh._child is None


def test_img_11_inks_are_converted_by_their_profile_and_always_alike(
    worker: ImageWorker, tmp_path: Path
) -> None:
    inks = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    with_profile = saved(
        tmp_path / "with.jpg",
        hostile.saved_as(inks, "JPEG", quality=100, icc_profile=hostile.cmyk_profile()),
    )
    without = saved(tmp_path / "without.jpg", hostile.saved_as(inks, "JPEG", quality=100))

    first, again = normal_form(worker, with_profile), normal_form(worker, with_profile)

    # Printed cyan is duller than the cyan of a screen, which the naive conversion gives.
    red, green, blue = pixel(first)
    assert (red < 10, 150 < green < 190, blue > 245) == (True, True, True)
    assert first.tobytes() == again.tobytes()
    assert min(pixel(normal_form(worker, without))[1:]) > 245
    assert "CMYK without a colour profile" in worker.inspect(without).notes[0]
    assert worker.inspect(with_profile).notes == ()


def test_img_11_inverted_inks_of_adobe_are_not_a_negative(
    worker: ImageWorker, tmp_path: Path
) -> None:
    white = hostile.saved_as(Image.new("CMYK", (16, 16), (0, 0, 0, 0)), "JPEG", quality=100)
    assert b"Adobe" in white, "Pillow writes inks inverted, and says so"

    assert pixel(normal_form(worker, saved(tmp_path / "white.jpg", white))) == (255, 255, 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_img_12_picture_is_upright_and_its_size_the_displayed_one(
    worker: ImageWorker, tmp_path: Path, orientation: int
) -> None:
    upright = Image.new("RGB", (32, 16), "blue")
    upright.paste(RED, (0, 0, 8, 8))
    # What a camera writes: the picture as the sensor saw it, and how to turn it.
    back = {
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]  # fmt: skip
    stored = upright.transpose(back) if back is not None else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "turned.png", hostile.saved_as(stored, "PNG", exif=exif))

    facts, result = worker.inspect(path), normal_form(worker, path)

    assert (facts.width, facts.height, result.size) == (32, 16, (32, 16))
    assert result.tobytes() == upright.tobytes()
    assert not result.getexif()


@pytest.mark.parametrize(
    ("primaries", "expected"),
    [(hostile.DISPLAY_P3, (216, 93, 24)), (hostile.ADOBE_RGB, (227, 100, 42))],
)
def test_img_13_colours_of_another_space_are_converted(
    worker: ImageWorker, tmp_path: Path, primaries: Any, expected: tuple[int, int, int]
) -> None:
    flat = Image.new("RGB", (16, 16), (200, 100, 50))
    path = saved(
        tmp_path / "wide.png",
        hostile.saved_as(flat, "PNG", icc_profile=hostile.rgb_profile(*primaries)),
    )

    found = pixel(normal_form(worker, path))

    assert max(abs(one - other) for one, other in zip(found, expected, strict=True)) <= 1


def test_img_13_srgb_stays_and_a_damaged_profile_is_told(
    worker: ImageWorker, tmp_path: Path
) -> None:
    from PIL import ImageCms

    flat = Image.new("RGB", (16, 16), (200, 100, 50))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    same = saved(tmp_path / "srgb.png", hostile.saved_as(flat, "PNG", icc_profile=srgb))
    broken = hostile.rgb_profile(*hostile.DISPLAY_P3)[:-60]
    odd = saved(tmp_path / "odd.png", hostile.saved_as(flat, "PNG", icc_profile=broken))

    assert pixel(normal_form(worker, same)) == (200, 100, 50)
    assert pixel(normal_form(worker, odd)) == (200, 100, 50)
    assert "damaged colour profile" in worker.inspect(odd).notes[0]


def test_img_15_transparency_of_every_kind_is_laid_on_the_declared_colour(
    worker: ImageWorker, tmp_path: Path
) -> None:
    palette = Image.new("P", (16, 16), 1)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    key = Image.new("RGB", (16, 16), (9, 9, 9))
    kinds = {
        "palette.png": hostile.saved_as(palette, "PNG", transparency=1),
        "key.png": hostile.saved_as(key, "PNG", transparency=(9, 9, 9)),
        "grey.png": hostile.png_bytes("LA", (16, 16), (0, 0)),
        "gone.png": hostile.png_bytes("RGBA", (16, 16), (0, 0, 0, 0)),
        "gone.webp": hostile.saved_as(
            Image.new("RGBA", (16, 16), (0, 0, 0, 0)), "WEBP", lossless=True, exact=True
        ),
    }
    for name, data in kinds.items():
        path = saved(tmp_path / name, data)
        assert worker.inspect(path).alpha_used, name
        assert pixel(normal_form(worker, path)) == (255, 255, 255), name
    # Edges are what the file says: a soft white edge on white stays white, with no dark rim.
    edge = saved(tmp_path / "edge.png", hostile.png_bytes("RGBA", (16, 16), (255, 255, 255, 90)))
    assert pixel(normal_form(worker, edge)) == (255, 255, 255)


def test_img_16_grey_of_every_depth_becomes_rgb(worker: ImageWorker, tmp_path: Path) -> None:
    deep = Image.frombytes("I;16", (16, 16), (32896).to_bytes(2, "little") * 256)
    kinds = {
        "one.png": (hostile.saved_as(Image.new("1", (16, 16), 1), "PNG"), 255),
        "eight.png": (hostile.saved_as(Image.new("L", (16, 16), 77), "PNG"), 77),
        "sixteen.png": (hostile.saved_as(deep, "PNG"), 128),
        "eight.jpg": (hostile.saved_as(Image.new("L", (16, 16), 77), "JPEG"), 77),
    }
    for name, (data, level) in kinds.items():
        assert pixel(normal_form(worker, saved(tmp_path / name, data))) == (level,) * 3, name


def test_img_04_wrong_extension_is_put_right_when_asked_and_the_plan_is_shown_before(
    tmp_path: Path,
) -> None:
    studio, art = studio_at(tmp_path / "studio"), tmp_path / "art"
    art.mkdir()
    (art / "photo.png").write_bytes(hostile.noisy_jpeg())

    planned = import_art(studio, art, "--fix-extension", "--dry-run").document
    done = import_art(studio, art, "--fix-extension").document

    plan = [{"file": "photo.png", "as": "photo.jpg"}]
    assert planned["data"]["renamed"] == done["data"]["renamed"] == plan
    assert (art / "photo.png").is_file(), "the source keeps its name"
    (copy,) = (studio / f"data/projects/{PROJECT}/files/images").rglob("*.*")
    assert copy.suffix == ".jpg"


def test_img_04_avif_named_jpg_is_refused_also_then(tmp_path: Path) -> None:
    studio, art = studio_at(tmp_path / "studio"), tmp_path / "art"
    art.mkdir()
    (art / "photo.jpg").write_bytes(b"\0\0\0\x20ftypavif" + bytes(20))

    answer = import_art(studio, art, "--fix-extension")

    assert answer.exit_code == 1
    assert "photo.jpg is an AVIF image" in answer.document["data"]["refused"][0]["reason"]


def test_img_04_file_that_stays_in_place_keeps_its_name(tmp_path: Path) -> None:
    studio = studio_at(tmp_path / "studio")

    answer = import_art(studio, tmp_path, "--fix-extension", "--in-place")

    assert (answer.exit_code, answer.error["code"]) == (3, "argument_invalid")


def plan_for(path: Path, *, sha256: str = "") -> PlannedAsset:
    image = FoundImage(path.name, path)
    return PlannedAsset(
        name=image.name, path=path, title="x", asset_type="ui_icon", style="flat",
        scenario="plain", prompt="", tags=(), spec_tags=(), provenance=Provenance(),
        rights=Rights(), sha256=sha256,
    )  # fmt: skip


def no_cache(folder: Path) -> FactsCache:
    return FactsCache(make_workspace(folder / "empty", git=False), ImageLimits())


class WorkerBesideAWriter(ImageWorker):
    """Decodes while another program appends to the file."""

    def inspect(
        self, path: Path, *, name: str | None = None, any_extension: bool = False
    ) -> ImageFacts:
        facts = super().inspect(path, name=name, any_extension=any_extension)
        with path.open("ab") as stream:
            stream.write(b"more")
        return facts


def test_img_25_file_that_changes_while_it_is_read_is_refused(tmp_path: Path) -> None:
    icon = draw_icon(tmp_path / "icon.png")

    with WorkerBesideAWriter() as one:
        outcome = inspect_image(one, plan_for(icon), (), no_cache(tmp_path))

    assert isinstance(outcome, BadFile)
    assert outcome.reason == "icon.png changed while it was read"


def test_img_25_file_that_changes_before_it_is_copied_stays_out_and_the_others_come(
    tmp_path: Path,
) -> None:
    studio, art = studio_at(tmp_path / "studio"), tmp_path / "art"
    draw_icons(art, 3)

    def write_into_one(event: Event) -> None:
        if event.topic == "images" and event.step == event.total:
            draw_icon(art / "icon-001.png", seed=99)

    opened = reopen(studio)
    workspace = Workspace(
        root=opened.root, settings=opened.settings, project=PROJECT, events=write_into_one
    )
    result = import_assets(workspace, str(art), asset_type="ui_icon")

    assert result.refusal is not None
    assert result.refusal.code == "import_incomplete"
    assert "icon-001.png" in result.refusal.message
    assert result.data["imported"] == 2
    assert len(read_image_index(reopen(studio), Scope(PROJECT)).assets) == 2
    images = studio / f"data/projects/{PROJECT}/files/images"
    assert len(list(images.iterdir())) == 2


def test_img_25_unreadable_files_are_refused_and_the_others_may_come(tmp_path: Path) -> None:
    studio, art = studio_at(tmp_path / "studio"), tmp_path / "art"
    draw_icons(art, 2)
    (art / "gone.png").symlink_to(art / "nothing.png")
    if hasattr(os, "mkfifo"):
        os.mkfifo(art / "pipe.png")

    answer = import_art(studio, art, "--skip-bad")

    assert answer.document["data"]["imported"] == 2
    reasons = {bad["file"]: bad["reason"] for bad in answer.document["data"]["refused"]}
    assert "no file" in reasons["gone.png"]
    assert reasons.get("pipe.png", "pipe.png is no file") == "pipe.png is no file"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all files")
def test_img_25_file_without_permission_is_refused_by_name(tmp_path: Path) -> None:
    icon = draw_icon(tmp_path / "icon.png")
    icon.chmod(0)

    with ImageWorker() as one:
        outcome = inspect_image(one, plan_for(icon), (), no_cache(tmp_path))

    assert isinstance(outcome, BadFile)
    assert "Permission denied" in outcome.reason


def test_img_28_decoder_that_hangs_is_killed_and_the_file_refused(tmp_path: Path) -> None:
    sleeper = [sys.executable, "-c", "import sys; sys.stdin.read()"]

    with ImageWorker(ImageLimits(timeout_s=0.2), program=sleeper) as stuck:
        icon = draw_icon(tmp_path / "icon.png")
        outcome = inspect_image(stuck, plan_for(icon), (), no_cache(tmp_path))

        assert isinstance(outcome, BadFile)
        assert "was not decoded within 0.2 s" in outcome.reason
        assert stuck._child is None


def test_img_24_what_was_decoded_is_not_decoded_again_after_an_interruption(
    tmp_path: Path,
) -> None:
    workspace = make_workspace(tmp_path / "studio", git=False)
    icon = draw_icon(tmp_path / "icon.png")
    with ImageWorker() as one:
        first = inspect_image(one, plan_for(icon), (), FactsCache(workspace, ImageLimits()))
    assert isinstance(first, InspectedImage)
    assert first.decoded
    FactsCache(workspace, ImageLimits()).add([(first.digest.sha256, first.known_facts)])

    with ImageWorker(program=["/nothing"]) as none:
        again = inspect_image(none, plan_for(icon), (), FactsCache(workspace, ImageLimits()))

    assert isinstance(again, InspectedImage)
    assert (again.facts, again.decoded) == (first.facts, False)


def test_img_24_cache_that_was_cut_off_is_read_as_far_as_it_is_whole(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "studio", git=False)
    facts = ImageFacts(
        width=4, height=4, format="PNG", mode="RGB", frames=1, has_alpha=False,
        alpha_used=False, pixel_sha256="0" * 64, icc="", exif_orientation=1,
        has_location=False, has_text=False,
    )  # fmt: skip
    FactsCache(workspace, ImageLimits()).add([("a" * 64, facts), ("b" * 64, facts)])
    (path,) = (workspace.runtime / "cache").glob("image-facts-*")
    path.write_bytes(path.read_bytes()[:-30])
    FactsCache(workspace, ImageLimits()).add([("c" * 64, facts)])

    cache = FactsCache(workspace, ImageLimits())

    assert (cache.get("a" * 64), cache.get("b" * 64), cache.get("c" * 64)) == (facts, None, facts)
    assert FactsCache(workspace, ImageLimits(max_pixels=15)).get("a" * 64) is None


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_img_24_memory_of_an_import_hardly_grows_with_its_images(tmp_path: Path) -> None:
    peaks = [_peak_kib(tmp_path / str(count), count) for count in (200, 1200)]

    assert (peaks[1] - peaks[0]) / 1000 < 8, "KiB for each further image"


def _peak_kib(folder: Path, count: int) -> int:
    import subprocess

    studio = studio_at(folder / "studio")
    (folder / "art").mkdir()
    chance = random.Random(count)
    for number in range(count):
        Image.frombytes("RGB", (16, 16), chance.randbytes(768)).save(
            folder / "art" / f"{number}.png", compress_level=0
        )
    program = (
        "import resource, sys\n"
        "from lora_pipeline.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, "asset", "import", str(folder / "art"), "--asset-type",
         "ui_icon", "--quiet"], cwd=studio, capture_output=True, check=True,
    )  # fmt: skip
    return int(done.stderr.split()[-1])


def test_digest_of_every_copy_is_that_of_its_source(
    brought: tuple[Path, dict[str, Any]],
) -> None:
    sources = {hashlib.sha256(data).hexdigest() for _, data in good_files()}
    folder = brought[0] / f"data/projects/{PROJECT}"

    named = {
        json.loads(path.read_bytes())["versions"][0]["variants"][0]["original"]["sha256"]
        for path in (folder / "assets").glob("*.json")
    }
    copies = {
        hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (folder / "files/images").rglob("*.*")
    }

    assert named == copies == sources
