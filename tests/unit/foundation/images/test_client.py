"""Images: every refusal names what the file is, and every image comes out in the one form."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from lora_pipeline.foundation.errors import FileMissingError, ImageRefusedError
from lora_pipeline.foundation.images.client import ImageLimits, ImageWorker
from tests.support import hostile_images as hostile

_RED, _BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture(scope="module")
def worker() -> Iterator[ImageWorker]:
    with ImageWorker() as one:
        yield one


def written(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)  # type: ignore[arg-type]
    return path


def refusal(worker: ImageWorker, path: Path) -> ImageRefusedError:
    with pytest.raises(ImageRefusedError) as caught:
        worker.inspect(path)
    assert caught.value.message.startswith(path.name)
    return caught.value


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "is empty (0 bytes)"),
        (hostile.LFS_POINTER, "Git LFS pointer"),
        (b"hello artist", "is a text file"),
        ("früh".encode("utf-16"), "is a text file"),
        (b"<!DOCTYPE html><title>404</title>", "is a web page (HTML)"),
        (b'{"error": "not found"}', "is a JSON file"),
        (b'<?xml version="1.0"?><svg xmlns="x"/>', "is an SVG drawing"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "is an EPS or PostScript file"),
        (b"GIF89a" + b"\x00" * 20, "is a GIF image"),
        (b"8BPS\x00\x01", "is a Photoshop file"),
        (b"II*\x00\x08\x00", "is a TIFF image"),
        (b"\x00\x00\x00\x20ftypavif", "is an AVIF image"),
        (b"\x00\x00\x00\x20ftypheic", "is a HEIC image"),
        (b"PK\x03\x04\x14\x00", "is a ZIP archive"),
        (b"\x00\x01\x02\x03" * 9, "is in no known image format"),
    ],
)
def test_what_is_no_image_is_called_by_its_name(
    worker: ImageWorker, tmp_path: Path, data: bytes, words: str
) -> None:
    assert words in refusal(worker, written(tmp_path, "art.png", data)).message


def test_lfs_pointer_says_which_command_fetches_the_image(
    worker: ImageWorker, tmp_path: Path
) -> None:
    error = refusal(worker, written(tmp_path, "art.png", hostile.LFS_POINTER))

    assert error.hint == "git lfs pull"


def test_file_that_is_not_there_is_missing_not_refused(worker: ImageWorker, tmp_path: Path) -> None:
    with pytest.raises(FileMissingError):
        worker.inspect(tmp_path / "nothing.png")


def test_extension_of_another_format_is_refused_with_the_right_name(
    worker: ImageWorker, tmp_path: Path
) -> None:
    error = refusal(worker, written(tmp_path, "photo.png", hostile.noisy_jpeg()))

    assert "is a JPEG image, its name says PNG" in error.message
    assert error.hint == "rename it to photo.jpg"


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_truncated_jpeg_is_refused(worker: ImageWorker, tmp_path: Path, share: float) -> None:
    whole = hostile.noisy_jpeg()

    error = refusal(worker, written(tmp_path, "cut.jpg", whole[: int(len(whole) * share)]))

    assert "is truncated" in error.message or "is damaged" in error.message


def test_png_without_its_end_is_refused(worker: ImageWorker, tmp_path: Path) -> None:
    data = hostile.png_bytes()[:-12]

    assert "is truncated" in refusal(worker, written(tmp_path, "cut.png", data)).message


def test_png_with_a_wrong_checksum_is_refused(worker: ImageWorker, tmp_path: Path) -> None:
    data = bytearray(hostile.png_bytes())
    data[data.index(b"IDAT") + 6] ^= 0xFF

    assert "is damaged" in refusal(worker, written(tmp_path, "bad.png", bytes(data))).message


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("big.png", hostile.png_header(100_000, 100_000)),
        ("big.webp", hostile.webp_header(16_000_000, 16_000_000)),
    ],
)
def test_enormous_image_is_refused_by_its_header_before_any_decoder_starts(
    tmp_path: Path, name: str, data: bytes
) -> None:
    with ImageWorker() as fresh:
        error = refusal(fresh, written(tmp_path, name, data))

        assert fresh._child is None
    assert "at most 64,000,000 are read" in error.message
    assert error.hint is not None
    assert "images.maxPixels" in error.hint


def test_enormous_image_names_its_pixels_and_the_limit(worker: ImageWorker, tmp_path: Path) -> None:
    path = written(tmp_path, "big.png", hostile.png_header(100_000, 100_000))

    assert "100,000 x 100,000 pixels (10,000,000,000)" in refusal(worker, path).message


def test_jpeg_that_claims_too_many_pixels_is_refused_before_it_is_decoded(
    worker: ImageWorker, tmp_path: Path
) -> None:
    path = written(tmp_path, "big.jpg", hostile.jpeg_header(60_000, 60_000))

    assert "60,000 x 60,000 pixels" in refusal(worker, path).message


def test_limit_of_pixels_is_the_settings(tmp_path: Path) -> None:
    path = written(tmp_path, "art.png", hostile.png_bytes(size=(11, 10)))

    with ImageWorker(ImageLimits(max_pixels=100)) as small:
        assert "at most 100 are read" in refusal(small, path).message
    with ImageWorker(ImageLimits(max_pixels=110)) as enough:
        assert enough.inspect(path).width == 11


def test_file_of_too_many_bytes_is_refused_unread(tmp_path: Path) -> None:
    path = written(tmp_path, "art.png", hostile.png_bytes() + b"\x00" * 2000)

    with ImageWorker(ImageLimits(max_bytes=1000)) as small:
        assert "at most 1,000 are read" in refusal(small, path).message


@pytest.mark.parametrize(("name", "kind"), [("move.png", "PNG"), ("move.webp", "WEBP")])
def test_animated_image_is_refused(
    worker: ImageWorker, tmp_path: Path, name: str, kind: str
) -> None:
    error = refusal(worker, hostile.animated(tmp_path / name, kind))

    assert "is animated (2 frames)" in error.message


def test_text_that_unpacks_to_too_much_is_refused(worker: ImageWorker, tmp_path: Path) -> None:
    path = written(tmp_path, "bomb.png", hostile.text_bomb())

    assert "unpacks to too much" in refusal(worker, path).message


def test_decoder_that_hangs_is_stopped_and_the_image_refused(tmp_path: Path) -> None:
    sleeper = [sys.executable, "-c", "import sys; sys.stdin.read()"]
    path = written(tmp_path, "art.png", hostile.png_bytes())

    with ImageWorker(ImageLimits(timeout_s=0.2), program=sleeper) as stuck:
        error = refusal(stuck, path)

        assert "was not decoded within 0.2 s" in error.message
        assert stuck._child is None


def test_decoder_that_crashes_twice_is_the_images_fault(tmp_path: Path) -> None:
    crasher = [sys.executable, "-c", "import sys, os; sys.stdin.readline(); os.abort()"]
    path = written(tmp_path, "art.png", hostile.png_bytes())

    with ImageWorker(program=crasher) as fragile:
        assert "made the decoder crash" in refusal(fragile, path).message


def test_decoder_that_died_between_two_images_is_replaced(tmp_path: Path) -> None:
    path = written(tmp_path, "art.png", hostile.png_bytes())

    with ImageWorker() as one:
        one.inspect(path)
        assert one._child is not None
        one._child.stop()

        assert one.inspect(path).format == "PNG"


def test_refusal_of_one_image_leaves_the_worker_usable(worker: ImageWorker, tmp_path: Path) -> None:
    refusal(worker, written(tmp_path, "bad.png", hostile.png_bytes()[:40]))

    assert worker.inspect(written(tmp_path, "good.png", hostile.png_bytes())).format == "PNG"


def test_code_in_the_current_folder_is_not_run_by_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "PIL").mkdir()
    (tmp_path / "PIL" / "__init__.py").write_text("raise SystemExit('ran')")
    path = written(tmp_path, "art.png", hostile.png_bytes())
    monkeypatch.chdir(tmp_path)

    with ImageWorker() as one:
        assert one.inspect(path).width == 8


@pytest.mark.parametrize(
    ("mode", "colour", "has_alpha", "used"),
    [
        ("RGB", (1, 2, 3), False, False),
        ("L", 9, False, False),
        ("1", 1, False, False),
        ("RGBA", (1, 2, 3, 255), True, False),
        ("RGBA", (1, 2, 3, 0), True, True),
        ("LA", (9, 128), True, True),
    ],
)
def test_alpha_is_told_from_alpha_that_is_used(
    worker: ImageWorker, tmp_path: Path, mode: str, colour: object, has_alpha: bool, used: bool
) -> None:
    facts = worker.inspect(written(tmp_path, "art.png", hostile.png_bytes(mode, colour=colour)))

    assert (facts.has_alpha, facts.alpha_used) == (has_alpha, used)


def test_palette_with_a_transparent_colour_has_alpha(worker: ImageWorker, tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([255, 0, 0, 0, 255, 0])

    facts = worker.inspect(saved(tmp_path / "art.png", image, transparency=1))

    assert facts.alpha_used
    assert facts.mode == "P"


@pytest.mark.parametrize(("orientation", "size"), [(1, (20, 10)), (3, (20, 10)), (6, (10, 20))])
def test_displayed_size_follows_exif(
    worker: ImageWorker, tmp_path: Path, orientation: int, size: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "turned.jpg", Image.new("RGB", (20, 10)), exif=exif)

    facts = worker.inspect(path)

    assert (facts.width, facts.height) == size
    assert facts.exif_orientation == orientation


def test_location_in_exif_is_noticed(worker: ImageWorker, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 0.0)}
    path = saved(tmp_path / "trip.jpg", Image.new("RGB", (8, 8)), exif=exif)

    assert worker.inspect(path).has_location


def test_phone_picture_with_a_second_picture_in_it_is_read(
    worker: ImageWorker, tmp_path: Path
) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    path = saved(
        tmp_path / "phone.jpg", frames[0], format="MPO", save_all=True, append_images=frames[1:]
    )

    facts = worker.inspect(path)

    assert facts.format == "JPEG"
    assert any("the first one is used" in note for note in facts.notes)


def test_same_pixels_in_other_bytes_have_one_pixel_digest(
    worker: ImageWorker, tmp_path: Path
) -> None:
    image = Image.effect_mandelbrot((40, 30), (-2, -1, 1, 1), 50).convert("RGB")
    fast = saved(tmp_path / "fast.png", image, compress_level=1)
    small = saved(tmp_path / "small.webp", image, lossless=True, exact=True)

    assert fast.read_bytes() != small.read_bytes()
    assert worker.inspect(fast).pixel_sha256 == worker.inspect(small).pixel_sha256


def test_colours_under_full_transparency_do_not_count(worker: ImageWorker, tmp_path: Path) -> None:
    red = written(tmp_path, "red.png", hostile.png_bytes("RGBA", colour=(255, 0, 0, 0)))
    blue = written(tmp_path, "blue.png", hostile.png_bytes("RGBA", colour=(0, 0, 255, 0)))

    assert worker.inspect(red).pixel_sha256 == worker.inspect(blue).pixel_sha256


def normalised(worker: ImageWorker, source: Path, background: str = "#FFFFFF") -> Image.Image:
    target = source.with_name("normalised") / "out.png"
    worker.normalise(source, target, background=background)
    with Image.open(target) as image:
        image.load()
        return image


def test_normal_form_is_an_upright_rgb_png_without_metadata(
    worker: ImageWorker, tmp_path: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "secret project"
    image = Image.new("RGB", (20, 10), "blue")
    image.paste(_RED, (0, 0, 10, 10))
    path = saved(tmp_path / "turned.jpg", image, exif=exif, quality=100, subsampling=0)

    result = normalised(worker, path)

    assert (result.format, result.mode, result.size) == ("PNG", "RGB", (10, 20))
    assert not result.getexif()
    assert set(result.info) == set()
    red, _, blue = result.getpixel((5, 2))  # type: ignore[misc]
    assert red > 200
    assert blue < 50


def test_transparency_is_laid_on_the_background(worker: ImageWorker, tmp_path: Path) -> None:
    half = written(tmp_path, "half.png", hostile.png_bytes("RGBA", colour=(255, 0, 0, 128)))

    assert normalised(worker, half, "#FFFFFF").getpixel((0, 0)) == (255, 127, 127)
    assert normalised(worker, half, "#000000").getpixel((0, 0)) == (128, 0, 0)


def test_hidden_colours_of_transparent_pixels_do_not_appear(
    worker: ImageWorker, tmp_path: Path
) -> None:
    path = written(tmp_path, "gone.png", hostile.png_bytes("RGBA", colour=(0, 0, 0, 0)))

    assert normalised(worker, path).getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bit_grey_is_scaled_and_not_clipped(worker: ImageWorker, tmp_path: Path) -> None:
    values = [0, 257, 32768, 65535]
    data = b"".join(value.to_bytes(2, "little") for value in values)
    path = saved(tmp_path / "deep.png", Image.frombytes("I;16", (4, 1), data))

    result = normalised(worker, path)

    assert [result.getpixel((x, 0)) for x in range(4)] == [
        (0, 0, 0),
        (1, 1, 1),
        (128, 128, 128),
        (255, 255, 255),
    ]


def test_colour_profile_is_applied(worker: ImageWorker, tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 4), _RED)
    path = saved(tmp_path / "odd.png", image, icc_profile=hostile.swapped_profile())

    red, _, blue = normalised(worker, path).getpixel((0, 0))  # type: ignore[misc]

    assert (red < 5, blue > 250) == (True, True)
    assert "sRGB" in worker.inspect(path).icc


def test_damaged_colour_profile_is_ignored_and_said(worker: ImageWorker, tmp_path: Path) -> None:
    image = Image.new("RGB", (4, 4), _RED)
    path = saved(tmp_path / "odd.png", image, icc_profile=b"\x00" * 200)

    assert normalised(worker, path).getpixel((0, 0)) == _RED
    assert worker.inspect(path).icc == "damaged"
    assert "damaged colour profile" in worker.inspect(path).notes[0]


def test_cmyk_without_a_profile_is_read_and_said(worker: ImageWorker, tmp_path: Path) -> None:
    path = saved(tmp_path / "print.jpg", Image.new("CMYK", (8, 8), (0, 0, 0, 0)))

    assert normalised(worker, path).getpixel((0, 0)) == (255, 255, 255)
    assert "CMYK" in worker.inspect(path).notes[0]


def test_same_source_gives_the_same_bytes(worker: ImageWorker, tmp_path: Path) -> None:
    path = written(tmp_path, "photo.jpg", hostile.noisy_jpeg())
    with ImageWorker() as other:
        worker.normalise(path, tmp_path / "one.png")
        other.normalise(path, tmp_path / "two.png")

    one, two = ((tmp_path / name).read_bytes() for name in ("one.png", "two.png"))
    assert hashlib.sha256(one).digest() == hashlib.sha256(two).digest()


def test_refused_image_leaves_no_file_behind(worker: ImageWorker, tmp_path: Path) -> None:
    path = written(tmp_path, "bad.png", hostile.png_bytes()[:40])

    with pytest.raises(ImageRefusedError):
        worker.normalise(path, tmp_path / "out" / "bad.png")

    assert list((tmp_path / "out").iterdir()) == []


def test_thumbnail_is_small_and_keeps_its_shape(worker: ImageWorker, tmp_path: Path) -> None:
    path = written(tmp_path, "wide.png", hostile.png_bytes(size=(200, 100), colour=_BLUE))

    worker.thumbnail(path, tmp_path / "wide.webp", size=50)

    with Image.open(tmp_path / "wide.webp") as image:
        assert (image.format, image.size) == ("WEBP", (50, 25))


def test_file_names_of_any_kind_are_read(worker: ImageWorker, tmp_path: Path) -> None:
    for name in ("猫 & ümlaut.png", "-rf $(x).png", 'quo"te.png', "line\nbreak.png"):
        assert worker.inspect(written(tmp_path, name, hostile.png_bytes())).width == 8


@pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="limits are read from /proc")
def test_decoder_may_take_neither_all_memory_nor_all_time(tmp_path: Path) -> None:
    path = written(tmp_path, "art.png", hostile.png_bytes())

    with ImageWorker(ImageLimits(max_pixels=1_000_000, timeout_s=5)) as one:
        one.inspect(path)
        assert one._child is not None
        limits = Path(f"/proc/{one._child._process.pid}/limits").read_text()

    bounded = {
        line[:26].strip(): int(line[26:].split()[0])
        for line in limits.splitlines()
        if line.startswith(("Max address space", "Max cpu time"))
    }
    assert bounded["Max address space"] < 2 * 1024**3
    assert bounded["Max cpu time"] <= 5 + 5


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold the limit")
def test_image_that_needs_more_memory_than_allowed_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "wide.png", Image.new("RGB", (9000, 9000)), compress_level=1)
    limits = ImageLimits(max_pixels=90_000_000)

    with ImageWorker(limits, program=[sys.executable, "-c", _STARVED]) as starved:
        error = refusal(starved, path)

    assert "needs more memory" in error.message


_STARVED = """
import sys
from lora_pipeline.foundation.images import worker as image_worker
image_worker._BYTES_A_PIXEL = 0
sys.exit(image_worker.main())
"""
