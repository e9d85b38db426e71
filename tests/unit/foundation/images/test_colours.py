from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lora_pipeline.foundation.images.client import ImageWorker
from lora_pipeline.foundation.images.colours import DIRECTIONS, STEPS, TONES, colours


def seen(image: Image.Image, folder: Path, background: str = "#FFFFFF") -> dict[str, np.ndarray]:
    path = folder / "a.png"
    image.save(path)
    found = colours(str(path), max_pixels=10_000_000, background=background)
    tones = np.frombuffer(base64.b64decode(found["tones"]), "<f4")
    palette = np.frombuffer(base64.b64decode(found["palette"]), "<f4")
    return {"tones": tones, "palette": palette.reshape(DIRECTIONS, STEPS)}


def test_shares_sum_up_to_one(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    found = seen(Image.fromarray(pixels), tmp_path)
    assert found["tones"].sum() == pytest.approx(1)
    assert found["palette"].sum(axis=1) == pytest.approx([1] * DIRECTIONS)


@pytest.mark.parametrize(
    ("colour", "lightness", "green_red", "blue_yellow"),
    [
        # CIELAB of sRGB colours under D65, as colour tables have them.
        ((255, 255, 255), 100, 0, 0),
        ((255, 0, 0), 53.2, 80.1, 67.2),
        ((0, 0, 255), 32.3, 79.2, -107.9),
        ((119, 119, 119), 50.0, 0, 0),
    ],
)
def test_colours_fall_where_cielab_has_them(
    tmp_path: Path,
    colour: tuple[int, int, int],
    lightness: float,
    green_red: float,
    blue_yellow: float,
) -> None:
    found = seen(Image.new("RGB", (8, 8), colour), tmp_path)
    tone = int(found["tones"].argmax())
    assert tone * 100 / TONES == pytest.approx(lightness, abs=2.1)
    step = 256 / STEPS
    across, up = (int(found["palette"][one].argmax()) * step - 128 for one in (0, 2))
    assert across == pytest.approx(green_red, abs=step + 0.1)
    assert up == pytest.approx(blue_yellow, abs=step + 0.1)


def test_transparency_is_laid_on_the_background(tmp_path: Path) -> None:
    clear = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    dark = seen(clear, tmp_path, "#000000")
    assert dark["tones"][0] == 1


def test_large_pictures_are_looked_at_in_steps(tmp_path: Path) -> None:
    half = Image.new("RGB", (1600, 1200), "white")
    half.paste((0, 0, 0), (0, 0, 800, 1200))
    assert seen(half, tmp_path)["tones"][0] == pytest.approx(0.5, abs=0.01)


def test_the_worker_measures_tones_look_and_edges_of_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGB", (64, 64), "#808080").save(path)
    with ImageWorker() as worker:
        found = worker.colours(path)
    assert len(found.sha256) == 64
    assert found.edge_width == 0
    assert np.frombuffer(base64.b64decode(found.tones), "<f4").max() == 1
