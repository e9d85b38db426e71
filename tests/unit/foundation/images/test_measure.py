from __future__ import annotations

import base64
import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora_pipeline.foundation.digests import digest_file
from lora_pipeline.foundation.errors import ImageRefusedError
from lora_pipeline.foundation.images.client import ImageLimits, ImageMeasures, ImageWorker
from tests.support import checks_builders as pictures
from tests.support.workspace_builders import REPOSITORY

KINDS = list(pictures.KINDS)


class Measuring:
    """Measures pictures through the worker, as the program does."""

    def __init__(self, worker: ImageWorker, folder: Path) -> None:
        self._worker = worker
        self._folder = folder

    def __call__(self, image: Image.Image) -> ImageMeasures:
        return self.file(pictures.save(image, self._folder / "one.png"))

    def file(self, path: Path) -> ImageMeasures:
        return self._worker.measure(path)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measuring]:
    with ImageWorker() as worker:
        yield Measuring(worker, Path(tmp_path_factory.mktemp("pictures")))


def some(kind: str, count: int = 4) -> list[Image.Image]:
    return [pictures.KINDS[kind](seed, 192) for seed in range(count)]


@pytest.mark.parametrize("kind", KINDS)
def test_clean_pictures_have_sharp_edges_no_blocks_and_no_border(
    measured: Measuring, kind: str
) -> None:
    for image in some(kind):
        found = measured(image)

        assert 0.9 < found.edge_width < 2.0
        assert found.blockiness < 1.5
        assert found.enlarged == 1
        assert found.border == (0, 0, 0, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_edges_grow_wider_with_every_blur(measured: Measuring, kind: str) -> None:
    for image in some(kind):
        widths = [measured(pictures.blurred(image, sigma)).edge_width for sigma in (0, 1, 2)]

        assert widths == sorted(widths)
        assert measured(pictures.blurred(image, 4)).edge_width > 3


def test_very_soft_edges_are_measured_at_a_smaller_size(measured: Measuring) -> None:
    image = Image.new("L", (512, 512), 0)
    image.paste(255, (256, 0, 512, 512))

    assert measured(pictures.blurred(image.convert("RGB"), 24)).edge_width > 20


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("factor", [2, 4])
def test_pictures_whose_pixels_were_repeated_are_told(
    measured: Measuring, kind: str, factor: int
) -> None:
    for image in some(kind):
        assert measured(pictures.pixelated(image, factor)).enlarged == factor


@pytest.mark.parametrize("factor", [3, 4])
def test_photos_that_were_smoothly_enlarged_are_told(measured: Measuring, factor: int) -> None:
    for image in some("photo"):
        assert measured(pictures.enlarged(image, factor)).enlarged == factor


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_of_a_jpeg_are_seen_in_a_png(measured: Measuring, kind: str) -> None:
    for image in some(kind):
        scores = [
            measured(pictures.recompressed(image, quality)).blockiness for quality in (90, 30, 10)
        ]

        assert scores == sorted(scores)
        assert scores[-1] > 2.5


def test_blocks_are_seen_wherever_they_start(measured: Measuring) -> None:
    jpeg = pictures.recompressed(pictures.photo(3, 200), 10)

    assert measured(jpeg.crop((3, 5, 195, 197))).blockiness > 2.5


@pytest.mark.parametrize("quality", [25, 50, 75, 95])
def test_the_quality_of_a_jpeg_is_read_from_its_tables(
    measured: Measuring, tmp_path: Path, quality: int
) -> None:
    path = tmp_path / "one.jpg"
    path.write_bytes(pictures.jpeg_bytes(pictures.photo(1, 64), quality))

    assert measured.file(path).jpeg_quality == pytest.approx(quality, abs=1)


def test_other_formats_have_no_jpeg_quality(measured: Measuring) -> None:
    assert measured(pictures.photo(1, 64)).jpeg_quality == 0


@pytest.mark.parametrize("kind", ["photo", "painting"])
def test_frames_and_bars_are_measured_to_the_pixel(measured: Measuring, kind: str) -> None:
    for image in some(kind):
        assert measured(pictures.framed(image, 9)).border == (9, 9, 9, 9)
        assert measured(pictures.letterboxed(image, 20)).border == (0, 20, 0, 20)


def test_plain_ground_around_a_drawing_is_no_border(measured: Measuring) -> None:
    for seed in range(12):
        assert measured(pictures.on(pictures.icon(seed, 128))).border == (0, 0, 0, 0)


def test_a_frame_does_not_make_a_blurred_picture_sharp(measured: Measuring) -> None:
    soft = pictures.blurred(pictures.photo(2, 192), 3)

    assert measured(pictures.framed(soft, 9)).edge_width > 3


def test_what_is_seen_is_measured_and_hidden_colours_are_not(measured: Measuring) -> None:
    image = Image.new("RGBA", (40, 40), (255, 0, 255, 0))
    image.paste((10, 20, 30, 255), (0, 0, 10, 40))

    found = measured(image)

    assert found.visible == pytest.approx(0.25)
    assert (found.darkest, found.lightest) == ((10, 20, 30), (10, 20, 30))
    assert found.alpha_used


def test_a_transparent_picture_shows_nothing(measured: Measuring) -> None:
    found = measured(Image.new("RGBA", (64, 64), (200, 10, 10, 0)))

    assert found.visible == 0
    assert found.darkest == found.lightest == (0, 0, 0)


def test_greys_are_told_from_colours(measured: Measuring) -> None:
    photo = pictures.photo(5, 64)

    assert measured(photo.convert("L")).grey
    assert not measured(photo).grey


def test_the_look_is_premultiplied_and_leaves_a_border_out(measured: Measuring) -> None:
    photo = pictures.photo(6, 192)

    def look(image: Image.Image) -> np.ndarray[tuple[int, ...], np.dtype[np.int16]]:
        cells = np.frombuffer(base64.b64decode(measured(image).look), dtype=np.uint8)
        return cells.reshape(16, 16, 4).astype(np.int16)

    assert np.abs(look(pictures.framed(photo, 9)) - look(photo)).max() < 12
    hidden = Image.new("RGBA", (32, 32), (255, 255, 255, 0))
    assert look(hidden).max() == 0


def test_the_digest_is_that_of_the_bytes_that_were_measured(
    measured: Measuring, tmp_path: Path
) -> None:
    path = pictures.save(pictures.photo(7, 64), tmp_path / "one.png")

    found = measured.file(path)

    assert found.sha256 == digest_file(path).sha256
    assert found.pixel_sha256 != found.sha256


def test_equal_pixels_measure_equally_in_other_bytes(measured: Measuring, tmp_path: Path) -> None:
    photo = pictures.photo(8, 96)
    photo.save(tmp_path / "small.png", optimize=True)
    photo.save(tmp_path / "large.png", compress_level=0)
    photo.save(tmp_path / "lossless.webp", lossless=True)

    found = [measured.file(tmp_path / name) for name in ("small.png", "large.png", "lossless.webp")]

    assert len({one.sha256 for one in found}) == 3
    assert len({(one.pixel_sha256, one.look, one.edge_width, one.blockiness) for one in found}) == 1


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2), (17, 17), (16, 300)])
def test_tiny_pictures_are_measured_too(measured: Measuring, size: tuple[int, int]) -> None:
    chance = random.Random(1)
    image = Image.new("RGB", size)
    image.putdata([tuple(chance.choices(range(256), k=3)) for _ in range(size[0] * size[1])])

    found = measured(image)

    assert (found.width, found.height) == size
    assert found.enlarged == 1


def test_large_pictures_are_measured_at_places_spread_over_them(measured: Measuring) -> None:
    def tiled(tile: Image.Image) -> Image.Image:
        large = Image.new("RGB", (2304, 2304))
        for place in range(64):
            large.paste(tile, (place % 8 * 288, place // 8 * 288))
        return large

    photo = pictures.photo(9, 288)

    assert measured(tiled(photo)).edge_width < 2
    assert measured(photo.resize((2304, 2304), Image.Resampling.BILINEAR)).edge_width > 3


def test_what_cannot_be_read_is_refused(measured: Measuring, tmp_path: Path) -> None:
    path = tmp_path / "half.png"
    whole = pictures.save(pictures.photo(1, 64), tmp_path / "whole.png").read_bytes()
    path.write_bytes(whole[: len(whole) // 2])

    with pytest.raises(ImageRefusedError, match=r"half\.png is (truncated|damaged)"):
        measured.file(path)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = pictures.save(pictures.photo(1, 64), tmp_path / "one.png")

    with (
        ImageWorker(ImageLimits(max_pixels=64 * 63)) as worker,
        pytest.raises(ImageRefusedError, match="pixels"),
    ):
        worker.measure(path)


def test_measures_of_a_picture_of_the_demo_are_what_they_were(measured: Measuring) -> None:
    # When one of these changes, so must FORM in datasets/checks/measure_cache.py: what was
    # remembered would be compared with what is measured now. When the look changes, so must
    # the name of the measure that manifests record (datasets/split.py, TOGETHER).
    found = measured.file(REPOSITORY / "data/demo/art/sticker/sticker-teal-heart.png")

    assert found.edge_width == pytest.approx(1.146, abs=0.001)
    assert found.blockiness == pytest.approx(1.036, abs=0.001)
    assert found.visible == pytest.approx(0.490234375)
    assert hashlib.sha256(base64.b64decode(found.look)).hexdigest()[:16] == "732989e8eb815ff2"
    assert hashlib.sha256(base64.b64decode(found.corners)).hexdigest()[:16] == "a514e01973c781b0"
