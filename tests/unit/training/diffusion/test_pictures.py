"""Images become tensors of the size that they are trained at."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

torch = pytest.importorskip("torch")

from lora_pipeline.training.diffusion.pictures import read_mask, read_picture  # noqa: E402

pytestmark = pytest.mark.train


def test_an_image_of_the_right_size_is_not_touched(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), (255, 0, 128)).save(tmp_path / "a.png")

    picture = read_picture(tmp_path / "a.png", (64, 64))

    assert picture.shape == (3, 64, 64)
    assert picture[:, 0, 0].tolist() == pytest.approx([1.0, -1.0, 128 / 127.5 - 1], abs=1e-6)


def test_a_wide_image_is_cut_around_its_middle(tmp_path: Path) -> None:
    image = Image.new("RGB", (300, 100), (0, 0, 0))
    image.paste((255, 255, 255), (100, 0, 200, 100))
    image.save(tmp_path / "a.png")

    picture = read_picture(tmp_path / "a.png", (32, 32))

    assert picture.shape == (3, 32, 32)
    assert float(picture.mean()) > 0.95


def test_height_and_width_are_not_mixed_up(tmp_path: Path) -> None:
    Image.new("RGB", (100, 50)).save(tmp_path / "a.png")

    assert read_picture(tmp_path / "a.png", (64, 32)).shape == (3, 32, 64)


# ---- masks


def test_each_place_of_the_latents_gets_the_mean_of_its_pixels(tmp_path: Path) -> None:
    mask = Image.new("L", (32, 16), 255)
    mask.paste(0, (12, 0, 32, 16))
    mask.save(tmp_path / "m.png")

    found = read_mask(tmp_path / "m.png", (32, 16), (2, 4))

    assert found.shape == (1, 2, 4)
    assert found[0].tolist() == [[1.0, 0.5, 0.0, 0.0]] * 2


def test_a_mask_is_scaled_and_cut_as_its_image_is(tmp_path: Path) -> None:
    image, mask = Image.new("RGB", (300, 100), (0, 0, 0)), Image.new("L", (300, 100), 0)
    for one, white in ((image, (255, 255, 255)), (mask, 255)):
        one.paste(white, (110, 20, 160, 100))
    image.save(tmp_path / "a.png")
    mask.save(tmp_path / "m.png")

    seen = read_picture(tmp_path / "a.png", (32, 32))[:1] / 2 + 0.5
    found = read_mask(tmp_path / "m.png", (32, 32), (32, 32))

    assert float((seen - found).abs().max()) < 1 / 255
